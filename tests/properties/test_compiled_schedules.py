"""On the compiled backend too, in float32 and in every format, each row of logits is the naive path's to the bit."""

import numpy as np
import pytest

pytest.importorskip("numba")

import dataclasses
from contextlib import contextmanager
from random import Random
from typing import Any

from bundled import BUNDLED
from exact_schedules import assert_any_schedule_is_naive
from golden_model import CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import architectures, cache_dtypes, random_checkpoint, random_model
from test_engine_schedules import alone, dtype_of, engines, submissions
from test_exact_schedules import TEXTS, configs, sequences

import minillm
from minillm.backends import get_backend, threads
from minillm.backends.compiled import sharing
from minillm.loading.build import build
from minillm.quantization import quantize

pytestmark = pytest.mark.compiled
FORMATS = ("float32", "bfloat16", "int8", "int4")


# Compiling all layers takes ten seconds of a core for each format, once for a machine.
IN_PLAIN_PYTEST = ("float32", "int8")


def slow_unless_quick(formats):
    return [name if name in IN_PLAIN_PYTEST else pytest.param(name, marks=pytest.mark.slow) for name in formats]


@pytest.mark.parametrize("weights", slow_unless_quick(FORMATS))
@settings(max_examples=8)
@given(data=st.data(), config=configs(), seed=st.integers(0, 2**32), random=st.randoms(use_true_random=False))
def test_any_schedule_of_a_random_model(weights, data, config, seed, random):
    model = random_model(config, seed, "compiled", "float32", weights)[0]
    cache_dtype = data.draw(cache_dtypes(model))
    assert_any_schedule_is_naive(model, data.draw(sequences(config.vocab_size)), random, cache_dtype=cache_dtype)


@pytest.mark.parametrize("cache_dtype", [None, "int8"])
@pytest.mark.parametrize("weights", slow_unless_quick(FORMATS))
@pytest.mark.parametrize("name", BUNDLED)
def test_any_schedule_of_a_real_model(name, weights, cache_dtype):
    model = minillm.load(name, "compiled", weights=weights)
    sequences = [model.tokenizer.encode(text) for text in TEXTS]
    assert_any_schedule_is_naive(model, sequences, Random(0), cache_dtype=cache_dtype)


@contextmanager
def threads_of_this_process(count):
    """Let every kernel run on `count` threads, however little it has to do. Tests have one thread else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBLAS_NUM_THREADS", str(count))
        patch.setattr(sharing, "LITTLE_WORK", 0)
        threads._waiting_threads.cache_clear()
        assert sharing.thread_count() == count
        yield
    threads._waiting_threads.cache_clear()


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("weights", slow_unless_quick(FORMATS))
@settings(max_examples=6)
@given(data=st.data(), config=architectures(), seed=st.integers(0, 2**32))
def test_requests_of_an_engine_are_as_if_alone(count, weights, data, config, seed):
    """Paged, with shared beginnings, chunks, preemption and swap, and guesses by prompt lookup: the same bits."""
    model = random_model(config, seed, "compiled", "float32", weights)[0]
    wanted = data.draw(submissions(config.vocab_size))
    speculates = data.draw(st.booleans())
    chosen = {"drafter": minillm.PromptLookup(), "k": 3, "least_budget": 4} if speculates else {}
    if speculates:  # of a greedy request; a sampled one has the distribution of decoding, and not its draws
        wanted = [(prompt, new, dataclasses.replace(sampling, temperature=0.0)) for prompt, new, sampling in wanted]
    with threads_of_this_process(count):
        engine = data.draw(engines(model, wanted, **chosen))
        requests = [engine.submit(*each) for each in wanted]
        engine.run()
    for request, each in zip(requests, wanted, strict=True):
        out = alone(model, each, dtype_of(engine))
        found = request.tokens, request.finish_reason, request.logprobs
        assert found == (out.tokens, out.finish_reason, out.logprobs)


@dataclasses.dataclass(frozen=True)
class QuantisedTensor:
    matrix: Any
    format: str

    @property
    def shape(self):
        return self.matrix.shape

    def stored(self):
        return self.matrix


@pytest.mark.slow
def test_any_schedule_of_a_model_whose_matrices_have_several_formats():
    """In some GGUF files v has more bits than q and k. Such a model goes through the methods."""
    checkpoint = random_checkpoint(CONFIG, 0)
    for name, tensor in checkpoint.tensors.items():
        if name.endswith("proj.weight"):
            weights = "int8" if "v_proj" in name else "int4"
            matrix = quantize(tensor.read().astype(np.float32), weights)
            checkpoint.tensors[name] = QuantisedTensor(matrix, weights)
    ops = get_backend("compiled")
    model = build(checkpoint, ops, ops.choose_dtype("float32"), "stored")
    assert isinstance(model.layer_weights[0].qkv, list)
    tokens = [7 * n * n % CONFIG.vocab_size for n in range(100)]
    assert_any_schedule_is_naive(model, [tokens, tokens[:20], [1, 2, 3]], Random(0))


@pytest.mark.parametrize("weights", slow_unless_quick(FORMATS))
@settings(max_examples=5)
@given(config=architectures(), seed=st.integers(0, 2**32))
def test_logits_are_those_of_the_plain_backend(weights, config, seed):
    tokens = [7 * n * n % config.vocab_size for n in range(20)]
    ours, theirs = (
        minillm.forward(random_model(config, seed, backend, dtype, weights)[0], tokens)
        for backend, dtype in (("compiled", "float32"), ("plain", "float64"))
    )
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4 * np.abs(theirs).max())
