"""A model that is cut over ranks gives what it gives on one rank."""

from pathlib import Path

import pytest
from mpiexec import run

HERE = Path(__file__).parent


@pytest.mark.parametrize("ranks", [2, 3])
def test_random_models_and_schedules(ranks):
    """Random architectures, caches and engines: paged, prefix-shared, preempted, swapped, speculative, cancelled."""
    done = run(ranks, str(HERE / "schedules.py"), "25", "tensor", timeout=100)
    assert (done.returncode, done.stdout) == (0, "all equal\n"), done.stderr


@pytest.mark.parametrize("ranks", [2, 3])
def test_a_pass_sends_what_the_estimate_says(ranks):
    done = run(ranks, str(HERE / "traffic.py"))
    assert (done.returncode, done.stdout) == (0, "numpy True\nexact True\n"), done.stderr


FORMATS = """
import sys, numpy as np, minillm
from mpi4py import MPI
from minillm.parallel.load import end, follow, load_share
from minillm.parallel.ranks import world

ranks = world()
for backend, weights in (("numpy", "float32"), ("numpy", "int8"), ("compiled", "int4"), ("compiled", "float32")):
    model = load_share(ranks, "story", backend, "float32", weights)
    if ranks.rank:
        follow(model)
        continue
    whole = minillm.load("story", backend, weights=weights)
    tokens = whole.tokenizer.encode("The capital of France is")
    logits, expected = minillm.forward(model, tokens), minillm.forward(whole, tokens)
    assert np.abs(logits - expected).max() < 1e-5 * np.abs(expected).max(), (backend, weights)
    assert minillm.generate(model, tokens).tokens == minillm.generate(whole, tokens).tokens
    end(model)
"""


def test_float_backends_and_quantised_weights():
    done = run(2, "-c", FORMATS)
    assert done.returncode == 0, done.stderr
