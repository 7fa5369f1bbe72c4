"""KV caches in int8: the rounding of a row, what cannot be rounded, mixed batches, and the memory that they take."""

import dataclasses
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from golden_model import TOKENS, golden_model
from hypothesis import given
from hypothesis import strategies as st
from random_models import random_model
from test_checks import CONFIG, MODEL

import minillm
from minillm import BlockPool, Engine, KVCache, PagedKVCache, Sampling
from minillm.backends.exact import COLUMN_BITS, ROW_BITS, VALUE_BITS, _weights_on_grid, largest, norm, on_grid
from minillm.estimate.memory import cache_bytes, find_cache_format
from minillm.kv_cache.int8 import dequantize, quantize
from minillm.sampling import log_probabilities

TINIEST = 1e-43  # below it, float32 has no scale of 12 bits: its smallest number is 1.4e-45


@st.composite
def rows(draw, dtypes=(np.float32, np.float64)):
    """Some rows of one head: of any magnitudes, some zeros, some of one number over and over."""
    dtype, width = draw(st.sampled_from(dtypes)), draw(st.integers(1, 9))
    magnitude = st.sampled_from([0.0, 1e-44, 2.5e-43, 1e-40, 1e-30, 1e-3, 1.0, 7.0, 1e4, 1e30, 3e38])
    row = st.lists(st.floats(-1, 1), min_size=width, max_size=width)
    drawn = draw(st.lists(st.tuples(magnitude, row), min_size=1, max_size=5))
    return np.array([size * np.array(row) for size, row in drawn]).astype(dtype)


@given(x=rows())
def test_each_number_is_within_half_a_step(x):
    numbers, scales = quantize(x)
    assert (numbers.dtype, scales.dtype) == (np.int8, np.float32) and np.abs(numbers.astype(int)).max() <= 127
    error = np.abs(dequantize(numbers, scales, np.float64) - x)
    assert (error <= 0.50001 * scales[:, None] + TINIEST).all()  # x / scale is rounded, too


def test_numbers_keep_their_sign_where_float32_has_no_scale_for_them():
    """The scale is float32's smallest number, and 127 of it are less than the largest of the row."""
    numbers, scales = quantize(np.array([[1, -0.5, 0.9, 0.1]]) * 2.5e-43)
    assert numbers.tolist() == [[127, -89, 127, 18]] and scales == np.float32(1e-45)


@given(x=rows())
def test_a_step_is_hardly_larger_than_it_has_to_be(x):
    """A 127th of the largest number, and 1/2048 more at most: 12 bits."""
    _, scales = quantize(x)
    least = np.abs(x.astype(np.float64)).max(axis=-1) / 127
    assert (scales >= least * (1 - 1e-6) - TINIEST).all()
    assert (scales <= least * (1 + 2**-11) * (1 + 1e-6) + TINIEST).all()


@given(x=rows())
def test_number_times_scale_is_exact_in_float32(x):
    """So float32 and float64 read the same, and the exact backend's sums have no more bits than they may."""
    numbers, scales = quantize(x)
    found = dequantize(numbers, scales, np.float32)
    assert found.dtype == np.float32
    assert np.array_equal(found, dequantize(numbers, scales, np.float64))
    for number, scale, value in zip(numbers[:, 0], scales, found[:, 0], strict=True):
        assert Fraction(float(value)) == int(number) * Fraction(float(scale))
        fraction, _ = np.frexp(scale)
        assert fraction * 2**12 == np.rint(fraction * 2**12)


def exact_dot(one, other):
    """The sum of products as rational numbers, which never round."""
    return float(sum(Fraction(a) * Fraction(b) for a, b in zip(one.tolist(), other.tolist(), strict=True)))


@given(seed=st.integers(0, 2**32), size=st.sampled_from([2, 24, 128, 700]), like=st.sampled_from(["normal", "ones"]))
def test_no_sum_of_the_exact_backend_rounds(seed, size, like):
    """A score over head_dim, and a value over the keys, in two orders; all of one sign reach the bounds."""
    generator = np.random.default_rng(seed)
    draw = generator.normal if like == "normal" else lambda size: 1 - generator.random(size) / 1e3
    q, k, v = draw(size=size), draw(size=size), draw(size=(size, 3))
    q = on_grid(q, norm(q), ROW_BITS)
    k = dequantize(*quantize(on_grid(k, norm(k), COLUMN_BITS)), float)
    assert exact_dot(q, k) == sum((q * k).tolist()) == sum((q * k)[::-1].tolist()) == q @ k
    v = dequantize(*quantize(on_grid(v, largest(v), VALUE_BITS)), float)
    weights = _weights_on_grid(generator.random((1, 1, 1, size)), [(v[None], v[None])])[0, 0, 0]
    for column in v.T:
        terms = weights * column
        assert exact_dot(weights, column) == sum(terms.tolist()) == sum(terms[::-1].tolist())


@given(x=rows(), data=st.data())
def test_the_rounding_of_a_row_depends_on_that_row_alone(x, data):
    order = data.draw(st.permutations(range(len(x))))
    numbers, scales = quantize(x)
    alone = [quantize(row[None]) for row in x]
    together = quantize(x[order])
    assert np.array_equal(together[0], numbers[order]) and np.array_equal(together[1], scales[order])
    assert np.array_equal(np.concatenate([n for n, _ in alone]), numbers)
    assert np.array_equal(np.concatenate([s for _, s in alone]), scales)


def test_zeros_are_zeros():
    numbers, scales = quantize(np.array([[0.0, -0.0], [1.0, 0.0]]))
    assert scales[0] == 0 and np.array_equal(dequantize(numbers, scales, float)[:, 1], [0, 0])
    assert not numbers[0].any() and not KVCache(MODEL, 2, "int8").segments(0, 2)[0][0].any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_a_row_that_is_not_finite_is_read_as_nan_and_its_neighbours_are_not(bad, dtype):
    """A NaN with any bits: those of some would round to a number."""
    x = np.array([[1.0, 2.0], [bad, 3.0], [4.0, 5.0]], dtype)
    if np.isnan(bad) and dtype == np.float32:
        x[1, 0] = np.array([0x7FFFFFFF], np.uint32).view(np.float32)[0]
    numbers, scales = quantize(x)
    found = dequantize(numbers, scales, dtype)
    assert np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()


def test_float64_beyond_float32_s_scales_is_nan():
    numbers, scales = quantize(np.array([[1e200, 1.0]]))
    assert np.isnan(scales[0]) and np.isnan(dequantize(numbers, scales, float)).all()


def overflowing_model(backend):
    """The embedding of token 3 is infinite, and so are its keys; logits without it are finite."""
    model, _ = random_model(dataclasses.replace(CONFIG, tie_word_embeddings=False), 0, backend, "float32")
    embedding = np.array(model.embedding)
    embedding[3] = np.inf
    return dataclasses.replace(model, embedding=embedding)


@pytest.mark.parametrize("cache_dtype", [None, "int8"])
def test_infinite_keys_end_a_request_with_one_line_and_no_other(cache_dtype):
    """As with floats: the logits are not finite, and sampling says so."""
    with np.errstate(all="ignore"):
        model = overflowing_model("plain")
        with pytest.raises(ValueError, match=r"not finite|NaN|overflow") as caught:
            minillm.generate(model, [1, 3], 2, cache_dtype=cache_dtype)
        assert "\n" not in str(caught.value)
        engine = Engine(model, cache_dtype=cache_dtype)
        bad, good = (
            engine.submit([1, 3], 4, Sampling(ignore_eos=True)),
            engine.submit([1, 2], 4, Sampling(ignore_eos=True)),
        )
        for _ in range(4):
            with pytest.raises(ValueError):
                engine.step()
        engine.cancel(bad)
        engine.run()
        assert (
            good.tokens == minillm.generate(model, [1, 2], 4, Sampling(ignore_eos=True), cache_dtype=cache_dtype).tokens
        )


def test_without_a_cache_keys_and_values_are_rounded_too():
    asked = Sampling(logprobs=0, ignore_eos=True)
    out = minillm.generate(MODEL, [1, 2, 3], 5, asked, use_cache=False, cache_dtype="int8")
    sequence = [1, 2, 3, *out.tokens]
    naive, floats = (minillm.forward(MODEL, sequence[:-1], dtype)[2:] for dtype in ("int8", None))  # [5, vocab]
    found = [entry.logprob for entry in out.logprobs]
    for logits, same in ((naive, True), (floats, False)):
        expected = [log_probabilities(row)[token] for row, token in zip(logits, out.tokens, strict=True)]
        assert np.allclose(found, expected, rtol=1e-12) == same


@pytest.mark.parametrize("dtype", ["int4", "float32", "INT8", ""])
def test_another_dtype_is_one_line(dtype):
    for make in (
        lambda: KVCache(MODEL, 4, dtype),
        lambda: BlockPool(MODEL, 4, 2, dtype),
        lambda: Engine(MODEL, cache_dtype=dtype),
        lambda: minillm.StaticBatching(MODEL, 2, dtype),
        lambda: minillm.generate(MODEL, [1], 2, cache_dtype=dtype),
        lambda: minillm.generate(MODEL, [1], 2, use_cache=False, cache_dtype=dtype),
        lambda: minillm.speculative_generate(MODEL, minillm.PromptLookup(), [1], 2, cache_dtype=dtype),
        lambda: minillm.score(MODEL, [1, 2], dtype),
        lambda: minillm.forward(MODEL, [1, 2], dtype),
    ):
        with pytest.raises(
            ValueError, match=r"^the cache's dtype is .*; expected 'int8', or None for the model's own$"
        ):
            make()


def test_a_backend_whose_kernels_read_floats_says_so():
    model, _ = random_model(CONFIG, 0, "cupy")
    with pytest.raises(
        ValueError, match=r"^the cupy backend reads caches of floats only; leave out the cache's dtype, int8$"
    ):
        KVCache(model, 4, "int8")


@pytest.mark.parametrize("backend", ["exact", "numpy", "plain"])
def test_sequences_of_both_kinds_share_a_batch(backend):
    """Each reads and writes its own cache; the others change nothing."""
    model = golden_model(backend)
    pool = BlockPool(model, 60, 4, "int8")
    caches = [
        KVCache(model, 100),
        KVCache(model, 100, "int8"),
        PagedKVCache(pool),
        PagedKVCache(BlockPool(model, 60, 4)),
    ]
    for part in (slice(0, 70), slice(70, 71), slice(71, 100)):
        together = minillm.forward_batch(model, [(TOKENS[part], cache) for cache in caches])
    for found, dtype in zip(together, [None, "int8", "int8", None], strict=True):
        expected = minillm.forward(model, TOKENS, dtype)[-1]
        assert np.array_equal(found, expected) if backend == "exact" else np.allclose(found, expected, atol=0.05)
    assert not np.array_equal(together[0], together[1])


def test_swapping_into_a_pool_of_another_dtype_is_one_line():
    cache = PagedKVCache(BlockPool(MODEL, 4, 2, "int8"))
    minillm.prefill(MODEL, [1, 2, 3], cache)
    saved, other = cache.swap_out(), PagedKVCache(BlockPool(MODEL, 4, 2))
    with pytest.raises(ValueError, match=r"^the saved keys are in int8, those of the pool in float64$"):
        other.swap_in(saved)
    assert (other.length, other.table) == (0, [])


def test_the_layout_has_the_scales():
    """A kernel finds a number of token t of head h, and its scale, at the same layer, head and slot."""
    pool = BlockPool(MODEL, 6, 2, "int8")
    pool.allocate(1)
    for cache in (KVCache(MODEL, 6, "int8"), PagedKVCache(pool)):
        minillm.prefill(MODEL, [1, 2, 3], cache)
        layout, (keys, values) = cache.layout(), cache.segments(1, 3)[0]
        for token in range(3):
            slot = layout.table[token // layout.block_size] * layout.block_size + token % layout.block_size
            for stored, scales, read in (
                (layout.keys, layout.key_scales, keys), (layout.values, layout.value_scales, values),
            ):  # fmt: skip
                for head in range(CONFIG.num_key_value_heads):
                    assert np.array_equal(stored[1, head, slot] * float(scales[1, head, slot]), read[head, token])
        assert layout.bytes_per_token == 2 * CONFIG.num_key_value_heads * (CONFIG.head_dim + 4)


def test_the_layout_of_floats_has_none():
    layout = KVCache(MODEL, 6).layout()
    assert (layout.key_scales, layout.value_scales) == (None, None)
    assert layout.bytes_per_token == 2 * CONFIG.num_key_value_heads * CONFIG.head_dim * 8


def allocated(make):
    """Bytes that NumPy takes for what `make` returns, as Python's own tracer counts them."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = make()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return after - before, kept


@pytest.mark.parametrize("head_dim", [32, 64, 128])
def test_the_memory_is_what_it_says_and_what_the_estimates_say(head_dim):
    """(1 + 4 / head_dim) / 4 of float32's."""
    config = dataclasses.replace(CONFIG, head_dim=head_dim)
    model, _ = random_model(config, 0, dtype="float32")
    taken, cache = allocated(lambda: KVCache(model, 2000, "int8"))
    assert cache.nbytes <= taken < cache.nbytes + 5000
    assert cache.nbytes == cache_bytes(config, 1, 2000, find_cache_format("int8", config).bytes_each)
    assert cache.nbytes / KVCache(model, 2000).nbytes == (1 + 4 / head_dim) / 4
    taken, pool = allocated(lambda: BlockPool(model, 125, 16, "int8"))
    assert pool.block_nbytes * 125 == cache.nbytes <= taken < cache.nbytes + 60_000


@pytest.mark.parametrize("head_dim, times", [(8, 32 / 12), (64, 256 / 68)])
def test_the_default_pool_has_blocks_for_more_tokens_in_the_same_memory(head_dim, times):
    model, _ = random_model(dataclasses.replace(CONFIG, head_dim=head_dim), 0, dtype="float32")
    floats, int8 = Engine(model).pool, Engine(model, cache_dtype="int8").pool
    assert int8.num_blocks == -(-int(1024 * 16 * times) // 16)
    assert floats.memory.nbytes * 0.999 < int8.memory.nbytes <= floats.memory.nbytes + int8.block_nbytes


def test_too_large_a_cache_says_how_much_it_needs_in_int8():
    config = dataclasses.replace(CONFIG, max_position_embeddings=2**31, num_key_value_heads=2**14)
    model = dataclasses.replace(MODEL, config=config)
    needed = 2 * config.num_hidden_layers * 2**14 * (config.head_dim + 4) * 2**31 // 10**9
    with pytest.raises(ValueError, match=f"^capacity is 2147483648: not enough memory: {needed} GB needed; pass a sm"):
        KVCache(model, 2**31, "int8")


def test_a_chat_stays_in_int8_as_its_cache_grows():
    model = minillm.load("story")
    model.tokenizer.chat_template = "{{ messages[-1].content }}"
    chat = minillm.Conversation(model, cache_dtype="int8")
    assert chat.answer("The capital of France is").text == " Paris."
    assert chat.cache.dtype == "int8" and chat.cache.length > 1
