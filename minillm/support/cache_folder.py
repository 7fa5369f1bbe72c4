"""The folder where downloaded models are stored."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return `$MINILLM_CACHE`, else `$XDG_CACHE_HOME/minillm`, else `~/.cache/minillm`. The folder may not exist."""
    if os.environ.get("MINILLM_CACHE"):
        return Path(os.path.expanduser(os.environ["MINILLM_CACHE"]))
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "minillm"
