"""Online softmax: attention over keys that arrive in blocks.

Where minillm does it: `attend` in minillm/attention.py computes the same sum over segments. Fused kernels do it as in
this exercise (Milakov and Gimelshein, 1805.02867; Dao et al., FlashAttention, 2205.14135). Softmax needs the sum over
all keys. But one block at a time is enough, if the earlier sums are scaled again when a larger score appears.
"""

# %% learner
import numpy as np


def online_softmax(
    maximum: np.ndarray, total: np.ndarray, weighted: np.ndarray, scores: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add one block of keys to the running sums of each query.

    maximum: [queries]: the largest score so far; -inf before the first block.
    total: [queries]: the sum of exp(score - maximum) so far; 0 before the first block.
    weighted: [queries, head_dim]: the sum of exp(score - maximum) * value so far; 0 before the first block.
    scores: [queries, keys]: the scores of this block; values: [keys, head_dim].
    returns: (maximum, total, weighted) including this block, all relative to the new maximum. After the last block,
        weighted / total[:, None] is the attention output.
    """
    # %% solution
    new_maximum = np.maximum(maximum, scores.max(axis=-1))  # [queries]
    scale = np.exp(maximum - new_maximum)  # [queries]
    exponentials = np.exp(scores - new_maximum[:, None])  # [queries, keys]
    total = total * scale + exponentials.sum(axis=-1)
    weighted = weighted * scale[:, None] + exponentials @ values
    return new_maximum, total, weighted


# %% hints
HINTS = (
    "exp(score - old) * exp(old - new) = exp(score - new). So the sums that are relative to the old maximum become "
    "relative to the new one when they are multiplied by exp(old - new). This is one number per query.",
    "the new maximum, scale and total are [queries]; exponentials is [queries, keys]; weighted [queries, head_dim] is "
    "multiplied by scale[:, None].",
    "1. the new maximum; 2. scale = exp(old - new); 3. exponentials of this block, relative to the new maximum; 4. "
    "total * scale + their sum; 5. weighted * scale + exponentials @ values.",
    "weighted = weighted * scale[:, None] + exponentials @ values",
)


# %% check
LESSON = 9
CONCEPTS = ("attention", "paged_attention")


def cases(random):
    smaller = {"scores": np.array([[1.0, 2.0]]), "values": np.array([[1.0], [2.0]])}
    yield {"maximum": np.array([3.0]), "total": np.array([1.0]), "weighted": np.array([[1.0]]), **smaller}
    for queries, keys, head_dim, size in (
        (1, 1, 1, 0), (1, 2, 1, 0), (1, 1, 1, 1), (1, 2, 1, 1), (2, 3, 2, 1), (3, 4, 2, 9), (4, 6, 3, 300),
    ):  # fmt: skip
        maximum, total = random.normal(size=queries) * size, 1 + random.random(queries)
        weighted = random.normal(size=(queries, head_dim))
        if size == 0:
            maximum, total, weighted = np.full(queries, -np.inf), 0 * total, 0 * weighted
        scores = random.normal(size=(queries, keys)) * max(1, size) * 2
        values = random.normal(size=(keys, head_dim))
        yield {"maximum": maximum, "total": total, "weighted": weighted, "scores": scores, "values": values}


def two_halves_are_one_block(inputs, result, run):
    """Two halves of a block, one after the other, must give the same as the whole block."""
    if inputs["scores"].shape[1] < 2:
        return True
    maximum, total, weighted = run(scores=inputs["scores"][:, :1], values=inputs["values"][:1])
    second = {"scores": inputs["scores"][:, 1:], "values": inputs["values"][1:]}
    halves = run(maximum=maximum, total=total, weighted=weighted, **second)
    return all(np.allclose(half, whole) for half, whole in zip(halves, result, strict=True))


def maximum_never_decreases(inputs, result, run):
    """The maximum must never decrease."""
    return bool((result[0] >= inputs["maximum"]).all())


PROPERTIES = (maximum_never_decreases, two_halves_are_one_block)
