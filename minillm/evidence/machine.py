"""Machine: is this computer ready for minillm? Each function looks at one thing, and says what to do if it is not.

Nothing here needs a network, and nothing is changed. What is looked at may be damaged in any way, so a check that
itself fails is a finding, too.
"""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from minillm.support.cache_folder import cache_folder
from minillm.support.data_folder import data_folder
from minillm.support.install_hint import install_hint
from minillm.support.printable import one_line
from minillm.support.shipped import shipped
from minillm.support.terminal import can_print, terminal_width
from minillm.support.wording import counted, failure_text

OK, NOTE, ABSENT, MISSING = "ok", "note", "absent", "missing"
OLDEST_PYTHON = (3, 11)
NEEDED = {  # import name: (name of the distribution, oldest version), as in pyproject.toml
    "numpy": ("numpy", "2.2"), "tokenizers": ("tokenizers", "0.21"), "safetensors": ("safetensors", "0.5"),
    "rich": ("rich", "13.7"), "jinja2": ("jinja2", "3.1.6"), "gguf": ("gguf", "0.17"),
    "jaxtyping": ("jaxtyping", "0.3"), "threadpoolctl": ("threadpoolctl", "3.5"),
}  # fmt: skip
EXTRAS = {  # extra: (import name, what it is for)
    "test": ("pytest", "exercises, bug hunts and your own engine with pytest"),
    "compiled": ("numba", "the compiled backend, --backend compiled"),
    "plot": ("matplotlib", "pictures as files, --plot"),
    "notebook": ("jupytext", "lessons as notebooks"),
    "mpi": ("mpi4py", "several processes"),
    "gpu": ("cupy", "the CuPy backend, on NVIDIA GPUs"),
}
WEIGHTS = {  # SHA-256 of the files that ship with minillm
    "story/config.json": "12f61c48432a4672b296ffaf8a5f94673ab7fd24a7609cb2f5d2d5c8fce33b4e",
    "story/model.safetensors": "0b601da9df6447ca4343c639b8ba7063b037f565f8f9d214aef452e5962fe572",
    "story/tokenizer.json": "7cdaa8f8cce5b3223cada61da5d0ebbb665fd2470769e5a8c28304061c8245d5",
    "story-draft/config.json": "0a44875abe194336a3a6367b0c43757116d608b29b45456ff44296a03e23cfbb",
    "story-draft/model.safetensors": "0c79fa6a06a481043b06818d8971d9f74872ee14d165583c7c4ee61a5f1c9ae9",
    "story-draft/tokenizer.json": "7cdaa8f8cce5b3223cada61da5d0ebbb665fd2470769e5a8c28304061c8245d5",
}
STORY_HASH = "5957289063390916a9623aa09b3745b012e4c46a8e60f6303d5ba319d03a9aa2"  # docs/exactness.md
NARROW = 72  # columns; tables leave out columns in a narrower terminal
DISK_NEEDED = 750_000_000  # bytes that fetching smollm2 takes for a while
CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")
IMPORT_S = 60  # seconds for the import of one extra
REINSTALL = "install minillm again: git checkout weights, or pip install -e . in a fresh clone"


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        about: what was looked at, in a word or two.
        state: OK; NOTE if minillm runs but something could be better; ABSENT if something is not there that only some
            people want; MISSING if something is not there that minillm needs.
        found: what is there.
        advice: what to do, or an empty string.
        command: a command line that does it, or an empty string.
    """

    about: str
    state: str
    found: str
    advice: str = ""
    command: str = ""


def examine(checks: "dict[str, Callable[[], Iterator[Finding]]] | None" = None) -> Iterator[Finding]:
    """Yield all findings, check after check. A check that fails in an unexpected way yields its reason."""
    for about, check in (CHECKS if checks is None else checks).items():
        try:
            yield from check()
        except Exception as problem:
            text = failure_text(problem) if isinstance(problem, OSError) else f"{type(problem).__name__}: {problem}"
            yield Finding(about, MISSING, f"cannot be checked: {one_line(text)[:200]}", REINSTALL)


def look_at_python() -> Iterator[Finding]:
    """Yield the version of Python, and the packages without which minillm does not run."""
    found = f"{sys.version.split()[0]} ({sys.executable})"
    if sys.version_info >= OLDEST_PYTHON:
        yield Finding("Python", OK, found)
    else:
        yield Finding(
            "Python", MISSING, found, "install Python 3.11 or newer, and make a new virtual environment with it"
        )
    wrong = [problem for name in NEEDED for problem in _problem_of(name)]
    if wrong:
        yield Finding("packages", MISSING, ", ".join(wrong), "install them for this Python:", pip_line(""))
    else:
        yield Finding("packages", OK, _versions())


def pip_line(extra: str) -> str:
    """Return the command that installs minillm, with an extra if it is not empty, for this Python."""
    return f"{sys.executable} -m {install_hint(extra).replace('[]', '')}"


def _problem_of(name: str) -> Iterator[str]:
    distribution, oldest = NEEDED[name]
    if importlib.util.find_spec(name) is None:
        yield f"{distribution} is missing"
        return
    version = metadata.version(distribution)
    if _numbers(version) < _numbers(oldest):
        yield f"{distribution} is {version}, older than {oldest}"


def _versions() -> str:
    return ", ".join(f"{name} {metadata.version(name)}" for name, _ in NEEDED.values())


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first numbers of a version, for comparison."""
    return tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())


def look_at_blas() -> Iterator[Finding]:
    """Yield the library that multiplies matrices."""
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    name, version = blas.get("name", ""), blas.get("version", "")
    if name and name != "none":
        yield Finding("BLAS", OK, f"{name} {version}".strip())
    else:
        advice = "matrix products are slow; install NumPy with pip, whose wheels bring OpenBLAS"
        yield Finding("BLAS", NOTE, "NumPy has no BLAS library", advice)


def look_at_threads() -> Iterator[Finding]:
    """Yield the threads of the matrix library next to the processors, and how busy these are."""
    from minillm.backends.threads import VARIABLES, default_threads

    processors, threads = usable_processors(), default_threads()
    said = [f"{name}={os.environ[name]}" for name in VARIABLES if os.environ.get(name)]
    found = f"{counted(threads, 'thread')} on {processors:g} processor{'' if processors == 1 else 's'}"
    found += f" ({', '.join(said)})" if said else ""
    number = max(1, int(processors))
    if threads > processors and threads > 1:
        command = f"export OMP_NUM_THREADS={number}"
        yield Finding("threads", NOTE, found, "they wait for each other; set fewer:", command)
    else:
        yield Finding("threads", OK, found)
    load = os.getloadavg()[0]
    found = f"{load:.1f} processes ran or waited in the last minute, on {processors:g} processors"
    if load > processors:
        advice = "programs are slower now, and a grading may reach its time limits: wait, or stop other programs"
        yield Finding("load", NOTE, found, advice)
    else:
        yield Finding("load", OK, found)


def usable_processors() -> float:
    """Return the processors that this process may use: by its affinity, and by the limit of its container."""
    count = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        quota, period = CGROUP_LIMIT.read_text(encoding="ascii").split()
        return count if quota == "max" else min(count, int(quota) / int(period))
    except (OSError, ValueError):  # not Linux, or not in a container
        return count


def look_at_terminal() -> Iterator[Finding]:
    """Yield the width of the terminal, its colours, and whether it can print what minillm prints."""
    width, colour = terminal_width(), "no colours" if _without_colours() else "colours"
    encoding = getattr(sys.stdout, "encoding", None) or "an unknown encoding"
    found = f"{width} columns, {colour}, {encoding}" if sys.stdout.isatty() else f"not a terminal, {encoding}"
    if not can_print("█─→µ"):
        yield Finding("terminal", NOTE, found, "some characters are printed as ?; set UTF-8:", "export PYTHONUTF8=1")
    elif sys.stdout.isatty() and width < NARROW:
        yield Finding("terminal", NOTE, found, f"tables leave out columns: make the window {NARROW} columns or wider")
    else:
        yield Finding("terminal", OK, found)


def _without_colours() -> bool:
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM", "dumb") == "dumb"


def look_at_weights() -> Iterator[Finding]:
    """Yield whether the models that ship with minillm are whole."""
    wrong = [problem for name, digest in WEIGHTS.items() for problem in _problem_of_file(name, digest)]
    names = ", ".join(dict.fromkeys(name.split("/")[0] for name in WEIGHTS))
    if wrong:
        yield Finding("bundled models", MISSING, "; ".join(wrong), REINSTALL)
    else:
        yield Finding("bundled models", OK, f"{names}: whole (SHA-256)")


def _problem_of_file(name: str, digest: str) -> Iterator[str]:
    path = shipped("weights") / name
    try:
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            yield f"{path} was changed or is damaged"
    except OSError as problem:
        yield failure_text(problem)


def look_at_folders() -> Iterator[Finding]:
    """Yield the models in the cache, and whether models and progress can be stored."""
    from minillm.loading.registry import REGISTRY

    for model in REGISTRY.values():
        if model.make is not None:
            yield _cached(model.name, model.folder())
    cache = cache_folder()
    free = shutil.disk_usage(_existing(cache)).free
    found = f"{cache}, {free / 1e9:.1f} GB free"
    if not _writable(cache):
        yield Finding("cache", NOTE, f"{found}, cannot be written", "set MINILLM_CACHE to a folder of yours")
    elif free < DISK_NEEDED:
        advice = f"smollm2 needs {DISK_NEEDED // 1_000_000} MB for a while; set MINILLM_CACHE to a folder with room"
        yield Finding("cache", NOTE, found, advice)
    else:
        yield Finding("cache", OK, found)
    data = data_folder()
    if _writable(data):
        yield Finding("progress", OK, str(data))
    else:
        advice = "progress in lessons is not saved; set XDG_DATA_HOME to a folder of yours"
        yield Finding("progress", NOTE, f"{data} cannot be written", advice)


def _cached(name: str, folder: Path | None) -> Finding:
    from minillm.loading.folder import read_folder

    if folder is None:
        command = f"minillm generate --model {name} hello"
        return Finding(name, ABSENT, "not on disk", "to download it, once, with a network:", command)
    try:
        read_folder(folder, name)
    except (ValueError, OSError) as problem:
        advice = f"remove {folder}: it is downloaded again at the next use"
        return Finding(name, NOTE, f"damaged: {one_line(str(problem))[:120]}", advice)
    return Finding(name, OK, f"on disk: {folder}")


def _existing(path: Path) -> Path:
    """Return the path, or the first folder above it that exists."""
    return next(one for one in (path, *path.absolute().parents) if one.exists())


def _writable(folder: Path) -> bool:
    """Return whether a file could be made in a folder, which is made if it does not exist."""
    nearest = _existing(folder)
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)


def look_at_extras() -> Iterator[Finding]:
    """Yield which extras are installed. None is needed."""
    for extra, (name, purpose) in EXTRAS.items():
        about = f"extra {extra}"
        if importlib.util.find_spec(name) is None:
            yield Finding(about, ABSENT, f"not installed: {purpose}", "to install it:", pip_line(extra))
            continue
        problem = _import_problem(name)
        if problem:
            found = f"{name} is installed but cannot be imported: {problem}"
            yield Finding(about, NOTE, found, "to install it again:", f"{pip_line(extra)} --force-reinstall")
        else:
            yield Finding(about, OK, f"{name}: {purpose}")


def _import_problem(name: str) -> str:
    """Return why a package cannot be imported, or an empty string. It is imported in a process of its own."""
    command = [sys.executable, "-P", "-c", f"import {name}"]  # -P: not a file of that name in this folder
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=IMPORT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"it takes more than {IMPORT_S} seconds"
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"status {done.returncode}"]
    return one_line(lines[-1])[:160] if done.returncode else ""


def look_at_isolation() -> Iterator[Finding]:
    """Yield how well the code of others is shut in when it is checked or graded."""
    from minillm.classroom.worker.start import isolation_level

    level = isolation_level()
    if level == "L1":
        yield Finding("isolation", OK, "L1: code of learners runs in namespaces of its own")
    else:
        advice = "enough for your own code; to grade code of strangers use Linux, or see docs/teaching.md"
        yield Finding("isolation", NOTE, f"{level}: code of learners runs with limits only", advice)


def look_at_answer() -> Iterator[Finding]:
    """Yield whether `story` computes the known logits on the exact backend: to the bit, on every machine."""
    from minillm.evidence.exactness import PROMPT, logits_hash
    from minillm.generation import encode_prompt
    from minillm.loading.load import load
    from minillm.transformer import forward

    model = load("story", "exact")
    digest = logits_hash(forward(model, encode_prompt(model, PROMPT)))
    if digest == STORY_HASH:
        yield Finding("answer", OK, f"story on the exact backend: {digest[:16]}..., as everywhere")
    else:
        advice = "the weights or the code were changed, or the BLAS library is faulty: see docs/exactness.md"
        yield Finding("answer", MISSING, f"story on the exact backend: {digest[:16]}, not {STORY_HASH[:16]}", advice)


CHECKS: dict[str, Callable[[], Iterator[Finding]]] = {
    "Python": look_at_python, "BLAS": look_at_blas, "threads": look_at_threads, "terminal": look_at_terminal,
    "bundled models": look_at_weights, "folders": look_at_folders, "extras": look_at_extras,
    "isolation": look_at_isolation, "answer": look_at_answer,
}  # fmt: skip
