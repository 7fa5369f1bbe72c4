"""How time grows: the points, the fit, and the curves of a tiny model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.benchmark.engine_process import EngineProcess, Generated
from minillm.benchmark.engines import launch_minillm
from minillm.benchmark.limits import Limits
from minillm.benchmark.scaling import Curve, fitted_exponent, measure_scaling
from minillm.estimate.units import doubling
from minillm.estimate.work import Tokens, forward_work
from minillm.loading import open_checkpoint


def test_points_double_and_end_at_the_last():
    assert doubling(1, 64) == [1, 2, 4, 8, 16, 32, 64]
    assert doubling(64, 300) == [64, 128, 256, 300]
    assert doubling(64, 40) == [40]


@given(power=st.floats(-2, 3), factor=st.floats(0.01, 100))
def test_the_exponent_of_a_power_is_found(power, factor):
    points = [1, 2, 4, 8]
    assert fitted_exponent(points, [factor * x**power for x in points]) == pytest.approx(power, abs=1e-9)
    assert fitted_exponent([4], [2.0]) is None


def test_the_curves_of_a_tiny_model(folder):
    config, launch = open_checkpoint(folder).config, launch_minillm(folder, "numpy", "float32")
    prompt = [number % config.vocab_size for number in range(128)]
    slow = Limits(bandwidth=1e12, matmul=1e5)  # so slow that arithmetic is the limit everywhere
    with EngineProcess(launch.name, launch.command, 1) as engine:
        curves = measure_scaling(engine, config, 4, slow, prompt, 1, lambda step, done, total: None)
    points = {curve.title: list(curve.points) for curve in curves}
    assert points == {
        "seconds of a decode step": [64, 112],
        "seconds of a prefill": [64, 112],
        "tokens per second": [1, 2, 4, 8, 16, 32, 64],
        "seconds without a cache": [8, 16, 32, 64],
        "seconds with a cache": [8, 16, 32, 64],
    }
    for curve in curves:
        assert len(curve.measured) == len(curve.roofline) == len(curve.points)
        assert min(curve.measured) > 0 and min(curve.roofline) > 0
    check_limits(config, {curve.title: curve.roofline for curve in curves})
    expected = {curve.title: curve.record()["expected_exponent"] for curve in curves}
    assert 1 < expected["seconds of a prefill"] < 2  # linear in the layers, quadratic in attention
    assert expected["seconds without a cache"] > expected["seconds with a cache"] + 0.3


def test_what_is_measured_is_seconds_of_a_step_or_of_all_and_tokens_of_all_sequences(folder):
    """An engine of 1000 tokens a second in prefill and 10 steps a second, and without a cache 2 tokens a second."""

    class KnownEngine(EngineProcess):
        def __init__(self):
            pass

        def generate(self, prompt, new_tokens, sequences=1):
            return Generated(len(prompt) / 1000, new_tokens / 10, (1,) * (new_tokens + 1), 1)

        def figures(self, request, *names):
            return [request["new_tokens"] / 2]

    config, prompt = open_checkpoint(folder).config, [1] * 128
    curves = measure_scaling(KnownEngine(), config, 4, Limits(1.0, 1.0), prompt, 1, lambda step, done, total: None)
    assert {curve.title: curve.measured for curve in curves} == {
        "seconds of a decode step": pytest.approx([0.1, 0.1]),
        "seconds of a prefill": [0.064, 0.112],
        "tokens per second": pytest.approx([10, 20, 40, 80, 160, 320, 640]),
        "seconds without a cache": [4, 8, 16, 32],
        "seconds with a cache": pytest.approx([0.016 + steps / 10 for steps in (7, 15, 31, 63)]),
    }


def check_limits(config, rooflines):
    """The prompts have 16 and 112 tokens; what is allowed is the work of every pass, one by one."""

    def seconds(*passes):
        return sum(forward_work(config, batch, 4, 4).flops for batch in passes) / 1e5

    for place, new in enumerate((8, 16, 32, 64)):
        naive = seconds(*([Tokens(length, 0, length)] for length in range(16, 16 + new)))
        assert rooflines["seconds without a cache"][place] == pytest.approx(naive)
        cached = seconds([Tokens(16, 0, 1)], *([Tokens(1, length)] for length in range(16, 15 + new)))
        assert rooflines["seconds with a cache"][place] == pytest.approx(cached)
    for place, sequences in enumerate((1, 2, 4)):
        steps = seconds(*([Tokens(1, length)] * sequences for length in range(112, 128)))
        assert rooflines["tokens per second"][place] == pytest.approx(16 * sequences / steps)


def test_a_curve_as_a_record():
    record = Curve("seconds", "tokens", [1, 2, 4], [1.0, 4.0, 16.0], [1.0, 2.0, 4.0]).record()
    assert (record["exponent"], record["expected_exponent"]) == (pytest.approx(2), pytest.approx(1))
