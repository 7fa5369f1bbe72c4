"""What is counted is what is done: weights as in the file, bytes as in the cache, operations as in the products."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from bundled import BUNDLED
from hypothesis import given
from hypothesis import strategies as st
from random_models import architectures, tensor_shapes

import minillm
from minillm.attention import causal_mask
from minillm.benchmark.limits import Limits
from minillm.estimate.memory import cache_bytes_per_token
from minillm.estimate.parameters import matrix_parameters, parameters
from minillm.estimate.work import Tokens, Work, decode_work, forward_work, prefill_work, visible_keys, visible_pairs
from minillm.loading import open_checkpoint

TOKENS = st.builds(Tokens, st.integers(1, 12), st.integers(0, 12), st.just(1))


@pytest.mark.parametrize("name", BUNDLED)
def test_the_parameters_are_those_in_the_file(name):
    """The header of a safetensors file says how large each tensor is."""
    place = Path(minillm.__file__).parents[1] / "weights" / name
    file = (place / "model.safetensors").read_bytes()
    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    shapes = [tensor["shape"] for tensor in header.values() if "shape" in tensor]
    assert parameters(open_checkpoint(name).config) == sum(int(np.prod(shape)) for shape in shapes)


@given(config=architectures())
def test_every_tensor_counts_once(config):
    shapes = tensor_shapes(config)
    assert parameters(config) == sum(int(np.prod(shape)) for shape in shapes.values())
    embedding = 0 if config.tie_word_embeddings else int(np.prod(shapes["model.embed_tokens.weight"]))
    matrices = sum(int(np.prod(shape)) for shape in shapes.values() if len(shape) == 2)
    assert matrix_parameters(config) == matrices - embedding


@pytest.mark.parametrize("name", BUNDLED)
def test_the_cache_is_counted_as_it_is_made(name):
    model = minillm.load(name)
    assert cache_bytes_per_token(model.config, 4) * 10 == minillm.KVCache(model, 10).nbytes


@given(tokens=TOKENS, window=st.none() | st.integers(1, 14))
def test_what_a_query_may_see_is_what_the_mask_leaves(tokens, window):
    mask = causal_mask(tokens.new, tokens.new + tokens.cached, tokens.cached, window)
    assert visible_pairs(tokens, window) == mask.sum()
    assert visible_keys(tokens, window) == mask.any(axis=0).sum()


@given(config=architectures())
def test_prefill_is_its_tokens_decoded_one_after_another(config):
    """The same multiplications; prefill saves the head of all tokens but one, and nearly all reading of weights."""
    config = dataclasses.replace(config, sliding_windows=(None,) * config.num_hidden_layers)
    n = 7
    steps = [decode_work(config, context) for context in range(1, n + 1)]
    heads = 2 * config.vocab_size * config.hidden_size * (n - 1)
    assert prefill_work(config, n).flops == sum(step.flops for step in steps) - heads
    assert prefill_work(config, n, logit_rows=n).flops == sum(step.flops for step in steps)
    assert prefill_work(config, n).bytes == steps[-1].bytes


@given(config=architectures(), batch=st.lists(TOKENS, min_size=1, max_size=4))
def test_a_batch_multiplies_for_each_sequence_and_reads_the_weights_once(config, batch):
    alone = [forward_work(config, [tokens], 4, 4) for tokens in batch]
    together = forward_work(config, batch, 4, 4)
    assert together.flops == sum(work.flops for work in alone)
    assert together.cache_bytes == pytest.approx(sum(work.cache_bytes for work in alone))
    assert together.weight_bytes == 4 * matrix_parameters(config)


def test_without_logits_the_head_is_not_read():
    config = open_checkpoint("story").config
    layers = forward_work(config, [Tokens(3, 0, 0)], 4)
    assert forward_work(config, [Tokens(3)], 4).weight_bytes - layers.weight_bytes == 4 * 2048 * config.hidden_size


def test_the_limit_is_the_slower_of_the_two():
    limits = Limits(bandwidth=10.0, matmul=100.0)
    assert limits.seconds(Work(flops=50, weight_bytes=30, cache_bytes=20)) == 5.0
    assert limits.seconds(Work(flops=1000, weight_bytes=5)) == 10.0
