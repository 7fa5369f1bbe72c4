"""Wrong answers to `roofline_time`."""


def _longer(compute_s, memory_s):
    return max(compute_s, memory_s), "compute" if compute_s > memory_s else "memory"


def one_after_the_other(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The two times were added. Computing and reading overlap, so take the longer one."""
    compute_s, memory_s = 2 * weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s
    return compute_s + memory_s, _longer(compute_s, memory_s)[1]


def the_shorter(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The shorter time was returned. The pass ends when the longer of the two ends."""
    compute_s, memory_s = 2 * weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s
    return min(compute_s, memory_s), _longer(compute_s, memory_s)[1]


def weights_read_for_every_token(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The weights were read once per token. They are read once per pass, for all tokens. So batching is efficient."""
    return _longer(2 * weights * tokens / flops_per_s, (weights * weight_bytes * tokens + cache_bytes) / bytes_per_s)


def only_multiplications(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The additions are missing, as in the article. Each weight takes two FLOPs per token."""
    return _longer(weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s)


def cache_missing(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The bytes of the keys and values are missing. For many long sequences they are more than the weights."""
    return _longer(2 * weights * tokens / flops_per_s, weights * weight_bytes / bytes_per_s)


def cache_read_for_every_token(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """cache_bytes was multiplied by the tokens. It already includes all sequences."""
    return _longer(2 * weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes * tokens) / bytes_per_s)


def one_token(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The FLOPs are those of one token. Multiply them by the number of tokens."""
    return _longer(2 * weights / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s)


def always_float16(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """Every weight was counted with 2 bytes. Use weight_bytes, which is 0.5 for int4."""
    return _longer(2 * weights * tokens / flops_per_s, (2.0 * weights + cache_bytes) / bytes_per_s)


def limits_swapped(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The time is correct, but the names of the limits are swapped. The limit is the part that takes longer."""
    compute_s, memory_s = 2 * weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s
    return max(compute_s, memory_s), "memory" if compute_s > memory_s else "compute"
