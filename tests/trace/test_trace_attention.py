"""Attention in a trace: the weights of the run, in bytes."""

from functools import partial

import numpy as np
import pytest
from random_models import random_model
from test_checks import CONFIG
from trace_checks import recorded

import minillm
from minillm.attention import causal_mask
from minillm.trace.attention import layers_of, packed, queries_and_keys, unpacked, weights_of

WINDOWED = CONFIG.__class__(**{**vars(CONFIG), "sliding_windows": (None, 3)})
WARM = minillm.Sampling(temperature=1.0, seed=3, ignore_eos=True)


@pytest.mark.parametrize("backend", ["numpy", "plain", "exact", "cupy"])
def test_the_weights_are_those_of_the_sequence(backend, tmp_path):
    model, _ = random_model(WINDOWED, 0, backend)
    trace, tokens = recorded(tmp_path, lambda: minillm.generate(model, [1, 2, 3], 6, WARM).tokens, detail="attention")
    sequence = [1, 2, 3, *tokens][:-1]
    lines = [line for line in trace.lines if line["t"] == "attention"]
    assert [(line["layer"], line["head"]) for line in lines] == [(layer, head) for layer in (0, 1) for head in range(4)]
    for line in lines:
        expected = minillm.attention_weights(model, sequence, line["layer"])[line["head"]]
        assert np.allclose(unpacked(line), expected, atol=0.5 / 255 + 1e-3)
        window = WINDOWED.sliding_windows[line["layer"]]
        assert not unpacked(line)[~causal_mask(len(sequence), len(sequence), 0, window)].any()


def test_weights_of_a_cache_in_int8_are_those_of_its_rounded_keys():
    model, _ = random_model(CONFIG, 0, "plain")
    floats, rounded = (queries_and_keys(model, [1, 2, 3, 4], [0, 1], dtype) for dtype in (None, "int8"))
    assert np.array_equal(floats[0][0], rounded[0][0])  # the queries of the first layer
    assert not np.array_equal(floats[0][1], rounded[0][1])
    assert np.allclose(floats[0][1], rounded[0][1], atol=0.05)


def test_later_tokens_do_not_change_the_weights_of_earlier_ones():
    model, _ = random_model(CONFIG, 0, "exact")
    long, short = (queries_and_keys(model, tokens, [1], None)[1] for tokens in ([1, 2, 3, 4], [1, 2]))
    long, short = weights_of(*long, None), weights_of(*short, None)
    assert all(np.array_equal(a[:2, :2], b) for a, b in zip(long, short, strict=True))


def test_packed_weights_are_within_half_a_step():
    weights = np.tril(np.random.default_rng(0).random((5, 5)))
    weights /= weights.sum(axis=1, keepdims=True)
    step = weights.max(axis=1, keepdims=True) / 255
    assert (abs(unpacked(packed(weights)) - weights) <= 0.51 * step + 1e-4 * weights).all()


def test_all_layers_of_a_small_model_and_three_of_a_large_one():
    def layers(count):
        config = CONFIG.__class__(**{**vars(CONFIG), "num_hidden_layers": count, "sliding_windows": (None,) * count})
        return layers_of(random_model(config, 0)[0], None)

    assert (layers(6), layers(9)) == ([0, 1, 2, 3, 4, 5], [0, 4, 8])


def test_too_much_attention_is_refused_and_the_rest_of_the_trace_is_there(tmp_path, monkeypatch):
    from minillm.trace import load, recording

    model, path = random_model(CONFIG, 0)[0], tmp_path / "run.jsonl"
    monkeypatch.setattr(recording, "LARGEST", 8_000)
    run = partial(minillm.generate, model, [1, 2], 12, minillm.Sampling(ignore_eos=True))
    asked = recording.record(path, detail="attention", layers=[0, 1])
    with pytest.raises(ValueError, match="choose fewer layers"), asked:
        run()
    with pytest.warns(UserWarning, match="attention is left out: .*; choose fewer layers"):
        with recording.record(path, detail="attention", force=True):
            run()
    trace = load(path)
    assert trace.finished and len(trace.states.last["requests"][0]["tokens"]) == 12
