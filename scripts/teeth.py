"""Plant small bugs in the core files and see whether the tests notice: `python scripts/teeth.py --seed 1 2 --sample 40`

A mutant (`teeth_mutants.py`) is a change of one line. It is planted in a copy of the tree, and the tests that should
notice run there: first the nearest ones of the file, then the wider ones (`teeth_tests.py`). A mutant is caught if a
test fails three times: with three seeds of Hypothesis and of Python's hashes, without Hypothesis' memory of earlier
failures, and so that the same test passes without the mutant. A mutant that hangs is ended by the limit of the test,
which is several times as long as the test may take without the mutant: a busy machine catches nothing.

Results are lines of docs/results/teeth.jsonl, written one by one: a run that was stopped goes on where it was. Mutants
that nothing noticed are tried again each time, since there may be a new test, but for the reviewed ones of
`teeth_tests.py`. At the end, also of a run that was stopped, the page docs/results/teeth.md is written from them.
"""

import argparse
import contextlib
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from queue import SimpleQueue

from teeth_mutants import Mutant, sample
from teeth_page import Result, page, read_results, write_results
from teeth_tests import core_files, stages

from minillm.support.wording import counted

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs/results/teeth.jsonl", ROOT / "docs/results/teeth.md"
LEFT_OUT = (".git", ".venv", ".nox", ".arm", ".hypothesis", ".*_cache", "oracles", "notebooks", "browser")
LIMIT_S = 3600  # of one run of pytest, which takes minutes; each test has a limit of its own, of at least 300 seconds
SOUND_S = 100  # in which a test must end without the mutant
MOST_BYTES = 8 << 30  # of a process: a mutant may append to a list for ever
RUNS = 3  # in which a mutant must be caught


class Tree:
    """A copy of the tree, in which one mutant at a time is planted."""

    def __init__(self, root: Path, folder: Path):
        self.folder = folder
        shutil.copytree(root, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
        self.running: subprocess.Popen | None = None
        self.stopped = False

    @contextlib.contextmanager
    def planted(self, mutant: Mutant):
        """Have the mutant in the tree inside the block, and the original after it."""
        path = self.folder / mutant.path
        original = path.read_text(encoding="utf-8")
        try:
            self._write(path, mutant.planted(original))
            yield
        finally:
            self._write(path, original)

    def _write(self, path: Path, text: str) -> None:
        """Write a source, and remove its bytecode: `<` and `>` have one size, and may be written in one second."""
        path.write_text(text, encoding="utf-8")
        for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
            compiled.unlink()

    def first_failure(self, tests: list[str], seed: int, limit_s: float = LIMIT_S) -> str:
        """Run tests until one fails; return its name, or "" if all pass.

        The name is "(hung)" or "(crashed)" if pytest itself was ended.
        """
        if self.stopped:
            raise KeyboardInterrupt
        with tempfile.TemporaryDirectory() as memory:
            options = ["-x", "-q", "-n", "0", "--tb=no", "-rfE", "-p", "no:cacheprovider"]
            options += ["-p", "teeth_unshrunk", f"--hypothesis-seed={seed}"]
            environment = os.environ | {
                "PYTHONPATH": f"{self.folder}{os.pathsep}{Path(__file__).parent}", "PYTHONHASHSEED": str(seed),
                "OPENBLAS_NUM_THREADS": "1", "HYPOTHESIS_STORAGE_DIRECTORY": memory,
            }  # fmt: skip
            with subprocess.Popen(
                [sys.executable, "-m", "pytest", *options, *tests], cwd=self.folder, env=environment, text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
            ) as self.running:  # fmt: skip
                try:
                    said, _ = self.running.communicate(timeout=limit_s)
                except subprocess.TimeoutExpired:
                    return "(hung)"
                finally:
                    self._end()
        if self.stopped:
            raise KeyboardInterrupt
        return failed_test(self.running.returncode, said)

    def stop(self) -> None:
        """End the tests that run; from now on, none start."""
        self.stopped = True
        self._end()

    def _end(self) -> None:
        """End the tests and the children that they started."""
        if self.running is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()


def failed_test(code: int, said: str) -> str:
    """Return what failed first, from what pytest said: a test, a file that cannot be imported, or nothing."""
    found = re.search(r"^(?:FAILED|ERROR) (.*?)(?: - .*)?$", said, re.MULTILINE)
    if code == 0:
        return ""
    if code == 1 or found:
        return found[1] if found else "(crashed)"
    if code < 0 or "Error" in said:  # a signal, or an error while pytest loads conftest.py
        return "(crashed)"
    raise RuntimeError(f"pytest ended with code {code}:\n{said[-2000:]}")


def caught_by(tree: Tree, mutant: Mutant) -> tuple[str, ...]:
    """Return the test that failed in each of three runs, "" for a run in which none did; one "" if the first had none.

    Runs after the first begin with the test that failed before, and continue with all if it passes.
    """
    tests = stages(mutant.path)
    with tree.planted(mutant):
        first = next(filter(None, (tree.first_failure(stage, 1) for stage in tests)), "")
    if not first:
        return ("",)
    again = [["-m", "", first]] if first.startswith("tests/") else []  # not "(hung)"; it may be marked slow
    if again and (problem := tree.first_failure(again[0], 1, SOUND_S)):
        raise RuntimeError(f"{first} fails without a mutant, too: {problem}")
    with tree.planted(mutant):
        more = [
            next(filter(None, (tree.first_failure(stage, seed) for stage in [*again, *tests])), "")
            for seed in range(2, RUNS + 1)
        ]
    return (first, *more)


def is_open(result: Result) -> bool:
    """Whether a mutant has to be tried: it never was, or a run did not catch it and nobody has said why."""
    return not result.is_caught and not (result.caught_by and result.reason)


def try_all(results: dict[Mutant, Result], jobs: int) -> None:
    """Try the open mutants in `jobs` copies of the tree; write and print each result as it comes."""
    lock = threading.Lock()
    with tempfile.TemporaryDirectory(prefix="teeth_") as place, ThreadPoolExecutor(jobs) as pool:
        trees = [Tree(ROOT, Path(place) / str(number)) for number in range(jobs)]
        free: SimpleQueue[Tree] = SimpleQueue()
        for tree in trees:
            free.put(tree)

        def try_one(result: Result) -> None:
            tree = free.get()
            try:
                found = caught_by(tree, result.mutant)
            finally:
                free.put(tree)
            with lock:
                results[result.mutant] = replace(result, caught_by=found)
                write_results(RESULTS, results.values())
                print(told(results[result.mutant]), flush=True)

        tried = [pool.submit(try_one, result) for result in list(results.values()) if is_open(result)]
        try:
            for each in tried:
                each.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for tree in trees:
                tree.stop()
            raise


def told(result: Result) -> str:
    """Return what became of a mutant, in two lines."""
    mutant, tests = result.mutant, " | ".join(dict.fromkeys(test or "NOT CAUGHT" for test in result.caught_by))
    return f"{mutant.path}:{mutant.line}: {mutant.before.strip()}  ->  {mutant.after.strip()}\n    {tests}"


def sampled(seeds: list[int], count: int) -> dict[Mutant, Result]:
    """Return the mutants of these seeds, with what is known of them so far."""
    known = {result.mutant: result.caught_by for result in read_results(RESULTS)}
    samples = {seed: sample(ROOT, core_files(ROOT), seed, count) for seed in seeds}
    found = {}
    for mutant in dict.fromkeys(chain.from_iterable(zip(*samples.values(), strict=True))):  # seeds take turns
        inside = tuple(seed for seed, mutants in samples.items() if mutant in mutants)
        found[mutant] = Result(mutant, inside, known.get(mutant, ()))
    return found


def main() -> None:
    """Try the sample of each seed, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, nargs="+", default=[1, 2], help="one sample for each (default 1 2)")
    parser.add_argument("--sample", type=int, default=40, help="mutants for each seed (default 40)")
    parser.add_argument("--jobs", type=int, default=1, help="copies of the tree that run at a time (default 1)")
    options = parser.parse_args()
    results = sampled(options.seed, options.sample)
    print(f"{counted(len(results), 'mutant')}, {sum(map(is_open, results.values()))} to try", flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    try:
        try_all(results, options.jobs)
    except KeyboardInterrupt:
        sys.exit("stopped; the same command continues")
    finally:
        write_results(RESULTS, results.values())
        PAGE.write_text(page(read_results(RESULTS)), encoding="utf-8")


if __name__ == "__main__":
    main()
