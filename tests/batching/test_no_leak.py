"""10,000 random requests through one engine leave nothing behind."""

import json
import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("preemption", ["recompute", "swap"])
def test_ten_thousand_requests_leave_no_leak(pytestconfig, preemption):
    done = subprocess.run(
        [sys.executable, "tests/batching/ten_thousand.py", preemption], cwd=pytestconfig.rootpath,
        env={**os.environ, "PYTHONPATH": "tests"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert (found["held"], found["available"], found["reference_counts"], found["events"]) == (0, 12, 0, 0)
    assert (found["left"], found["wrong"]) == ([], [])
    assert found["known"] <= 12
    assert found["finished"] + found["cancelled"] == 10_000
    assert min(found["cancelled"], found["preemptions"], found["prefix_tokens"]) > 100  # they were there to leak
    assert (found["swapped_tokens"] > 0) == (preemption == "swap")
