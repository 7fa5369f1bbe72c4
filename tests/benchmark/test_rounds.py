"""From rounds to the record: rates, ratios within rounds, shares of the limits, tokens that agree or do not."""

import json
import math

import pytest

from minillm.benchmark.engine_process import EngineProcess
from minillm.benchmark.engines import launch_minillm
from minillm.benchmark.limits import Limits
from minillm.benchmark.record import make_record, roofline_rate
from minillm.benchmark.rounds import Figures, Phase, measure_rounds
from minillm.benchmark.timing import Spread, ratios, spread
from minillm.estimate.work import decode_work
from minillm.loading import open_checkpoint

PROMPT = list(range(20))


def silent(step, done, total):
    """Reports nothing."""


@pytest.fixture(scope="module")
def measured(folder, stand_in):
    """Our engine beside a stand-in that runs 1000 tokens a second, and decodes 10 steps a second."""
    launch = launch_minillm(folder, "numpy", "float32")
    with EngineProcess(launch.name, launch.command, 1) as ours:
        engines = [ours, stand_in("works", name="peer")]
        runs = [(8, 1), (20, 1), (20, 3)]
        return measure_rounds(stand_in("measures"), {"int8": engines}, PROMPT, runs, 4, 2, silent)["int8"]


def test_every_phase_is_measured_in_every_round(measured, folder):
    phases = [Phase("decode", 8), Phase("prefill", 20), Phase("decode", 20), Phase("decode", 20, 3)]
    for engine in ("minillm", "peer"):
        assert list(measured.rates[engine]) == phases
        assert all(len(rates) == 2 and min(rates) > 0 for rates in measured.rates[engine].values())
    assert measured.limits == [Limits(4e9, 6e9)] * 2
    assert len(measured.beyond_products_s) == 2


def test_rates_are_tokens_over_seconds(measured):
    expected = {Phase("prefill", 20): 1000, Phase("decode", 8): 10, Phase("decode", 20, 3): 30}
    for phase, rate in expected.items():
        assert measured.rates["peer"][phase] == pytest.approx([rate] * 2)


def test_the_record_fits_together(measured, folder):
    startups = {name: [(1.0, 2.0), (3.0, 4.0)] for name in ("minillm", "peer")}
    record = make_record(open_checkpoint(folder).config, 4, measured, startups, 4)
    json.dumps(record, allow_nan=False)
    assert [phase["phase"] for phase in record["phases"]] == [
        "prefill 20", "decode @8", "decode @20", "decode @20, batch 3",
    ]  # fmt: skip
    for phase in record["phases"]:
        ours, theirs = (phase["tokens_per_s"][name] for name in ("minillm", "peer"))
        assert 0 < ours["min"] <= ours["median"] <= ours["max"] < math.inf
        assert phase["times_peer"]["peer"]["max"] == pytest.approx(ours["max"] / theirs["median"])
        share = ours["median"] / phase["roofline_tokens_per_s"]["median"]
        assert phase["share_of_roofline"]["median"] == pytest.approx(share)
    assert record["engines"]["peer"]["load_s"] == {"median": 3.0, "min": 2.0, "max": 4.0}
    beyond = record["beyond_products_us_per_layer"]
    assert [beyond["min"], beyond["max"]] == pytest.approx([1e6 * s for s in sorted(measured.beyond_products_s)])
    assert record["engines"]["peer"]["peak_memory_bytes"] == 1_000_000


def figures_with(tokens):
    """Figures of two engines with these greedy tokens, by context."""
    rates = {name: {Phase("decode", 8): [1.0]} for name in ("minillm", "peer")}
    memory = dict.fromkeys(rates, 1)
    return Figures([Limits(1.0, 1.0)], rates, dict(zip(rates, tokens, strict=True)), memory, [1.0])


def compared(folder, *tokens):
    startups = {name: [(1.0, 1.0)] for name in ("minillm", "peer")}
    return make_record(open_checkpoint(folder).config, 4, figures_with(tokens), startups, 4)["same_tokens"]["peer"]


def test_tokens_that_agree(folder):
    both = {8: (1, 2, 3), 20: (4, 5, 6)}
    assert compared(folder, both, both) == {"compared": 6, "first_difference": None}


def test_the_first_token_that_differs_is_told(folder):
    first = compared(folder, {8: (1, 2, 3), 20: (4, 5, 6)}, {8: (1, 2, 3), 20: (4, 7, 8)})["first_difference"]
    assert first == {"context": 20, "place": 1, "ours": 5, "theirs": 7}


def test_tokens_are_compared_as_they_were_generated(measured):
    """The stand-in always says 1, in the first round as in all."""
    assert measured.tokens["peer"] == {8: (1,) * 5, 20: (1,) * 5}
    assert len(measured.tokens["minillm"][20]) == 5


def test_ratios_are_taken_within_rounds():
    """The machine is twice as slow in the second round; the median of ratios doesn't see it."""
    assert ratios([10.0, 5.0, 30.0], [5.0, 2.5, 10.0]) == Spread(2.0, 2.0, 3.0)
    assert spread([3.0, 1.0, 2.0]).record() == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_a_decode_step_is_held_to_the_mean_context(folder):
    """Contexts 9, 10, 11 and 12 in four steps behind eight tokens."""
    config, limits = open_checkpoint(folder).config, Limits(1e9, 1e15)
    mean = sum(limits.seconds(decode_work(config, context, 2, 4, 4)) for context in (9, 10, 11, 12)) / 4
    assert roofline_rate(config, 4, 4, Phase("decode", 8, 2), 4, limits) == pytest.approx(2 / mean)
