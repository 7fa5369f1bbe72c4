"""Every schedule of a small scope, see small_scope.py; an assertion that fails there fails here."""

import pytest
from unchecked import run_unchecked


@pytest.mark.parametrize("preemption", ["recompute", "swap"])
def test_every_interleaving(preemption):
    reached = run_unchecked("batching/small_scope.py", preemption)
    assert reached["schedules"] > 10_000 and reached["states"] > 1_000
    for corner in ("preempted", "prefix hit", "evicted", "waiting", "ended"):  # or else the scope proves little
        assert reached[corner] > 20, reached
