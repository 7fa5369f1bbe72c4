"""Contents: read what was handed in, a folder, a zip archive or one file, into memory. Nothing is unpacked to disk.

What is read is an allow-list: ordinary files named `*.py`, `*.ipynb` or `hunts.txt`, and the progress file. Everything
else is left out with one line that says why: links, devices, pipes, files that are too large, names that point out of
the folder, and everything after a limit is reached, as in a zip bomb. Only files that the learner was given, such as
the README, are left out without a line. An archive in a folder or in another archive is
read, too: learning platforms often put each learner's archive into a folder.
"""

import os
import re
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from minillm.support.printable import one_line
from minillm.support.wording import counted, failure_text

LARGEST_FILE = {
    ".py": 1_000_000,
    ".ipynb": 10_000_000,
    ".json": 1_000_000,
    ".zip": 20_000_000,
    ".txt": 100_000,
}  # bytes
LARGEST_SUM = 40_000_000  # bytes of all files of one submission
MOST_ENTRIES = 2000  # files and folders of one submission that are looked at
DEEPEST = 6  # folders
DEEPEST_ARCHIVE = 2  # archives within each other, the submission itself not counted
MOST_ARCHIVES = 20  # archives in one submission
MOST_NOTES = 20
PROGRESS = ".minillm/exercises.json"
ANSWERS = "hunts.txt"  # the answers to bug hunts
OF_HANDOUTS = re.compile(r"(.*/)?(README\.md|pytest\.ini|examples/[^/]+\.bin|\.minillm/[^/]+|[^/]+\.py\.bak)")
OF_SYSTEMS = {
    "__MACOSX", "__pycache__", ".ipynb_checkpoints", ".git", ".venv", "venv", "node_modules", ".DS_Store", "Thumbs.db",
    "desktop.ini",
}  # fmt: skip


class RefusedError(ValueError):
    """A file, or a whole submission, that is not read. The message says why, in one line."""


@dataclass(frozen=True)
class Document:
    """One file that was read: its name within the submission, its bytes, and when it was changed (seconds, or None).

    `refused` says why it was not read, or is an empty string.
    """

    name: str
    data: bytes
    changed: float | None = None
    refused: str = ""


@dataclass(frozen=True)
class Contents:
    """What was read, in the order of the names, and one line for each thing that was left out."""

    documents: tuple[Document, ...] = ()
    notes: tuple[str, ...] = ()


Read = Callable[[int], bytes]  # reads at most this number of bytes
Entry = tuple[str, str, float | None, Read]  # name, why it is refused or "", time of the last change, how to read it


def read_contents(path: Path) -> Contents:
    """Return the contents of a folder, a zip archive or a single file.

    Raises:
        RefusedError: if nothing of it can be read.
    """
    if path.is_symlink():
        raise RefusedError("a link is not read; hand in the files themselves")
    if path.is_dir():
        return _collect(_of_folder(path))
    suffix = path.suffix.lower()
    if not path.is_file() or not (suffix in (".zip", ".py", ".ipynb") or is_answers(path.name)):
        found = f"a {one_line(suffix)[:20]} file" if path.is_file() else "a pipe or a device"
        raise RefusedError(f"expected a folder, a .zip, .py or .ipynb file, found {found}")
    if suffix == ".zip":
        return _read_zip(path)
    return _collect(iter([_of_file(path, path.name)]))


def _collect(entries: Iterator[Entry]) -> Contents:
    """Read the entries that are on the allow-list, within the limits."""
    reading = _Reading()
    for count, entry in enumerate(reading.with_archives(entries)):
        if count >= MOST_ENTRIES:
            reading.notes.append(f"more than {MOST_ENTRIES} files and folders: the others were left out")
            break
        reading.take(*entry)
    notes = reading.notes
    if reading.others:
        notes.append(f"{counted(reading.others, 'file')} of other kinds left out")
    if len(notes) > MOST_NOTES:
        notes[MOST_NOTES:] = [f"{counted(len(notes) - MOST_NOTES, 'more thing')} left out"]
    return Contents(tuple(sorted(reading.documents, key=lambda document: document.name)), tuple(notes))


class _Reading:
    """What was read so far, and the bytes that may still be read."""

    def __init__(self) -> None:
        self.documents, self.notes = list[Document](), list[str]()
        self.left, self.archives, self.others = LARGEST_SUM, 0, 0

    def with_archives(self, entries: Iterator[Entry], depth: int = 0) -> Iterator[Entry]:
        """Yield the entries. In place of an archive, yield what is in it, or the archive with the reason against it."""
        for name, refused, changed, read in entries:
            if refused or PurePosixPath(name).suffix.lower() != ".zip" or _is_of_systems(name):
                yield name, refused, changed, read
                continue
            try:
                archive = self._opened(name, read, depth)
            except RefusedError as problem:
                yield name, str(problem), changed, read
                continue
            members = (_of_member(archive, info) for info in archive.infolist() if not info.is_dir())
            named = ((f"{name}/{inner}", why, changed, read_inner) for inner, why, _, read_inner in members)
            yield from self.with_archives(named, depth + 1)

    def _opened(self, name: str, read: Read, depth: int) -> zipfile.ZipFile:
        if depth >= DEEPEST_ARCHIVE:
            raise RefusedError(f"more than {DEEPEST_ARCHIVE} archives within each other")
        if self.archives >= MOST_ARCHIVES:
            raise RefusedError(f"more than {MOST_ARCHIVES} archives")
        self.archives += 1
        data = _read(name, read, self.left)
        self.left -= len(data)
        return _archive(data)

    def take(self, name: str, refused: str, changed: float | None, read: Read) -> None:
        """Read an entry if it is on the allow-list, or note why not."""
        if _is_of_systems(name):
            return
        if not _is_wanted(name) and not refused:
            self.others += OF_HANDOUTS.fullmatch(name) is None
            return
        try:
            if refused:
                raise RefusedError(refused)
            data = _read(name, read, self.left)
        except RefusedError as problem:
            self.notes.append(f"{one_line(name)[:100]}: left out: {problem}")
            if _is_wanted(name) and not refused:
                self.documents.append(Document(name, b"", changed, str(problem)))
            return
        self.documents.append(Document(name, data, changed))
        self.left -= len(data)


def _read(name: str, read: Read, left: int) -> bytes:
    largest = LARGEST_FILE[PurePosixPath(name).suffix.lower()]
    try:
        data = read(min(largest, left) + 1)
    except OSError as problem:
        raise RefusedError(f"it cannot be read: {one_line(failure_text(problem))[:100]}") from None
    except Exception as problem:  # of the archive: damaged, encrypted, an unknown compression
        raise RefusedError(f"it cannot be unpacked: {one_line(str(problem))[:100]}") from None
    if len(data) > largest:
        raise RefusedError(f"larger than {largest} bytes")
    if len(data) > left:
        raise RefusedError(f"all files together are larger than {LARGEST_SUM} bytes")
    return data


def is_answers(name: str) -> bool:
    """Return whether a file has answers to bug hunts, by its name: `hunts.txt`, also as `hunts (1).txt`."""
    return re.search(r"hunts[^/]*\.txt$", name, re.IGNORECASE) is not None


def _is_wanted(name: str) -> bool:
    is_code = PurePosixPath(name).suffix.lower() in (".py", ".ipynb")
    return is_code or is_answers(name) or name == PROGRESS or name.endswith("/" + PROGRESS)


def _is_of_systems(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return bool(OF_SYSTEMS & set(parts)) or any(part.startswith("._") for part in parts)


def _of_folder(folder: Path, inside: str = "", depth: int = 0) -> Iterator[Entry]:
    """Yield the entries of a folder and of the folders in it. No link is followed."""
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = inside + entry.name
        if entry.is_dir(follow_symlinks=False):
            if depth >= DEEPEST:
                yield name, f"more than {DEEPEST} folders deep", None, _nothing
            elif entry.name not in OF_SYSTEMS:
                try:
                    yield from _of_folder(Path(entry.path), name + "/", depth + 1)
                except OSError as problem:
                    yield name, f"it cannot be read: {problem.strerror}", None, _nothing
        else:
            yield _of_file(Path(entry.path), name)


def _of_file(path: Path, name: str) -> Entry:
    status = path.lstat()
    refused = _why_refused(name, status.st_mode)

    def read(most: int) -> bytes:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            return file.read(most)

    return _printable(name), refused, status.st_mtime, read


def _read_zip(path: Path) -> Contents:
    size = path.stat().st_size
    if size > LARGEST_FILE[".zip"]:
        raise RefusedError(f"the archive is larger than {LARGEST_FILE['.zip']} bytes")
    try:
        archive = _archive(path.read_bytes())
    except OSError as problem:
        raise RefusedError(f"the archive cannot be read: {problem.strerror}") from None
    return _collect(_of_member(archive, info) for info in archive.infolist() if not info.is_dir())


def _archive(data: bytes) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(BytesIO(data))
    except Exception as problem:  # zipfile has many kinds of errors for damaged archives
        raise RefusedError(f"the archive is damaged: {one_line(str(problem))[:100]}") from None


def _of_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    mode = info.external_attr >> 16  # 0 if the archive was made on Windows
    refused = _why_refused(info.filename, mode if stat.S_IFMT(mode) else stat.S_IFREG)
    if info.flag_bits & 1:
        refused = "it is encrypted"

    def read(most: int) -> bytes:
        with archive.open(info) as member:
            return member.read(most)

    return _printable(info.filename), refused, None, read


def _why_refused(name: str, mode: int) -> str:
    """Return why an entry is not read, by its name and its kind, or an empty string."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        return "its name points out of the folder"
    if stat.S_ISLNK(mode):
        return "a link"
    return "" if stat.S_ISREG(mode) else "not an ordinary file"


def _printable(name: str) -> str:
    """Return a name that can be written to any file: without line ends and bytes that are not text."""
    return one_line(name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _nothing(most: int) -> bytes:
    raise AssertionError
