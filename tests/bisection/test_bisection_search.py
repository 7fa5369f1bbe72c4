"""Where two runs differ first: equal schedules, planted bugs in the right place, tolerance, NaN, windows of rows."""

import dataclasses
from functools import partial

import numpy as np
import pytest
from golden_model import TOKENS, golden_model
from hypothesis import given, settings

import minillm
from minillm import layers, transformer
from minillm.backends import exact
from minillm.backends.exact import Exact
from minillm.backends.fast import Fast
from minillm.backends.plain import Plain
from minillm.bisection import local, search
from minillm.bisection.local import LocalRunner
from minillm.bisection.observed import OPERATIONS, Place, RowKey
from minillm.bisection.schedule import parse
from minillm.bisection.search import relative_differences
from minillm.bisection.strategies import schedules
from minillm.kv_cache.block_table import BlockTable
from minillm.kv_cache.contiguous import KVCache
from minillm.kv_cache.memory import CacheMemory
from minillm.kv_cache.paged import BlockPool, PagedKVCache

PROMPT, TOKENS = 6, TOKENS[:10]
MODEL = golden_model()
MUCH_SHARING = "prefill 6, fork, truncate 4, fork, decode 2, truncate 3, block 2, batch 1"
EVERYTHING = "chunk 4, preempt, truncate 2, guess 2, fork, decode 2, copy 3, swap, block 3, batch 2"


def bisected(a, b, model=MODEL, model_b=None, tolerance=0.0):
    """Search with two schedules as lines."""
    runners = LocalRunner(model, parse(a)), LocalRunner(model_b or model, parse(b))
    observe_a, observe_b = (partial(runner.observe, TOKENS, PROMPT) for runner in runners)
    return search.search(observe_a, observe_b, tolerance)


@settings(max_examples=5)
@given(a=schedules(PROMPT, len(TOKENS)), b=schedules(PROMPT, len(TOKENS)))
def test_on_the_exact_backend_all_schedules_are_equal(a, b):
    found = bisected(str(a), str(b))
    assert found.different == 0 and found.first is None and found.largest == {}
    assert found.operations >= len(TOKENS) * (3 * 13 + 1)


def test_on_the_exact_backend_a_cache_in_int8_differs_in_attention_of_layer_0():
    found = bisected("whole", "whole, int8")
    assert (found.first.place.layer, found.first.place.name) == (0, "attention")
    assert (found.in_cache.name, found.in_cache.position) == ("keys", 0)


def test_results_are_compared_whatever_the_company():
    """The counts follow from the formulas: 10 tokens with 13 results in each of 3 layers, embeddings, and logits."""
    found = bisected("whole", EVERYTHING)
    assert found.first is None
    assert set(found.a.digests) == {RowKey(max(0, n - 5), 0, n) for n in range(10)}
    per_layer = {Place(layer, number) for layer in range(3) for number in range(1, 14)}
    assert per_layer <= set(found.a.digests[RowKey(0, 0, 3)])
    with_logits = [key for key, results in found.a.digests.items() if len(results) == 3 * 13 + 1 + 3]
    assert with_logits == [RowKey(max(0, n - 5), 0, n) for n in range(5, 10)]


def test_what_is_observed_is_what_the_forward_pass_computes():
    wanted = search.Wanted(frozenset({RowKey(0, 0, 5)}))
    values = LocalRunner(MODEL, parse("whole")).observe(TOKENS, PROMPT, wanted).values[RowKey(0, 0, 5)]
    named = {(place.layer, place.name): vector for place, vector in values.items()}
    logits = minillm.forward(MODEL, TOKENS[:PROMPT])[-1]
    assert np.array_equal(named[local.AFTER_LAYERS, "logits"], logits)
    assert np.array_equal(named[local.AFTER_LAYERS, "logits as run"], logits)
    assert np.array_equal(named[-1, "embedding"], MODEL.embedding[TOKENS[5]])
    config = MODEL.config
    sizes = {"query": 144, "key": 48, "value": 48, "rotated query": 144, "rotated key": 48, "attention": 144}
    sizes |= {"gate": config.intermediate_size, "up": config.intermediate_size, "swiglu": config.intermediate_size}
    sizes |= dict.fromkeys(["attention norm", "attention output", "MLP norm", "down"], config.hidden_size)
    assert {name: len(named[1, name]) for name in OPERATIONS[1:14]} == sizes
    expected = MODEL.ops.swiglu(named[1, "gate"], named[1, "up"])
    assert np.array_equal(named[1, "swiglu"], expected)


def test_a_float32_model_differs_from_the_exact_one_by_rounding():
    two = golden_model("plain"), MODEL
    found = bisected("whole", "chunk 2", *two)
    assert 0 < found.first.largest < 1e-5
    assert found.different > 100 and {place.name for place in found.largest} > {"down", "logits"}
    largest = max(one.relative for one in found.largest.values())
    assert bisected("whole", "chunk 2", *two, tolerance=largest).first is None
    below = bisected("whole", "chunk 2", *two, tolerance=0.999 * largest)
    assert below.first.largest == largest


def test_two_backends():
    found = bisected("whole", "whole", golden_model("plain"), golden_model("numpy"))
    assert found.first.place == (0, OPERATIONS.index("attention norm"))
    of_plain, of_numpy = found.first.sources
    assert of_plain.function == "rms_norm" and of_plain.computed.startswith("minillm/layers.py:")
    assert of_plain.computed_text == "return x / np.sqrt(mean_square + eps) * weight"
    assert of_numpy.function == "Fast.rms_norm" and of_numpy.called_text.startswith("h = ops.rms_norm(x, layer.att")
    assert of_plain.called == of_numpy.called and of_plain.called.startswith("minillm/transformer.py:")


# Planted bugs: each is found in its operation, layer and position.


def in_decode(method, wrong):
    """The method, which is wrong if there is one row."""
    return lambda self, x, *args, **kw: (wrong if len(x) == 1 else lambda y: y)(method(self, x, *args, **kw))


def rope_is_one_too_far_in_decode(patch):
    real = transformer.ragged_batch

    def wrong(tokens, caches, logit_rows):
        batch = real(tokens, caches, logit_rows)
        return dataclasses.replace(batch, positions=batch.positions + 1) if len(batch.tokens) == 1 else batch

    patch.setattr(transformer, "ragged_batch", wrong)


def a_copied_block_is_stale(patch):
    patch.setattr(BlockPool, "copy_block", lambda self, source, target: None)


def a_shared_block_is_written(patch):
    patch.setattr(BlockTable, "_next_is_shared", lambda self: False)


def known_ranges_are_stale(patch):
    patch.setattr(PagedKVCache, "reserve", BlockTable.reserve)
    patch.setattr(PagedKVCache, "truncate", BlockTable.truncate)


def the_mask_hides_the_first_key_of_a_chunk(patch):
    real = exact.causal_mask

    def wrong(queries, keys, start, window):
        visible = real(queries, keys, start, window)
        visible[:, :1] &= start == 0
        return visible

    patch.setattr(exact, "causal_mask", wrong)


def values_of_layer_1_are_late_in_chunks(patch):
    real = KVCache.write
    patch.setattr(
        KVCache,
        "write",
        lambda self, layer, k, v: real(self, layer, k, np.roll(v, 1, axis=0) if layer == 1 and self.length else v),
    )


def the_residual_is_lost_in_decode(patch):
    real = Plain.add_linear
    patch.setattr(
        Plain, "add_linear", lambda self, x, h, *rest: real(self, np.zeros_like(x) if len(x) == 1 else x, h, *rest)
    )


def swiglu_is_wrong_in_decode(patch):
    patch.setattr(Exact, "swiglu", in_decode(Exact.swiglu, lambda x: x * (1 + 1e-12)))


def the_norm_of_layer_2_is_wrong_in_decode(patch):
    real = Exact.rms_norm

    def wrong(self, x, weight, eps):
        return real(self, x, weight, eps * (1 + (len(x) == 1 and weight is MODEL.layer_weights[2].mlp_norm)))

    patch.setattr(Exact, "rms_norm", wrong)


def logits_are_wrong_in_company(patch):
    real = Plain.logits
    patch.setattr(Exact, "logits", lambda self, x, head: real(self, x, head) + 1e-9 * (len(x) > 1))


def swapped_keys_are_late(patch):
    real = CacheMemory.restore

    def wrong(self, saved, tokens, slots):
        real(self, saved, tokens, slots)
        self.keys[:, :, slots] = np.roll(self.keys[:, :, slots], 1, axis=2)

    patch.setattr(CacheMemory, "restore", wrong)


BUGS = [
    (rope_is_one_too_far_in_decode, "whole", (0, "rotated query", 6), None),
    (a_copied_block_is_stale, "prefill 5, fork, block 3", (0, "attention", 5), ("keys", 3)),
    (a_shared_block_is_written, "prefill 5, fork, block 3", (0, "attention", 6), ("keys", 5)),
    (known_ranges_are_stale, MUCH_SHARING, (0, "attention", 4), ("keys", 4)),
    (the_mask_hides_the_first_key_of_a_chunk, "chunk 4", (0, "attention", 4), ("", 0)),
    (values_of_layer_1_are_late_in_chunks, "chunk 3", (1, "attention", 3), ("values", 3)),
    (the_residual_is_lost_in_decode, "whole", (0, "attention output", 6), None),
    (swiglu_is_wrong_in_decode, "whole", (0, "swiglu", 6), None),
    (the_norm_of_layer_2_is_wrong_in_decode, "whole", (2, "MLP norm", 6), None),
    (logits_are_wrong_in_company, "batch 1", (None, "logits", 5), None),
    (swapped_keys_are_late, "prefill 5, swap, block 3", (0, "attention", 5), ("keys", 0)),
]


@pytest.mark.parametrize("plant, schedule, where, in_cache", BUGS, ids=[plant.__name__ for plant, *_ in BUGS])
def test_a_planted_bug_is_found_where_it_is(plant, schedule, where, in_cache, monkeypatch):
    reference = "whole" if where[1] == "logits" else "prefill 10"  # one pass over all tokens: no bug is in it
    plant(monkeypatch)
    found = bisected(*((schedule, reference) if len(schedule) % 2 else (reference, schedule)))
    first = found.first
    assert (first.place.in_layer, first.place.name, first.pair.a.position) == where
    assert (found.in_cache and (found.in_cache.name, found.in_cache.position)) == in_cache


def test_what_only_the_ordinary_run_does_is_found_as_well(monkeypatch):
    """The observed run does not go through `run`, where threads, or one call for all layers, may go wrong."""
    monkeypatch.setattr(Fast, "run", lambda self, compute, model, batch: compute(model, batch) * (1 + len(batch.spans)))
    found = bisected("whole", "batch 1", golden_model("numpy"), tolerance=1e-3)
    assert (found.first.place.name, found.first.pair.a.position) == ("logits as run", PROMPT - 1)


def test_a_run_that_is_not_repeatable(monkeypatch):
    noise = iter(range(1, 1000))
    monkeypatch.setattr(Exact, "swiglu", lambda self, gate, up: gate * up * next(noise))
    assert bisected("whole", "whole").unrepeatable == ["A", "B"]


def test_long_runs_are_looked_into_some_rows_at_a_time(monkeypatch):
    two = golden_model("plain"), golden_model("exact")  # they round differently in every row, whatever the processor
    whole = bisected("whole", "chunk 2", *two, tolerance=1.0)
    monkeypatch.setattr(search, "MOST_BYTES", 5 * whole.a.row_bytes)
    in_parts = bisected("whole", "chunk 2", *two, tolerance=1.0)
    assert in_parts.largest == whole.largest and in_parts.looked_into == whole.looked_into == len(whole.differing)
    assert len(whole.differing) > 5
    monkeypatch.setattr(search, "MOST_BYTES", 1)
    assert bisected("whole", "chunk 2", *two).looked_into == 1


def test_models_of_two_shapes_are_not_compared():
    other = dataclasses.replace(MODEL, head=MODEL.head[:, :7])
    with pytest.raises(ValueError, match="logits: A has 300 numbers and B 7: the models differ"):
        bisected("whole", "whole", MODEL, other)


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    "a, b, expected",
    [
        ([1, 2, 4], [1, 3, 4], [0, 0.25, 0]),
        ([0.0, -0.0], [-0.0, 0.0], [0, 0]),
        ([NAN, INF, -INF], [NAN, INF, -INF], [0, 0, 0]),
        ([NAN, 1], [1, NAN], [INF, INF]),
        ([INF, 1], [-INF, 1], [INF, 0]),
        ([1e-300, 0], [2e-300, 0], [0.5, 0]),
        ([0, 0], [0, 1e-320], [0, 1]),
        ([], [], []),
    ],
)
def test_relative_differences(a, b, expected):
    assert relative_differences(np.array(a, float), np.array(b, float)).tolist() == expected


def test_nan_on_both_sides_is_equal(monkeypatch):
    monkeypatch.setattr(layers, "rms_norm", lambda x, weight, eps: x * NAN)
    found = bisected("whole", "chunk 2", golden_model("plain"))
    assert found.first is None and found.different == 0
