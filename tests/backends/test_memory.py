"""The C library's allocator: the command asks it to keep freed memory, and the library leaves the process as it is."""

import json
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

import minillm
from minillm.backends import memory
from minillm.cli.main import run

# How many page faults a process has that makes and drops the same arrays again and again.
PROGRAM = """
import json, resource, sys
import numpy as np
import minillm
from minillm.cli.main import run

def make_and_drop(times):
    for _ in range(times):
        arrays = [np.ones(1_000_000) for _ in range(5)]
        del arrays


if sys.argv[1] == "library":
    minillm.generate(minillm.load("story-draft"), "Once", 2)
else:
    run(["generate", "Once", "--model", "story-draft", "--max-new-tokens", "2", "--json"])
make_and_drop(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
make_and_drop(10)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
"""


def page_faults(way):
    done = subprocess.run([sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_what_a_command_frees_is_not_faulted_in_again():
    assert page_faults("command") < 100 < 10_000 < page_faults("library")


@pytest.fixture
def settings(monkeypatch):
    """What `mallopt` is called with; in this process nothing is changed."""
    calls = []
    library = SimpleNamespace(mallopt=lambda *setting: calls.append(setting))
    monkeypatch.setattr(memory, "ctypes", SimpleNamespace(CDLL=lambda name: library))
    memory.keep_freed_memory.cache_clear()
    yield calls
    memory.keep_freed_memory.cache_clear()


@pytest.mark.parametrize("backend", ["numpy", "plain", "exact"])
def test_the_library_changes_no_setting_of_the_process(settings, backend):
    minillm.generate(minillm.load("story-draft", backend), "Once", 2)
    assert settings == []


def test_every_command_asks_once_to_keep_freed_memory(settings, capsys):
    for _ in range(2):
        assert run(["models"]) == 0
    assert settings == [(memory.MMAP_THRESHOLD, memory.LARGEST), (memory.TRIM_THRESHOLD, memory.KEPT)]


def test_a_help_page_changes_no_setting(settings, capsys):
    assert run(["models", "--help"]) == 0
    assert settings == []
