"""Freed memory is kept: seen in the page faults of a process that makes and drops the same arrays again and again."""

import json
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
import numpy as np
from minillm.backends import get_backend
if sys.argv[1] == "numpy":
    get_backend("numpy")

def make_and_drop(times):
    for _ in range(times):
        arrays = [np.ones(1_000_000) for _ in range(5)]
        del arrays


make_and_drop(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
make_and_drop(10)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before))
"""


def page_faults(backend):
    done = subprocess.run([sys.executable, "-c", PROGRAM, backend], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a switch of glibc")
def test_what_is_freed_is_not_faulted_in_again():
    assert page_faults("numpy") < 100 < 10_000 < page_faults("none")
