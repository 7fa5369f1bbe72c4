"""What a batch gains: one read of the weights serves all sequences, until arithmetic or the KV cache is the limit."""

from bisect import bisect_left

from minillm.estimate.serving import Serving, decode_time
from minillm.estimate.units import Number


def decode_tokens_per_s(serving: Serving, context: Number, sequences: int) -> Number:
    """Return the tokens per second of all sequences together."""
    return sequences / decode_time(serving, context, sequences).seconds


def batching_gain(serving: Serving, context: Number, sequences: int) -> Number:
    """Return the throughput of `sequences` over the throughput of one sequence."""
    return decode_tokens_per_s(serving, context, sequences) / decode_tokens_per_s(serving, context, 1)


def batching_slowdown(serving: Serving, context: Number, sequences: int) -> Number:
    """Return the time of a step with `sequences` over the time of a step with one."""
    return decode_time(serving, context, sequences).seconds / decode_time(serving, context, 1).seconds


def knee(serving: Serving, context: Number, most: int) -> int | None:
    """Return the smallest batch where twice the sequences give under 1.5 times the throughput; None up to `most`."""

    def gains_little(sequences: int) -> bool:
        return (
            decode_time(serving, context, 2 * sequences).seconds
            > 4 / 3 * decode_time(serving, context, sequences).seconds
        )

    batches = range(1, most + 1)
    index = bisect_left(batches, True, key=gains_little)
    return batches[index] if index < most else None


def smallest_batch(serving: Serving, context: Number, tokens_per_s: Number, most: int = 1024) -> int | None:
    """Return the fewest sequences that reach this throughput together; None if not even `most` reach it."""
    batches = range(1, most + 1)
    index = bisect_left(batches, tokens_per_s, key=lambda sequences: decode_tokens_per_s(serving, context, sequences))
    return batches[index] if index < most else None
