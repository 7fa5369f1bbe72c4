"""The roofline: how long a forward pass takes at least, and what limits it.

Where the engine does it: `roofline_time` in minillm/estimate/roofline.py, on the work that `forward_work` counts
(Williams, Waterman, Patterson, Roofline, CACM 2009). Prefill and decode are the same formula with other numbers.
"""


# %% learner
def roofline_time(
    weights: int, tokens: int, weight_bytes: float, cache_bytes: float, flops_per_s: float, bytes_per_s: float
) -> tuple[float, str]:
    """Seconds of one pass, and its limit. Attention's own arithmetic is left out.

    weights: numbers in all matrices; every token is multiplied with each: one multiplication and one addition.
    tokens: that run in this pass, of all sequences together: a prompt's, or one for each text that is written.
    weight_bytes: bytes of one weight: 2 for float16, 0.5 for int4.
    cache_bytes: of all the keys and values that the pass reads.
    flops_per_s, bytes_per_s: what the machine can compute and read; it does both at the same time.
    returns: (seconds, limit): the limit is "compute" if arithmetic takes longer than reading, else "memory".
    """
    # %% solution
    compute_s = 2 * weights * tokens / flops_per_s
    memory_s = (weights * weight_bytes + cache_bytes) / bytes_per_s
    return max(compute_s, memory_s), "compute" if compute_s > memory_s else "memory"


# %% hints
HINTS = (
    "Two clocks run at the same time, one for arithmetic and one for reading. The pass is over when the slower of them "
    "is. The weights are read once, however many tokens there are.",
    "FLOPs: 2 · weights · tokens. Bytes: weights · weight_bytes + cache_bytes. Both times are single numbers.",
    "1. FLOPs / flops_per_s; 2. bytes / bytes_per_s; 3. the longer of the two; 4. its name.",
    "memory_s = (weights * weight_bytes + cache_bytes) / bytes_per_s",
)


# %% check
LESSON = 10
CONCEPTS = ("roofline", "estimate")


def cases(random):
    for numbers in (
        (8, 1, 2.0, 0.0, 16.0, 8.0), (8, 8, 2.0, 0.0, 16.0, 8.0), (8, 1, 2.0, 16.0, 16.0, 8.0),
        (8, 2, 2.0, 0.0, 16.0, 8.0), (8, 8, 2.0, 64.0, 32.0, 8.0), (8, 4, 0.5, 4.0, 64.0, 8.0),
        (6_607_077_376, 1, 2.0, 0.0, 312e12, 2039e9),  # Llama 2 7B on an A100: a decode step
        (6_607_077_376, 500, 2.0, 0.0, 312e12, 2039e9),  # a prompt
        (6_607_077_376, 40, 2.0, 40 * 500 * 524_288.0, 312e12, 2039e9),  # 40 texts of 500 tokens, a step
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
    """A machine that computes and reads twice as fast takes half the time."""
    fast = run(flops_per_s=2 * inputs["flops_per_s"], bytes_per_s=2 * inputs["bytes_per_s"])
    return abs(2 * fast[0] - result[0]) < 1e-9 * result[0]


def what_does_not_limit_can_be_faster_in_vain(inputs, result, run):
    """More of what is not the limit changes nothing."""
    other = "bytes_per_s" if result[1] == "compute" else "flops_per_s"
    return run(**{other: 1000 * inputs[other]}) == result


def a_token_more_is_free_while_memory_limits(inputs, result, run):
    """While memory is the limit, one token fewer is no faster, as long as the cache is the same."""
    return result[1] == "compute" or run(tokens=max(1, inputs["tokens"] - 1)) == result


PROPERTIES = (
    twice_the_machine_takes_half_the_time,
    what_does_not_limit_can_be_faster_in_vain,
    a_token_more_is_free_while_memory_limits,
)
