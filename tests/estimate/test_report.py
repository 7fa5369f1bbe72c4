"""The report of one workload: its price, where the time goes, and the numbers that are put into its formulas."""

import pytest

from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import model_table
from minillm.estimate.report import Workload, make_report
from minillm.estimate.serving import Serving

LLAMA, A100 = model_table()["llama-2-7b"], find_gpu("a100")


def shown(report, label):
    [line] = [line for line in report.lines if line.label == label]
    return line


def test_every_gpu_of_several_is_paid_for():
    report = make_report(Serving(LLAMA, A100, gpus=2), Workload(), dollars_per_hour=1)
    expected = 2 / 3600 / report.record["tokens_per_s"] * 1e6
    assert report.record["dollars_per_million_tokens"] == pytest.approx(expected)
    assert shown(report, "a million output tokens").numbers.startswith("2 · 1 / 3600 / ")


def test_a_price_that_is_given_counts_before_that_of_the_table():
    serving = Serving(LLAMA, find_gpu("a100-pcie"))
    of_the_table, given, free = (make_report(serving, Workload(), price) for price in (None, 99, 0))
    dollars = [report.record["dollars_per_million_tokens"] for report in (of_the_table, given, free)]
    assert dollars == [pytest.approx(price / 3600 / given.record["tokens_per_s"] * 1e6) for price in (1.19, 99, 0)]
    assert "at $99 an hour" in shown(given, "a million output tokens").value


def test_what_bounds_decoding_is_where_its_time_goes():
    few = make_report(Serving(LLAMA, A100), Workload(prompt=1, output=10, batch=1))
    many = make_report(Serving(LLAMA, A100), Workload(prompt=1, output=10, batch=400))
    assert (few.record["decode_bound"], many.record["decode_bound"]) == ("memory", "compute")
    assert list(few.parts_s) == ["prefill", "decode: weights", "decode: KV cache"]
    assert list(many.parts_s) == ["prefill", "decode: arithmetic"]
    for report in (few, many):
        assert sum(report.parts_s.values()) == pytest.approx(report.record["total_s"])


def test_an_answer_of_one_token_is_all_prefill():
    report = make_report(Serving(LLAMA, A100), Workload(output=1))
    assert report.parts_s == {"prefill": report.record["ttft_s"]}
    assert report.record["total_s"] == report.record["ttft_s"]


def test_megabytes_are_powers_of_1000_and_mebibytes_of_1024():
    report = make_report(Serving(model_table()["smollm2-135m"], A100), Workload())
    assert report.record["kv_cache_bytes"] == 13_800_960
    assert shown(report, "KV cache").value == "13.8 MB (13.2 MiB)"
    assert shown(report, "weights").value == "269.0 MB (256.6 MiB)"


def test_the_formulas_of_several_gpus_have_their_number():
    for gpus, part in ((1, "/ (3.12e+14) = "), (2, "/ (2 · 3.12e+14) = ")):
        report = make_report(Serving(LLAMA, A100, gpus), Workload())
        assert part in shown(report, "time to first token").numbers
        assert part in shown(report, "a step at 550 tokens").numbers
