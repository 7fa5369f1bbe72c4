"""Random models and schedules on several ranks: each gives what one rank gives.

Run by test_tensor_parallel.py and test_pipeline_parallel.py. Arguments: the number of cases, and how models are cut.

On the exact backend to the bit; on the others to a tolerance, and the same tokens.
"""

import sys
import traceback

import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from random_models import architectures, make_ops, random_checkpoint, token_lists

import minillm
from minillm.loading.build import build
from minillm.parallel import load as parallel
from minillm.parallel.ranks import world
from minillm.sampling import Sampling
from minillm.speculative import PromptLookup, skip_layers

RANKS = world()
CASES, WAY = int(sys.argv[1]), sys.argv[2]


@st.composite
def cases(draw):
    units = "num_attention_heads" if WAY == "tensor" else "num_hidden_layers"
    config = draw(architectures().filter(lambda config: getattr(config, units) >= RANKS.size))
    backend = draw(st.sampled_from(["exact", "exact", "plain", "numpy"]))
    return config, draw(st.integers(0, 2**32 - 1)), backend, draw(st.sampled_from(["float32", "bfloat16"]))


def both(config, number, backend, weights):
    """The whole model, and this rank's share of it."""
    checkpoint = random_checkpoint(config, number)
    whole = build(checkpoint, make_ops(backend), np.dtype(np.float64), weights)
    parallel.open_checkpoint = lambda name: checkpoint
    load_part = parallel.load_share if WAY == "tensor" else parallel.load_stage
    return whole, load_part(RANKS, "random", backend, "float64", weights)


def same(found, expected, backend):
    if backend == "exact":
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9 * np.abs(expected).max())


def check_engine(draw, whole, cut):
    """Random requests, cancelled at times, in a pool that is too small for all: what each model's engine gives."""
    vocab, engines = whole.config.vocab_size, []
    options = {
        "block_size": draw(st.integers(1, 4)),
        "max_batch_tokens": draw(st.integers(5, 12)),
        "preemption": draw(st.sampled_from(["recompute", "swap"])),
        "cache_dtype": draw(st.sampled_from([None, "int8"])),
        "k": 3,
    }
    options["num_blocks"] = draw(st.integers(1, 3)) + -(-24 // options["block_size"])
    speculation = draw(st.sampled_from([None, "lookup", "skip" if WAY == "tensor" else "lookup"]))
    prompts = draw(st.lists(token_lists(vocab, 10), min_size=1, max_size=5))
    prefix = draw(token_lists(vocab, 6))
    requests = [
        (prefix + prompt, draw(st.integers(1, 2)), draw(st.integers(1, 7)), draw(st.sampled_from([0.0, 1.0])))
        for prompt in prompts
    ]
    cancelled = draw(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 4)), max_size=2))
    for model in (whole, cut):
        drafter = skip_layers(model) if speculation == "skip" else PromptLookup() if speculation else None
        engine = minillm.Engine(model, drafter=drafter, **options)
        submitted = [
            request
            for tokens, n, new, temperature in requests
            for request in engine.submit_samples(tokens, n, new, Sampling(temperature=temperature, seed=7))
        ]
        steps = 0
        while engine.has_work:
            for at, who in cancelled:
                if at == steps:
                    engine.cancel(submitted[who % len(submitted)])
            engine.step()
            steps += 1
        engines.append((engine.statistics, [(request.tokens, request.finish_reason) for request in submitted]))
    assert engines[0][1] == engines[1][1]
    assert engines[0][0] == engines[1][0]


def check_caches(draw, whole, cut, backend):
    """A prompt in chunks, a fork, a truncation, a batch of both: the same logits."""
    tokens, more = (draw(token_lists(whole.config.vocab_size, 12)) for _ in range(2))
    chunk, kept, dtype = (
        draw(st.integers(1, 5)),
        draw(st.integers(0, len(tokens))),
        draw(st.sampled_from([None, "int8"])),
    )
    logits = []
    for model in (whole, cut):
        cache = minillm.KVCache(model, 64, dtype)
        first = minillm.prefill(model, tokens, cache, chunk)
        fork = cache.fork()
        fork.truncate(kept)
        both_rows = minillm.forward_batch(model, [(more, cache), (more, fork)], [len(more), 1])
        logits.append(np.concatenate([minillm.forward(model, tokens), first[None], both_rows]))
    same(logits[1], logits[0], backend)


@seed(0)
@settings(
    max_examples=CASES, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
@given(data=st.data())
def lead(data):
    case = data.draw(cases())
    RANKS.broadcast(case)
    whole, cut = both(*case)
    try:
        check_caches(data.draw, whole, cut, case[2])
        if case[2] == "exact":
            check_engine(data.draw, whole, cut)
    except Exception:
        traceback.print_exc()
        RANKS.fail(f"not equal: {case}")
    finally:
        parallel.end(cut)


if RANKS.rank == 0:
    lead()
    RANKS.broadcast(None)
    print("all equal")
else:
    while case := RANKS.broadcast():
        parallel.follow(both(*case)[1])
