"""A dear value that many tests look at, computed by one of pytest's processes: each has its own module fixtures."""

import fcntl
import json
import os


def computed_once(tmp_path_factory, name, compute):
    """Return what `compute` returns, which JSON must be able to say; another process that asks meanwhile waits."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each worker has a folder of its own inside that of the run
        folder = folder.parent
    path = folder / f"{name}.json"
    with open(folder / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            path.write_text(json.dumps(compute()), encoding="utf-8")
    return json.loads(path.read_text(encoding="utf-8"))
