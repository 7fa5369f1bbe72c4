"""Start the worker process: its command, its pipes, its environment.

On Linux three scripts become one another, and the process keeps what each has set: `namespaces.py` hides the files,
`kernel_lock.py` locks the files and the system calls, `worker_process.py` runs the code.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

FOLDER, NUMPY = Path(__file__).parent, Path(np.__file__).parent
PYTHON = (sys.executable, "-I", "-S", "-B", "-X", "utf8")
PACKAGE = FOLDER.parents[1]
MAPS = Path("/proc/self/maps")
OF_THE_SYSTEM = ("/usr/", "/lib", "/nix/", sys.base_prefix + "/lib/")  # folders of shared libraries
LINKS = ("/lib", "/lib64", "/usr/lib64")  # where the loader of libraries is looked for
PACKAGES = ("*-packages", "python3*/*-packages")  # folders with installed packages; minillm may be one of them
PROBE_S = 30
PARENT_OUTSIDE = 0  # the number of a parent that is in another process namespace
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


@dataclass
class Running:
    """A running process and our ends of its pipes."""

    process: "subprocess.Popen[bytes]"
    requests: int
    answers: int
    output: int
    output_open: bool = True
    output_bytes: int = 0
    shown: bytearray = field(default_factory=bytearray)


def start_process(memory_bytes: int, cpu_seconds: int, locked: bool) -> Running:
    """Start the process.

    Args:
        memory_bytes: the limit of its memory.
        cpu_seconds: the limit of its processor time.
        locked: whether the kernel locks it on the way, as far as it can. It cannot without /proc.
    """
    theirs, requests = os.pipe()
    answers, their_answers = os.pipe()
    output, their_output = os.pipe()
    numbers = [theirs, their_answers, memory_bytes, cpu_seconds]
    try:
        process = subprocess.Popen(
            _locked_command(numbers) if locked and sys.platform == "linux" else _command(numbers, os.getpid()),
            stdin=subprocess.DEVNULL, stdout=their_output, stderr=their_output, cwd="/",
            pass_fds=(theirs, their_answers), start_new_session=True, env=ENVIRONMENT,
        )  # fmt: skip
    except BaseException:
        for pipe in (requests, answers, output):
            os.close(pipe)
        raise
    finally:
        for pipe in (theirs, their_answers, their_output):
            os.close(pipe)
    os.set_blocking(requests, False)
    return Running(process, requests, answers, output)


def isolation_level() -> str:
    """Return the isolation level of this system: "L1" if processes get namespaces of their own, else "L0"."""
    return "L1" if sys.platform == "linux" and _namespaces() else "L0"


def _locked_command(numbers: list[int]) -> list[str]:
    """Return the command with the scripts before it that lock the process, as far as this system can."""
    namespaces = _namespaces()
    parent = PARENT_OUTSIDE if namespaces else os.getpid()
    return [*namespaces, *_lock(parent), *_command(numbers, parent)]


def _command(numbers: list[int], parent: int) -> list[str]:
    """Return the command of the process. The folder of NumPy's package is the only one that it imports from."""
    return [*PYTHON, str(FOLDER / "worker_process.py"), *map(str, [*numbers, parent]), str(NUMPY.parent)]


def _lock(parent: int) -> list[str]:
    """Return `kernel_lock.py` with what may be read; nothing if that is unknown."""
    libraries = _libraries()
    if not libraries:
        return []
    folders = [str(NUMPY), str(NUMPY.with_name("numpy.libs")), str(FOLDER)]
    arguments = [str(parent), json.dumps(libraries), json.dumps(folders)]
    return [*PYTHON, str(FOLDER / "kernel_lock.py"), *arguments]


@cache
def _namespaces() -> tuple[str, ...]:
    """Return `namespaces.py` with what it shows; nothing if this system does not allow it, or not to this user."""
    places = _places()
    packages = [str(found) for place in places for form in PACKAGES for found in Path(place).glob(form)]
    before = (*PYTHON, str(FOLDER / "namespaces.py"), json.dumps(places), json.dumps([str(PACKAGE), *packages]))
    probe = [*before, *PYTHON, "-c", "import json"]
    try:
        done = subprocess.run(probe, stdin=subprocess.DEVNULL, capture_output=True, env=ENVIRONMENT, timeout=PROBE_S)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return before if done.returncode == 0 else ()


def _places() -> list[str]:
    """Return the files and folders that remain: Python, its standard library, shared libraries, NumPy, this folder."""
    executable, config = os.path.abspath(sys.executable), os.path.join(sys.prefix, "pyvenv.cfg")
    libraries = (os.path.dirname(path) for path in _libraries() if path.startswith(OF_THE_SYSTEM))
    libraries = (folder for folder in libraries if "-packages" not in folder)  # NumPy's are in its own folder
    places = {executable, config, "/etc/ld.so.cache", str(NUMPY), str(NUMPY.with_name("numpy.libs")), str(FOLDER)}
    places |= {*_standard(), *libraries}
    places |= {os.path.realpath(path) for path in places}
    return sorted(path for path in {*places, *LINKS} if os.path.exists(path))


def _standard() -> list[str]:
    """Return the folders of the standard library."""
    return [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]


def _libraries() -> list[str]:
    """Return the shared libraries that this process has loaded. The worker process needs those of Python and NumPy.

    The list is empty if /proc cannot be read, as in some containers.
    """
    try:
        maps = MAPS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    return sorted(set(re.findall(r" (/.*\.so\b.*)$", maps, re.MULTILINE)))
