"""The largest batch: how many sequences fit into memory next to the weights.

Where the engine does it: `most_sequences` in minillm/estimate/serving.py. `minillm estimate --batch 300` reports when a
batch does not fit. The blocks are those of paged attention (lesson 9; Kwon et al., 2309.06180).
"""


# %% learner
def max_batch(
    memory_bytes: int, usable: float, weights_bytes: int, bytes_per_token: int, prompt: int, new: int, block: int
) -> int:
    """Return the largest number of sequences that fit at the same time.

    memory_bytes: the memory of the GPU.
    usable: the fraction of the memory that the weights and the cache can use. The runtime needs the remaining memory.
    weights_bytes: bytes of the model's weights.
    bytes_per_token: bytes of the keys and values of one token.
    prompt, new: the prompt tokens and the new tokens of each sequence. The last new token never runs through the model,
        so it has no keys and values.
    block: slots per block. Each sequence takes a number of whole blocks. The last one may be partly empty.
    returns: an int; 0 if no sequence fits.
    """
    # %% solution
    blocks = -(-(prompt + new - 1) // block)  # rounded up
    free_bytes = memory_bytes * usable - weights_bytes
    return max(0, int(free_bytes // (blocks * block * bytes_per_token)))


# %% hints
HINTS = (
    "Compute the usable memory without the weights, and the memory of one complete sequence. Then divide the first by "
    "the second.",
    "All are single numbers; x // y rounds down, -(-x // y) rounds up; for floats, x // y is a float.",
    "1. the tokens with keys and values: prompt + new - 1; 2. their blocks, rounded up; 3. the usable memory minus the "
    "weights; 4. divide, round down, and return at least 0.",
    "free_bytes = memory_bytes * usable - weights_bytes",
)


# %% check
LESSON = 11
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


def the_largest_that_fits(inputs, result, run):
    """The returned number of sequences must fit. A batch with one sequence more must not fit."""
    tokens = inputs["prompt"] + inputs["new"] - 1
    slots = next(n for n in range(tokens, tokens + inputs["block"]) if n % inputs["block"] == 0)
    free = inputs["memory_bytes"] * inputs["usable"] - inputs["weights_bytes"]
    each = slots * inputs["bytes_per_token"]
    return (result * each <= free or result == 0) and (result + 1) * each > free


def a_gpu_full_of_weights_has_no_batch(inputs, result, run):
    """If the weights alone are larger than the memory, the result must be 0."""
    return run(weights_bytes=2 * inputs["memory_bytes"]) == 0


PROPERTIES = (the_largest_that_fits, a_gpu_full_of_weights_has_no_batch)
