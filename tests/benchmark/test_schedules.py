"""Naive, static and continuous batching of the same requests, counted by hand."""

import pytest
from test_checks import MODEL

from minillm import Sampling
from minillm.benchmark.schedules import Job, run_continuous, run_naive, run_static

WARM = Sampling(temperature=1.0, seed=5, ignore_eos=True)
JOBS = [Job([1, 2], 6, WARM), Job([3], 2, WARM), Job([4], 3, WARM)]


def test_naive_answers_one_after_another():
    run = run_naive(MODEL, JOBS)
    assert (run.steps, run.latencies_steps, run.block_utilisation) == (11, [6, 8, 11], None)


def test_static_answers_when_the_longest_is_done():
    run = run_static(MODEL, JOBS, 2)
    assert (run.steps, run.latencies_steps) == (9, [6, 6, 9])
    reserved = 6 * (7 + 2) + 3 * 3  # each cache is as long as its request may become
    filled = (2 + 3 + 4 + 5 + 6 + 7) + (1 + 2 * 5) + (1 + 2 + 3)
    assert run.block_utilisation == filled / reserved


def test_continuous_answers_each_when_it_is_done():
    run = run_continuous(MODEL, JOBS)
    assert (run.steps, run.latencies_steps) == (6, [6, 2, 3])
    filled = (2 + 3 + 4 + 5 + 6 + 7) + (1 + 2) + (1 + 2 + 3)
    assert run.block_utilisation == filled / (16 * (6 + 2 + 3))


@pytest.mark.parametrize("run", [run_naive, lambda *a: run_static(*a, 2), run_continuous], ids=["1", "2", "3"])
def test_seconds_follow_the_steps(run):
    found = run(MODEL, JOBS)
    order = sorted(range(3), key=lambda job: found.latencies_steps[job])
    assert [found.latencies_s[job] for job in order] == sorted(found.latencies_s)
    assert max(found.latencies_s) <= found.seconds


def test_all_give_the_same_tokens():
    assert run_naive(MODEL, JOBS).tokens == run_static(MODEL, JOBS, 2).tokens == run_continuous(MODEL, JOBS).tokens
