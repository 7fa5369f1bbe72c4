"""Wrong answers to `roofline_time`."""


def _longer(compute_s, memory_s):
    return max(compute_s, memory_s), "compute" if compute_s > memory_s else "memory"


def one_after_the_other(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """Both times were added: the machine reads and computes at the same time, so the longer one counts."""
    compute_s, memory_s = 2 * weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s
    return compute_s + memory_s, _longer(compute_s, memory_s)[1]


def the_shorter(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The shorter time was returned: the pass is over when the slower of the two is."""
    compute_s, memory_s = 2 * weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s
    return min(compute_s, memory_s), _longer(compute_s, memory_s)[1]


def weights_read_for_every_token(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The weights were read for every token: one read serves all tokens of a pass, and that is why batches pay."""
    return _longer(2 * weights * tokens / flops_per_s, (weights * weight_bytes * tokens + cache_bytes) / bytes_per_s)


def only_multiplications(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The additions are missing: each weight takes two operations for each token. So it is in the article."""
    return _longer(weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s)


def cache_forgotten(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The keys and values are not among the bytes: with many long texts they are more than the weights."""
    return _longer(2 * weights * tokens / flops_per_s, weights * weight_bytes / bytes_per_s)


def cache_read_for_every_token(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """cache_bytes was multiplied with the tokens: it is of all sequences together already."""
    return _longer(2 * weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes * tokens) / bytes_per_s)


def one_token(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The arithmetic is that of one token: every token of the pass is multiplied with all weights."""
    return _longer(2 * weights / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s)


def always_float16(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """Two bytes were taken for every weight: weight_bytes says how many, 0.5 in int4."""
    return _longer(2 * weights * tokens / flops_per_s, (2.0 * weights + cache_bytes) / bytes_per_s)


def limits_swapped(weights, tokens, weight_bytes, cache_bytes, flops_per_s, bytes_per_s):
    """The time is right, but its limit has the other's name: the limit is what takes longer."""
    compute_s, memory_s = 2 * weights * tokens / flops_per_s, (weights * weight_bytes + cache_bytes) / bytes_per_s
    return max(compute_s, memory_s), "memory" if compute_s > memory_s else "compute"
