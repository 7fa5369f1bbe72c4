"""What `minillm exactness` measures: schedules beside naive decoding, on every backend, and the hash."""

import hashlib

import numpy as np
import pytest
from golden_model import TOKENS, golden_model

import minillm
from minillm.evidence.exactness import PROMPT, SCHEDULES, compare, logits_hash

PROMPT_IDS = TOKENS[:40]


def test_the_hash_is_of_little_endian_float64():
    logits = np.array([[1.5, -0.0], [2.0, 3.0]])
    data = bytes.fromhex("000000000000f83f000000000000000000000000000000400000000000000840")
    assert logits_hash(logits) == hashlib.sha256(data).hexdigest()
    assert logits_hash(np.asfortranarray(logits).astype(">f8")) == logits_hash(logits)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("prompt", [PROMPT_IDS, [5]], ids=["long", "one token"])
def test_a_schedule_gives_the_logits_of_naive_decoding(schedule, prompt):
    model = golden_model()
    rows = SCHEDULES[schedule](model, prompt, 4)
    tokens = [int(row.argmax()) for row in rows]
    assert tokens == minillm.naive_decode(model, prompt, 4)
    for n, row in enumerate(rows):
        assert np.array_equal(row, minillm.forward(model, prompt + tokens[:n])[-1])


def test_exact_has_no_difference():
    for comparison in compare(golden_model(), PROMPT_IDS, 4):
        assert (comparison.largest_difference, comparison.first_difference) == (0.0, None)


@pytest.mark.parametrize("backend", ["numpy", "plain"])
def test_float32_has_one_and_it_is_shown(backend):
    naive, *others = compare(golden_model(backend), PROMPT_IDS, 4)
    assert naive.largest_difference == 0
    assert [other.schedule for other in others] == ["cached", "chunked", "batched"]
    assert all(0 < other.largest_difference < 1e-3 for other in others)


def test_the_first_other_token_is_told_and_later_differences_do_not_count(monkeypatch):
    """Schedules made up: the second takes another token at its third step, and what follows is another text."""
    rows = np.eye(4)[[0, 1, 2, 3, 0]]
    other = rows.copy()
    other[1] += 0.25
    other[2] = [0, 0, 1, 1.5]  # 1.5 from the naive logits
    other[3:] += 100
    made_up = {"alone": lambda *_: rows, "strange": lambda *_: other}
    monkeypatch.setattr("minillm.evidence.exactness.SCHEDULES", made_up)
    _, strange = compare(golden_model(), PROMPT_IDS, 5)
    assert (strange.first_difference, strange.largest_difference, strange.tokens[:3]) == (2, 1.5, [0, 1, 3])


def test_the_prompt_is_plain_text_that_any_tokenizer_takes():
    assert PROMPT.isascii() and PROMPT.isprintable() and len(PROMPT) < 250
