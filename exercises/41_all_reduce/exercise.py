"""Tensor parallelism: each rank has a part of an MLP, and an all-reduce adds up the partial products.

Where the engine does it: `add_linear` in minillm/parallel/backend.py, with the cut of minillm/parallel/shard.py. The
first matrix is cut by columns, so each rank can apply the curve to its own numbers. The second one is cut by rows, so
each rank has one summand of the result (Shoeybi et al., Megatron-LM, 1909.08053). docs/parallel.md.
Article: Optimization Strategies, 5.
"""

# %% learner
import numpy as np


def all_reduce(
    x: np.ndarray, up: np.ndarray, down: np.ndarray, bias: np.ndarray, ranks: int
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return the partial product of each rank, and what an all-reduce makes of them.

    x: [tokens, dim], float64; every rank has it.
    up: [dim, inner]. Rank r has the columns inner * r // ranks to inner * (r + 1) // ranks - 1.
    down: [inner, dim]. Rank r has the rows with the same numbers.
    bias: [dim], float64. It is added once.
    ranks: the number of ranks, from 1 to inner. inner need not be a multiple of it.
    returns: (partials, output). The partial product of a rank is max(0, x @ its columns of up) @ its rows of down,
        [tokens, dim]. output [tokens, dim] = max(0, x @ up) @ down + bias, which is the sum of all partial products,
        plus the bias.
    """
    # %% solution
    inner = up.shape[1]
    partials = []
    for rank in range(ranks):
        own = slice(inner * rank // ranks, inner * (rank + 1) // ranks)
        hidden = np.maximum(x @ up[:, own], 0)  # [tokens, the rank's columns]
        partials.append(hidden @ down[own])
    return partials, sum(partials) + bias


# %% hints
HINTS = (
    "A matrix product is a sum over the inner axis. If each rank has some of the summands, the sum of the ranks' "
    "products is the whole product. What must not be added several times, such as a bias, is added after the sum.",
    "A rank has up[:, own] of [dim, its columns] and down[own] of [its columns, dim]. Every partial product is "
    "[tokens, dim], as large as the result.",
    "1. For each rank: its slice of the inner axis. 2. hidden = max(0, x @ up[:, own]). 3. Append hidden @ down[own]. "
    "4. Add all of them up. 5. Add the bias once.",
    "own = slice(inner * rank // ranks, inner * (rank + 1) // ranks)",
)


# %% check
LESSON = 17
CONCEPTS = ("parallel", "mlp")


def cases(random):
    for x, up, down, bias, ranks in (
        ([[1.0]], [[1.0]], [[2.0]], [0.0], 1), ([[1.0]], [[1.0, 3.0]], [[2.0], [1.0]], [0.0], 2),
        ([[1.0]], [[1.0, -3.0]], [[2.0], [1.0]], [0.5], 2),
        ([[1.0]], [[1.0, 2.0, 4.0]], [[1.0], [1.0], [1.0]], [1.0], 2),
        ([[2.0, -1.0]], [[1.0, 1.0], [1.0, 4.0]], [[1.0, 2.0], [3.0, 4.0]], [0.0, 1.0], 2),
    ):  # fmt: skip
        arrays = {"x": x, "up": up, "down": down, "bias": bias}
        yield {**{name: np.array(array) for name, array in arrays.items()}, "ranks": ranks}
    for tokens, dim, inner, ranks in ((2, 3, 4, 2), (3, 2, 5, 3), (2, 4, 7, 4)):
        yield {
            "x": random.normal(size=(tokens, dim)), "up": random.normal(size=(dim, inner)),
            "down": random.normal(size=(inner, dim)), "bias": random.normal(size=dim), "ranks": ranks,
        }  # fmt: skip


def ranks_change_nothing(inputs, result, run):
    """The output is the same with one rank."""
    return np.allclose(run(ranks=1)[1], result[1])


def the_output_is_the_sum(inputs, result, run):
    """The output minus the bias is the sum of the partial products."""
    return np.allclose(sum(result[0]), result[1] - inputs["bias"])


PROPERTIES = (the_output_is_the_sum, ranks_change_nothing)
