"""10,000 random requests through one engine leave nothing behind, see ten_thousand.py."""

import pytest
from unchecked import run_unchecked

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("preemption, requests", [("recompute", 10_000), ("swap", 2_000)])
def test_ten_thousand_requests_leave_no_leak(preemption, requests):
    found = run_unchecked("batching/ten_thousand.py", preemption, str(requests))
    assert (found["held"], found["available"], found["reference_counts"], found["events"]) == (0, 12, 0, 0)
    assert (found["left"], found["wrong"]) == ([], [])
    assert found["known"] <= 12
    assert found["finished"] + found["cancelled"] == requests
    assert min(found["cancelled"], found["preemptions"], found["prefix_tokens"]) > 50  # they were there to leak
    assert (found["swapped_tokens"] > 0) == (preemption == "swap")
