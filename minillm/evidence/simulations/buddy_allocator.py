"""BuddyAllocator: contiguous memory in chunks of 2^k slots, the allocator of the vLLM paper's baselines.

A request gets the smallest chunk that holds it; a larger free chunk is halved until it is small enough, and two free
halves become one again (Knowlton, A Fast Storage Allocator, CACM 8(10), 1965). What the rounding up wastes, and free
chunks that are too small for the next request, is external fragmentation.
"""


class BuddyAllocator:
    """Slots 0 to `slots` - 1.

    Attributes:
        slots: how many there are; a number that is no power of two begins as several chunks.
    """

    def __init__(self, slots: int) -> None:
        """All slots are free."""
        self.slots = slots
        self._free: dict[int, set[int]] = {1 << k: set() for k in range(slots.bit_length())}  # size: where they begin
        start = 0
        for size in sorted(self._free, reverse=True):
            if slots & size:
                self._free[size].add(start)
                start += size

    def allocate(self, slots: int) -> tuple[int, int] | None:
        """(start, size) of the smallest chunk that holds so many slots, or None if no free chunk does."""
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
        """Give a chunk back; it joins its other half as long as that is free too."""
        start, size = chunk
        while (buddy := start ^ size) in self._free[size]:
            self._free[size].remove(buddy)
            start, size = min(start, buddy), 2 * size
        self._free[size].add(start)


def next_power_of_two(number: int) -> int:
    """The smallest power of two that is at least this number: 25 gives 32."""
    return 1 << (number - 1).bit_length()
