"""A pipeline whose stages are threads: the bits of one model, whatever is cut; the bubble, messages and bytes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import architectures, make_ops, random_checkpoint, token_lists
from test_checks import CONFIG

import minillm
from minillm.estimate.sharding import pipeline_bubble, pipeline_bytes_sent, pipeline_messages_sent
from minillm.loading.build import build
from minillm.parallel.pipeline import Stage, bubble, cut_rows, on_stage
from minillm.parallel.thread_ranks import in_threads
from minillm.ragged_batch import ragged_batch


def staged(checkpoint, backend, rank, micro_batches=None, dtype="float64", weights="float32"):
    ops, stage = make_ops(backend), Stage(rank, checkpoint.config.num_hidden_layers, micro_batches)
    model = build(stage.part.of(checkpoint), ops, ops.choose_dtype(dtype), weights, stage.part)
    return on_stage(model, stage), stage


def whole(checkpoint, backend, dtype="float64", weights="float32"):
    ops = make_ops(backend)
    return build(checkpoint, ops, ops.choose_dtype(dtype), weights)


def passes(model, prompts, make_cache, rows, decoded=2):
    """Two prompts at once, in two chunks, then decode steps: the logits of every pass."""
    caches = [make_cache(model) for _ in prompts]
    halves = [[p[: len(p) // 2] for p in prompts], [p[len(p) // 2 :] for p in prompts]]
    found = []
    for tokens in [*halves, *[[[n % 3]] * len(prompts) for n in range(decoded)]]:
        batch = [(t, cache) for t, cache in zip(tokens, caches, strict=True) if len(t)]
        if batch:
            found.append(minillm.forward_batch(model, batch, [min(rows, len(t)) for t, _ in batch]))
    return found


def contiguous(dtype):
    return lambda model: minillm.KVCache(model, 64, dtype)


def paged(model):
    if not hasattr(model, "pool_of_test"):
        object.__setattr__(model, "pool_of_test", minillm.BlockPool(model, 64, 3))
    return minillm.PagedKVCache(model.pool_of_test)


@st.composite
def cases(draw):
    config = draw(architectures())
    layers = draw(st.integers(1, 5))
    config = replace(config, num_hidden_layers=layers, sliding_windows=(config.sliding_windows * 5)[:layers])
    prompts = draw(st.lists(token_lists(config.vocab_size), min_size=1, max_size=3))
    return random_checkpoint(config, draw(st.integers(0, 2**32))), draw(st.integers(1, min(4, layers))), prompts


@pytest.mark.slow
@given(
    cases(),
    st.none() | st.integers(1, 9),
    st.sampled_from([contiguous(None), contiguous("int8"), paged]),
    st.integers(0, 3),
    st.sampled_from(["float32", "int8"]),
)
def test_any_cut_gives_the_bits_of_one_exact_model(case, micro_batches, make_cache, rows, weights):
    checkpoint, stages, prompts = case
    expected = passes(whole(checkpoint, "exact", weights=weights), prompts, make_cache, rows)
    found = in_threads(
        stages,
        lambda rank: passes(
            staged(checkpoint, "exact", rank, micro_batches, weights=weights)[0], prompts, make_cache, rows
        ),
    )
    for one, many in zip(expected, found[0], strict=True):
        np.testing.assert_array_equal(many, one)
    for others in found[1:]:
        assert not any(np.any(logits) for logits in others)


@pytest.mark.slow
@given(cases(), st.sampled_from(["numpy", "plain"]), st.sampled_from(["float32", "float64"]))
def test_stages_alone_change_no_bit_of_any_backend(case, backend, dtype):
    checkpoint, stages, prompts = case
    expected = passes(whole(checkpoint, backend, dtype), prompts, contiguous(None), 2)
    found = in_threads(
        stages,
        lambda rank: passes(staged(checkpoint, backend, rank, 1, dtype)[0], prompts, contiguous(None), 2),
    )
    for one, many in zip(expected, found[0], strict=True):
        np.testing.assert_array_equal(many, one)


@pytest.mark.slow
@settings(max_examples=20)
@given(cases(), st.none() | st.integers(1, 9), st.sampled_from(["float32", "int8"]))
def test_any_cut_gives_the_bits_of_one_compiled_model(case, micro_batches, weights):
    checkpoint, stages, prompts = case
    expected = passes(whole(checkpoint, "compiled", "float32", weights), prompts, contiguous(None), 2)
    found = in_threads(
        stages,
        lambda rank: passes(
            staged(checkpoint, "compiled", rank, micro_batches, "float32", weights)[0], prompts, contiguous(None), 2
        ),
    )
    for one, many in zip(expected, found[0], strict=True):
        np.testing.assert_array_equal(many, one)


def deep(layers):
    config = replace(CONFIG, num_hidden_layers=layers, sliding_windows=(None,) * layers, max_position_embeddings=1024)
    return random_checkpoint(config, 0)


def run_stages(layers, stages, micro_batches, tokens, rows=1):
    """The stages after one pass of `tokens` tokens."""

    def run(rank):
        model, stage = staged(deep(layers), "numpy", rank, micro_batches)
        minillm.forward_batch(model, [([1] * tokens, minillm.KVCache(model, tokens))], [rows])
        return rank, stage

    return in_threads(stages, run)


@pytest.mark.parametrize(("stages", "micro_batches"), [(1, 3), (2, 1), (2, 2), (3, 7), (4, 4), (4, 16)])
def test_the_bubble_that_is_counted_is_that_of_the_formula(stages, micro_batches):
    records = [stage.done for _, stage in run_stages(4, stages, micro_batches, 16)]
    assert bubble(records) == pytest.approx(pipeline_bubble(stages, micro_batches))


def test_passes_without_logits_follow_each_other_without_a_bubble_between_them():
    """A prompt in 6 chunks is 6 micro-batches. With logits, each would fill and drain the pipeline on its own."""

    def run(rank):
        model, stage = staged(deep(4), "numpy", rank, 1)
        minillm.prefill(model, [1] * 12, minillm.KVCache(model, 12), chunk=2)
        return stage.done

    assert bubble(in_threads(4, run)) == pytest.approx(pipeline_bubble(4, 6))


@pytest.mark.parametrize(("stages", "micro_batches", "rows"), [(1, 3, 1), (2, 1, 1), (3, 5, 4), (4, 2, 0)])
def test_messages_and_bytes_are_those_of_the_formulas(stages, micro_batches, rows):
    for rank, _ in run_stages(4, stages, micro_batches, 10, rows):
        assert rank.sent["send"].messages == pipeline_messages_sent(rows, stages, rank.rank, micro_batches)
        assert rank.sent["send"].bytes == pipeline_bytes_sent(CONFIG, 10, rows, stages, rank.rank, bytes_each=8)


def test_a_cache_stores_the_keys_of_its_own_layers_only():
    def run(rank):
        return minillm.KVCache(staged(deep(5), "numpy", rank)[0], 10).nbytes

    one = minillm.KVCache(whole(deep(1), "numpy"), 10).nbytes
    assert in_threads(3, run) == [one, 2 * one, 2 * one]


def test_the_weights_of_a_stage_are_its_own():
    models = in_threads(3, lambda rank: staged(deep(3), "numpy", rank)[0])
    assert [model.embedding is not None for model in models] == [True, False, False]
    assert [model.head is not None for model in models] == [False, False, True]
    assert [len(model.layer_weights) for model in models] == [1, 1, 1]


def test_more_stages_than_layers_are_refused():
    with pytest.raises(ValueError, match="a pipeline of 3 stages, but the model has 2 layers; start fewer ranks"):
        in_threads(3, lambda rank: staged(deep(2), "numpy", rank))


def test_the_number_of_micro_batches_follows_the_cost_of_rows():
    """Decode reads the weights once for each micro-batch, so it takes one; a long prefill takes several."""
    [_, stage] = [stage for _, stage in run_stages(4, 2, None, 512)]
    assert len(stage.done) > 4
    [_, stage] = [stage for _, stage in run_stages(4, 2, None, 4)]
    assert len(stage.done) == 1


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_a_cut_has_every_row_once_and_chunks_after_those_before(lengths, data):
    model = whole(deep(1), "numpy")
    caches = [minillm.KVCache(model, 16) for _ in lengths]
    rows = [data.draw(st.integers(0, length)) for length in lengths]
    batch = ragged_batch([np.arange(length) for length in lengths], caches, rows)
    cut = cut_rows(batch, data.draw(st.integers(1, sum(lengths))))
    np.testing.assert_array_equal(np.concatenate([part.tokens for part in cut]), batch.tokens)
    assert sum(len(part.logit_indices) for part in cut) == sum(rows)
    for part in cut:
        assert len(part.tokens) and part.spans[0].start == 0 and part.spans[-1].stop == len(part.tokens)
        for span, cache in zip(part.spans, part.caches, strict=True):
            assert cache.length == part.positions[span][0]


def test_a_model_without_some_layers_is_refused():
    """It could be a draft model for itself. Each rank would skip layers of its own."""

    def run(rank):
        with pytest.raises(ValueError, match=r"a pipeline runs all layers of its model; pass another draft model, or"):
            minillm.skip_layers(staged(deep(4), "numpy", rank)[0], [0])

    in_threads(2, run)
