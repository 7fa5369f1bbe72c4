"""The work of a real forward pass, counted where it meets the backend, is what the formulas say, to the last unit."""

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from bundled import BUNDLED
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import models, random_model, token_lists
from test_checks import CONFIG

import minillm
from minillm.estimate.memory import find_cache_format
from minillm.estimate.work import Tokens, Work, decode_work, forward_work, prefill_work
from minillm.trace.counting import counted


def asked(count):
    return Work(count.flops, count.weight_bytes, count.cache_bytes)


def zero(count):
    count.__init__()


def a_cache(data, model):
    """Contiguous, or in blocks of few tokens, whose blocks lie in any order."""
    if data.draw(st.booleans()):
        return minillm.KVCache(model, 40)
    pool = minillm.BlockPool(model, 40, data.draw(st.integers(1, 5)))
    neighbour = minillm.PagedKVCache(pool)
    minillm.forward_batch(model, [([0], neighbour)])
    return minillm.PagedKVCache(pool)


@pytest.mark.slow
@settings(max_examples=25)
@given(data=st.data(), model=models())
def test_any_ragged_batch(data, model):
    """Prefill, decode and verification side by side, on every backend, over caches of both kinds."""
    model, count = counted(model)
    vocab = model.config.vocab_size
    batch, shapes, rows = [], [], []
    for _ in range(data.draw(st.integers(1, 3))):
        before, tokens = data.draw(st.just([]) | token_lists(vocab, 12)), data.draw(token_lists(vocab, 12))
        cache = a_cache(data, model)
        if before:
            minillm.prefill(model, before, cache)
        batch.append((tokens, cache))
        rows.append(data.draw(st.integers(0, len(tokens))))
        shapes.append(Tokens(len(tokens), len(before), rows[-1]))
    zero(count)
    minillm.forward_batch(model, batch, logit_rows=rows)
    size = model.dtype.itemsize
    assert asked(count) == forward_work(model.config, shapes, size, size)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_real_model_generates(name):
    """One prefill, then a step for each further token."""
    model, count = counted(minillm.load(name))
    prompt = model.tokenizer.encode("Once upon a time there was a")
    minillm.generate(model, prompt, 6, minillm.Sampling(ignore_eos=True))
    expected = prefill_work(model.config, len(prompt), 4, 4)
    for step in range(1, 6):
        expected += decode_work(model.config, len(prompt) + step, 1, 4, 4)
    assert asked(count) == expected


def test_a_cache_in_int8():
    """A number has one byte, and each key and value of a head four for its scale."""
    model, count = counted(minillm.load("story"))
    cache, each = minillm.KVCache(model, 40, "int8"), find_cache_format("int8", model.config).bytes_each
    minillm.prefill(model, [5] * 20, cache)
    assert asked(count) == prefill_work(model.config, 20, 4, each)
    minillm.decode_step(model, 7, cache)
    assert asked(count) == prefill_work(model.config, 20, 4, each) + decode_work(model.config, 21, 1, 4, each)


@settings(max_examples=20)
@given(data=st.data(), model=models(("numpy", "plain")))
def test_counting_changes_no_result_and_no_work_is_skipped(data, model):
    tokens = data.draw(token_lists(model.config.vocab_size, 20))
    watched, count = counted(model)
    assert np.array_equal(minillm.forward(watched, tokens), minillm.forward(model, tokens))
    assert count.performed_flops == count.flops + count.wasted_flops
    assert min(count.masked_flops, count.padding_flops) >= 0


@pytest.mark.parametrize("backend", ["plain", "numpy"])
@pytest.mark.parametrize("length", [1, 40, 64, 65, 130, 128])
def test_waste_is_what_the_mask_hides_of_a_tile(backend, length):
    """`plain` scores every query with every key; `numpy` in tiles of 64 queries with the keys up to their last."""
    model, count = counted(minillm.load("story-draft", backend))
    minillm.prefill(model, [5] * length, minillm.KVCache(model, length))
    tile = 64 if backend == "numpy" else length
    ends = [min(first + tile, length) for first in range(0, length, tile)]
    scored = sum(end * (end - first) for first, end in zip(range(0, length, tile), ends, strict=True))
    config = model.config
    each = 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim
    assert count.masked_flops == each * (scored - length * (length + 1) // 2)
    assert backend != "plain" or count.padding_flops == 0


def test_decode_masks_nothing():
    model, count = counted(minillm.load("story-draft"))
    cache = minillm.KVCache(model, 20)
    minillm.prefill(model, [5] * 10, cache)
    zero(count)
    minillm.decode_step(model, 5, cache)
    assert count.masked_flops == 0 < count.flops <= count.performed_flops


def test_a_backend_without_numpy_is_refused_in_one_line():
    model = random_model(CONFIG, 0)[0]
    ops = copy(model.ops)
    ops.name = "compiled"
    with pytest.raises(ValueError, match=r"^the compiled backend computes without NumPy, .* backend='numpy', which is"):
        counted(replace(model, ops=ops))
