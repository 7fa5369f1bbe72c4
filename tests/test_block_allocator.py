"""BlockAllocator and PrefixTable: neighbours, eviction, and prefixes that are what they say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.block_allocator import BlockAllocator
from minillm.prefix_table import PrefixBlock, PrefixTable


def publish(allocator, tokens, blocks):
    """Make these blocks known as the holders of these tokens, one after another."""
    parent, size = None, allocator.block_size
    for number, block in enumerate(blocks):
        parent = allocator.prefixes.add(parent, tokens[number * size : (number + 1) * size], block)


def known_blocks(allocator, tokens):
    return [known.block for known in allocator.find_prefix(tokens)]


def test_one_sequence_gets_neighbours():
    allocator = BlockAllocator(16, 4)
    blocks = allocator.allocate(5)
    for _ in range(3):
        blocks += allocator.allocate(1, blocks[-1])
    assert blocks == list(range(8))


def test_sequences_that_grow_in_turn_keep_to_themselves():
    allocator = BlockAllocator(64, 4)
    tables = [allocator.allocate(2) for _ in range(4)]
    for _ in range(4):
        for table in tables:
            table += allocator.allocate(1, table[-1])
    for table in tables:
        assert table == list(range(table[0], table[0] + 6))


def test_many_blocks_go_where_they_fit_together():
    """The middle of the longest run would cut them in two; its beginning does not."""
    allocator = BlockAllocator(10, 4)
    allocator.allocate(2)
    assert allocator.allocate(7) == list(range(2, 9))


def test_all_or_nothing():
    allocator = BlockAllocator(4, 4)
    allocator.allocate(3)
    with pytest.raises(ValueError, match="2 blocks were asked for, but 1 of 4 are available"):
        allocator.allocate(2)
    assert (allocator.available, allocator.held) == (1, 3)


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
    allocator.hold(block)
    allocator.free([block])
    assert (allocator.held, allocator.reference_counts[block]) == (1, 1)
    allocator.free([block])
    assert (allocator.held, allocator.available) == (0, 4)


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
    allocator.hold(old[0])  # used again: now the more recent
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
    again = allocator.allocate(data.draw(st.integers(0, len(freed))), data.draw(st.none() | st.sampled_from(held)))
    assert len(set(again)) == len(again) and set(again) <= set(freed)
