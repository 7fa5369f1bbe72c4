"""Several GPUs for one model: a GPU holds entire heads, columns and layers, and the largest share decides."""

import re
from dataclasses import replace
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import cache_bytes_per_token, weights_bytes
from minillm.estimate.models import model_table
from minillm.estimate.parameters import parameters
from minillm.estimate.report import Workload, make_report
from minillm.estimate.serving import MOST_GPUS, Serving, decode_time, fewest_gpus, most_sequences
from minillm.estimate.sharding import largest_share, pipeline_bubble

A100, LLAMA = find_gpu("a100"), model_table()["llama-2-7b"]
TWO_KV_HEADS = replace(model_table()["qwen2.5-7b"], num_attention_heads=16, num_key_value_heads=2)


def test_more_gpus_than_kv_heads_hold_copies():
    """Each of 8 GPUs holds one of 2 KV heads, as each of 2 GPUs does: four times the GPUs hold no larger batch."""
    each = 28 * 2 * 128 * 2  # bytes of one KV head's keys and values of a token
    two, eight = Serving(TWO_KV_HEADS, A100, 2), Serving(TWO_KV_HEADS, A100, 8)
    assert two.share.cache_bytes_per_token == eight.share.cache_bytes_per_token == each
    assert most_sequences(eight, 500) == int(eight.free_bytes // (500 * each))
    assert most_sequences(eight, 500) < 1.1 * most_sequences(two, 500)


def test_the_kv_projections_are_copied_with_their_heads():
    """The share of one GPU, counted by hand: 2 of 16 query heads, 1 of 2 KV heads, an eighth of the columns."""
    dim, inner, vocab = TWO_KV_HEADS.hidden_size, TWO_KV_HEADS.intermediate_size, TWO_KV_HEADS.vocab_size
    layer = dim * (2 * 2 * 128 + 2 * 1 * 128 + 3 * inner // 8) + 2 * dim + (2 + 2) * 128
    assert parameters(largest_share(TWO_KV_HEADS, 8)) == 28 * layer + dim + 2 * dim * vocab // 8


def most_kv_heads(heads: int, group: int, gpus: int) -> int:
    """Deal the query heads out one after the other, and count the KV heads that each GPU needs."""
    needed = [set() for _ in range(gpus)]
    for head in range(heads):
        gpu = max(gpu for gpu in range(gpus) if heads * gpu // gpus <= head)
        needed[gpu].add(head // group)
    return max(map(len, needed))


@pytest.mark.parametrize(
    ("heads", "kv_heads", "gpus", "share"),
    [
        (16, 2, 3, (6, 2)), (16, 2, 4, (4, 1)), (16, 2, 8, (2, 1)), (16, 2, 16, (1, 1)), (28, 4, 8, (4, 1)),
        (32, 32, 3, (11, 11)), (4, 2, 9, (1, 1)),
    ],
)  # fmt: skip
def test_the_query_heads_of_a_share_bring_the_kv_heads_that_they_read(heads, kv_heads, gpus, share):
    """16 query heads on 3 GPUs: 0 to 4, 5 to 9, 10 to 15. The second reads both KV heads: 5 to 7, and 8 to 9."""
    found = largest_share(replace(LLAMA, num_attention_heads=heads, num_key_value_heads=kv_heads), gpus)
    assert (found.num_attention_heads, found.num_key_value_heads) == share


@given(
    gpus=st.integers(1, 64), kv_heads=st.integers(1, 9), group=st.integers(1, 5),
    inner=st.integers(1, 300), vocab=st.integers(1, 300),
)  # fmt: skip
def test_shares_are_integers_that_together_hold_the_model(gpus, kv_heads, group, inner, vocab):
    whole = replace(
        LLAMA, num_key_value_heads=kv_heads, num_attention_heads=kv_heads * group,
        intermediate_size=inner, vocab_size=vocab,
    )  # fmt: skip
    share = largest_share(whole, gpus)
    for name in ("num_attention_heads", "intermediate_size", "vocab_size"):
        assert getattr(share, name) == ceil(getattr(whole, name) / gpus)
    assert share.num_key_value_heads == most_kv_heads(kv_heads * group, group, gpus)
    assert (share.hidden_size, share.head_dim, share.num_hidden_layers) == (4096, 128, 32)
    assert gpus * weights_bytes(share) >= weights_bytes(whole)
    assert gpus * cache_bytes_per_token(share) >= cache_bytes_per_token(whole)


def test_a_step_takes_as_long_as_the_largest_share():
    """3 GPUs of 32 heads: one has 11. And 64 GPUs are no faster at attention than 32."""
    three = decode_time(Serving(LLAMA, A100, 3), 500)
    alone = decode_time(Serving(largest_share(LLAMA, 3), A100), 500)
    assert (three.memory_s, three.compute_s) == (alone.memory_s, alone.compute_s)
    assert three.memory_s > decode_time(Serving(LLAMA, A100), 500).memory_s / 3
    cached = [decode_time(Serving(TWO_KV_HEADS, A100, gpus), 100_000, 500).memory_s for gpus in (2, 8)]
    assert cached[1] > 0.9 * cached[0]  # nearly all of it is the cache, of which every GPU reads one KV head


def test_the_fewest_gpus_are_those_whose_largest_share_fits():
    """The last two need more GPUs than the model has query heads, where the search is a bisection."""
    needed = [
        (LLAMA, 1), (LLAMA, 500), (TWO_KV_HEADS, 8000), (model_table()["llama-2-70b"], 90),
        (TWO_KV_HEADS, 8300), (TWO_KV_HEADS, 8340),
    ]  # fmt: skip
    for config, sequences in needed:
        found = fewest_gpus(Serving(config, A100), sequences, 599)
        assert most_sequences(Serving(config, A100, found), 599) >= sequences
        assert all(most_sequences(Serving(config, A100, fewer), 599) < sequences for fewer in range(1, found))


def test_no_number_of_gpus_holds_more_than_one_kv_heads_memory():
    serving = Serving(TWO_KV_HEADS, A100)
    most = int(0.9 * A100.memory_bytes / (599 * 28 * 2 * 128 * 2))
    assert fewest_gpus(serving, most - 200, 599) > 1
    assert fewest_gpus(serving, most + 1, 599) is None
    report = make_report(serving, Workload(batch=most + 1))
    assert report.record["gpus_needed"] is None and report.record["fits"] is False
    assert any(f"takes more than {MOST_GPUS:,}, since KV heads" in line.value for line in report.lines)


def test_the_report_is_of_the_largest_share():
    serving, load = Serving(TWO_KV_HEADS, A100, 8), Workload(500, 100, 20_000)
    record = make_report(serving, load).record
    most = record["largest_batch"]
    assert record["fits"] is False and most == most_sequences(serving, 599)
    assert [make_report(serving, replace(load, batch=most + more)).record["fits"] for more in (0, 1)] == [True, False]
    assert record["gpu_weights_bytes"] == weights_bytes(largest_share(TWO_KV_HEADS, 8))
    assert record["gpu_kv_cache_bytes"] == 20_000 * 599 * 28 * 2 * 128 * 2
    assert record["kv_cache_bytes"] == 20_000 * 599 * cache_bytes_per_token(TWO_KV_HEADS)


@pytest.mark.parametrize(("config", "gpus"), [(LLAMA, 1), (LLAMA, 2), (LLAMA, 3), (TWO_KV_HEADS, 8)])
def test_the_numbers_of_the_formulas_give_the_figures(config, gpus):
    """The operations and bytes shown, divided by what `gpus` GPUs do in a second, are the seconds shown."""
    report = make_report(Serving(config, A100, gpus), Workload(batch=10))
    for label in ("time to first token", "a step at 550 tokens"):
        [line] = [line for line in report.lines if line.label == label]
        for amount, rate, ms in re.findall(r"([\d.e+]+) / \((?:\d · )?([\d.e+]+)\) = ([\d.]+) ms", line.numbers):
            assert float(amount) / (gpus * float(rate)) * 1000 == pytest.approx(float(ms), rel=0.02)
    assert sum(report.parts_s.values()) == pytest.approx(report.record["total_s"], rel=1e-6)


def test_the_slowest_stage_of_a_pipeline_has_entire_layers():
    """5 layers on 4 GPUs: one has 2. 4 micro-batches take 7 times 2 layers; each GPU works 5 of these 14."""
    assert pipeline_bubble(4, 4, layers=8) == pytest.approx(pipeline_bubble(4, 4))
    assert pipeline_bubble(4, 4, layers=5) == pytest.approx(1 - 5 / 14)
    assert pipeline_bubble(8, 1, layers=4) == pytest.approx(1 - 0.5 / 8)
