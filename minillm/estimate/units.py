"""Units and numbers. GB are powers of 1000, as on datasheets; GiB are powers of 1024, as tools show them."""

from typing import TypeAlias

Number: TypeAlias = int | float  # counts are int, means and times are float; every formula takes both

GB, GIB = 1000**3, 1024**3
TERA = 1000**4
MILLION = 1_000_000
SECONDS_PER_HOUR = 3600


def doubling(first: int, last: int) -> list[int]:
    """Return `first`, 2 · `first`, 4 · `first` and so on, ending with `last`: 64, 300 gives 64, 128, 256, 300."""
    points = [first]
    while 2 * points[-1] <= last:
        points.append(2 * points[-1])
    if first >= last:
        return [last]
    return points if points[-1] == last else [*points, last]
