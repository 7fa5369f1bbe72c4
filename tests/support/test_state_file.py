"""State files: nothing that several processes, a full disk or a strange file do loses what was stored."""

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from minillm.support import state_file
from minillm.support.state_file import StateFile, write_whole


@pytest.fixture
def stored(tmp_path):
    """A counter in a file."""
    return StateFile(tmp_path / "made" / "count.json", int, int, 0)


def add_one(count):
    return count + 1


def test_a_state_is_stored_with_the_version_before(stored):
    assert (stored.exists, stored.read()) == (False, 0)
    assert [stored.update(add_one) for _ in range(3)] == [1, 2, 3]
    assert json.loads(stored.path.with_suffix(".bak").read_text()) == 2
    stored.path.unlink()
    assert (stored.exists, stored.read()) == (True, 2)


PROGRAM = """
import sys
from pathlib import Path
from types import ModuleType
package = sys.modules["minillm"] = ModuleType("minillm")  # without NumPy, which takes long to import
package.__path__ = ["minillm"]
from minillm.support.state_file import StateFile
stored = StateFile(Path(sys.argv[1]), int, int, 0)
sys.stdin.readline()
for _ in range(20):
    stored.update(lambda count: count + 1)
"""


def test_no_update_of_several_processes_is_lost(stored):
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", PROGRAM, str(stored.path)]
    children = [subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE) for _ in range(3)]
    for child in children:
        child.stdin.close()  # begin
    assert [child.wait(60) for child in children] == [0] * 3
    assert stored.read() == 60


STRANGE = {
    "a pipe": os.mkfifo,
    "a folder": os.mkdir,
    "an endless device": lambda path: os.symlink("/dev/zero", path),
    "a link to nowhere": lambda path: os.symlink("nowhere", path),
    "a large file": lambda path: path.write_text("1" + " " * state_file.LARGEST),
}


@pytest.mark.parametrize("make", STRANGE.values(), ids=STRANGE)
def test_only_an_ordinary_file_of_limited_size_is_read(stored, make):
    """Nothing hangs and nothing eats memory: the copy is read instead, and without one nothing is known."""
    stored.update(add_one)
    stored.update(add_one)
    stored.path.unlink()
    make(stored.path)
    assert stored.read() == 1
    stored.path.with_suffix(".bak").unlink()
    assert (stored.damaged, stored.read()) == (True, 0)


@pytest.mark.parametrize("damaged", ["count.json", "count.bak"])
def test_a_damaged_file_is_never_lost(stored, damaged):
    for _ in range(3):
        stored.update(add_one)
    file = stored.path.with_name(damaged)
    file.write_text("once much was known")
    assert [stored.damaged, stored.update(add_one)] == [False, 3 if damaged == "count.json" else 4]
    stored.update(add_one)
    assert file.with_name(f"{damaged}.1.bak").read_text() == "once much was known"


def test_an_update_of_a_damaged_state_begins_again_and_keeps_both_files(stored):
    stored.path.parent.mkdir()
    for path in (stored.path, stored.path.with_suffix(".bak")):
        path.write_text(f"damaged {path.name}")
    assert [stored.update(add_one) for _ in range(3)] == [1, 2, 3]
    kept = {path.name: path.read_text() for path in stored.path.parent.glob("*.1.bak")}
    assert kept == {f"{name}.1.bak": f"damaged {name}" for name in ("count.json", "count.bak")}


@pytest.mark.parametrize("name", ["a pipe", "a folder", "an endless device", "a link to nowhere"])
def test_a_lock_that_is_no_file_is_an_error_and_never_waits(stored, name):
    stored.path.parent.mkdir()
    STRANGE[name](stored.path.with_suffix(".lock"))
    with pytest.raises(OSError, match=r"count\.json"):
        stored.update(add_one)
    assert stored.read() == 0


def test_a_full_disk_changes_nothing(stored):
    """The limit of a file's size stands in for the disk: 0 bytes can be written."""
    stored.update(add_one)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(OSError, match=r"count\.json") as problem:
            stored.update(add_one)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert problem.value.errno == errno.EFBIG
    assert stored.read() == 1
    assert {path.name for path in stored.path.parent.iterdir()} == {"count.json", "count.lock"}


def test_an_error_names_the_file_and_not_the_temporary_one(tmp_path):
    with pytest.raises(OSError, match=r"No such file or directory: '/proc/x\.json'"):
        write_whole(Path("/proc/x.json"), "")
    (tmp_path / "x.json").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        write_whole(tmp_path / "x.json", "")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_without_locks_of_the_file_system_it_is_still_stored(stored, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(state_file.fcntl, "flock", refuse)
    assert stored.update(add_one) == 1
