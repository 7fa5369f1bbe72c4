"""State files: small JSON files that several processes update at the same time.

An update reads, changes and writes under a lock, so none is lost. The file is replaced atomically, and a copy of the
version before stays next to it. What is read is untrusted: only an ordinary file of limited size is opened. A state is
a help and never needed: if it is damaged, it counts as empty, and the next update gives the damaged file another name.
"""

import fcntl
import itertools
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from minillm.support.files import read_json
from minillm.support.partial_file import create_partial

State = TypeVar("State")
LARGEST = 1_000_000  # bytes


class StateFile(Generic[State]):
    """One state file.

    Attributes:
        path: its path. The copy ends in `.bak` and the lock in `.lock`.
    """

    def __init__(self, path: Path, parse: Callable[[Any], State], pack: Callable[[State], Any], empty: State) -> None:
        """Describe a file, which may not exist.

        Args:
            path: the path of the file.
            parse: makes the state from JSON values, or raises any exception if they are wrong.
            pack: makes JSON values from the state.
            empty: the state if the file does not exist.
        """
        self.path, self._parse, self._pack, self._empty = path, parse, pack, empty

    @property
    def exists(self) -> bool:
        """Whether there is a file or a copy."""
        return any(os.path.lexists(path) for path in (self.path, self._copy))

    @property
    def damaged(self) -> bool:
        """Whether there is a file or a copy, but none of them can be read."""
        return self.exists and self._found() is None

    def read(self) -> State:
        """Return the state: of the file, else of the copy, else the empty one."""
        found = self._found()
        return self._empty if found is None else found

    def update(self, change: Callable[[State], State]) -> State:
        """Replace the state by `change(state)`, and return it. Other processes wait. A damaged file is set aside.

        Raises:
            OSError: if the file cannot be written. It is unchanged then.
        """
        with named(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with _locked(self.path.with_suffix(".lock")):
                state = change(self.read())
                for path in (self.path, self._copy):
                    if self._read(path) is None and os.path.lexists(path) and not path.is_dir():
                        set_aside(path)
                        path.unlink(missing_ok=True)
                if self._read(self.path) is not None:
                    write_whole(self._copy, self.path.read_text(encoding="utf-8"))
                write_whole(self.path, json.dumps(self._pack(state), indent=1))
        return state

    def _found(self) -> State | None:
        found = (self._read(path) for path in (self.path, self._copy))
        return next((state for state in found if state is not None), None)

    @property
    def _copy(self) -> Path:
        return self.path.with_suffix(".bak")

    def _read(self, path: Path) -> State | None:
        try:
            return self._parse(read_json(path, LARGEST))
        except Exception:  # missing, a pipe, not JSON, or with wrong values
            return None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock. The file stays: removing it would let two processes lock two files of one name."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(None, "expected an ordinary file for the lock", str(path))
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)  # releases the lock


def write_whole(file: Path, text: str) -> None:
    """Write a file atomically: other programs never see a half-written file. A link stays: its file is replaced.

    Raises:
        OSError: if the file cannot be written. The error names this file, not the temporary one.
    """
    with named(file), written_next_to(file.resolve(), text) as partial:
        partial.replace(file.resolve())


@contextmanager
def written_next_to(file: Path, text: str) -> Iterator[Path]:
    """Write a temporary file in the folder of `file`, ready to replace it. At the end it is removed, if it is left."""
    handle, partial = create_partial(file, f".{file.name[:100]}-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def set_aside(file: Path) -> Path:
    """Give a file the first unused name of FILE.1.bak, FILE.2.bak, ... Return that name. The old name may stay, too.

    Raises:
        OSError: if the folder cannot be written.
    """
    for number in itertools.count(1):
        backup = file.with_name(f"{file.name}.{number}.bak")
        try:
            os.link(file, backup)  # unlike a renaming, it never replaces a file
        except FileExistsError:
            continue
        except OSError:  # a file system without hard links
            if os.path.lexists(backup):
                continue
            file.rename(backup)
        return backup
    raise AssertionError  # the numbers do not end


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Let an OSError name this path, because the user does not know the temporary file or the lock."""
    try:
        yield
    except OSError as problem:
        raise OSError(problem.errno, problem.strerror or str(problem), str(path)) from None
