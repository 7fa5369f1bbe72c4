"""Measure how close the training step is to the machine's matrix speed: python scripts/measure_training.py

Both are measured in turn in one run, with the trainer's number of Python threads and one BLAS thread each.
"""

import os

# Before NumPy is imported, as in train_weights.py.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ[variable] = "1"

from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter

import numpy as np
from train_weights import BATCH, CONTEXT, RECIPES, SEED

from minillm.config import ModelConfig
from minillm.training.parameters import ParameterVector, initialise
from minillm.training.trainer import Trainer

THREADS, ROUNDS = 2, 9


def training_flops(config: ModelConfig, batch: int, time: int) -> int:
    """Return the multiplications and additions of one step: forward, and twice as many backward.

    Counted are every matrix for every token (the tied matrix once, as the output head), and attention over the keys
    that each query attends to.
    """
    tensors = ParameterVector(config).tensors.values()
    matrices = sum(tensor.size for tensor in tensors if tensor.ndim == 2)
    attention = 4 * config.num_attention_heads * config.head_dim * time * (time + 1) // 2
    return 3 * batch * (2 * matrices * time + config.num_hidden_layers * attention)


def matrix_flops_per_s(pool: ThreadPoolExecutor, size: int = 1536) -> float:
    """Measure the speed of large float32 products, one in each thread at the same time."""
    matrices = [np.ones((size, size), np.float32) for _ in range(THREADS)]
    started = perf_counter()
    list(pool.map(lambda matrix: matrix @ matrix, matrices))
    return THREADS * 2 * size**3 / (perf_counter() - started)


def main() -> None:
    """Print both speeds and their ratio, medians of alternating rounds."""
    recipe = RECIPES["story"]
    rows = np.random.default_rng(0).integers(0, recipe.config.vocab_size, (BATCH, CONTEXT + 1))
    trainer = Trainer(initialise(recipe.config, SEED), recipe.schedule, rows, BATCH, threads=THREADS)
    flops, pool = training_flops(recipe.config, BATCH, CONTEXT), ThreadPoolExecutor(THREADS)
    trainer.step()
    speeds, limits = [], []
    for _ in range(ROUNDS):
        limits.append(matrix_flops_per_s(pool))
        started = perf_counter()
        trainer.step()
        speeds.append(flops / (perf_counter() - started))
    tokens_per_s = median(speeds) / flops * BATCH * CONTEXT
    print(f"training step   {median(speeds) / 1e9:6.1f} GFLOP/s, {tokens_per_s:,.0f} tokens/s")
    print(f"matrix product  {median(limits) / 1e9:6.1f} GFLOP/s")
    print(f"share reached   {median(s / m for s, m in zip(speeds, limits, strict=True)):6.2f}")


if __name__ == "__main__":
    main()
