"""Completion: what one request chooses from given logits. That all who use it agree is the properties' business."""

import dataclasses
import re

import numpy as np
import pytest
from test_checks import CONFIG, MODEL
from tiny_tokenizer import SPECIAL, tiny_tokenizer

import minillm
from minillm import Sampling
from minillm.completion import Completion
from minillm.generation import encode_prompt

VOCAB = CONFIG.vocab_size


def logits(**largest):
    """All 0, but for the given tokens: logits(t3=5.0)."""
    row = np.zeros(VOCAB)
    for name, value in largest.items():
        row[int(name[1:])] = value
    return row


def test_the_penalty_sees_the_prompt_and_every_new_token():
    answer = Completion.of(MODEL, [3, 4], 5, Sampling(repetition_penalty=2.0, ignore_eos=True))
    row = logits(t3=8.0, t5=7.0, t6=6.0, t4=9.0)
    assert [answer.add(row).token for _ in range(3)] == [5, 6, 4]  # at last all are halved


def test_one_generator_draws_all_tokens_of_a_request():
    """Drawn anew for each token, the same number would choose the same token from the same logits, again and again."""
    sampling = Sampling(temperature=1.0, seed=1, ignore_eos=True)
    first, again, other = (Completion.of(MODEL, [1], 8, s) for s in (sampling, sampling, Sampling(1.0, seed=2)))
    tokens = [first.add(logits()).token for _ in range(8)]
    assert [again.add(logits()).token for _ in range(8)] == tokens
    expected = np.random.default_rng(1).random(8) * VOCAB
    assert tokens == expected.astype(int).tolist()
    assert other.generator.random() != Completion.of(MODEL, [1], 8, sampling).generator.random()


def test_new_tokens_are_counted_without_the_prompt():
    answer = Completion.of(MODEL, [1] * 5, 3, Sampling(ignore_eos=True))
    assert [answer.add(logits()).finish_reason for _ in range(3)] == ["", "", "length"]
    assert (len(answer.tokens), len(answer.sequence)) == (3, 8)


def test_the_context_counts_every_token_that_is_fed():
    """16 fit: 14 of the prompt and two that are fed back; one more is never fed."""
    answer = Completion.of(MODEL, [1] * 14, 100, None)
    assert (answer.max_new_tokens, answer.max_cached_tokens) == (3, 16)


def test_end_of_sequence_comes_before_length():
    answer = Completion.of(MODEL, [1], 1, None)
    assert answer.add(logits(t0=1.0)).finish_reason == "eos"
    assert Completion.of(MODEL, [1], 1, Sampling(ignore_eos=True)).add(logits(t0=1.0)).finish_reason == "length"


@pytest.mark.parametrize("room, reasons", [(5, ["", "", "", "", "length"]), (6, ["", "", "", "", "", "stop"])])
def test_a_stop_string_that_the_last_token_completes_comes_before_length(room, reasons):
    model = dataclasses.replace(MODEL, stored_tokenizer=tiny_tokenizer())
    answer = Completion.of(model, [1], room, Sampling(stop="END"))
    steps = [answer.append(token, logits()) for token in tiny_tokenizer().encode("so END")[:room]]
    assert [step.finish_reason for step in steps] == reasons
    assert (answer.finish_reason, answer.text) == (reasons[-1], "so " if room == 6 else "so EN")


@pytest.mark.parametrize("room", [4, 9])
def test_a_stop_that_is_a_special_token_ends_at_that_token(room):
    """Also if it is the last token that fits. It is not an end-of-sequence token."""
    model = dataclasses.replace(MODEL, stored_tokenizer=tiny_tokenizer())
    answer = Completion.of(model, [1], room, Sampling(stop=["no", SPECIAL[1]]))
    steps = [answer.append(token, logits()) for token in [*tiny_tokenizer().encode("so "), 1]]
    assert [step.finish_reason for step in steps] == ["", "", "", "stop"]
    assert (answer.finish_reason, answer.text, len(answer.tokens)) == ("stop", "so ", 4)


@pytest.mark.parametrize("ignore_eos", [True, False])
def test_a_stop_that_is_the_end_of_sequence_token_comes_before_it(ignore_eos):
    model = dataclasses.replace(MODEL, stored_tokenizer=tiny_tokenizer())
    answer = Completion.of(model, [1], 9, Sampling(stop=SPECIAL[0], ignore_eos=ignore_eos))
    assert answer.append(0, logits()).finish_reason == "stop"


def test_a_stop_that_holds_a_special_token_is_refused_before_the_answer_begins():
    model = dataclasses.replace(MODEL, stored_tokenizer=tiny_tokenizer())
    with pytest.raises(ValueError, match=r"^stop is .*expected text without the special token"):
        Completion.of(model, [1], 9, Sampling(stop=f"{SPECIAL[1]}\n"))


@pytest.mark.parametrize("stop", ["é", "漢b", "😀", "b漢😀"])
def test_a_stop_of_several_bytes_ends_at_the_token_that_completes_it(stop):
    tokenizer = tiny_tokenizer()
    answer = Completion.of(dataclasses.replace(MODEL, stored_tokenizer=tokenizer), [1], 90, Sampling(stop=stop))
    before, inside = (tokenizer.encode(text) for text in ("aé"[: 1 + (stop != "é")], stop))
    steps = [answer.append(token, logits()) for token in [*before, *inside]]
    assert [step.finish_reason for step in steps] == [""] * (len(steps) - 1) + ["stop"]
    assert answer.text == tokenizer.decode(before)


def test_a_raw_prompt_that_spells_a_special_token_is_text_and_says_so():
    model = minillm.load("story")
    special = next(iter(model.tokenizer.special_tokens))
    with pytest.warns(
        UserWarning, match=rf"^{re.escape(special)} in the prompt is taken as text; to use special tokens"
    ):
        ids = encode_prompt(model, f"a {special}b")
    assert model.tokenizer.special_tokens[special] not in ids and model.tokenizer.decode(ids) == f"a {special}b"


def test_damaged_logits_change_nothing():
    answer = Completion.of(MODEL, [1], 3, Sampling(temperature=1.0, seed=0))
    with pytest.raises(ValueError, match="not all finite"):
        answer.add(logits() * np.nan)
    assert (answer.tokens, answer.finish_reason) == ([], "")
    assert answer.add(logits()).token == Completion.of(MODEL, [1], 3, Sampling(1.0, seed=0)).add(logits()).token
