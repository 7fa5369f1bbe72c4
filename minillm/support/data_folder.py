"""The folder of what a user would miss: the progress in lessons. A cache may be cleared, this folder may not."""

import os
import sys
from pathlib import Path


def data_folder() -> Path:
    """Return `$XDG_DATA_HOME/minillm`, else the platform's folder for data. The folder may not exist.

    That is `~/.local/share/minillm`, and `~/Library/Application Support/minillm` on macOS.

    Raises:
        OSError: if the user has no home folder.
    """
    base = os.environ.get("XDG_DATA_HOME", "")
    if os.path.isabs(base):  # the specification says: ignore a relative path
        return Path(base) / "minillm"
    try:
        home = Path.home()
    except RuntimeError as problem:
        raise OSError(f"no folder for data: {problem}; set XDG_DATA_HOME") from None
    return home / ("Library/Application Support" if sys.platform == "darwin" else ".local/share") / "minillm"
