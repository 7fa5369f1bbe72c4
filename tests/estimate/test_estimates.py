"""The closed forms: tables of models and GPUs, memory, roofline, requests, batches, sharding, cost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minillm import quantization
from minillm.estimate.batching import batching_gain, decode_tokens_per_s, knee, smallest_batch
from minillm.estimate.cost import (
    api_dollars,
    break_even_days,
    dollars_per_million_tokens,
    gpu_hours,
    inference_flops,
    training_flops,
)
from minillm.estimate.hardware import find_gpu, gpu_figures, gpu_table
from minillm.estimate.memory import (
    FORMATS,
    WEIGHTS,
    cache_bytes,
    cache_bytes_per_token,
    find_format,
    find_weights,
    gpus_needed,
    max_sequences,
    weights_bytes,
)
from minillm.estimate.models import model_table
from minillm.estimate.parameters import layers_parameters, matrix_parameters, parameters
from minillm.estimate.roofline import attainable_flops_per_s, ridge_flops_per_byte, roofline_time
from minillm.estimate.serving import (
    Serving,
    decode_all_s,
    decode_time,
    most_sequences,
    network_floor_s,
    prefill_time,
    request_latency,
)
from minillm.estimate.sharding import all_reduce_bytes_sent, pipeline_bubble, tensor_parallel_bytes_sent
from minillm.estimate.units import GB, GIB
from minillm.estimate.work import Work

MODELS = {  # parameters, bytes of the KV cache for a token in float16
    "llama-2-7b": (6_738_415_616, 524_288),
    "llama-2-13b": (13_015_864_320, 819_200),
    "llama-2-70b": (68_976_648_192, 327_680),
    "llama-3-8b": (8_030_261_248, 131_072),
    "llama-3-70b": (70_553_706_496, 327_680),
    "mistral-7b": (7_241_732_096, 131_072),
    "qwen2.5-7b": (7_615_616_512, 57_344),
    "smollm2-135m": (134_515_008, 23_040),
}
RIDGES = {"t4": 203, "l40s": 419, "a100-pcie": 161, "a100-sxm": 153, "h100-pcie": 378, "h100-sxm": 295,
          "h200-sxm": 206, "b200": 281}  # fmt: skip
LLAMA, A100 = model_table()["llama-2-7b"], find_gpu("a100")
SERVING = Serving(LLAMA, A100)


def test_the_models_have_their_published_sizes():
    found = {name: (parameters(config), cache_bytes_per_token(config)) for name, config in model_table().items()}
    assert found == MODELS
    assert (matrix_parameters(LLAMA), layers_parameters(LLAMA)) == (6_607_077_376, 6_476_005_376)


def test_the_gpus_have_their_datasheets_ridges():
    assert {name: round(ridge_flops_per_byte(gpu)) for name, gpu in gpu_table().items()} == RIDGES


def test_every_figure_of_a_gpu_has_a_source():
    for figures in gpu_figures().values():
        assert all(set(entry) == {"value", "source"} and len(entry["source"]) > 10 for entry in figures.values())


def test_an_unknown_gpu_or_format_lists_the_known():
    with pytest.raises(ValueError, match=r"no GPU 'tpu'; known are t4, l40s, .*b200$"):
        find_gpu("tpu")
    with pytest.raises(ValueError, match=r"dtype is 'fp3'; expected one of float32, .*q4_0$"):
        find_format("fp3")
    with pytest.raises(ValueError, match=r"weights is 'q4_0'; expected one of float32, bfloat16, int8, int4$"):
        find_weights("q4_0", LLAMA)


def test_scales_are_counted():
    assert {name: each.bytes_each for name, each in FORMATS.items()} == {
        "float32": 4, "float16": 2, "bfloat16": 2, "int8": 1, "int4": 0.5, "q8_0": 1.0625, "q4_0": 0.5625,
    }  # fmt: skip
    assert {name: each.bytes_each for name, each in WEIGHTS.items()} == {
        name: quantization.BYTES_PER_WEIGHT[name] for name in quantization.FORMATS
    }  # what minillm really keeps: the estimates import no engine, so they have a table of their own
    kept = (parameters(LLAMA) - 2 * 32_000 * 4096) * 0.625 + 2 * 32_000 * 4096 * 1.0625  # embedding and head in int8
    assert weights_bytes(LLAMA, find_weights("int4", LLAMA).bytes_each) == pytest.approx(kept)
    assert weights_bytes(LLAMA, find_format("q4_0").bytes_each) == pytest.approx(6_738_415_616 * 0.5625)


def test_memory():
    assert cache_bytes(LLAMA, 10, 500) == 2_621_440_000
    assert (80 * GB / GIB) == pytest.approx(74.5, abs=0.01)
    assert [gpus_needed(140e9, 80e9), gpus_needed(72e9, 80e9), gpus_needed(72e9 + 1, 80e9)] == [2, 1, 2]
    assert max_sequences(-1.0, 500, 1000) == 0
    assert max_sequences(1_499_999, 500, 1000) == 2


def test_roofline():
    work = Work(flops=312e12, weight_bytes=2.039e12)
    balanced = roofline_time(work, A100)
    assert balanced.compute_s == balanced.memory_s == balanced.seconds == 1.0
    assert roofline_time(work, A100, mfu=0.5).bound == "compute"
    assert roofline_time(work, A100, mbu=0.5).seconds == 2.0
    ridge = ridge_flops_per_byte(A100)
    assert attainable_flops_per_s(A100, ridge / 2) == pytest.approx(156e12)
    assert attainable_flops_per_s(A100, 2 * ridge) == 312e12
    assert work.intensity == ridge


def test_a_request_on_an_a100():
    """Datasheet bounds of Llama-2-7B in float16."""
    assert decode_time(SERVING, 1).seconds == pytest.approx(6.48e-3, rel=1e-3)
    assert prefill_time(SERVING, 500).seconds == pytest.approx(21.0e-3, rel=2e-3)
    latency = request_latency(SERVING, 500, 100, network_s=0.1, queue_s=0.2)
    assert latency.ttft_s == pytest.approx(0.321, abs=1e-3)
    assert latency.decode_s == pytest.approx(99 * 6.62e-3, rel=2e-3)
    assert latency.total_s == latency.ttft_s + latency.decode_s
    assert decode_all_s(SERVING, 500, 1) == 0
    assert most_sequences(SERVING, 500) == 223
    assert most_sequences(Serving(model_table()["llama-2-70b"], A100), 500) == 0
    assert network_floor_s(100) == 1e-3


@given(
    prompt=st.integers(1, 6000),
    new_tokens=st.integers(1, 400),
    sequences=st.sampled_from([1, 150, 400]),
    name=st.sampled_from(["llama-2-7b", "mistral-7b"]),
)
@settings(max_examples=20)
def test_all_steps_together_are_the_sum_of_each(prompt, new_tokens, sequences, name):
    """Whatever bounds them, and whether or not a window of 4,096 tokens is full on the way."""
    serving = Serving(model_table()[name], A100)
    each = sum(decode_time(serving, prompt + step, sequences).seconds for step in range(1, new_tokens))
    assert decode_all_s(serving, prompt, new_tokens, sequences) == pytest.approx(each, rel=1e-12)


@given(gpus=st.sampled_from([2, 4, 8]))
def test_tensor_parallelism_shares_the_work_and_adds_communication(gpus):
    alone, shared = decode_time(SERVING, 500), decode_time(Serving(LLAMA, A100, gpus), 500)
    assert shared.memory_s * gpus == pytest.approx(alone.memory_s)
    assert alone.communication_s == 0 < shared.communication_s < shared.memory_s
    assert shared.seconds == shared.memory_s + shared.communication_s


def test_what_gpus_send_each_other():
    assert all_reduce_bytes_sent(1000, 1) == 0
    assert tensor_parallel_bytes_sent(model_table()["llama-2-70b"], 1, 8) == 4_587_520
    assert pipeline_bubble(4, 4) == pytest.approx(3 / 7)
    assert pipeline_bubble(4, 16) == pytest.approx(3 / 19)
    assert pipeline_bubble(4, 1) == 0.75
    assert max(pipeline_bubble(stages, 4 * stages) for stages in range(1, 100)) < 0.2


def test_batches():
    assert decode_tokens_per_s(SERVING, 500, 10) == pytest.approx(1288, rel=2e-3)
    assert batching_gain(SERVING, 50, 10) == pytest.approx(9.8, abs=0.05)
    assert smallest_batch(Serving(LLAMA, find_gpu("h100")), 500, 3000) == 16
    assert smallest_batch(SERVING, 500, 1e9, most=4) is None
    assert knee(SERVING, 500, 256) < knee(SERVING, 50, 256) < 256
    assert knee(SERVING, 500, 3) is None
    bend = knee(SERVING, 500, 256)
    assert knee(SERVING, 500, bend) == bend and knee(SERVING, 500, bend - 1) is None


def test_cost():
    assert dollars_per_million_tokens(1.19, 4000) == pytest.approx(0.0826, abs=1e-4)
    assert training_flops(1, 1) == 3 * inference_flops(1, 1)
    assert gpu_hours(training_flops(6_738_415_616, 2e12), 312e12, 0.39) == pytest.approx(184_320, rel=0.002)
    assert break_even_days(100_000, 50) == 2000
    assert api_dollars(500, 500, 2, 8) == 0.005
