"""The roofline: the minimum time of a forward pass, and what limits it.

Where the engine does it: `roofline_time` in minillm/estimate/roofline.py, on the work that `forward_work` counts
(Williams, Waterman, Patterson, Roofline, CACM 2009). The same formula holds for prefill and decode.
"""


# %% learner
def roofline_time(
    weights: int, tokens: int, weight_bytes: float, cache_bytes: float, flops_per_s: float, bytes_per_s: float
) -> tuple[float, str]:
    """Return the seconds of one pass, and its limit. The FLOPs of attention are left out.

    weights: the number of weights in all matrices. Each weight takes one multiplication and one addition per token.
    tokens: the tokens of this pass, of all sequences together. In prefill these are the tokens of a prompt, in decode
        it is one token per sequence.
    weight_bytes: bytes per weight: 2 for float16, 0.5 for int4.
    cache_bytes: bytes of all keys and values that the pass reads.
    flops_per_s, bytes_per_s: the peak FLOP/s and the memory bandwidth. Computing and reading overlap.
    returns: (seconds, limit): the limit is "compute" if computing takes longer than reading, else "memory".
    """
    # %% solution
    compute_s = 2 * weights * tokens / flops_per_s
    memory_s = (weights * weight_bytes + cache_bytes) / bytes_per_s
    return max(compute_s, memory_s), "compute" if compute_s > memory_s else "memory"


# %% hints
HINTS = (
    "Computing and reading run at the same time. The pass ends when the longer of the two ends. The weights are read "
    "once, for any number of tokens.",
    "FLOPs: 2 · weights · tokens. Bytes: weights · weight_bytes + cache_bytes. Both times are single numbers.",
    "1. FLOPs / flops_per_s; 2. bytes / bytes_per_s; 3. the longer of the two times; 4. the name of this limit.",
    "memory_s = (weights * weight_bytes + cache_bytes) / bytes_per_s",
)


# %% check
LESSON = 11
CONCEPTS = ("roofline", "estimate")


def cases(random):
    for numbers in (
        (8, 1, 2.0, 0.0, 16.0, 8.0), (8, 8, 2.0, 0.0, 16.0, 8.0), (8, 1, 2.0, 16.0, 16.0, 8.0),
        (8, 4, 2.0, 0.0, 4.0, 8.0),  # compute bound also with one token
        (8, 2, 2.0, 0.0, 16.0, 8.0), (8, 8, 2.0, 64.0, 32.0, 8.0), (8, 4, 0.5, 4.0, 64.0, 8.0),
        (6_607_077_376, 1, 2.0, 0.0, 312e12, 2039e9),  # Llama 2 7B on an A100: a decode step
        (6_607_077_376, 500, 2.0, 0.0, 312e12, 2039e9),  # a prompt
        (6_607_077_376, 40, 2.0, 40 * 500 * 524_288.0, 312e12, 2039e9),  # 40 sequences of 500 tokens, a decode step
        (6_607_077_376, 300, 0.5, 1e9, 312e12, 2039e9),  # int4
    ):  # fmt: skip
        yield _case(*numbers)
    for _ in range(3):
        weights, tokens = (int(number) for number in random.integers(10, 1000, 2))
        yield _case(weights, tokens, 2.0, float(random.integers(0, 3000)), 1000.0, 20.0)


def _case(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    names = ("weights", "tokens", "weight_bytes", "cache_bytes", "flops_per_s", "bytes_per_s")
    return dict(zip(names, (weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s), strict=True))


def twice_the_machine_takes_half_the_time(inputs, result, run):
    """A machine that computes and reads twice as fast must take half the time."""
    fast = run(flops_per_s=2 * inputs["flops_per_s"], bytes_per_s=2 * inputs["bytes_per_s"])
    return abs(2 * fast[0] - result[0]) < 1e-9 * result[0]


def a_faster_non_limit_changes_nothing(inputs, result, run):
    """A higher speed of the part that is not the limit must not change the result."""
    other = "bytes_per_s" if result[1] == "compute" else "flops_per_s"
    return run(**{other: 1000 * inputs[other]}) == result


def tokens_are_free_while_memory_bound(inputs, result, run):
    """If the limit is memory, one token less with the same cache_bytes must take the same time."""
    return result[1] == "compute" or run(tokens=max(1, inputs["tokens"] - 1)) == result


PROPERTIES = (
    twice_the_machine_takes_half_the_time,
    a_faster_non_limit_changes_nothing,
    tokens_are_free_while_memory_bound,
)
