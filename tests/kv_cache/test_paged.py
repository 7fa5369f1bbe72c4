"""PagedKVCache: every cache holds just its own tokens, and no block is lost, freed twice or shared by mistake.

The contents are written by hand: what a token leaves in the cache is a number that depends on all tokens before it,
as real keys and values do, so a block that belongs to another sequence shows.
"""

from collections import Counter

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from random_models import random_model
from test_checks import CONFIG, MODEL

import minillm
from minillm.kv_cache.block_table import slot_ranges
from minillm.kv_cache.int8 import dequantize, quantize
from minillm.kv_cache.paged import BlockPool, PagedKVCache

LAYERS, KV_HEADS, HEAD_DIM = CONFIG.num_hidden_layers, CONFIG.num_key_value_heads, CONFIG.head_dim


def marks(tokens):
    """One number for each token, which depends on it and all before it."""
    found = [7]
    for token in tokens:
        found.append((found[-1] * 31 + token + 1) % 1_000_003)
    return np.array(found[1:], float)


def contents(tokens, layer):
    """What the keys of these tokens should be, `[kv_heads, tokens, head_dim]`; the values are VALUE times the keys.

    Each head and layer has a magnitude of its own, so that in int8 a wrong scale shows.
    """
    magnitudes = marks(tokens)[:, None] * (1 + np.arange(KV_HEADS) + KV_HEADS * layer)[:, None, None]
    return magnitudes * (1 + np.arange(HEAD_DIM)) / 1024


VALUE = -3.0


def as_stored(pool, rows):
    """What a cache of this pool gives back for these keys or values."""
    return rows if pool.memory.stored_as is None else dequantize(*quantize(rows), float)


def append(cache, before, new):
    """What `forward` does with a cache."""
    cache.reserve(len(new))
    for layer in range(LAYERS):
        k = contents(before + new, layer)[:, len(before) :].swapaxes(0, 1)
        cache.write(layer, k, VALUE * k)
    cache.length += len(new)


def assert_holds(cache, tokens):
    assert cache.length == len(tokens)
    for layer in range(LAYERS):
        segments = cache.segments(layer, len(tokens))
        keys = np.concatenate([np.zeros((KV_HEADS, 0, HEAD_DIM)), *(k for k, _ in segments)], axis=1)
        values = np.concatenate([np.zeros((KV_HEADS, 0, HEAD_DIM)), *(v for _, v in segments)], axis=1)
        expected = contents(tokens, layer)
        assert np.array_equal(keys, as_stored(cache.pool, expected))
        assert np.array_equal(values, as_stored(cache.pool, VALUE * expected))


class PagedCaches(RuleBasedStateMachine):
    """The plain model of a cache is the list of its tokens; of the pool, the tables that hold its blocks."""

    dtype = None

    @initialize(num_blocks=st.integers(1, 9), block_size=st.integers(1, 4))
    def begin(self, num_blocks, block_size):
        self.pool = BlockPool(MODEL, num_blocks, block_size, self.dtype)
        self.caches, self.swapped, self.history = [], [], [[0, 0, 0]]

    def draw_cache(self, data):
        return data.draw(st.sampled_from(self.caches))

    @precondition(lambda self: len(self.caches) < 5)
    @rule(data=st.data(), cut=st.integers(0, 12), more=st.lists(st.integers(0, 1), min_size=1, max_size=4))
    def adopt(self, data, cut, more):
        """A new sequence that begins as an earlier one did."""
        tokens = data.draw(st.sampled_from(self.history))[:cut] + more
        cache = PagedKVCache(self.pool)
        known = cache.adopt_prefix(tokens)
        assert known % self.pool.block_size == 0 and known < len(tokens)
        self.caches.append([cache, tokens[:known]])

    @precondition(lambda self: self.caches)
    @rule(data=st.data(), new=st.lists(st.integers(0, 1), min_size=1, max_size=6))
    def append(self, data, new):
        pair = self.draw_cache(data)
        cache, tokens = pair
        if cache.blocks_needed(len(new)) > self.pool.available:
            table = list(cache.table)
            with pytest.raises(ValueError, match=r"more tokens? needs? \d+ more blocks? .* are available"):
                cache.reserve(len(new))
            assert cache.table == table
        else:
            append(cache, tokens, new)
            pair[1] = tokens + new
            self.history.append(pair[1])

    @precondition(lambda self: self.caches)
    @rule(data=st.data(), count=st.integers(0, 6))
    def reserve_and_be_interrupted(self, data, count):
        """Blocks for tokens that never came stay with the cache, until the next tokens or until it is freed."""
        cache, _ = self.draw_cache(data)
        if cache.blocks_needed(count) <= self.pool.available:
            cache.reserve(count)

    @precondition(lambda self: self.caches)
    @rule(data=st.data())
    def publish(self, data):
        cache, tokens = self.draw_cache(data)
        cache.publish(tokens)

    @precondition(lambda self: self.caches)
    @rule(data=st.data())
    def truncate(self, data):
        pair = self.draw_cache(data)
        length = data.draw(st.integers(0, len(pair[1])))
        pair[0].truncate(length)
        pair[1] = pair[1][:length]
        assert len(pair[0].table) == self.pool.blocks_for(length)

    @precondition(lambda self: 0 < len(self.caches) < 5)
    @rule(data=st.data())
    def fork(self, data):
        cache, tokens = self.draw_cache(data)
        self.caches.append([cache.fork(), list(tokens)])

    @precondition(lambda self: any(tokens for _, tokens in self.caches))
    @rule(data=st.data())
    def swap_out(self, data):
        pair = data.draw(st.sampled_from([pair for pair in self.caches if pair[1]]))
        self.caches.remove(pair)
        self.swapped.append((pair[0].swap_out(), pair[1]))

    @precondition(lambda self: self.swapped)
    @rule(data=st.data())
    def swap_in(self, data):
        saved, tokens = self.swapped[0]
        cache = PagedKVCache(self.pool)
        cache.adopt_prefix(tokens)
        if cache.blocks_needed(saved.length - cache.length) > self.pool.available:
            cache.free()
        else:
            cache.swap_in(saved)
            self.caches.append([cache, self.swapped.pop(0)[1]])

    @precondition(lambda self: self.caches)
    @rule(data=st.data())
    def free(self, data):
        pair = self.draw_cache(data)
        pair[0].free()
        self.caches.remove(pair)

    @invariant()
    def every_cache_holds_its_own_tokens(self):
        for cache, tokens in getattr(self, "caches", []):
            assert_holds(cache, tokens)

    @invariant()
    def every_block_is_counted_once_for_each_table_that_holds_it(self):
        tables = Counter(block for cache, _ in getattr(self, "caches", []) for block in cache.table)
        if hasattr(self, "pool"):
            assert self.pool.reference_counts == [tables[block] for block in range(self.pool.num_blocks)]
            assert (self.pool.used, self.pool.available) == (len(tables), self.pool.num_blocks - len(tables))

    @invariant()
    def every_known_prefix_lies_where_the_table_says(self):
        if hasattr(self, "pool"):
            for tokens in self.history:
                known = self.pool.prefixes.find(tokens, self.pool.block_size)
                assert_holds_blocks(self.pool, [entry.block for entry in known], tokens)

    def teardown(self):
        for cache, _ in getattr(self, "caches", []):
            cache.free()
        if hasattr(self, "pool"):
            assert (self.pool.used, self.pool.available) == (0, self.pool.num_blocks)
            assert len(self.pool.allocate(self.pool.num_blocks)) == self.pool.num_blocks  # all of them can be had


def assert_holds_blocks(pool, blocks, tokens):
    for number, block in enumerate(blocks):
        slots = slice(block * pool.block_size, (block + 1) * pool.block_size)
        place = slice(number * pool.block_size, (number + 1) * pool.block_size)
        keys, values = pool.memory.read([array[0][:, slots] for array in pool.memory.arrays])
        expected = contents(tokens, 0)[:, place]
        assert np.array_equal(keys, as_stored(pool, expected))
        assert np.array_equal(values, as_stored(pool, VALUE * expected))


class PagedCachesInInt8(PagedCaches):
    dtype = "int8"


TestPagedCaches = PagedCaches.TestCase
TestPagedCaches.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestPagedCachesInInt8 = PagedCachesInInt8.TestCase
TestPagedCachesInInt8.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_neighbouring_blocks_are_one_piece():
    assert slot_ranges([3, 4, 5, 9, 8], 2, 0, 10) == [slice(6, 12), slice(18, 20), slice(16, 18)]
    assert slot_ranges([3, 4, 5, 9, 8], 2, 3, 7) == [slice(9, 12), slice(18, 19)]
    assert slot_ranges([3], 2, 1, 1) == []


def test_pieces_are_views():
    cache = PagedKVCache(BlockPool(MODEL, 6, 2))
    append(cache, [], [1, 2, 3, 4, 5])
    [(keys, values)] = cache.segments(0, 5)
    assert np.shares_memory(keys, cache.pool.keys) and np.shares_memory(values, cache.pool.values)


@pytest.mark.parametrize("dtype", [None, "int8"])
def test_forks_share_full_blocks_and_copy_only_the_one_they_write(dtype):
    pool = BlockPool(MODEL, 8, 2, dtype)
    first = PagedKVCache(pool)
    append(first, [], [1, 2, 3])
    samples = [first.fork() for _ in range(3)]
    assert pool.used == 2
    for number, sample in enumerate(samples):
        append(sample, [1, 2, 3], [number])
    append(first, [1, 2, 3], [9])
    assert pool.used == 1 + 4  # the partial block was copied for all but the last of the four
    for number, sample in enumerate(samples):
        assert_holds(sample, [1, 2, 3, number])
    assert_holds(first, [1, 2, 3, 9])


def test_a_copy_that_was_interrupted_is_made_again(monkeypatch):
    """Until it is whole, the shared block stays in the table; and nothing is lost."""
    pool = BlockPool(MODEL, 8, 4)
    cache = PagedKVCache(pool)
    minillm.prefill(MODEL, [1, 2, 3], cache)
    fork = cache.fork()
    expected = minillm.prefill(MODEL, [1, 2, 3, 4], minillm.KVCache(MODEL, 8))

    def interrupted(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pool, "copy_block", interrupted)
        minillm.decode_step(MODEL, 4, fork)
    assert (fork.table, pool.used) == (cache.table, 1)
    np.testing.assert_allclose(minillm.decode_step(MODEL, 4, fork), expected, rtol=1e-9, atol=1e-12)
    cache.free()
    fork.free()
    assert pool.used == 0


def test_a_fork_leaves_reserved_blocks_to_the_first():
    pool = BlockPool(MODEL, 8, 2)
    first = PagedKVCache(pool)
    append(first, [], [1])
    first.reserve(5)
    second = first.fork()
    assert (len(first.table), len(second.table)) == (3, 1)
    append(first, [1], [2, 3, 4])
    append(second, [1], [5, 6, 7])
    assert_holds(first, [1, 2, 3, 4])
    assert_holds(second, [1, 5, 6, 7])


def test_pieces_follow_a_block_that_was_copied():
    first = PagedKVCache(BlockPool(MODEL, 8, 4))
    append(first, [], [1, 2, 3])
    second = first.fork()
    second.segments(0, 3)
    append(second, [1, 2, 3], [4])
    first.truncate(2)
    append(first, [1, 2], [9])  # where the third token of both was
    keys = np.concatenate([keys for keys, _ in second.segments(0, 3)], axis=1)
    assert np.array_equal(keys, contents([1, 2, 3], 0))


def test_a_table_that_is_emptied_and_begins_with_known_blocks_reads_those():
    """Nothing is reserved between the two reads, which ask for as many tokens."""
    pool = BlockPool(MODEL, 8, 2)
    cache, other = PagedKVCache(pool), PagedKVCache(pool)
    append(cache, [], [1, 2, 3, 4])
    append(other, [], [5, 6, 7, 8])
    other.publish([5, 6, 7, 8])
    assert_holds(cache, [1, 2, 3, 4])
    cache.free()
    cache.adopt_prefix([5, 6, 7, 8, 9])
    assert_holds(cache, [5, 6, 7, 8])


def test_a_known_block_that_is_written_again_is_no_longer_known():
    """Known and nobody else's: no copy is needed, so a truncated cache can always be filled again."""
    pool = BlockPool(MODEL, 2, 2)
    cache = PagedKVCache(pool)
    append(cache, [], [1, 2, 3, 4])
    cache.publish([1, 2, 3, 4])
    cache.truncate(3)
    append(cache, [1, 2, 3], [5])
    assert [known.block for known in pool.find_prefix([1, 2, 3, 4, 0])] == cache.table[:1]
    cache.publish([1, 2, 3, 5])
    assert [known.block for known in pool.find_prefix([1, 2, 3, 5, 0])] == cache.table


def test_caches_that_do_not_fit_together_change_nothing():
    """Each would fit alone. Neither is written, and the blocks that the first had taken are back."""
    pool = BlockPool(MODEL, 3, 2)
    first, second = PagedKVCache(pool), PagedKVCache(pool)
    with pytest.raises(ValueError, match="3 more tokens need 2 more blocks of 2, but 1 of the pool's 3 are available"):
        minillm.forward_batch(MODEL, [([1, 2, 3], first), ([1, 2, 3], second)])
    assert (first.length, second.length, pool.used) == (0, 0, 0)
    minillm.forward_batch(MODEL, [([1, 2, 3], first), ([1], second)])
    assert (first.length, second.length, pool.used) == (3, 1, 3)


def test_a_prompt_that_does_not_fit_is_refused_before_its_first_chunk():
    cache = PagedKVCache(BlockPool(MODEL, 2, 2))
    with pytest.raises(ValueError, match="5 more tokens need 3 more blocks"):
        minillm.prefill(MODEL, [1, 2, 3, 4, 5], cache, chunk=1)
    assert (cache.length, cache.pool.used) == (0, 0)


def test_swapping_in_less_than_is_known_changes_nothing():
    """Another sequence has computed more of the same tokens meanwhile."""
    pool = BlockPool(MODEL, 8, 2)
    first, second = PagedKVCache(pool), PagedKVCache(pool)
    append(second, [], [1, 2, 3])
    saved = second.swap_out()
    append(first, [], [1, 2, 3, 4, 5])
    first.publish([1, 2, 3, 4, 5])
    assert second.adopt_prefix([1, 2, 3, 4, 5]) == 4
    second.swap_in(saved)
    assert_holds(second, [1, 2, 3, 4])
    assert pool.used == 3


def test_keys_of_another_float_are_not_swapped_in():
    pools = [BlockPool(random_model(CONFIG, 0, dtype=dtype)[0], 4, 2) for dtype in ("float32", "float64")]
    caches = [PagedKVCache(pool) for pool in pools]
    append(caches[0], [], [1, 2, 3])
    with pytest.raises(ValueError, match=r"^the saved keys are in float32, those of the pool in float64$"):
        caches[1].swap_in(caches[0].swap_out())
    assert (caches[1].length, pools[1].used) == (0, 0)


def test_no_new_tokens_need_no_block_even_where_the_next_one_is_shared():
    pool = BlockPool(MODEL, 1, 2)
    first = PagedKVCache(pool)
    append(first, [], [1])
    second = first.fork()
    assert [second.blocks_needed(new) for new in (0, 1)] == [0, 1] and pool.available == 0
    second.reserve(0)
    with pytest.raises(ValueError, match="1 more token needs 1 more block of 2, but 0 of the pool's 1 are available"):
        second.reserve(1)


def test_sizes_in_bytes():
    pool = BlockPool(MODEL, 6, 4)
    cache = PagedKVCache(pool)
    assert (cache.nbytes, cache.capacity) == (0, 0)
    append(cache, [], [1, 2, 3, 4, 5])
    assert (cache.nbytes, cache.capacity) == (minillm.KVCache(MODEL, 8).nbytes, 8)


@pytest.mark.parametrize("length", [-1, 4])
def test_truncate_refuses_what_it_does_not_hold(length):
    cache = PagedKVCache(BlockPool(MODEL, 6, 4))
    append(cache, [], [1, 2, 3])
    with pytest.raises(ValueError, match="expected an integer from 0 to 3"):
        cache.truncate(length)
    assert cache.length == 3


def test_a_cache_of_another_model_is_refused():
    other, _ = random_model(CONFIG, 1)
    with pytest.raises(ValueError, match="another model"):
        minillm.prefill(MODEL, [1], PagedKVCache(BlockPool(other, 2, 4)))


def test_the_context_ends_a_paged_cache_too():
    cache = PagedKVCache(BlockPool(MODEL, 20, 4))
    minillm.prefill(MODEL, [1] * 16, cache)
    with pytest.raises(ValueError, match="more than the model's context of 16"):
        minillm.decode_step(MODEL, 1, cache)
    assert (cache.length, cache.pool.used) == (16, 4)


def test_a_failed_batch_keeps_what_another_cache_holds():
    """Giving back what was reserved must not touch tokens, nor a fork that shares them."""
    pool = BlockPool(MODEL, 4, 2)
    first = PagedKVCache(pool)
    append(first, [], [1, 2, 3])
    second = first.fork()
    with pytest.raises(ValueError, match="more block"):
        minillm.forward_batch(MODEL, [([1, 2], first), ([1, 2, 3], second)])
    assert_holds(first, [1, 2, 3])
    assert_holds(second, [1, 2, 3])


@pytest.mark.parametrize("dtype", [None, "int8"])
@pytest.mark.parametrize("scattered", [False, True])
def test_many_short_segments_are_copied_together_and_few_are_views(scattered, dtype):
    """Twenty blocks of one token, neighbours or every second block: the same keys and values."""
    pool = BlockPool(MODEL, 60, 1, dtype)
    taken = pool.allocate(60)
    pool.free(taken[::2] if scattered else taken)
    cache, tokens = PagedKVCache(pool), list(range(10)) * 2
    append(cache, [], tokens)
    assert (cache.table == list(range(20))) != scattered
    segments = cache.segments(0, 20)
    assert len(segments) == 1
    assert np.shares_memory(segments[0][0], pool.keys) == (dtype is None and not scattered)
    assert_holds(cache, tokens)
    for end in (1, 9, 19):  # a part of the tokens
        found = np.concatenate([k for k, _ in cache.segments(1, end)], axis=1)
        assert np.array_equal(found, as_stored(pool, contents(tokens, 1)[:, :end]))


def test_a_fork_keeps_a_list_of_known_blocks_of_its_own():
    """Both grow apart and both publish: what is found for the tokens of each is what each computed."""
    pool = BlockPool(MODEL, 20, 1)
    first = PagedKVCache(pool)
    append(first, [], [1, 2])
    first.publish([1, 2])
    second = first.fork()
    append(first, [1, 2], [3])
    first.publish([1, 2, 3])
    append(second, [1, 2], [4, 5])
    second.publish([1, 2, 4, 5])
    for tokens in ([1, 2, 3], [1, 2, 4, 5]):
        found = PagedKVCache(pool)
        assert found.adopt_prefix([*tokens, 0]) == len(tokens)
        assert_holds(found, tokens)
    assert len(pool.find_prefix([1, 2, 3, 5, 0])) == 3  # nobody computed 5 after 3


def test_sequences_that_grow_in_turn_lie_in_neighbouring_blocks():
    """Two grow by a token at a time, and a fork of the first, which copies the block that both would write."""
    pool = BlockPool(MODEL, 128, 2)
    caches = [PagedKVCache(pool), PagedKVCache(pool)]
    for _ in range(9):
        for cache in caches:
            append(cache, [0] * cache.length, [0])
    assert [len(cache.segments(0, 9)) for cache in caches] == [1, 1]
    fork = caches[0].fork()
    caches[0].free()
    for _ in range(4):
        append(fork, [0] * fork.length, [0])
    assert len(fork.segments(0, 13)) == 1


@pytest.mark.parametrize("dtype", [None, "int8"])
def test_a_swapped_cache_is_a_copy(dtype):
    """Its blocks are written by others while it is away."""
    pool = BlockPool(MODEL, 2, 2, dtype)
    cache = PagedKVCache(pool)
    append(cache, [], [1, 2, 3])
    saved = cache.swap_out()
    other = PagedKVCache(pool)
    append(other, [], [7, 8, 9])
    other.free()
    cache.swap_in(saved)
    assert_holds(cache, [1, 2, 3])
