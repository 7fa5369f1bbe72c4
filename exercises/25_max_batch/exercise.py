"""The largest batch: how many sequences fit beside the weights, in whole blocks.

Where the engine does it: `most_sequences` in minillm/estimate/serving.py; `minillm estimate --batch 300` says when a
batch does not fit. The blocks are those of paged attention (lesson 8; Kwon et al., 2309.06180).
"""


# %% learner
def max_batch(
    memory_bytes: int, usable: float, weights_bytes: int, bytes_per_token: int, prompt: int, new: int, block: int
) -> int:
    """The largest number of sequences that fit at the same time.

    memory_bytes: of the GPU; only the share `usable` of it is for weights and cache, the rest is for the runtime.
    weights_bytes: of the model.
    bytes_per_token: keys and values of one token.
    prompt, new: tokens of each sequence: those it begins with, those that are written. The last one that is written is
        never fed back, so it has no keys and values.
    block: tokens of a block; a sequence takes whole blocks, the last of which may be partly empty.
    returns: a whole number of type int; 0 if nothing fits.
    """
    # %% solution
    blocks = -(-(prompt + new - 1) // block)  # rounded up
    free_bytes = memory_bytes * usable - weights_bytes
    return max(0, int(free_bytes // (blocks * block * bytes_per_token)))


# %% hints
HINTS = (
    "Three steps: what the weights leave over of the usable memory, what one sequence takes when it is complete, and "
    "how often the second goes into the first.",
    "All are single numbers; x // y rounds down, -(-x // y) rounds up; of floats, x // y is a float.",
    "1. tokens with keys and values: prompt + new - 1; 2. the blocks for them, rounded up; 3. usable share of the "
    "memory, less the weights; 4. divide, round down, and never below 0.",
    "free_bytes = memory_bytes * usable - weights_bytes",
)


# %% check
LESSON = 10
CONCEPTS = ("memory", "batching", "estimate")


def cases(random):
    for numbers in (
        (100, 1.0, 40, 1, 10, 1, 1), (100, 1.0, 40, 1, 10, 6, 1), (100, 0.5, 40, 1, 2, 1, 1),
        (100, 1.0, 40, 2, 5, 1, 4), (100, 0.75, 120, 1, 5, 1, 4), (100, 1.0, 40, 1, 6, 3, 8),
        (100, 1.0, 40, 1, 6, 4, 8), (100, 1.0, 95, 1, 4, 5, 8),
        (80_000_000_000, 0.9, 13_476_831_232, 524_288, 400, 101, 16),  # Llama 2 7B on an A100
        (80_000_000_000, 0.9, 16_060_522_496, 131_072, 400, 101, 16),  # Llama 3 8B: a quarter of the key/value heads
        (80_000_000_000, 0.9, 137_953_296_384, 327_680, 400, 101, 16),  # Llama 2 70B
    ):  # fmt: skip
        yield _case(*numbers)
    for _ in range(4):
        prompt, new, block = (int(number) for number in random.integers(2, 40, 3))
        yield _case(100_000, 0.9, int(random.integers(1, 50_000)), int(random.integers(2, 20)), prompt, new, block)


def _case(memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block):
    names = ("memory_bytes", "usable", "weights_bytes", "bytes_per_token", "prompt", "new", "block")
    numbers = (memory_bytes, usable, weights_bytes, bytes_per_token, prompt, new, block)
    return dict(zip(names, numbers, strict=True))


def so_many_fit_and_not_one_more(inputs, result, run):
    """So many fit, and one more would not."""
    held = inputs["prompt"] + inputs["new"] - 1
    slots = next(n for n in range(held, held + inputs["block"]) if n % inputs["block"] == 0)
    free = inputs["memory_bytes"] * inputs["usable"] - inputs["weights_bytes"]
    each = slots * inputs["bytes_per_token"]
    return (result * each <= free or result == 0) and (result + 1) * each > free


def a_gpu_full_of_weights_holds_nothing(inputs, result, run):
    """Beside weights that fill the memory nothing fits: 0, and never less."""
    return run(weights_bytes=2 * inputs["memory_bytes"]) == 0


PROPERTIES = (so_many_fit_and_not_one_more, a_gpu_full_of_weights_holds_nothing)
