"""The training forward equals the engine's, and its gradients equal finite differences."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training.trainable import as_model, random_parameters, trainable_configs

from minillm import forward
from minillm.training import operations
from minillm.training.losses import IGNORED, cross_entropy
from minillm.training.network import Network, add_rows
from minillm.training.parameters import ParameterVector, llama_config


@settings(max_examples=30)
@given(trainable_configs(), st.integers(0, 2**32), st.integers(1, 3), st.integers(1, 9))
def test_forward_equals_the_engine(config, seed, batch, time):
    parameters = random_parameters(config, seed)
    tokens = np.random.default_rng(seed).integers(0, config.vocab_size, (batch, time))
    logits, _ = Network(parameters, batch, time).forward(tokens)
    model = as_model(parameters)
    for row, ids in zip(logits.reshape(batch, time, -1), tokens, strict=True):
        np.testing.assert_allclose(row, forward(model, ids), rtol=0, atol=1e-11)


def test_forward_equals_the_engine_over_several_query_tiles():
    config = llama_config(17, 12, 10, 2, 6, 2, 300)
    parameters, time = random_parameters(config, 0), 2 * operations.QUERY_TILE + 5
    tokens = np.random.default_rng(0).integers(0, config.vocab_size, (1, time))
    logits, _ = Network(parameters, 1, time).forward(tokens)
    np.testing.assert_allclose(logits, forward(as_model(parameters), tokens[0]), rtol=0, atol=1e-11)


@settings(max_examples=25, deadline=None)
@given(trainable_configs(), st.integers(0, 2**32), st.sampled_from([2, 128]))
def test_gradients_equal_finite_differences(config, seed, tile):
    """Every tensor, in a random direction: (loss(w + h u) - loss(w - h u)) / 2h = gradient . u."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "QUERY_TILE", tile)
        parameters, generator = random_parameters(config, seed), np.random.default_rng(seed)
        rows = generator.integers(0, config.vocab_size, (2, 6))
        rows[1, -2:] = IGNORED
        gradients = loss_and_gradients(parameters, rows)[1]
        for name, tensor in parameters.tensors.items():
            direction, errors = generator.normal(size=tensor.shape), []
            for step in (1e-6, 1e-7):  # the shorter one for a loss that bends
                losses = []
                for sign in (1, -1):
                    tensor += sign * step * direction
                    losses.append(loss_and_gradients(parameters, rows)[0])
                    tensor -= sign * step * direction
                numeric = (losses[0] - losses[1]) / (2 * step)
                errors.append(abs(numeric - np.vdot(gradients.tensors[name], direction)))
            scale = np.linalg.norm(gradients.tensors[name]) * np.linalg.norm(direction)
            assert min(errors) <= 1e-6 * scale + 1e-9, (name, errors)


def loss_and_gradients(parameters: ParameterVector, rows: np.ndarray) -> tuple[float, ParameterVector]:
    network, gradients = Network(parameters, len(rows), rows.shape[1] - 1), parameters.like()
    gradients.vector[...] = 123.0  # old contents must not count
    logits, saved = network.forward(np.maximum(rows[:, :-1], 0))
    targets = rows[:, 1:].ravel()
    loss, d_logits = cross_entropy(logits, targets, int((targets != IGNORED).sum()))
    network.backward(d_logits, saved, gradients)
    return loss, gradients


def test_rows_of_repeated_ids_are_summed():
    table, ids, rows = np.zeros((5, 2)), np.array([3, 1, 3, 3]), np.arange(8.0).reshape(4, 2)
    expected = table.copy()
    np.add.at(expected, ids, rows)
    add_rows(table, ids, rows)
    assert np.array_equal(table, expected)
