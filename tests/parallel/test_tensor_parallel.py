"""A model that is cut over ranks gives what it gives on one rank."""

from pathlib import Path

import pytest
from mpiexec import run

HERE = Path(__file__).parent


@pytest.mark.parametrize("ranks", [2, 3])
def test_random_models_and_schedules(ranks):
    """Random architectures, caches and engines: paged, prefix-shared, preempted, swapped, speculative, cancelled."""
    done = run(ranks, str(HERE / "schedules.py"), "25", "tensor", timeout=100)
    assert (done.returncode, done.stdout) == (0, "all equal\n"), done.stderr
