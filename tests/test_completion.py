"""Completion: what one request chooses from given logits. That all who use it agree is the properties' business."""

import dataclasses

import numpy as np
import pytest
from test_checks import CONFIG, MODEL
from tiny_tokenizer import tiny_tokenizer

from minillm import Sampling
from minillm.completion import Completion

VOCAB = CONFIG.vocab_size


def logits(**largest):
    """All 0, but for the given tokens: logits(t3=5.0)."""
    row = np.zeros(VOCAB)
    for name, value in largest.items():
        row[int(name[1:])] = value
    return row


def test_the_penalty_sees_the_prompt_and_every_new_token():
    answer = Completion(MODEL, [3, 4], 5, Sampling(repetition_penalty=2.0, ignore_eos=True))
    row = logits(t3=8.0, t5=7.0, t6=6.0, t4=9.0)
    assert [answer.add(row).token for _ in range(3)] == [5, 6, 4]  # at last all are halved


def test_one_generator_draws_all_tokens_of_a_request():
    """Drawn anew for each token, the same number would choose the same token from the same logits, again and again."""
    sampling = Sampling(temperature=1.0, seed=1, ignore_eos=True)
    first, again, other = (Completion(MODEL, [1], 8, s) for s in (sampling, sampling, Sampling(1.0, seed=2)))
    tokens = [first.add(logits()).token for _ in range(8)]
    assert [again.add(logits()).token for _ in range(8)] == tokens
    expected = np.random.default_rng(1).random(8) * VOCAB
    assert tokens == expected.astype(int).tolist()
    assert other.generator.random() != Completion(MODEL, [1], 8, sampling).generator.random()


def test_new_tokens_are_counted_without_the_prompt():
    answer = Completion(MODEL, [1] * 5, 3, Sampling(ignore_eos=True))
    assert [answer.add(logits()).finish_reason for _ in range(3)] == ["", "", "length"]
    assert (len(answer.tokens), len(answer.sequence)) == (3, 8)


def test_the_context_counts_every_token_that_is_fed():
    """16 fit: 14 of the prompt and two that are fed back; one more is never fed."""
    answer = Completion(MODEL, [1] * 14, 100, None)
    assert (answer.max_new_tokens, answer.max_cached_tokens) == (3, 16)


def test_end_of_sequence_comes_before_length():
    answer = Completion(MODEL, [1], 1, None)
    assert answer.add(logits(t0=1.0)).finish_reason == "eos"
    assert Completion(MODEL, [1], 1, Sampling(ignore_eos=True)).add(logits(t0=1.0)).finish_reason == "length"


@pytest.mark.parametrize("room, reasons", [(5, ["", "", "", "", "length"]), (6, ["", "", "", "", "", "stop"])])
def test_a_stop_string_that_the_last_token_completes_comes_before_length(room, reasons):
    model = dataclasses.replace(MODEL, stored_tokenizer=tiny_tokenizer())
    answer = Completion(model, [1], room, Sampling(stop="END"))
    steps = [answer.append(token, logits()) for token in tiny_tokenizer().encode("so END")[:room]]
    assert [step.finish_reason for step in steps] == reasons
    assert (answer.finish_reason, answer.text) == (reasons[-1], "so " if room == 6 else "so EN")


def test_damaged_logits_change_nothing():
    answer = Completion(MODEL, [1], 3, Sampling(temperature=1.0, seed=0))
    with pytest.raises(ValueError, match="not all finite"):
        answer.add(logits() * np.nan)
    assert (answer.tokens, answer.finish_reason) == ([], "")
    assert answer.add(logits()).token == Completion(MODEL, [1], 3, Sampling(1.0, seed=0)).add(logits()).token
