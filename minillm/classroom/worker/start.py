"""Start the worker process: its command, its pipes, its environment."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

FOLDER, NUMPY = Path(__file__).parent, Path(np.__file__).parent
PYTHON = (sys.executable, "-I", "-S", "-B", "-X", "utf8")
MAPS = Path("/proc/self/maps")
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
    command = _command([theirs, their_answers, memory_bytes, cpu_seconds])
    try:
        process = subprocess.Popen(
            [*_lock(), *command] if locked and sys.platform == "linux" else command,
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


def _command(numbers: list[int]) -> list[str]:
    """Return the command of the process. The folder of NumPy's package is the only one that it imports from."""
    return [*PYTHON, str(FOLDER / "worker_process.py"), *map(str, numbers), str(os.getpid()), str(NUMPY.parent)]


def _lock() -> list[str]:
    """Return what stands before the command: `kernel_lock.py`, with what may be read; nothing if that is unknown."""
    libraries = _libraries()
    if not libraries:
        return []
    folders = [str(NUMPY), str(NUMPY.with_name("numpy.libs")), str(FOLDER)]
    arguments = [str(os.getpid()), json.dumps(libraries), json.dumps(folders)]
    return [*PYTHON, str(FOLDER / "kernel_lock.py"), *arguments]


def _libraries() -> list[str]:
    """Return the shared libraries that this process has loaded. The worker process needs those of Python and NumPy.

    The list is empty if /proc cannot be read, as in some containers.
    """
    try:
        maps = MAPS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return []
    return sorted(set(re.findall(r" (/.*\.so\b.*)$", maps, re.MULTILINE)))
