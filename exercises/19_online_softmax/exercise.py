"""Online softmax: attention over keys that come in blocks.

Where minillm does the same sum in pieces: `attend` in minillm/attention.py; fused kernels do it as here (Milakov and
Gimelshein, 1805.02867; Dao et al., FlashAttention, 2205.14135). Softmax needs the sum over all keys, but a block at a
time is enough if what was added so far is scaled again whenever a larger score comes.
"""

# %% learner
import numpy as np


def online_softmax(
    maximum: np.ndarray, total: np.ndarray, mixed: np.ndarray, scores: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add one block of keys to what is known of each query.

    maximum: [queries]: the largest score so far; -inf before the first block.
    total: [queries]: the sum of exp(score - maximum) so far; 0 before the first block.
    mixed: [queries, head_dim]: the sum of exp(score - maximum) * value so far; 0 before the first block.
    scores: [queries, keys]: of this block; values: [keys, head_dim].
    returns: (maximum, total, mixed) with this block added, all relative to the new maximum. After the last block,
        mixed / total[:, None] is the attention's result.
    """
    # %% solution
    new_maximum = np.maximum(maximum, scores.max(axis=-1))  # [queries]
    shrink = np.exp(maximum - new_maximum)  # [queries]
    exponentials = np.exp(scores - new_maximum[:, None])  # [queries, keys]
    total = total * shrink + exponentials.sum(axis=-1)
    mixed = mixed * shrink[:, None] + exponentials @ values
    return new_maximum, total, mixed


# %% hints
HINTS = (
    "exp(score - old) = exp(score - new) * exp(new - old). So sums that were made with the old maximum become right "
    "again when multiplied by exp(old - new): one number for each query.",
    "new maximum, shrink and total are [queries]; exponentials [queries, keys]; mixed [queries, head_dim] is "
    "multiplied by shrink[:, None].",
    "1. the new maximum; 2. shrink = exp(old - new); 3. exponentials of this block, relative to the new maximum; 4. "
    "total * shrink + their sum; 5. mixed * shrink + exponentials @ values.",
    "mixed = mixed * shrink[:, None] + exponentials @ values",
)


# %% check
LESSON = 8
CONCEPTS = ("attention", "paged_attention")


def cases(random):
    smaller = {"scores": np.array([[1.0, 2.0]]), "values": np.array([[1.0], [2.0]])}
    yield {"maximum": np.array([3.0]), "total": np.array([1.0]), "mixed": np.array([[1.0]]), **smaller}
    for queries, keys, head_dim, size in (
        (1, 1, 1, 0), (1, 2, 1, 0), (1, 1, 1, 1), (1, 2, 1, 1), (2, 3, 2, 1), (3, 4, 2, 9), (4, 6, 3, 300),
    ):  # fmt: skip
        maximum, total = random.normal(size=queries) * size, 1 + random.random(queries)
        mixed = random.normal(size=(queries, head_dim))
        if size == 0:
            maximum, total, mixed = np.full(queries, -np.inf), 0 * total, 0 * mixed
        scores = random.normal(size=(queries, keys)) * max(1, size) * 2
        values = random.normal(size=(keys, head_dim))
        yield {"maximum": maximum, "total": total, "mixed": mixed, "scores": scores, "values": values}


def two_blocks_are_one(inputs, result, run):
    """The same block in two halves gives the same."""
    if inputs["scores"].shape[1] < 2:
        return True
    maximum, total, mixed = run(scores=inputs["scores"][:, :1], values=inputs["values"][:1])
    halves = run(maximum=maximum, total=total, mixed=mixed, scores=inputs["scores"][:, 1:], values=inputs["values"][1:])
    return all(np.allclose(half, whole) for half, whole in zip(halves, result, strict=True))


def maximum_never_falls(inputs, result, run):
    """The maximum never falls."""
    return bool((result[0] >= inputs["maximum"]).all())


PROPERTIES = (maximum_never_falls, two_blocks_are_one)
