"""The steps of the attempt at a draft for smollm2, on a model of a few hundred tokens."""

import dataclasses

import draft_for_smollm2 as attempt
import numpy as np
import pytest
from chat_questions import HELD_OUT, QUESTIONS
from tensors import ArrayTensor
from tiny_tokenizer import VOCAB_SIZE, tiny_tokenizer
from training.trainable import random_parameters

import minillm
from minillm.backends.threads import VARIABLES
from minillm.loading.checkpoint import Checkpoint
from minillm.loading.save_folder import save_folder
from minillm.training.parameters import llama_config


@pytest.fixture
def target(tmp_path, monkeypatch) -> minillm.Model:
    """A random model in place of smollm2, and little of everything."""
    config = dataclasses.replace(llama_config(VOCAB_SIZE, 16, 24, 2, 4, 2, 128), eos_token_ids=(1,))
    tensors = {name: ArrayTensor(values) for name, values in random_parameters(config, 1).tensors.items()}
    save_folder(Checkpoint("tiny", config, tensors, tiny_tokenizer()), tmp_path / "target", lambda *_: None)
    small = {
        "TARGET": tmp_path / "target",
        "TEXTS": 2,
        "TOGETHER": 3,
        "ANSWER_TOKENS": 9,
        "JUDGED_TOKENS": 9,
        "KEPT": 5,
        "TIME": 16,
    }
    small |= {"QUESTIONS": ["ab", "c a"], "BATCH": 2, "RECIPES": {"wide": attempt.Recipe(8, 12, 1, passes=1)}}
    for name, value in small.items():
        monkeypatch.setattr(attempt, name, value)
    for variable in VARIABLES:  # train_weights.py sets them for good
        monkeypatch.setenv(variable, "1")
    return minillm.load(tmp_path / "target")


def test_no_question_is_both_answered_and_held_out():
    assert len(set(QUESTIONS) | set(HELD_OUT)) == len(QUESTIONS) + len(HELD_OUT) == 16 * 17


def test_what_is_kept_of_an_answer_is_what_the_model_found_likely(target):
    request = attempt.answers(target, 0)[0]
    kept, prompt = attempt.recorded(request, target), request.completion.prompt_tokens
    tokens, likely, probs = kept["tokens"], kept["likely"], np.exp(kept["logits"])
    assert tokens.tolist() == request.completion.sequence
    assert all(len(set(row)) == 5 for row in likely.tolist())  # each named once
    logits = minillm.forward(target, tokens)  # [tokens, vocab]
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    answered = slice(prompt - 1, len(tokens) - 1)
    assert (likely[answered, 0] == expected[answered].argmax(axis=1)).all()
    np.testing.assert_allclose(probs[answered], np.sort(expected)[answered, :-6:-1], rtol=1e-3)
    assert likely[: prompt - 1, 0].tolist() == tokens[1:prompt].tolist()
    assert (probs[: prompt - 1] == [1, 0, 0, 0, 0]).all()


def test_texts_that_were_interrupted_go_on_to_the_same(target, tmp_path):
    attempt.write_texts(target, tmp_path)
    files = sorted(tmp_path.glob("texts-*.npz"))
    whole = [dict(np.load(file)) for file in files]
    files[1].unlink()
    untouched = files[0].stat().st_mtime_ns
    attempt.write_texts(target, tmp_path)
    assert files[0].stat().st_mtime_ns == untouched and len(files) == 2
    for name, array in dict(np.load(files[1])).items():
        assert np.array_equal(array, whole[1][name])
    assert not np.array_equal(whole[0]["tokens"], whole[1]["tokens"])


def test_each_input_of_a_row_keeps_its_favourites(target, tmp_path):
    tokens = np.arange(100, dtype=np.int32)
    likely = tokens[:, None] + np.array([1, 2, 3, 4, 5])
    np.savez(tmp_path / "texts-000.npz", tokens=tokens[:30], likely=likely[:30], logits=-likely[:30].astype(float))
    np.savez(tmp_path / "texts-001.npz", tokens=tokens[30:], likely=likely[30:], logits=-likely[30:].astype(float))
    rows, teacher = attempt.training_rows(tmp_path)
    assert rows.shape == (6, 17) and sorted(rows[:, 0].tolist()) == [0, 16, 32, 48, 64, 80]
    assert (np.diff(rows) == 1).all() and (teacher.tokens[:, :, 0] == rows[:, 1:]).all()
    assert (teacher.logits == -teacher.tokens).all()


def test_a_trained_draft_can_draft_for_the_target(target, tmp_path):
    attempt.write_texts(target, tmp_path)
    assert attempt.train("wide", tmp_path)
    draft = minillm.load(tmp_path / "wide")
    assert draft.tokenizer.vocabulary == target.tokenizer.vocabulary
    out = minillm.speculative_generate(target, draft, "ab", 12, k=2)
    assert out.proposed and out.tokens == minillm.generate(target, "ab", 12).tokens
    assert (tmp_path / "wide.csv").read_text().startswith("wide,")


def test_a_model_accepts_all_of_its_own_guesses(target):
    found = attempt.acceptances(target, target, ["ab", "c"])
    assert found["greedy"] == 1 and found["sampled"] == pytest.approx(1)
    other = dataclasses.replace(target, final_norm=-target.final_norm)
    found = attempt.acceptances(target, other, ["ab", "c"])
    assert found["greedy"] < 0.5 and found["sampled"] < 0.9
