"""Wrong answers to `all_reduce`."""

import numpy as np


def _own(inner, ranks):
    return [slice(inner * rank // ranks, inner * (rank + 1) // ranks) for rank in range(ranks)]


def _partials(x, up, down, ranks, curve=lambda hidden: np.maximum(hidden, 0)):
    return [curve(x @ up[:, own]) @ down[own] for own in _own(up.shape[1], ranks)]


def bias_on_every_rank(x, up, down, bias, ranks):
    """Every rank added the bias, so the sum has it once for each rank: add it once, after the sum."""
    partials = _partials(x, up, down, ranks)
    return partials, sum(partials) + ranks * bias


def bias_in_the_partial_products(x, up, down, bias, ranks):
    """The partial products have a share of the bias: add the whole bias after the sum, and to nothing else."""
    partials = [partial + bias / ranks for partial in _partials(x, up, down, ranks)]
    return partials, sum(partials)


def bias_missing(x, up, down, bias, ranks):
    """The bias is missing: add it once, after the sum."""
    partials = _partials(x, up, down, ranks)
    return partials, sum(partials)


def mean_of_the_ranks(x, up, down, bias, ranks):
    """That is the mean over the ranks, as for gradients of copies of a model: here the parts are added up."""
    partials = _partials(x, up, down, ranks)
    return partials, sum(partials) / ranks + bias


def largest_of_the_ranks(x, up, down, bias, ranks):
    """The largest number of the ranks was taken: an all-reduce of partial products is a sum."""
    partials = _partials(x, up, down, ranks)
    return partials, np.max(partials, axis=0) + bias


def first_rank_only(x, up, down, bias, ranks):
    """Only the first rank's product is in the result: add up those of all ranks."""
    partials = _partials(x, up, down, ranks)
    return partials, partials[0] + bias


def remainder_dropped(x, up, down, bias, ranks):
    """inner // ranks columns for each rank leave some columns to nobody: use the slices of the docstring."""
    each = up.shape[1] // ranks
    inner = each * ranks
    partials = _partials(x, up[:, :inner], down[:inner], ranks)
    return partials, sum(partials) + bias


def remainder_to_the_last(x, up, down, bias, ranks):
    """The last rank got all columns that were left over: use the slices of the docstring, which are more even."""
    each, inner = up.shape[1] // ranks, up.shape[1]
    own = [slice(rank * each, inner if rank == ranks - 1 else (rank + 1) * each) for rank in range(ranks)]
    partials = [np.maximum(x @ up[:, one], 0) @ down[one] for one in own]
    return partials, sum(partials) + bias


def curve_missing(x, up, down, bias, ranks):
    """The curve is missing: replace negative numbers by 0 after the first matrix."""
    partials = _partials(x, up, down, ranks, lambda hidden: hidden)
    return partials, sum(partials) + bias


def curve_after_the_sum(x, up, down, bias, ranks):
    """The curve was applied at the end: it belongs between the two matrices."""
    partials = _partials(x, up, down, ranks, lambda hidden: hidden)
    return partials, np.maximum(sum(partials), 0) + bias


def running_sums(x, up, down, bias, ranks):
    """Each partial product contains those of the ranks before it: a rank has its own summand only."""
    partials = _partials(x, up, down, ranks)
    return list(np.cumsum(partials, axis=0)), sum(partials) + bias


def side_by_side(x, up, down, bias, ranks):
    """The partial products were put side by side: each is as wide as the result. Add them up."""
    partials = _partials(x, up, down, ranks)
    return partials, np.concatenate(partials, axis=1)
