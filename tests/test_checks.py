"""Every wrong argument of the Python functions is one line that says what was expected."""

import dataclasses

import numpy as np
import pytest
from random_models import random_model

import minillm
from minillm import KVCache, Sampling
from minillm.config import ModelConfig, RopeParameters

CONFIG = ModelConfig(
    model_type="llama",
    vocab_size=13,
    hidden_size=8,
    intermediate_size=12,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=4,
    max_position_embeddings=16,
    rms_norm_eps=1e-5,
    tie_word_embeddings=True,
    rope=RopeParameters(),
    attention_bias=False,
    attention_output_bias=False,
    mlp_bias=False,
    qk_norm=False,
    sliding_windows=(None, None),
    bos_token_id=None,
    eos_token_ids=(0,),
)
MODEL, _ = random_model(CONFIG, 0)

BAD_TOKENS = {
    "none": ([], "at least one"),
    "negative": ([1, -1], "id -1 is outside the vocabulary, 0 to 12"),
    "too large": ([13], "id 13 is outside the vocabulary, 0 to 12"),
    "huge": ([2**80], "tokens"),
    "too many": ([1] * 17, "more than the model's context of 16"),
    "more than the memory": (range(10**15), "more than the model's context of 16"),
}


@pytest.mark.parametrize("case", BAD_TOKENS)
@pytest.mark.parametrize("call", ["forward", "naive_decode", "attention_weights", "prefill", "generate"])
def test_bad_tokens_are_refused(call, case):
    tokens, expected = BAD_TOKENS[case]
    calls = {
        "forward": lambda: minillm.forward(MODEL, tokens),
        "naive_decode": lambda: minillm.naive_decode(MODEL, tokens, 1),
        "attention_weights": lambda: minillm.attention_weights(MODEL, tokens, 0),
        "prefill": lambda: minillm.prefill(MODEL, tokens, KVCache(MODEL, 16)),
        "generate": lambda: minillm.generate(MODEL, tokens, 1),
    }
    with pytest.raises(ValueError, match=expected) as caught:
        calls[call]()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("token", [13, -1, 2**70])
def test_decode_refuses_what_is_no_token(token):
    cache = KVCache(MODEL, 4)
    with pytest.raises(ValueError, match=r"^tokens: "):
        minillm.decode_step(MODEL, token, cache)
    assert cache.length == 0


@pytest.mark.parametrize("capacity", [0, -1])
def test_a_cache_has_room_for_at_least_one_token(capacity):
    with pytest.raises(ValueError, match=r"^capacity is .*expected an integer of at least 1$"):
        KVCache(MODEL, capacity)


@pytest.mark.parametrize("capacity", [2**40, 2**56, 2**62, 2**90])
def test_more_capacity_than_memory_is_one_line(capacity):
    expected = rf"^capacity is {capacity}: not enough memory: \d+ GB needed; pass a smaller one$"
    with pytest.raises(ValueError, match=expected):
        KVCache(MODEL, capacity)


@pytest.mark.parametrize("capacity", [{}, {"capacity": 17}], ids=["default", "17"])
def test_a_cache_larger_than_the_context_is_fine_and_the_context_still_holds(capacity):
    """A context of 16 tokens, and the default capacity is 2048."""
    cache = KVCache(MODEL, **capacity)
    minillm.prefill(MODEL, [1] * 16, cache)
    with pytest.raises(ValueError, match="17 tokens are more than the model's context of 16"):
        minillm.decode_step(MODEL, 1, cache)
    assert cache.length == 16


@pytest.mark.parametrize("chunk", [None, 1, 4])
def test_a_prompt_beyond_the_context_leaves_a_larger_cache_as_it_was(chunk):
    cache = KVCache(MODEL, 40)
    minillm.prefill(MODEL, [1] * 10, cache)
    keys = cache.keys.copy()
    with pytest.raises(ValueError, match="17 tokens are more than the model's context of 16"):
        minillm.prefill(MODEL, [2] * 7, cache, chunk)
    assert cache.length == 10 and np.array_equal(cache.keys, keys)


def test_naive_decode_of_no_token_and_of_fewer():
    assert minillm.naive_decode(MODEL, [1, 2], 0) == []
    with pytest.raises(ValueError, match="max_new_tokens is -1; expected an integer of at least 0"):
        minillm.naive_decode(MODEL, [1, 2], -1)


def test_naive_decode_refuses_at_once_what_would_outgrow_the_context():
    assert len(minillm.naive_decode(MODEL, [1] * 10, 7)) == 7  # the last new token is never fed back
    for count in (8, 10**9):
        with pytest.raises(ValueError, match="tokens are more than the model's context of 16"):
            minillm.naive_decode(MODEL, [1] * 10, count)


@pytest.mark.parametrize("length", [-1, 4])
def test_truncate_refuses_what_it_does_not_hold(length):
    cache = KVCache(MODEL, 8)
    minillm.prefill(MODEL, [1, 2, 3], cache)
    with pytest.raises(ValueError, match="expected an integer from 0 to 3"):
        cache.truncate(length)
    assert cache.length == 3


@pytest.mark.parametrize("chunk", [0, -1])
def test_a_chunk_has_at_least_one_token(chunk):
    with pytest.raises(ValueError, match=r"^chunk is .*at least 1$"):
        minillm.prefill(MODEL, [1, 2], KVCache(MODEL, 4), chunk)


@pytest.mark.parametrize("count", [0, -1])
def test_generate_wants_at_least_one_new_token(count):
    with pytest.raises(ValueError, match=r"^max_new_tokens is .*at least 1$"):
        minillm.generate(MODEL, [1], count)


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        minillm.forward_batch(MODEL, [])


def test_one_cache_cannot_be_twice_in_a_batch():
    cache = KVCache(MODEL, 8)
    with pytest.raises(ValueError, match="one cache is in the batch twice"):
        minillm.forward_batch(MODEL, [([1], cache), ([2], cache)])


@pytest.mark.parametrize("rows", [[1], [1, 3], [-1, 1]])
def test_logit_rows_must_fit_the_new_tokens(rows):
    batch = [([1, 2], KVCache(MODEL, 8)), ([3, 4], KVCache(MODEL, 8))]
    with pytest.raises(ValueError, match=r"^logit_rows"):
        minillm.forward_batch(MODEL, batch, logit_rows=rows)
    assert [cache.length for _, cache in batch] == [0, 0]


def test_a_cache_of_another_model_is_refused():
    other, _ = random_model(dataclasses.replace(CONFIG, num_hidden_layers=1, sliding_windows=(None,)), 1)
    with pytest.raises(ValueError, match="another model"):
        minillm.prefill(MODEL, [1], KVCache(other, 4))


def test_a_context_that_is_full_is_refused_before_anything_is_written():
    cache = KVCache(MODEL, 16)
    minillm.prefill(MODEL, [1] * 16, cache)
    with pytest.raises(ValueError, match="16 are in use and 1 more"):
        minillm.decode_step(MODEL, 1, cache)
    assert cache.length == 16


def test_logits_that_are_not_numbers_are_refused():
    damaged, _ = random_model(CONFIG, 0)
    damaged = dataclasses.replace(damaged, final_norm=damaged.final_norm * np.nan)
    for temperature in (0.0, 1.0):
        with pytest.raises(ValueError, match="not all finite numbers"):
            minillm.generate(damaged, [1, 2], 2, Sampling(temperature=temperature))
    with pytest.raises(ValueError, match="not all finite numbers"):
        minillm.naive_decode(damaged, [1, 2], 2)


def test_text_without_a_tokenizer_is_refused():
    with pytest.raises(ValueError, match="no tokenizer"):
        minillm.generate(MODEL, "Hello")


@pytest.mark.parametrize("settings", [{"backend": "gpu"}, {"dtype": "int8"}])
def test_unknown_backends_and_dtypes_are_refused(settings):
    with pytest.raises(ValueError, match="expected one of"):
        minillm.load("smollm2", **settings)
