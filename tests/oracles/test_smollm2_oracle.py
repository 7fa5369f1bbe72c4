"""The registry's real model: it answers, and it is the same model that transformers reads from the same folder."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

import minillm
from minillm.loading.registry import REGISTRY

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
TEXT = """The tide comes in twice a day, and the harbour fills with boats: 12 of them, some blue, some red. def f(x):
    return x ** 2  # the café's naïve façade — “quoted”, 1234567890 times. Der Fluß fließt. こんにちは 👋🏽 """


@pytest.fixture(scope="module")
def model():
    return minillm.load("smollm2")


@pytest.fixture(scope="module")
def folder():
    return REGISTRY["smollm2"].fetch()


@pytest.fixture(scope="module")
def oracle(folder):
    torch.set_num_threads(2)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def oracle_tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder)


def test_it_knows_the_capital_of_france(model):
    out = minillm.generate(model, QUESTION, 32)
    assert "Paris" in out.text and out.finish_reason == "eos"


def test_its_logits_are_the_oracle_s(model, oracle):
    tokens = model.tokenizer.encode(TEXT * 3)
    with torch.no_grad():
        expected = oracle(torch.tensor([tokens])).logits[0].numpy()
    found = minillm.forward(model, tokens)
    np.testing.assert_allclose(found, expected, atol=2e-3, rtol=0)
    assert (found.argmax(-1) == expected.argmax(-1)).mean() > 0.99


def test_its_64_greedy_tokens_are_the_oracle_s(model, oracle):
    prompt = model.tokenizer.apply_chat_template([{"role": "user", "content": "Tell me about the sea."}])
    expected = oracle.generate(torch.tensor([prompt]), max_new_tokens=64, do_sample=False)[0, len(prompt) :].tolist()
    assert minillm.generate(model, prompt, 64).tokens == expected


def test_its_token_ids_are_the_oracle_s(model, oracle_tokenizer):
    encode = model.tokenizer.encode  # a plain function: Hypothesis prints what it is given, and a model is long

    @settings(max_examples=200)
    @given(text=st.text(max_size=80))
    def agree(text):
        assert encode(text) == oracle_tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)

    agree()


def test_its_text_comes_back(model):
    """All but what its vocabulary has no bytes for: six control characters, and the unassigned planes 4 to 11."""
    encode, decode = model.tokenizer.encode, model.tokenizer.decode
    known = st.characters(max_codepoint=0x3FFFF, exclude_characters="\x04\x06\x13\x14\x16\x1d", codec="utf-8")

    @settings(max_examples=200)
    @given(text=st.text(known, max_size=80))
    def comes_back(text):
        assert decode(encode(text)) == text

    comes_back()


@pytest.mark.parametrize("text", [TEXT, "  two  spaces ", "a\n\n\nb\t\tc", "3.14159", "don't we'll I'm", "<|im_end|>x"])
def test_its_token_ids_of_ordinary_text_are_the_oracle_s(model, oracle_tokenizer, text):
    expected = oracle_tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    assert model.tokenizer.encode(text) == expected


@pytest.mark.parametrize("messages", [
    QUESTION,
    [{"role": "system", "content": "Be brief."}, *QUESTION],
    [*QUESTION, {"role": "assistant", "content": "Paris."}, {"role": "user", "content": "And of Italy?"}],
])  # fmt: skip
def test_its_chat_template_gives_the_oracle_s_ids(model, oracle_tokenizer, messages):
    expected = oracle_tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert model.tokenizer.apply_chat_template(messages) == expected
