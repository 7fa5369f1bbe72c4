"""KVCache: sizes, bounds, and nothing written when something does not fit."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import architectures, random_model
from test_checks import CONFIG, MODEL

import minillm
from minillm import KVCache


@given(
    config=architectures(),
    capacity=st.integers(1, 160),
    dtype=st.sampled_from(["float32", "float64"]),
    cache_dtype=st.sampled_from([None, "int8"]),
)
def test_bytes_are_two_times_layers_heads_width_and_capacity(config, capacity, dtype, cache_dtype):
    """In int8 a number has one byte, and each head's key or value four for its scale."""
    model, _ = random_model(config, 0, dtype=dtype)
    per_head = config.head_dim + 4 if cache_dtype else config.head_dim * np.dtype(dtype).itemsize
    per_token = 2 * config.num_hidden_layers * config.num_key_value_heads * per_head
    cache = KVCache(model, capacity, cache_dtype)
    assert (cache.nbytes, cache.capacity, cache.length) == (per_token * capacity, capacity, 0)
    assert minillm.BlockPool(model, capacity, 3, cache_dtype).block_nbytes == 3 * per_token


@pytest.mark.parametrize("call", ["prefill", "chunked", "forward_batch"])
def test_over_capacity_changes_nothing(call):
    cache, other = KVCache(MODEL, 5), KVCache(MODEL, 8)
    minillm.prefill(MODEL, [1, 2, 3], cache)
    before = cache.keys.copy(), cache.values.copy()
    calls = {
        "prefill": lambda: minillm.prefill(MODEL, [4, 5, 6], cache),
        "chunked": lambda: minillm.prefill(MODEL, [4, 5, 6], cache, chunk=1),
        "forward_batch": lambda: minillm.forward_batch(MODEL, [([1], other), ([4, 5, 6], cache)]),
    }
    with pytest.raises(ValueError, match="holds 5 tokens, 3 are in use and 3 more were given; pass capacity=6"):
        calls[call]()
    assert (cache.length, other.length) == (3, 0)
    assert np.array_equal(cache.keys, before[0]) and np.array_equal(cache.values, before[1])


@pytest.mark.parametrize("rows", [1, 2])
def test_writing_into_a_full_cache_is_refused(rows):
    """NumPy itself would lay one row into no slot without a word, and complain of its own shapes about two."""
    cache = KVCache(MODEL, 3)
    minillm.prefill(MODEL, [1, 2, 3], cache)
    new = np.ones((rows, CONFIG.num_key_value_heads, CONFIG.head_dim))
    with pytest.raises(ValueError, match=f"holds 3 tokens, 3 are in use and {rows} more were given"):
        cache.write(0, new, new)


def test_a_bad_token_in_a_batch_changes_no_cache():
    first, second = KVCache(MODEL, 5), KVCache(MODEL, 5)
    with pytest.raises(ValueError, match="id 99"):
        minillm.forward_batch(MODEL, [([1], first), ([99], second)])
    assert (first.length, second.length) == (0, 0)


def test_without_a_number_there_is_room_for_2048_tokens():
    assert KVCache(MODEL).capacity == KVCache(MODEL).keys.shape[2] == 2048


def test_an_exactly_full_cache_is_fine():
    cache = KVCache(MODEL, 5)
    minillm.prefill(MODEL, [1, 2, 3, 4, 5], cache)
    assert cache.length == cache.capacity


@pytest.mark.parametrize("dtype", [None, "int8"])
def test_a_fork_shares_no_memory(dtype):
    cache = KVCache(MODEL, 5, dtype)
    minillm.prefill(MODEL, [1, 2], cache)
    copy = cache.fork()
    assert (copy.length, copy.capacity, copy.dtype) == (2, 5, dtype)
    for mine, its in zip(copy.memory.arrays, cache.memory.arrays, strict=True):
        assert np.array_equal(mine, its) and not np.shares_memory(mine, its)


def test_the_cache_has_the_model_s_dtype():
    model, _ = random_model(CONFIG, 0, dtype="float32")
    assert KVCache(model, 3).keys.dtype == np.float32


def test_float32_models_never_compute_in_float64():
    """One float64 array among the weights would double the time of every product after it."""
    model, _ = random_model(CONFIG, 0, dtype="float32")
    cache = KVCache(model, 8)
    assert minillm.prefill(model, [1, 2, 3], cache).dtype == np.float32
    assert minillm.decode_step(model, 1, cache).dtype == np.float32
    assert minillm.forward(model, [1, 2]).dtype == minillm.attention_weights(model, [1, 2], 1).dtype == np.float32


def test_a_cache_larger_than_the_memory_is_one_line():
    """A config.json may claim any context; what it claims is not believed before there is memory for it."""
    config = dataclasses.replace(CONFIG, max_position_embeddings=2**31, num_key_value_heads=2**10)
    model = dataclasses.replace(MODEL, config=config)
    with pytest.raises(
        ValueError, match=r"^capacity is 2147483648: not enough memory: 281474 GB needed; pass a smaller one$"
    ):
        KVCache(model, 2**31)


def test_the_layout_names_keys_keys_and_values_values():
    contiguous, paged = KVCache(MODEL, 6), minillm.PagedKVCache(minillm.BlockPool(MODEL, 4, 2))
    minillm.prefill(MODEL, [1, 2, 3], paged)
    for cache, owner, table, size in ((contiguous, contiguous, [0], 6), (paged, paged.pool, paged.table, 2)):
        layout = cache.layout()
        assert layout.keys is owner.keys and layout.values is owner.values
        assert (list(layout.table), layout.block_size) == (table, size)
