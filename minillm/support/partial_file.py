"""A file that is not complete yet, next to the file that it will replace."""

import os
import secrets
from contextlib import suppress
from pathlib import Path


def create_partial(file: Path, prefix: str = "", suffix: str = "") -> tuple[int, Path]:
    """Create an empty file in the folder of `file`, with the permissions that `file` has, or gets by the umask.

    Args:
        file: what it will replace; it need not exist.
        prefix, suffix: how its name begins and ends.

    Returns:
        The open file's descriptor, and its path.

    Raises:
        OSError: it cannot be created.
    """
    path = file.absolute().with_name(f"{prefix}{secrets.token_hex(8)}{suffix}")
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)  # less what the umask forbids
    with suppress(OSError):  # there is no file of this name
        os.fchmod(handle, file.stat().st_mode & 0o777)
    return handle, path
