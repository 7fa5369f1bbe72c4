"""Layers that stay in a file: the estimated bytes and seconds are those of `load` and of the formula."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import architectures, random_checkpoint

from minillm.backends import get_backend
from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import WEIGHTS, find_weights
from minillm.estimate.models import model_table
from minillm.estimate.report import Workload, make_report
from minillm.estimate.serving import Serving, decode_time, prefill_time
from minillm.estimate.streaming import streamed, streamed_seconds_per_token
from minillm.loading.load import streamed_bytes

LLAMA, T4 = model_table()["llama-2-7b"], find_gpu("t4")


@given(config=architectures(), weights=st.sampled_from(sorted(WEIGHTS)))
def test_the_memory_is_what_load_asks_for(config, weights):
    """Tied or not, one layer or several, with biases and norms of q and k or without."""
    asked = streamed_bytes(random_checkpoint(config, 0), get_backend("numpy"), "float32", weights)
    assert streamed(config, weights, 1e9).memory_bytes == pytest.approx(asked)


@given(config=architectures(), weights=st.sampled_from(sorted(WEIGHTS)))
def test_a_pass_reads_the_matrices_of_all_layers(config, weights):
    tensors = random_checkpoint(config, 0).tensors.items()
    numbers = sum(t.values.size for name, t in tensors if ".layers." in name and len(t.shape) == 2)
    assert streamed(config, weights, 1e9).file_bytes == pytest.approx(numbers * WEIGHTS[weights].bytes_each)


@pytest.mark.parametrize("weights", ["bfloat16", "int4"])
@pytest.mark.parametrize("bytes_per_s, bound", [(3e9, "file"), (3e12, "memory")])
def test_a_pass_takes_the_time_of_the_formula(weights, bytes_per_s, bound):
    layers = streamed(LLAMA, weights, bytes_per_s)
    loaded, from_file = (Serving(LLAMA, T4, 1, find_weights(weights, LLAMA), streamed=how) for how in (None, layers))
    time, compute_s = decode_time(from_file, 500), decode_time(loaded, 500).seconds
    assert time.seconds == streamed_seconds_per_token(layers.file_bytes, bytes_per_s, compute_s)
    assert time.bound == bound
    prompt_s = prefill_time(loaded, 4000).seconds
    found = prefill_time(from_file, 4000).seconds / 4000
    assert found == pytest.approx(streamed_seconds_per_token(layers.file_bytes, bytes_per_s, prompt_s, 4000))


def test_the_report_says_what_the_file_costs():
    serving = Serving(LLAMA, T4, streamed=streamed(LLAMA, "bfloat16", 2e9))
    report = make_report(serving, Workload(output=11))
    assert report.record["weights_bytes"] == serving.streamed.memory_bytes < 1.1e9
    assert report.record["tpot_s"] == report.record["file_s"] == report.record["file_bytes"] / 2e9
    assert report.parts_s["decode: reading the file"] == pytest.approx(10 * report.record["file_s"])
    assert sum(report.parts_s.values()) == pytest.approx(report.record["total_s"])
    assert make_report(serving, Workload(output=1)).parts_s == {"prefill": report.record["ttft_s"]}


def test_a_cache_that_does_not_fit_is_not_shared_by_more_gpus():
    serving = Serving(LLAMA, T4, streamed=streamed(LLAMA, "bfloat16", 2e9))
    assert make_report(serving, Workload(batch=10)).record["gpus_needed"] == 1
    report = make_report(serving, Workload(batch=64))
    assert report.record["gpus_needed"] is None
    assert [line.value for line in report.lines if line.label == "on 1 t4"] == ["does not fit, even streamed"]
