"""Ranks on two hosts: network namespaces of this machine, where those are allowed."""

import os
import re
import subprocess
import sys

import pytest
from mpiexec import ROOT


def test_a_batch_over_two_hosts_gives_the_file_of_one_process():
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(ROOT / "scripts" / "two_hosts.sh")], env=environment, capture_output=True, text=True, timeout=60
    )
    if done.returncode == 77:
        pytest.skip(done.stdout.strip())
    assert done.returncode == 0, done.stderr
    assert "6 answers written to" in done.stdout  # and the file is that of one process, to the byte
    carried = [int(number) for number in re.findall(r"between a and b: [rt]x of b (\d+) bytes", done.stdout)]
    assert len(carried) == 2 and min(carried) > 5000
