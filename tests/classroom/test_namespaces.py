"""Namespaces: the worker's world holds Python and NumPy alone, whatever the code in it does."""

import os
import sys
from pathlib import Path

import pytest

import minillm
from minillm.classroom.worker import namespaces, start
from minillm.classroom.worker.worker import Returned, Worker
from minillm.support.shipped import shipped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")
PACKAGE = Path(minillm.__file__).parent
HIDDEN = [
    str(PACKAGE / "attention.py"),
    str(shipped("exercises")),
    "/proc",
    os.path.expanduser("~/.ssh"),
    "/etc/passwd",
]


@pytest.fixture(scope="module")
def worker():
    with Worker() as worker:
        worker.load("def f(): return 0", "f")
        if "namespaces" not in worker.locks:
            pytest.skip("this system does not allow namespaces")
        yield worker


def returned(worker, body):
    worker.load("import os\ndef f(x):\n    " + body, "f")
    outcome = worker.call({"x": 0})
    assert isinstance(outcome, Returned), outcome
    return outcome.value


def test_what_is_not_needed_does_not_exist(worker, tmp_path):
    """`os.stat` raises no audit event, and no lock of files stops it: without namespaces it finds all of this."""
    neighbour = tmp_path / "neighbour.py"
    neighbour.write_text("answer = 42")
    paths = [*HIDDEN, str(neighbour), str(tmp_path)]
    assert returned(worker, f"return [p for p in {paths} if os.path.exists(p)]") == []


def test_it_is_alone_and_nobody(worker):
    """Its number is 1, its parent is outside, and it is not the superuser, so it has no capability."""
    assert returned(worker, "return [os.getpid(), os.getppid(), os.getuid(), os.getgid()]") == [1, 0, 65534, 65534]


def test_everything_is_read_only(worker):
    """Also for code that has removed the audit hook: `os.access` asks the kernel."""
    files = [os.__file__, os.path.dirname(os.__file__), "/", str(Path(start.__file__).parent)]
    assert returned(worker, f"return [os.access(p, os.W_OK) for p in {files}]") == [False] * len(files)


def test_packages_next_to_numpy_are_not_there(worker):
    beside = [str(path) for path in start.NUMPY.parent.iterdir() if not path.name.startswith("numpy")]
    assert beside
    assert returned(worker, f"return [p for p in {beside} if os.path.exists(p)]") == []


def test_a_system_that_does_not_allow_them_is_used_without(monkeypatch):
    monkeypatch.setattr(start, "_places", lambda: ["/etc/ld.so.cache"])  # Python itself is missing then
    start._namespaces.cache_clear()
    with Worker() as worker:
        assert worker.load("def f(): return 2", "f") == Returned(None)
        assert worker.call({}).value == 2
        assert "namespaces" not in worker.locks
    start._namespaces.cache_clear()


def test_the_exit_status_is_that_of_the_child():
    for ending, code in (("os._exit(5)", 5), ("os.kill(os.getpid(), 9)", -9)):
        program = f"import os, sys; sys.path.insert(0, {os.path.dirname(namespaces.__file__)!r}); import namespaces\n"
        program += f"child = os.fork()\nif child: namespaces._end_like(child)\n{ending}"
        status = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", program])
        assert status == code
