"""Copying a matrix into another layout, as fast as memory allows: loading a model is little else."""

from minillm.arrays import Array, Float

COPY_BLOCK = 128  # columns copied at once: as many as the processor's nearest caches hold


def copy_in_blocks(source: Float[Array, "inner out"], target: Float[Array, "inner out"]) -> None:
    """`target[:] = source`, several times as fast where one of them lies row by row and the other column by column."""
    for first in range(0, source.shape[1], COPY_BLOCK):
        target[:, first : first + COPY_BLOCK] = source[:, first : first + COPY_BLOCK]
