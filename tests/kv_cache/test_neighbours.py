"""NeighbourAllocator: sequences get neighbouring blocks, also when the pool has been full for a long time."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis.stateful import invariant
from test_blocks import Allocator, known_blocks, publish

from minillm.kv_cache.neighbours import LONGEST_EXTENT, NeighbourAllocator, most_room


class Neighbours(Allocator):
    """Everything that holds for the plain allocator."""

    allocator_class = NeighbourAllocator

    def take_after(self, count, after):
        return self.allocator.allocate(count, after)

    @invariant()
    def every_extent_knows_its_blocks(self):
        if hasattr(self, "allocator"):
            allocator, blocks = self.allocator, range(self.allocator.num_blocks)
            used = Counter(b // allocator._extent for b in blocks if allocator.reference_counts[b])
            taken = Counter(b // allocator._extent for b in blocks if not allocator._is_free(b))
            extents = range(len(allocator._used_in))
            assert allocator._used_in.tolist() == [used[extent] for extent in extents]
            assert allocator._taken_in.tolist() == [taken[extent] for extent in extents]


TestNeighbours = Neighbours.TestCase
TestNeighbours.settings = Allocator.TestCase.settings


def test_one_sequence_gets_neighbours():
    allocator = NeighbourAllocator(16, 4)
    blocks = allocator.allocate(5)
    for _ in range(3):
        blocks += allocator.allocate(1, blocks[-1])
    assert blocks == list(range(8))


def test_sequences_that_grow_in_turn_keep_to_themselves():
    allocator = NeighbourAllocator(64, 4)
    tables = [allocator.allocate(2) for _ in range(4)]
    for _ in range(4):
        for table in tables:
            table += allocator.allocate(1, table[-1])
    for table in tables:
        assert table == list(range(table[0], table[0] + 6))


def test_many_blocks_go_where_they_fit_together():
    """The middle of the longest run would cut them in two; its beginning does not."""
    allocator = NeighbourAllocator(10, 4)
    allocator.allocate(2)
    assert allocator.allocate(7) == list(range(2, 9))


def publish_and_free(allocator, table, serial):
    publish(allocator, [1000 * serial + place for place in range(len(table))], table)
    allocator.free(table)


def test_a_pool_that_was_full_long_ago_still_gives_neighbours():
    """Sixteen sequences of 2 to 30 blocks grow in turn, and every finished one stays known until its room is needed.

    Blocks evicted one by one would be scattered: 99 segments for 100 blocks.
    """
    allocator, rng, serial, shares = NeighbourAllocator(512, 1), np.random.default_rng(0), 0, []
    running = []
    for _ in range(150):
        while len(running) < 16:
            running.append((allocator.allocate(int(rng.integers(2, 12))), int(rng.integers(12, 30))))
        for table, length in list(running):
            table += allocator.allocate(1, table[-1])
            if len(table) >= length:
                segments = 1 + sum(after != block + 1 for block, after in pairwise(table))
                shares.append(segments / len(table))
                publish_and_free(allocator, table, serial := serial + 1)
                running.remove((table, length))
    assert allocator.evictions > 800
    assert np.mean(shares[-100:]) < 0.2


def test_room_is_made_where_it_was_least_recently_used():
    allocator = NeighbourAllocator(512, 1)
    tables = [allocator.allocate(128) for _ in range(4)]
    for serial in (2, 0, 3, 1):
        publish_and_free(allocator, tables[serial], serial)
    taken = allocator.allocate(100)
    assert set(taken) <= set(tables[2])
    assert allocator.evictions < 100 + LONGEST_EXTENT
    assert known_blocks(allocator, [2000, 2001, 2002]) == tables[2][:2]  # the beginning goes last


def test_growing_does_not_take_what_another_left_behind_it():
    """Two conversations with one beginning: the second must not evict the end of the first."""
    allocator = NeighbourAllocator(512, 1)
    first = allocator.allocate(20)
    publish_and_free(allocator, first, 1)
    for block in first[:10]:
        allocator.share(block)
    allocator.allocate(5, first[9])
    assert len(known_blocks(allocator, [1000 + place for place in range(21)])) == 20


def test_a_shared_block_is_counted_once():
    """The first reference to a cached block makes it used. Further references to a used block change no count."""
    allocator = NeighbourAllocator(4, 1)
    publish_and_free(allocator, allocator.allocate(2), 1)
    assert (allocator._used_in.tolist(), allocator._taken_in.tolist()) == ([0, 0, 0, 0], [1, 1, 0, 0])
    for _ in range(3):
        allocator.share(0)
        assert (allocator._used_in.tolist(), allocator._taken_in.tolist()) == ([1, 0, 0, 0], [1, 1, 0, 0])
    for expected in (1, 1, 0):
        allocator.free([0])
        assert allocator._used_in.tolist() == [expected, 0, 0, 0]


@pytest.mark.parametrize(
    ("free", "wanted", "expected"),
    [("111111", 3, 0), ("0111111", 3, 4), ("0111111", 4, 1), ("0110111", 1, 5), ("0110111", 3, 4), ("0111011", 2, 2)],
)
def test_where_most_room_is(free, wanted, expected):
    """In the middle of the longest run, at its beginning if the wanted extents do not fit behind its middle."""
    assert most_room(np.array([letter == "1" for letter in free]), wanted) == expected
