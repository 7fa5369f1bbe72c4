"""Machine code in a folder: found again, never a stranger's, and compiled again if it is damaged."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from time import time

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from minillm.backends.compiled import machine_code
from minillm.backends.compiled.compiling import kernel

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
import numpy as np
from minillm.backends.compiled.int8_rows import read_int8

numbers, scales = np.ones((64, 8), np.int8), np.full(64, 3, np.float32)
rows = np.empty((64, 8), np.float32)
read_int8(numbers, scales, np.arange(64), 64, rows)
assert (rows == 3).all()
print(sum(read_int8.stats.cache_hits.values()), len(read_int8.overloads))
"""


def add_one(x):
    for i in range(x.size):
        x[i] += 1


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty cache folder, as NUMBA_CACHE_DIR names it."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    machine_code.folder.cache_clear()
    yield tmp_path / "minillm"
    machine_code.folder.cache_clear()


def hits():
    """Call the kernel as a new process would: was its machine code found?"""
    function, x = kernel(add_one), np.zeros(3)
    function(x)
    assert x.tolist() == [1, 1, 1]
    return bool(function.stats.cache_hits)


def files(folder):
    return [file for file in folder.rglob("*") if file.is_file()]


def test_machine_code_is_found_again_and_belongs_to_the_user(folder):
    assert not hits()
    assert hits()
    assert [entry.stat().st_mode & 0o777 for entry in (folder, *folder.iterdir())] == [0o700, 0o700]


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:1000] + b"x" + b[1001:], lambda b: b"", os.urandom])
def test_damaged_machine_code_is_compiled_again(folder, damage):
    hits()
    for file in files(folder):
        content = file.read_bytes()
        file.write_bytes(damage(len(content)) if damage is os.urandom else damage(content))
    assert not hits()
    assert hits()


def test_a_folder_that_others_can_write_is_not_used(folder):
    folder.mkdir()
    folder.chmod(0o777)
    assert not hits()
    assert not hits()
    assert not files(folder)


def test_folders_that_nobody_used_for_a_month_are_removed(folder):
    """Folders of other versions, unless they are used; the own one; never what has another name or is a link."""
    outside = folder.parent / "outside"
    names = "0123456789abcdef", "fedcba9876543210", machine_code.digest_of_sources(), "not-a-digest", "00000000000000aa"
    old, used, own, other, link = (folder / name for name in names)
    for made in (outside, old, used, own, other):
        made.mkdir(mode=0o700, parents=True)
        (made / "file").touch()
        os.utime(made, (0, 0))
    folder.chmod(0o700)
    link.symlink_to(outside)
    os.utime(link, (0, 0), follow_symlinks=False)
    os.utime(used, (time() - 29 * 86_400,) * 2)
    assert not hits()
    assert sorted(folder.iterdir()) == sorted([used, own, other, link])
    assert own.stat().st_mtime > time() - 3600 and (outside / "file").exists()


def test_a_folder_that_is_removed_while_a_process_uses_it_costs_only_time(folder):
    function, x = kernel(add_one), np.zeros(3)
    function(x)
    shutil.rmtree(folder)  # as another version does after a month
    function(x.astype(np.float32))
    function(x)
    assert x.tolist() == [2, 2, 2]


def test_a_folder_that_cannot_be_made_costs_only_time(folder, monkeypatch):
    folder.write_text("a file")
    assert not hits()
    assert not hits()


def test_a_folder_that_disappears_costs_only_time(folder):
    machine_code.folder()
    for inside in folder.iterdir():
        inside.rmdir()
    assert not hits()


def test_a_full_disk_costs_only_time(folder):
    """Files of at most 100 bytes can be written, as on a disk that is full."""
    machine_code.folder()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        assert not hits()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not files(folder)


def start(folder, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(folder), **environment}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_that_start_at_once(tmp_path):
    answers = [process.communicate(timeout=200)[0].split() for process in [start(tmp_path), start(tmp_path)]]
    assert [count for _, count in answers] == ["1", "1"]
    assert start(tmp_path).communicate(timeout=200)[0].split() == ["1", "1"]
