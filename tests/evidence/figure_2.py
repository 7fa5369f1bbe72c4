"""Figures 2 and 13a of the vLLM paper, simulated: prints mean shares and batch of each way to hand memory out."""

import json

import numpy as np

from minillm.evidence.simulations.fragmentation import (
    Paging,
    Reservation,
    max_reservation,
    oracle_reservation,
    pow2_reservation,
    simulate,
)
from minillm.evidence.simulations.request_lengths import SHAREGPT, draw_lengths
from minillm.kv_cache.blocks import BlockAllocator

SLOTS = 15_728  # vllm-slots: 12 GiB for OPT-13B's keys and values, 800 KiB a token
MEMORIES = {  # and in how many runs of how many steps
    "max": (lambda: Reservation(SLOTS, max_reservation), 6, 10_000),
    "pow2": (lambda: Reservation(SLOTS, pow2_reservation), 6, 10_000),
    "oracle": (lambda: Reservation(SLOTS, oracle_reservation), 6, 10_000),
    "paged": (lambda: Paging(BlockAllocator(SLOTS // 16, 16)), 3, 4000),
}


def mean_usage(make, runs, steps):
    usages = [simulate(make(), draw_lengths(SHAREGPT, 1500, seed), steps, 1500) for seed in range(runs)]
    return np.mean([[u.stored, u.reserved, u.internal, u.external, u.requests] for u in usages], axis=0).tolist()


if __name__ == "__main__":
    print(json.dumps({name: mean_usage(*case) for name, case in MEMORIES.items()}))
