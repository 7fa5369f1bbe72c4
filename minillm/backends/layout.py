"""Copy a matrix into another memory layout. Loading a model spends most of its time on such copies."""

from minillm.arrays import Array, Float

COPY_BLOCK = 128  # columns copied at once: they fit into the processor's nearest caches


def copy_in_blocks(source: Float[Array, "inner out"], target: Float[Array, "inner out"]) -> None:
    """Do `target[:] = source`, several times faster if one is stored row by row and the other column by column."""
    for first in range(0, source.shape[1], COPY_BLOCK):
        target[:, first : first + COPY_BLOCK] = source[:, first : first + COPY_BLOCK]
