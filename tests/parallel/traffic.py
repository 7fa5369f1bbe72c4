"""What a pass sends, counted, and what estimate/sharding.py says. Run by test_tensor_parallel.py.

The arrays that MPI is given are recorded. A ring that is written out here then really sends arrays of these sizes.
"""

from math import prod

import numpy as np

from minillm.estimate.sharding import tensor_parallel_bytes_sent, vocabulary_parallel_bytes_sent
from minillm.kv_cache import KVCache
from minillm.parallel.load import end, follow, load_share
from minillm.parallel.ranks import world
from minillm.prefill import prefill
from minillm.transformer import forward_batch

ranks = world()


class Recorded:
    """A communicator that records which arrays its calls are given."""

    def __init__(self, comm):
        self.comm, self.calls = comm, []

    def __getattr__(self, name):
        return getattr(self.comm, name)

    def Iallreduce(self, in_place, total, *operation):
        self.calls.append(("all_reduce", total.shape, total.dtype))
        return self.comm.Iallreduce(in_place, total, *operation)

    def Iallgatherv(self, x, joined):
        self.calls.append(("all_gather", joined[0].shape, joined[0].dtype))
        return self.comm.Iallgatherv(x, joined)


def ring(kind, shape, dtype):
    """Send the messages of a ring with this rank's neighbours, and check the result of an all-reduce."""
    numbers = np.arange(prod(shape)).astype(dtype)
    chunks = np.array_split(numbers + ranks.rank, ranks.size)
    for step in range((2 if kind == "all_reduce" else 1) * (ranks.size - 1)):
        sent, taken = (ranks.rank - step) % ranks.size, (ranks.rank - step - 1) % ranks.size
        if ranks.rank == 0:
            ranks.send(chunks[sent], 1)
        received = ranks.receive((ranks.rank - 1) % ranks.size, chunks[taken].shape, dtype)
        if ranks.rank:
            ranks.send(chunks[sent], (ranks.rank + 1) % ranks.size)
        adds = kind == "all_reduce" and step < ranks.size - 1
        chunks[taken] = chunks[taken] + received if adds else received
    if kind == "all_reduce":
        expected = numbers * ranks.size + sum(range(ranks.size))
        np.testing.assert_array_equal(np.concatenate(chunks), expected.astype(dtype))  # integers, so exact


def check_with_a_ring(calls, before):
    """All ranks together send in a ring what they have counted for these calls."""
    kinds = ("all_reduce", "all_gather")
    counted = [sum(vars(ranks.sent[k])[name] - before[k][name] for k in kinds) for name in ("messages", "bytes")]
    for call in calls:
        ring(*call)
    sent = [vars(ranks.sent["send"])[name] - before["send"][name] for name in ("messages", "bytes")]
    for both in zip(sent, counted, strict=True):
        of_ring, was_counted = (sum(ranks.gather(told)) for told in both)
        assert abs(of_ring - was_counted) < 1e-6, (of_ring, was_counted)


for backend, itemsize in (("numpy", 4), ("exact", 8)):
    model = load_share(ranks, "story", backend, "float32", "float32")
    ranks._comm = recorded = Recorded(getattr(ranks._comm, "comm", ranks._comm))
    of_before = {kind: vars(traffic).copy() for kind, traffic in ranks.sent.items()}
    if ranks.rank:
        follow(model)
        check_with_a_ring(recorded.calls, of_before)
        continue
    config, cache = model.config, KVCache(model, 20)
    prefill(model, [5, 6, 7], cache)
    before = {kind: vars(traffic).copy() for kind, traffic in ranks.sent.items()}
    forward_batch(model, [([8, 9], cache)])
    sent = {
        kind: {name: value - before[kind][name] for name, value in vars(traffic).items()}
        for kind, traffic in ranks.sent.items()
    }
    layers, (tokens, rows) = config.num_hidden_layers, (2, 1)
    # exact: before each of the 2 all-reduces of a layer, a maximum and a sum of one float64 for each token
    grids = 4 * layers * 2 * (ranks.size - 1) / ranks.size * tokens * 8 if backend == "exact" else 0
    expected = tensor_parallel_bytes_sent(config, tokens, ranks.size, itemsize) + grids
    expected += vocabulary_parallel_bytes_sent(config, tokens, rows, ranks.size, itemsize)
    assert abs(sent["all_reduce"]["bytes"] + sent["all_gather"]["bytes"] - expected) < 1e-6, (sent, expected)
    assert sent["all_reduce"]["calls"] == (2 if backend == "numpy" else 6) * layers + 1, sent
    assert sent["all_reduce"]["messages"] == 2 * (ranks.size - 1) * sent["all_reduce"]["calls"]
    assert (sent["all_gather"]["calls"], sent["all_gather"]["messages"]) == (1, ranks.size - 1)
    assert sent["broadcast"]["calls"] == 1, sent
    print(backend, sent["broadcast"]["bytes"] < 2000)
    end(model)
    check_with_a_ring(recorded.calls, of_before)
