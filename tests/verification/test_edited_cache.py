"""A cache of (token, position) pairs is the reference wherever both have a meaning, and positions are relative."""

import numpy as np
import pytest

from minillm import reference
from minillm.verification.edited_cache import appended, edited_logits, is_plain, removed, shifted
from minillm.verification.models import configs, random_weights

ONE_LAYER = [config for config in configs(["window", "qk_norm", "bias"]) if config.num_hidden_layers == 1]
TOKENS = [3, 1, 4, 1, 5, 9, 2, 6, 5]


@pytest.mark.parametrize("config", ONE_LAYER)
def test_a_plain_cache_is_the_reference(config):
    weights, expected = random_weights(config), reference.forward(config, random_weights(config), TOKENS)
    for count in range(1, len(TOKENS) + 1):
        cached = appended([], TOKENS[:count])
        assert is_plain(cached)
        np.testing.assert_allclose(edited_logits(config, weights, cached), expected[count - 1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("config", ONE_LAYER)
def test_rotary_positions_are_relative(config):
    weights, cached = random_weights(config), appended([], TOKENS)
    moved = edited_logits(config, weights, shifted(cached, 0, 7))
    np.testing.assert_allclose(moved, edited_logits(config, weights, cached), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("config", [config for config in ONE_LAYER if config.sliding_windows == (None,)])
def test_a_removed_token_and_a_moved_one_change_the_result(config):
    weights, cached = random_weights(config), appended([], TOKENS)
    results = [cached, removed(cached, 2, 3), shifted(cached, 2, 1), appended([], TOKENS[:2] + TOKENS[3:])]
    logits = [edited_logits(config, weights, one) for one in results]
    for one in range(4):
        for other in range(one):
            assert np.abs(logits[one] - logits[other]).max() > 1e-3


def test_a_gap_is_closed_by_a_shift():
    cached = removed(appended([], TOKENS), 0, 4)
    assert [position for _, position in cached] == [4, 5, 6, 7, 8]
    assert shifted(cached, 0, -4) == appended([], TOKENS[4:])
    assert appended(cached, [7])[-1].position == 9
    assert appended(removed(cached, 0, 5), [7])[-1].position == 0


def test_a_window_is_counted_in_positions():
    """A token that a gap moves out of the window is not seen."""
    [config] = [config for config in ONE_LAYER if config.sliding_windows == (4,)]
    weights, cached = random_weights(config), appended([], [1, 2, 3])
    far = shifted(cached, 1, 3)  # positions 0, 4, 5
    alone = edited_logits(config, weights, far[1:])
    np.testing.assert_allclose(edited_logits(config, weights, far), alone, rtol=1e-12, atol=1e-12)
