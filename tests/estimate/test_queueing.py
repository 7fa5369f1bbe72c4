"""Queues: the simulation beside the textbook's formulas, and Little's law in every run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.estimate.arrivals import Arrival, alike, burst_times_s, poisson_times_s, read_trace
from minillm.estimate.queueing import (
    erlang_c,
    md1_wait_s,
    mm1_wait_s,
    mmc_wait_s,
    overload_wait_s,
    simulate_queue,
    utilisation,
)
from minillm.estimate.virtual_clock import Record

CUSTOMERS = 1_000_000


def random_queue(rate, service, servers=1, customers=CUSTOMERS, seed=0):
    generator = np.random.default_rng(seed)
    services = np.ones(customers) if service == "fixed" else generator.exponential(1.0, customers)
    return simulate_queue(poisson_times_s(rate, customers, generator), services, servers)


@pytest.mark.parametrize(("rho", "mm1", "md1"), [(0.5, 1, 0.5), (0.8, 4, 2), (0.9, 9, 4.5)])
def test_one_server_waits_as_the_formulas_say(rho, mm1, md1):
    """In service times; waits follow each other, so near saturation a million of them are still few."""
    tolerance = 0.02 if rho <= 0.8 else 0.05
    assert (mm1_wait_s(rho, 1), md1_wait_s(rho, 1)) == pytest.approx((mm1, md1))
    assert random_queue(rho, "exponential").waits_s.mean() == pytest.approx(mm1, rel=tolerance)
    assert random_queue(rho, "fixed").waits_s.mean() == pytest.approx(md1, rel=tolerance)


def test_two_servers_wait_as_erlang_says():
    assert erlang_c(2, 1.6) == pytest.approx(0.7111, abs=1e-4)
    assert mmc_wait_s(1.6, 1, 2) == pytest.approx(1.778, abs=1e-3)
    assert mmc_wait_s(0.8, 1, 1) == pytest.approx(mm1_wait_s(0.8, 1))
    run = random_queue(1.6, "exponential", servers=2)
    assert run.waits_s.mean() == pytest.approx(1.778, rel=0.02)
    assert (run.waits_s > 0).mean() == pytest.approx(0.7111, rel=0.02)
    assert run.utilisation == pytest.approx(0.8, rel=0.01)


def test_many_servers_do_not_overflow():
    assert 0 < erlang_c(5000, 4900) < 1


@given(
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=30),
    services=st.lists(st.floats(0.01, 5), min_size=30, max_size=30),
    servers=st.integers(1, 4),
)
def test_any_queue(gaps, services, servers):
    """First come, first served, nobody idles while someone waits, and Little's law holds."""
    services = np.array(services[: len(gaps)])
    run = simulate_queue(np.cumsum(gaps), services, servers)
    assert np.all(run.waits_s >= -1e-12) and np.all(np.diff(run.starts_s) >= -1e-12)
    for start, arrival in zip(run.starts_s, run.arrivals_s, strict=True):
        others = np.sum((run.starts_s < start) & (run.finishes_s >= start - 1e-9))
        assert start <= arrival + 1e-9 or others >= servers  # waited only while all servers were busy
    assert run.mean_number == pytest.approx(run.rate * (run.finishes_s - run.arrivals_s).mean())


def test_more_than_can_be_served_has_no_steady_state():
    """110 requests a second into a capacity of 100: a second's wait after ten seconds, six after a minute."""
    assert [overload_wait_s(110, 100, after) for after in (10, 60)] == [1.0, 6.0]
    assert utilisation(110, 1 / 100) == pytest.approx(1.1)
    for wait in (mm1_wait_s, md1_wait_s):
        with pytest.raises(ValueError, match=r"utilisation is 1.1: the queue has no steady state"):
            wait(110, 1 / 100)
    times = poisson_times_s(110, 110 * 120, np.random.default_rng(1))
    run = simulate_queue(times, np.full(len(times), 1 / 100))
    for after in (30, 60, 110):
        near = np.abs(run.arrivals_s - after) < 2
        assert run.waits_s[near].mean() == pytest.approx(0.1 * after, rel=0.25)


def test_the_longest_pause_is_between_two_tokens_and_not_before_the_first():
    record = Record(Arrival(1.0, 8, 4))
    for now in (5.0, 6.0, 9.0, 10.0):
        record.add_token(now)
    assert (record.first_token_s, record.last_token_s, record.longest_gap_s) == (5.0, 10.0, 3.0)


def test_arrivals():
    generator = np.random.default_rng(0)
    assert len(poisson_times_s(5, 1000, generator)) == 1000
    assert poisson_times_s(5, 100_000, generator)[-1] == pytest.approx(20_000, rel=0.02)
    bursts = burst_times_s(5, 100_001, 10, generator)
    assert len(bursts) == 100_001 and bursts[-1] == pytest.approx(20_000, rel=0.05)
    assert np.all(bursts[:10] == bursts[0]) and bursts[10] > bursts[9]
    assert alike(np.array([0.5]), 3, 4) == [Arrival(0.5, 3, 4)]


def test_a_trace():
    lines = ["at_s,prompt,new_tokens,user", "0.5,10,20,a", "0.5,1,1,b"]
    assert read_trace(lines) == [Arrival(0.5, 10, 20), Arrival(0.5, 1, 1)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "expected a first line with the columns"),
        (["at_s,prompt"], "expected a first line with the columns"),
        (["at_s,prompt,new_tokens"], "at least one request"),
        (["at_s,prompt,new_tokens", "1,2"], "line 2: expected a time in seconds and two integers"),
        (["at_s,prompt,new_tokens", "1,2,many"], "line 2: expected a time in seconds and two integers"),
        (["at_s,prompt,new_tokens", "2,1,1", "1,1,1"], "line 3: expected a time not before the last"),
        (["at_s,prompt,new_tokens", "nan,1,1"], "line 2: expected a time not before the last"),
        (["at_s,prompt,new_tokens", "inf,1,1"], "line 2: expected a time not before the last"),
        (["at_s,prompt,new_tokens", "1,0,1"], "at least one token"),
        (["at_s,prompt,new_tokens", "1e300,1,1"], "line 2: expected a time not before the last, at most 1e"),
    ],
)
def test_a_wrong_trace_is_one_line(lines, message):
    with pytest.raises(ValueError, match=message):
        read_trace(lines)


@pytest.mark.slow
def test_a_trace_has_an_end():
    with pytest.raises(ValueError, match="at most 100,000 requests"):
        read_trace(["at_s,prompt,new_tokens", *["0,1,1"] * 100_001])
