"""`minillm estimate`: the figures that its options lead to, in JSON and in the tables."""

import json
import re

import jaxtyping
import pytest
from test_misuse import assert_refused

from minillm.cli.printing import seconds_text
from minillm.estimate.hardware import Machine

SERVE = ("serve", "--rps", 30, "--requests", 12, "--output", 2)


@pytest.fixture
def estimate(call):
    """What it prints; a failure fails the test."""

    def run(*arguments):
        result = call("estimate", *arguments)
        assert (result.code, result.err) == (0, "")
        return result.out

    return run


@pytest.fixture
def record(estimate):
    """The object that --json prints."""
    return lambda *arguments: json.loads(estimate(*arguments, "--json"), parse_constant=pytest.fail)


@pytest.fixture
def rows(estimate, monkeypatch):
    """The table's cells, by the first of each row."""
    monkeypatch.setenv("COLUMNS", "200")

    def cells(*arguments):
        lines = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in
                 estimate(*arguments).splitlines()]  # fmt: skip
        return {line[0]: line[1:] for line in lines if len(line) > 1}

    return cells


@pytest.fixture
def unchecked():
    """Shapes are not checked, which takes many times as long as a simulation."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def near(value):
    return pytest.approx(value, rel=1e-12)


def test_two_gpus_cost_twice_the_price(record):
    found = record("--tp", 2, "--price", 1)
    assert found["dollars_per_million_tokens"] == near(2 / 3600 / found["tokens_per_s"] * 1e6)


def test_a_price_that_is_given_counts_before_that_of_the_table(record):
    found = record("--gpu", "a100-pcie", "--price", 99)
    assert found["dollars_per_million_tokens"] == near(99 / 3600 / found["tokens_per_s"] * 1e6)


def test_bytes_of_weights_and_cache_by_dtype(record):
    for dtype, weights, cache in (("float32", 4, 4), ("float16", 2, 2), ("bfloat16", 2, 2), ("int8", 1, 2)):
        found = record("--model", "smollm2-135m", "--dtype", dtype)
        assert found["weights_bytes"] == 134_515_008 * weights
        assert found["kv_cache_bytes_per_token"] == 11_520 * cache


INT4 = 20 / 32 + 14 / 32 * 49_152 * 576 / 134_515_008  # embedding and head in int8


@pytest.mark.parametrize("weights, each", [("float32", 4), ("bfloat16", 2), ("int8", 34 / 32), ("int4", INT4)])
def test_bytes_of_weights_as_minillm_keeps_them(record, weights, each):
    """Scales are counted: int4 is 5 bits, and a step of one sequence is bound by them."""
    found, other = record("--model", "smollm2-135m", "--weights", weights), record("--model", "smollm2-135m")
    assert (found["weights_bytes"], found["weights"]) == (near(134_515_008 * each), weights)
    assert other["weights"] is None and (found["tpot_s"] < other["tpot_s"]) == (each < 2)


def test_each_utilisation_lowers_its_own_peak(record):
    """Prefill is bound by arithmetic here, decode by memory."""
    peak, half_memory, half_arithmetic = record(), record("--mbu", 0.5), record("--mfu", 0.5)
    assert [half_memory[key] / peak[key] for key in ("ttft_s", "tpot_s")] == [1, near(2)]
    assert [half_arithmetic[key] / peak[key] for key in ("ttft_s", "tpot_s")] == [near(2), 1]


def test_only_the_peak_gives_lower_bounds(estimate):
    assert "Lower bounds at the datasheet's peak" in estimate()
    for option in ("--mfu", "--mbu"):
        assert "Lower bounds" not in estimate(option, 0.5)


@pytest.fixture
def measured(monkeypatch):
    """This machine, whose decode steps take 2 s by its figures and 4 s by the clock; it has no link to others."""
    machine = Machine("this-machine", 8e9, "RAM", 1e15, 1e15, overhead_s_per_step=2.0)
    monkeypatch.setattr("minillm.benchmark.this_machine.measure_machine", lambda config: machine)
    monkeypatch.setattr("minillm.benchmark.this_machine.measure_decode", lambda model, context, cache_dtype: 4.0)


def test_this_machine_computes_in_float32(record, measured):
    this = ("--gpu", "this-machine", "--model", "smollm2-135m")
    assert record(*this)["weights_bytes"] == 134_515_008 * 4
    assert record(*this)["kv_cache_bytes_per_token"] == 11_520 * 4
    assert record(*this, "--dtype", "float16")["weights_bytes"] == 134_515_008 * 2


def test_the_prediction_for_this_machine_and_the_measurement(record, estimate, measured, model_folder):
    this = ("--gpu", "this-machine", "--model", model_folder, "--prompt", 8, "--output", 4)
    found = record(*this)
    assert (found["measured_tpot_s"], found["predicted_tpot_s"]) == (4.0, pytest.approx(2.0))
    assert "measured on the numpy backend: 4.00 s; predicted 2.00 s: -50%." in " ".join(estimate(*this).split())


def test_fewer_bits_are_measured_where_they_are_read_as_stored(record, measured, model_folder, monkeypatch):
    """On the fastest backend. (`plain` stands for it here, which needs no compiler.)"""
    monkeypatch.setattr("minillm.benchmark.fastest.fastest_backend", lambda: "plain")
    this = ("--gpu", "this-machine", "--model", model_folder, "--prompt", 8, "--output", 4)
    assert record(*this, "--weights", "int4")["measured_backend"] == "plain"
    assert record(*this, "--weights", "float32")["measured_backend"] == "numpy"


def test_gpus_without_a_link_cannot_share_a_model(call, measured):
    refused = call("estimate", "--gpu", "this-machine", "--model", "smollm2-135m", "--tp", 2)
    assert_refused(refused, "--tp is 2, but this-machine has no link to other GPUs; expected 1")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--burst", "3"], "--burst belongs to `minillm estimate serve`; leave it out of 'one'"),
        (["sweep", "--burst", "3"], "--burst belongs to `minillm estimate serve`; leave it out of 'sweep'"),
        (["compare", "--replicas", "3"], "--replicas belongs to `minillm estimate serve`; leave it out of 'compare'"),
        (["sweep", "--requests", "3"], "--requests belongs to `minillm estimate serve`"),
        (["compare", "--target", "3"], "--target belongs to `minillm estimate serve`"),
    ],
)
def test_options_of_serve_are_refused_elsewhere(call, arguments, expected):
    assert_refused(call("estimate", *arguments), expected)


def test_compare_puts_what_does_not_fit_last_and_not_among_the_cheapest(record, estimate):
    large = ("compare", "--model", "llama-2-70b", "--price", 1)
    found = record(*large)
    assert [row["fits"] for row in found["by_latency"]] == [True] + [False] * 7
    assert [row["gpu"] for row in found["by_latency"]] == [
        "b200", "h200-sxm", "h100-sxm", "a100-sxm", "h100-pcie", "a100-pcie", "l40s", "t4"
    ]  # fmt: skip
    assert found["by_cost"] == ["b200"]
    assert "By cost of a million output tokens: b200 $4.82." in estimate(*large)


def test_compare_puts_what_fits_before_what_would_be_faster_and_cheaper(record):
    long_prompts = ("--model", "llama-2-13b", "--prompt", 2000, "--output", 1, "--batch", 16, "--price", 1)
    found = record("compare", "--gpus", "l40s,a100-pcie", *long_prompts)
    fits, faster = found["by_latency"]
    assert (fits["gpu"], faster["gpu"], faster["gpus_needed"]) == ("a100-pcie", "l40s", 2)
    assert faster["total_s"] < fits["total_s"]
    assert found["by_cost"] == ["a100-pcie"]


def test_the_cells_of_compare_are_the_figures_of_its_json(record, rows):
    large = ("compare", "--model", "llama-2-70b", "--price", 1)
    table = rows(*large)
    for row in record(*large)["by_latency"]:
        times = [seconds_text(row[key]) for key in ("ttft_s", "tpot_s", "total_s")]
        assert len(set(times)) == 3
        cost = f"{row['dollars_per_million_tokens']:.3g}"
        needs = [] if row["fits"] else [f"needs {row['gpus_needed']}"]
        assert table[row["gpu"]] == [*times, f"{row['tokens_per_s']:,.0f}", cost, *needs]


def test_the_plot_marks_each_phase_at_its_own_intensity(record, monkeypatch, tmp_path):
    marked = {}
    save = "minillm.estimate.roofline_plot.save_roofline"
    monkeypatch.setattr(save, lambda file, machine, points: marked.update(points))
    found = record("--plot", tmp_path / "x.svg", "--batch", 3)
    assert marked == {
        "prefill, 3 · 500 tokens": near(found["prefill_flops"] / found["prefill_bytes"]),
        "decode, batch 3": near(found["decode_intensity_flops_per_byte"]),
    }


def test_serve_with_more_replicas_or_in_bursts(record, unchecked):
    one, two, bursts = record(*SERVE), record(*SERVE, "--replicas", 2), record(*SERVE, "--burst", 5)
    assert (one["replicas"], two["replicas"], bursts["replicas"]) == (1, 2, 1)
    for name, run in one["schedules"].items():
        assert two["schedules"][name]["ttft_s"]["p95"] < 0.6 * run["ttft_s"]["p95"]
        assert bursts["schedules"][name]["ttft_s"]["p95"] > 1.5 * run["ttft_s"]["p95"]


def test_one_request_is_served_as_it_is_estimated(record):
    alone, served = record("--output", 4), record("serve", "--rps", 30, "--requests", 1, "--output", 4)
    for name in ("static batches of 32", "continuous, whole prompts"):
        run = served["schedules"][name]
        assert run["ttft_s"]["p50"] == pytest.approx(alone["ttft_s"])
        assert run["tpot_s"]["p50"] == pytest.approx(alone["tpot_s"]) and alone["tpot_s"] < alone["ttft_s"] / 3
        assert run["latency_s"]["p50"] == pytest.approx(alone["total_s"])


def test_the_cells_of_serve_are_the_figures_of_its_json(record, rows, unchecked):
    table, runs = rows(*SERVE), list(record(*SERVE)["schedules"].values())
    for title, key in (("first token", "ttft_s"), ("per token", "tpot_s"), ("request", "latency_s")):
        for percentile in ("p50", "p95"):
            assert table[f"{title}, {percentile}"] == [seconds_text(run[key][percentile]) for run in runs]
    assert table["longest pause"] == [seconds_text(run["longest_gap_s"]) for run in runs]
    assert table["busy"] == [f"{run['utilisation']:.0%}" for run in runs]


def test_a_target_is_answered_for_chunks(record, unchecked):
    """Here one replica keeps to it in chunks, and by no other schedule."""
    found = record(*SERVE, "--target", 0.075)
    static, whole, chunks = (run["ttft_s"]["p95"] for run in found["schedules"].values())
    assert chunks < 0.075 < min(static, whole)
    assert found["replicas_needed"] == 1


def test_no_figure_has_an_exponent(call, monkeypatch):
    """A busy price and a slow machine give large numbers: $1,080 and not $1.08e+03."""
    monkeypatch.setenv("COLUMNS", "200")
    shown = call("estimate", "--gpu", "t4", "--model", "llama-2-7b", "--price", 90_000).out
    million = next(line for line in shown.splitlines() if "million" in line)
    assert "e+" not in million and re.search(r"\$\d{1,3},\d{3}", million), shown
