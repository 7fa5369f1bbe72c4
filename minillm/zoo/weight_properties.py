"""Properties of weights: cut over ranks, and rounded to 4 bits.

A property takes Hypothesis's `data`, and raises AssertionError with the text of the counterexample.
"""

import numpy as np
from hypothesis import strategies as st

import minillm
from minillm.arrays import Array
from minillm.backends import get_backend
from minillm.parallel.load import build_share
from minillm.parallel.thread_ranks import ThreadRank, in_threads
from minillm.quantization.int4 import Int4
from minillm.zoo.tiny_models import CONFIGS, tiny_checkpoint, tiny_model

RANKS = 2
GROUP = 32  # weights that share a scale and a minimum


def ranks_together_are_one_model(data: st.DataObject) -> None:
    """Two ranks with a part of each layer must give the logits of the whole model."""
    name = data.draw(st.sampled_from(list(CONFIGS)))
    tokens = data.draw(st.lists(st.integers(0, CONFIGS[name].vocab_size - 1), min_size=1, max_size=4))

    def run(rank: ThreadRank) -> Array:
        model = build_share(rank, tiny_checkpoint(CONFIGS[name]), get_backend("plain"), np.dtype(np.float64))
        with model.ops.all_together():  # type: ignore[attr-defined]
            return minillm.forward(model, tokens)[-1]

    found, expected = in_threads(RANKS, run)[0], minillm.forward(tiny_model(CONFIGS[name]), tokens)[-1]
    if not np.allclose(found, expected):
        worst = int(np.abs(found - expected).argmax())
        raise AssertionError(
            f"{name}, on {RANKS} ranks, tokens {tokens}:\n"
            f"logit {worst} is {found[worst]:.4f}; the whole model says {expected[worst]:.4f}"
        )


def rounding_to_4_bits_is_off_by_half_a_step(data: st.DataObject) -> None:
    """Rounding to 4 bits must change a weight by at most a sixteenth of the range of its group."""
    position = data.draw(st.integers(0, GROUP - 1))
    values = np.zeros((1, GROUP), np.float32)
    values[0, position] = data.draw(st.integers(1, 15))
    found = Int4.of(values).dequantize()
    if np.abs(found - values).max() > np.ptp(values) / 16:
        shown = {number: float(value) for number, value in enumerate(found[0]) if value}
        raise AssertionError(
            f"{GROUP} weights that are 0, but weight {position} is {values[0, position]:.0f}:\n"
            f"read again, all are 0 but {shown}"
        )
