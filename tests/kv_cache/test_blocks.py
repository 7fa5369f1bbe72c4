"""BlockAllocator and PrefixTable: allocation, eviction, and prefixes that are what they say."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from minillm.kv_cache.blocks import BlockAllocator
from minillm.kv_cache.prefix import PrefixBlock, PrefixTable


def publish(allocator, tokens, blocks):
    """Make these blocks known as the holders of these tokens, one after another."""
    parent, size = None, allocator.block_size
    for number, block in enumerate(blocks):
        parent = allocator.prefixes.add(parent, tokens[number * size : (number + 1) * size], block)


def known_blocks(allocator, tokens):
    return [known.block for known in allocator.find_prefix(tokens)]


def test_free_blocks_are_handed_out_in_order_and_come_back_in_order():
    allocator = BlockAllocator(8, 4)
    table = allocator.allocate(5)
    assert table == [0, 1, 2, 3, 4]
    allocator.free(table)
    assert allocator.allocate(6) == [0, 1, 2, 3, 4, 5]  # blocks without known tokens are taken first


def test_all_or_nothing():
    allocator = BlockAllocator(4, 4)
    allocator.allocate(3)
    with pytest.raises(ValueError, match="2 blocks were asked for, but 1 of 4 are available"):
        allocator.allocate(2)
    assert (allocator.available, allocator.used) == (1, 3)


@pytest.mark.parametrize("numbers", [(0, 4), (4, 0), (-1, 4)])
def test_sizes_are_whole_numbers_from_one(numbers):
    with pytest.raises(ValueError, match="of at least 1"):
        BlockAllocator(*numbers)


def test_a_block_freed_twice_is_caught():
    allocator = BlockAllocator(4, 4)
    blocks = allocator.allocate(1)
    allocator.free(blocks)
    with pytest.raises(AssertionError, match="freed twice"):
        allocator.free(blocks)


def test_a_shared_block_is_free_when_the_last_holder_leaves():
    allocator = BlockAllocator(4, 4)
    [block] = allocator.allocate(1)
    allocator.share(block)
    allocator.free([block])
    assert (allocator.used, allocator.reference_counts[block]) == (1, 1)
    allocator.free([block])
    assert (allocator.used, allocator.available) == (0, 4)


def test_a_known_prefix_outlives_its_sequence_until_the_room_is_needed():
    allocator = BlockAllocator(4, 2)
    blocks = allocator.allocate(2)
    publish(allocator, [1, 2, 3, 4], blocks)
    allocator.free(blocks)
    assert allocator.available == 4
    assert known_blocks(allocator, [1, 2, 3, 4, 5]) == blocks
    assert allocator.allocate(2) != blocks and allocator.evictions == 0  # free blocks go first
    allocator.allocate(2)
    assert known_blocks(allocator, [1, 2, 3, 4, 5]) == [] and allocator.evictions == 2


def test_the_least_recently_used_is_evicted_first_and_children_before_their_parents():
    allocator = BlockAllocator(4, 1)
    old, new = allocator.allocate(2), allocator.allocate(2)
    publish(allocator, [1, 2], old)
    publish(allocator, [3, 4], new)
    allocator.free(old)
    allocator.free(new)
    allocator.share(old[0])  # used again: now the more recent
    allocator.free(old[:1])
    expected = [old[1], new[1], new[0], old[0]]
    assert [allocator.allocate(1)[0] for _ in range(4)] == expected


def test_one_token_is_left_to_run():
    """A prompt that is known to its last token still needs the logits after it."""
    allocator = BlockAllocator(4, 2)
    blocks = allocator.allocate(2)
    publish(allocator, [1, 2, 3, 4], blocks)
    assert known_blocks(allocator, [1, 2, 3, 4]) == blocks[:1]
    assert known_blocks(allocator, [1, 2, 3, 4, 9]) == blocks
    assert known_blocks(allocator, [1, 2, 3, 9, 4]) == blocks[:1]
    assert known_blocks(allocator, [1]) == []


def test_the_same_tokens_behind_others_are_another_block():
    table = PrefixTable()
    first = table.add(None, [1, 1], 0)
    table.add(first, [5, 5], 1)
    second = table.add(None, [2, 2], 2)
    table.add(second, [5, 5], 3)
    assert [known.block for known in table.find([1, 1, 5, 5], 2)] == [0, 1]
    assert [known.block for known in table.find([2, 2, 5, 5], 2)] == [2, 3]
    assert table.find([5, 5], 2) == []


def test_colliding_hashes_mix_nothing_up(monkeypatch):
    monkeypatch.setattr(PrefixBlock, "__hash__", lambda self: 7)
    table = PrefixTable()
    parents = [table.add(None, [token], token) for token in range(3)]
    for token, parent in enumerate(parents):
        table.add(parent, [8], 10 + token)
    for token in range(3):
        assert [known.block for known in table.find([token, 8], 1)] == [token, 10 + token]


def test_hashes_are_chained():
    parents = [PrefixBlock(None, (token,), 0) for token in range(2)]
    assert hash(PrefixBlock(parents[0], (5,), 0)) == hash(PrefixBlock(PrefixBlock(None, (0,), 1), (5,), 2))
    assert hash(PrefixBlock(parents[0], (5,), 0)) != hash(PrefixBlock(parents[1], (5,), 0))


def test_tokens_computed_twice_stay_known_in_the_first_block():
    table = PrefixTable()
    first = table.add(None, [1], 0)
    assert table.add(None, [1], 1) is first
    assert (0 in table, 1 in table, len(table)) == (True, False, 1)


@given(data=st.data(), num_blocks=st.integers(1, 20))
def test_allocated_blocks_are_distinct_whatever_is_free(data, num_blocks):
    allocator = BlockAllocator(num_blocks, 1)
    held = allocator.allocate(num_blocks)
    freed = data.draw(st.lists(st.sampled_from(held), unique=True))
    allocator.free(freed)
    again = allocator.allocate(data.draw(st.integers(0, len(freed))))
    assert len(set(again)) == len(again) and set(again) <= set(freed)


class Allocator(RuleBasedStateMachine):
    """Pools of up to 200 blocks; small ones are driven with their contents in test_paged.py."""

    allocator_class = BlockAllocator

    @initialize(num_blocks=st.integers(1, 200))
    def begin(self, num_blocks):
        self.allocator, self.tables, self.serial = self.allocator_class(num_blocks, 1), [], 0

    def take_after(self, count, after):
        return self.allocator.allocate(count)

    def draw_table(self, data):
        return self.tables[data.draw(st.integers(0, len(self.tables) - 1))]

    @rule(count=st.integers(1, 60))
    def allocate(self, count):
        if count <= self.allocator.available:
            self.tables.append(self.allocator.allocate(count))
        else:
            with pytest.raises(ValueError, match="are available"):
                self.allocator.allocate(count)

    @precondition(lambda self: self.tables)
    @rule(data=st.data(), count=st.integers(1, 5))
    def grow(self, data, count):
        table = self.draw_table(data)
        if count <= self.allocator.available:
            table += self.take_after(count, table[-1])

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def share(self, data):
        table = list(self.draw_table(data))
        for block in table:
            self.allocator.share(block)
        self.tables.append(table)

    def cached(self):
        return [block for block in self.allocator._unused if block in self.allocator.prefixes]

    @precondition(lambda self: self.cached())
    @rule(data=st.data())
    def adopt(self, data):
        block = data.draw(st.sampled_from(sorted(self.cached())))
        self.allocator.share(block)
        self.tables.append([block])

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def publish(self, data):
        self.serial += 1
        for place, block in enumerate(self.draw_table(data)):
            if block not in self.allocator.prefixes:
                self.allocator.prefixes.add(None, [1000 * self.serial + place], block)

    @precondition(lambda self: self.tables)
    @rule(data=st.data())
    def free(self, data):
        self.allocator.free(self.tables.pop(data.draw(st.integers(0, len(self.tables) - 1))))

    @invariant()
    def every_block_is_in_one_state_and_free_ones_are_taken_first(self):
        if not hasattr(self, "allocator"):
            return
        allocator, blocks = self.allocator, range(self.allocator.num_blocks)
        tables = Counter(block for table in self.tables for block in table)
        assert allocator.reference_counts == [tables[block] for block in blocks]
        unused = list(allocator._unused)
        assert sorted([*tables, *unused]) == list(blocks)
        known = [block in allocator.prefixes for block in unused]
        assert known == sorted(known)  # all free blocks stand before all cached ones
        assert (allocator.used, allocator.available) == (len(tables), len(unused))

    def teardown(self):
        for table in getattr(self, "tables", []):
            self.allocator.free(table)
        if hasattr(self, "allocator"):
            assert len(set(self.allocator.allocate(self.allocator.num_blocks))) == self.allocator.num_blocks


TestAllocator = Allocator.TestCase
TestAllocator.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
