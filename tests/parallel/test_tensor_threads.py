"""Tensor parallelism on ranks that are threads: the bits of one model, the ring, and what it sends."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import architectures, make_ops, random_checkpoint, token_lists

import minillm
from minillm.estimate.sharding import all_reduce_bytes_sent
from minillm.loading.build import build
from minillm.parallel.load import build_share
from minillm.parallel.thread_ranks import in_threads


@pytest.mark.parametrize("operation", ["sum", "max"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (4, 15), (0, 3)])
def test_an_all_reduce_is_the_same_on_all_ranks(ranks, shape, operation):
    arrays = np.random.default_rng(0).integers(-9, 9, (ranks, *shape)).astype(float)
    found = in_threads(ranks, lambda rank: rank.all_reduce(arrays[rank.rank], operation))
    for one in found:
        np.testing.assert_array_equal(one, getattr(arrays, operation)(axis=0))


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_what_the_ring_sends_is_what_the_formula_says(ranks):
    def run(rank):
        rank.all_reduce(np.ones(12))
        rank.all_gather(np.full((rank.rank + 1, 2), rank.rank), range(1, ranks + 1))
        return rank.sent

    for sent in in_threads(ranks, run):
        assert vars(sent["all_reduce"]) == {
            "calls": 1, "messages": 2 * (ranks - 1), "bytes": all_reduce_bytes_sent(96, ranks)
        }  # fmt: skip
        assert (sent["all_gather"].calls, sent["all_gather"].messages, sent["send"].calls) == (1, ranks - 1, 0)


def test_an_all_gather_puts_arrays_in_the_order_of_the_ranks():
    arrays = [np.arange(2 * length).reshape(length, 2) for length in (3, 0, 2)]
    for found in in_threads(3, lambda rank: rank.all_gather(arrays[rank.rank], [3, 0, 2])):
        np.testing.assert_array_equal(np.concatenate(found), np.concatenate(arrays))


@settings(max_examples=15)
@given(config=architectures(), seed=st.integers(0, 2**32), data=st.data())
def test_any_cut_gives_the_bits_of_one_exact_model(config, seed, data):
    checkpoint, tokens = random_checkpoint(config, seed), data.draw(token_lists(config.vocab_size))
    ranks = data.draw(st.integers(1, min(3, config.num_attention_heads)))

    def run(rank):
        model = build_share(rank, checkpoint, make_ops("exact"), np.dtype(np.float64))
        with model.ops.all_together():
            return minillm.forward(model, tokens)

    expected = minillm.forward(build(checkpoint, make_ops("exact"), np.dtype(np.float64)), tokens)
    for logits in in_threads(ranks, run):
        np.testing.assert_array_equal(logits, expected)
