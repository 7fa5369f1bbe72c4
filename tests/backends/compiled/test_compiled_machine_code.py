"""Machine code in a folder: found again, never a stranger's, and compiled again if it is damaged."""

import io
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from time import time

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from minillm.backends.compiled import compile_progress, machine_code, sharing, step
from minillm.backends.compiled.compiling import inlined, kernel

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
import numpy as np
from minillm.backends.compiled.int8_rows import read_int8

numbers, scales = np.ones((64, 8), np.int8), np.full(64, 3, np.float32)
rows = np.empty((64, 8), np.float32)
read_int8(numbers, scales, np.arange(64), 64, rows)
assert (rows == 3).all()
compiles = "numba.cpython.unicode" in sys.modules  # one of many modules that numba imports before it compiles
print(sum(read_int8.stats.cache_hits.values()), len(read_int8.overloads), compiles)
"""


def add_one(x):
    for i in range(x.size):
        x[i] += 1


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """An empty cache folder, as NUMBA_CACHE_DIR names it."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "not" / "yet"))
    monkeypatch.setattr(machine_code, "_warned", [])
    machine_code.folder.cache_clear()
    yield tmp_path / "not" / "yet" / "minillm"
    machine_code.folder.cache_clear()


def costs_time():
    return pytest.warns(
        UserWarning, match="^the compiled loops cannot be stored, so each start compiles again: .*; set"
    )


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
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with costs_time() as warned:
        assert not hits()
    assert not hits()  # warns once
    assert len(warned) == 1 and "other users can write to" in str(warned[0].message)
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
    with costs_time():
        function(x.astype(np.float32))
    function(x)
    assert x.tolist() == [2, 2, 2]


def test_a_folder_that_cannot_be_made_costs_only_time(folder, monkeypatch):
    folder.parent.mkdir(parents=True)
    folder.write_text("a file")
    with costs_time():
        assert not hits()
    assert not hits()


def test_a_folder_that_disappears_costs_only_time(folder):
    machine_code.folder()
    for inside in folder.iterdir():
        inside.rmdir()
    with costs_time():
        assert not hits()


def test_a_full_disk_costs_only_time(folder):
    """Files of at most 100 bytes can be written, as on a disk that is full."""
    machine_code.folder()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with costs_time() as warned:
            assert not hits()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in str(warned[0].message)
    assert not files(folder)


@pytest.mark.parametrize("setting", ["OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "BOUNDSCHECK", "DEBUGINFO_DEFAULT"])
def test_settings_that_change_the_machine_code_have_a_folder_of_their_own(monkeypatch, setting):
    usual = machine_code.digest_of_sources()
    monkeypatch.setattr(numba.config, setting, 7)
    assert machine_code.digest_of_sources.__wrapped__() != usual
    monkeypatch.undo()
    assert machine_code.digest_of_sources.__wrapped__() == usual


def test_versions_of_the_compiler_have_a_folder_of_their_own(monkeypatch):
    usual = machine_code.digest_of_sources()
    for library in (numba, machine_code.llvmlite):
        with monkeypatch.context() as patch:
            patch.setattr(library, "__version__", "99")
            assert machine_code.digest_of_sources.__wrapped__() != usual


def test_another_processor_has_a_file_of_its_own(folder, monkeypatch):
    """As NUMBA_CPU_NAME and NUMBA_CPU_FEATURES do, the class of LLVM's target tells what the processor can do."""
    assert not hits() and hits()
    codegen = kernel(add_one).targetctx.codegen()
    monkeypatch.setattr(codegen, "_tm_features", "+sse2")
    assert not hits()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@inlined
def add_two(x):
    for i in range(x.size):
        x[i] += 2


def called(x):
    add_two(x)


called = kernel(called)


def calling(numbers):
    add_two(numbers)
    called(numbers)


def first_call(monkeypatch, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    compile_progress.tell_once.cache_clear()
    x = np.zeros(3, np.int8)
    sharing.share(1, kernel(calling), x)
    assert x.tolist() == [4] * 3
    return stream.getvalue()


def test_a_terminal_shows_which_kernel_of_how_many_is_compiled(folder, monkeypatch):
    title, erase = "compiling for this machine, once: int8, kernel", compile_progress.ERASE_LINE
    called.overloads.clear()
    said = first_call(monkeypatch, Terminal())
    assert said == f"{erase}{title} 1 of 2: calling{erase}{title} 1 of 2: called{erase}"
    assert first_call(monkeypatch, Terminal()) == ""  # found in the folder


def test_what_is_not_a_terminal_gets_one_line_for_each_format(folder, monkeypatch):
    assert first_call(monkeypatch, io.StringIO()) == "compiling for this machine, once: int8, about half a minute\n"
    assert first_call(monkeypatch, io.StringIO()) == ""
    shutil.rmtree(folder)
    machine_code.folder.cache_clear()
    monkeypatch.setattr(sys, "stderr", None)
    sharing.share(1, kernel(calling), np.zeros(3, np.int8))


def test_ctrl_c_while_llvm_compiles_is_heard_after_the_kernel(folder, monkeypatch):
    """It comes while a kernel is stored, as it would in the function that LLVM calls. Nothing else is compiled."""
    called.overloads.clear()
    monkeypatch.setattr(machine_code._File, "save", lambda *given: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        first_call(monkeypatch, io.StringIO())
    assert list(called.overloads) and not kernel(calling).overloads
    monkeypatch.undo()
    first_call(monkeypatch, io.StringIO())


def test_kernels_that_a_step_is_made_of_are_counted():
    names = compile_progress._names(step.layers_step.py_func)
    assert {"layers_step", "product_items", "add_rows", "gather_keys", "merge"} <= names
    assert not {"matrix_product", "take", "wait", "unpack"} & names  # they are copied into kernels


def start(folder, **environment):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NUMBA_CACHE_DIR": str(folder), **environment}
    return subprocess.Popen([sys.executable, "-c", PROGRAM], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_processes_that_start_at_once(tmp_path):
    answers = [process.communicate(timeout=200)[0].split() for process in [start(tmp_path), start(tmp_path)]]
    assert [count for _, count, _ in answers] == ["1", "1"]
    assert start(tmp_path).communicate(timeout=200)[0].split() == ["1", "1", "False"]
