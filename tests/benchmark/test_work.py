"""What is counted is what is done: weights as in the file, bytes as in the cache, operations as in the products."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from random_models import architectures, tensor_shapes

import minillm
from minillm.benchmark.work import Limits, Work, cache_bytes, decode_work, matrix_parameters, prefill_work, weight_bytes
from minillm.loading import open_checkpoint


def test_the_weights_are_counted_as_they_lie_in_the_file(folder):
    """All but the norms, which are left out."""
    config = open_checkpoint(folder).config
    file = Path(folder, "model.safetensors").read_bytes()
    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    matrices = [t["shape"] for name, t in header.items() if len(t.get("shape", ())) == 2]
    assert weight_bytes(config, 4) == 4 * sum(int(np.prod(shape)) for shape in matrices)
    assert matrix_parameters(config) * 4 == weight_bytes(config, 4)  # the head is tied to the embedding


@given(config=architectures())
def test_every_matrix_counts_once(config):
    sizes = [int(np.prod(shape)) for shape in tensor_shapes(config).values() if len(shape) == 2]
    assert weight_bytes(config, 8) == 8 * sum(sizes)


def test_the_cache_is_counted_as_it_is_made(folder):
    model = minillm.load(folder)
    assert cache_bytes(model.config, 4) * 10 == minillm.KVCache(model, 10).nbytes


@given(config=architectures())
def test_prefill_is_its_tokens_decoded_one_after_another(config):
    """The same multiplications; prefill saves the head of all tokens but one, and nearly all reading of weights."""
    n = 7
    steps = [decode_work(config, context, 4) for context in range(1, n + 1)]
    heads = 2 * config.vocab_size * config.hidden_size * (n - 1)
    assert prefill_work(config, n, 4).flops == pytest.approx(sum(step.flops for step in steps) - heads)
    assert prefill_work(config, n, 4, logit_rows=n).flops == pytest.approx(sum(step.flops for step in steps))
    assert prefill_work(config, n, 4).bytes == steps[-1].bytes


@given(config=architectures())
def test_a_batch_reads_the_weights_once(config):
    one, three = decode_work(config, 5, 4), decode_work(config, 5, 4, sequences=3)
    assert three.flops == 3 * one.flops
    assert three.bytes - one.bytes == 2 * 5 * cache_bytes(config, 4)


def test_the_limit_is_the_slower_of_the_two():
    limits = Limits(bandwidth=10.0, matmul=100.0)
    assert limits.seconds(Work(bytes=50, flops=50)) == 5.0
    assert limits.seconds(Work(bytes=5, flops=1000)) == 10.0
