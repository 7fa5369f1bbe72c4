"""BuddyAllocator: contiguous memory in chunks of 2^k slots, the allocator of the vLLM paper's baselines.

A request gets the smallest chunk that holds it. A larger free chunk is halved until it is small enough; two free
halves are merged again (Knowlton, A Fast Storage Allocator, CACM 8(10), 1965). External fragmentation is what
rounding up wastes, plus the free chunks that are too small for the next request.

    allocate(3) of 8 slots:   [  4  |  4  ]   the chunk of 8 is halved once; slots 0 to 3 are taken
"""


class BuddyAllocator:
    """Slots 0 to `slots` - 1.

    Attributes:
        slots: their number; if it is not a power of two, the memory starts as several chunks.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free: dict[int, set[int]] = {1 << k: set() for k in range(slots.bit_length())}  # size: starts
        start = 0
        for size in sorted(self._free, reverse=True):
            if slots & size:
                self._free[size].add(start)
                start += size

    def allocate(self, slots: int) -> tuple[int, int] | None:
        """Return (start, size) of the smallest chunk that holds `slots` slots, or None if no free chunk does."""
        wanted = next_power_of_two(slots)
        size = next((size for size in sorted(self._free) if size >= wanted and self._free[size]), None)
        if size is None:
            return None
        start = min(self._free[size])
        self._free[size].remove(start)
        while size > wanted:
            size //= 2
            self._free[size].add(start + size)
        return start, size

    def free(self, chunk: tuple[int, int]) -> None:
        """Free a chunk, and merge it with its other half while that half is free too."""
        start, size = chunk
        while (buddy := start ^ size) in self._free[size]:
            self._free[size].remove(buddy)
            start, size = min(start, buddy), 2 * size
        self._free[size].add(start)


def next_power_of_two(number: int) -> int:
    """Return the smallest power of two that is at least `number`: 25 gives 32."""
    return 1 << (number - 1).bit_length()
