"""Commits: run minillm as it was at a commit, in a process of its own.

`git archive` puts the files of the commit into a temporary folder. The working tree is not touched. This package is
copied into the folder, so that both commits are observed in the same way.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from minillm.bisection.observed import Observed, Wanted
from minillm.bisection.transport import Job, read_observed
from minillm.support.checks import shown
from minillm.support.printable import one_line

NEEDED = ("minillm", "weights")  # the package, and the models that are shipped with it


@dataclass(frozen=True)
class CommitRunner:
    """A schedule on minillm at a commit.

    Attributes:
        folder: the files of the commit.
        commit: its name, for messages.
        job: the model, how it is loaded, and the schedule.
        vocab_size: the number of tokens that exist.
    """

    folder: Path
    commit: str
    job: Job
    vocab_size: int

    def greedy(self, prompt: list[int], new_tokens: int) -> list[int]:
        """Return the prompt and the tokens after it."""
        if new_tokens <= 1:
            return list(prompt)
        answer = self._answer(replace(self.job, tokens=prompt, prompt_tokens=len(prompt), new_tokens=new_tokens))
        return [int(token) for token in json.loads(answer.read_text(encoding="utf-8"))]

    def observe(self, tokens: list[int], prompt_tokens: int, wanted: Wanted) -> Observed:
        """Run the schedule."""
        rows = [list(key) for key in sorted(wanted.rows)]
        job = replace(self.job, tokens=tokens, prompt_tokens=prompt_tokens, keep=rows, cache_layer=wanted.cache_layer)
        return read_observed(self._answer(job))

    def _answer(self, job: Job) -> Path:
        """Let a process do the job, and return the file of its answer."""
        question, answer = self.folder / "job.json", self.folder / "answer.npz"
        job.write(question)
        answer.unlink(missing_ok=True)
        command = [sys.executable, "-m", "minillm.bisection.commit_process", str(question), str(answer)]
        environment = os.environ | {"PYTHONPATH": str(self.folder)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or [f"the process ended with status {done.returncode}"]
            old = "; it is broken, or older than what can be observed" if "Traceback" in done.stderr else ""
            raise ValueError(f"commit {self.commit}: {one_line(said[0])}{old}")
        return answer


@contextmanager
def checked_out(commit: str, job: Job, vocab_size: int) -> Iterator[CommitRunner]:
    """Provide minillm as it was at a commit, in a temporary folder.

    Raises:
        ValueError: this is not a git checkout of minillm, or the commit does not exist or cannot be observed.
    """
    root, number = resolve(commit)
    with TemporaryDirectory(prefix="minillm-bisect-") as name:
        folder = Path(name)
        there = _git(root, "ls-tree", "--name-only", number).decode().split("\n")
        archive = _git(root, "archive", "--format=tar", number, *(path for path in NEEDED if path in there))
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        own = Path(__file__).parent
        shutil.rmtree(folder / "minillm" / own.name, ignore_errors=True)
        shutil.copytree(own, folder / "minillm" / own.name, ignore=shutil.ignore_patterns("__pycache__"))
        yield CommitRunner(folder, commit, job, vocab_size)


def resolve(commit: str) -> tuple[Path, str]:
    """Return the root of the checkout in which we are, and the full name of a commit of minillm.

    Raises:
        ValueError: there is no git, no checkout of minillm here, or no such commit.
    """
    what = f"{shown(commit)} is not a backend, a schedule or a FILE.py"
    try:
        root = Path(_git(Path.cwd(), "rev-parse", "--show-toplevel").decode().rstrip("\n"))
    except (ValueError, OSError):
        raise ValueError(f"{what}; for a commit, be in a git checkout of minillm") from None
    try:
        number = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    except ValueError:
        raise ValueError(f"{what}, and this repository has no such commit") from None
    name = number.decode().strip()
    if "minillm/transformer.py" not in _git(root, "ls-tree", "-r", "--name-only", name, "minillm/").decode().split():
        raise ValueError(f"{what}; at commit {name[:10]} this repository has no minillm/transformer.py")
    return root, name


def _git(folder: Path, *arguments: str) -> bytes:
    """Return what a git command prints.

    Raises:
        ValueError: it failed.
        OSError: there is no git.
    """
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True)
    if done.returncode:
        raise ValueError(f"git {arguments[0]}: {one_line(done.stderr.decode(errors='replace'))}")
    return done.stdout
