"""A model that is cut over ranks gives what it gives on one rank."""

import sys
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


OWN_PART = """
from math import prod
import minillm
from minillm.loading import open_checkpoint
from minillm.loading.fingerprint import fingerprint
from minillm.parallel import plan
from minillm.parallel.load import end, follow, load_share
from minillm.parallel.ranks import world
from minillm.parallel.shard import cut

ranks, memories, kind = world(), [], plan.memory_kind

def recorded(*of):
    def make(*arguments):
        memories.append(kind(*of)(*arguments))
        return memories[-1]
    return make

plan.memory_kind = recorded

def bytes_read():
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])

def read_by(call):
    before = bytes_read()
    return call(), bytes_read() - before

def opened():
    checkpoint = open_checkpoint("story")
    fingerprint(checkpoint)
    return checkpoint

opened()
checkpoint, of_opening = read_by(opened)
model, of_all = read_by(lambda: load_share(ranks, "story", "numpy", "float32", "float32"))
share = model.ops.share
own, whole = (
    sum(2 * prod(tensor.shape) for tensor in each.tensors.values()) for each in (cut(checkpoint, share), checkpoint)
)
buffers = 6000 * len(checkpoint.tensors)  # NumPy reads a file 4,096 bytes at a time
assert own < 1.15 * whole / ranks.size and own < of_all - of_opening < own + buffers, (own, whole, of_all - of_opening)
if ranks.rank:
    follow(model)
    [memory] = memories
    held = memory.keys.nbytes + memory.values.nbytes
else:
    cache = minillm.KVCache(model, 50)
    minillm.prefill(model, [5, 6, 7], cache)
    held = cache.nbytes
    end(model)
config = share.whole
heads, per_head = len(share.kv_heads), 2 * 50 * config.num_hidden_layers * config.head_dim * 4
assert (held, heads < config.num_key_value_heads) == (heads * per_head, True), (held, heads)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux counts the bytes that a process reads")
@pytest.mark.parametrize("ranks", [2, 4])
def test_a_rank_reads_and_holds_its_own_part_only(ranks):
    """Bytes of weights that Linux counts, in float16; bytes of keys and values of its own KV heads."""
    done = run(ranks, "-c", OWN_PART)
    assert done.returncode == 0, done.stderr
