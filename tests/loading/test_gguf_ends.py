"""Which tokens of a GGUF file end an answer: those that it names by id, and texts that are known as ends."""

import pytest
from tiny_folder import CONFIG, weights
from tiny_gguf import write_gguf
from tiny_tokenizer import CHATML, definition

import minillm
from minillm.loading.ends_of_answer import ENDS_OF_FILES, ENDS_OF_TURNS, known_ends
from minillm.text.chat_template import render
from minillm.text.messages import free_signs

BYTES = list(definition()["model"]["vocab"])[2:]  # without the two special tokens
MERGES = [" ".join(pair) for pair in definition()["model"]["merges"]]
HELLO = [{"role": "user", "content": "Hello"}]


def load(folder, added: list[str], kind: int = 3, **changes: object):
    """A model whose vocabulary begins with these tokens, of this type; `changes` are keys of its tokenizer."""
    tokens, path = [*added, *BYTES], folder / "x.gguf"
    values = {"model": "gpt2", "pre": "smollm", "tokens": tokens, "merges": MERGES,
              "token_type": [kind] * len(added) + [1] * len(BYTES), "eos_token_id": 0} | changes  # fmt: skip
    metadata = {f"tokenizer.ggml.{name}": value for name, value in values.items()}
    config = CONFIG | {"vocab_size": len(tokens)}
    write_gguf(path, config, weights(config), metadata=metadata | {"tokenizer.chat_template": CHATML})
    return minillm.load(path)


@pytest.mark.parametrize("kind", [1, 3, 4], ids=["plain", "control", "user-defined"])
def test_the_end_of_a_turn_is_known_by_its_text_whatever_its_type(kind, tmp_path):
    model = load(tmp_path, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], kind)
    assert model.config.eos_token_ids == (0, 2)
    assert {"<|endoftext|>": 0, "<|im_end|>": 2}.items() <= model.tokenizer.special_tokens.items()
    assert 2 not in model.tokenizer.encode("a<|im_end|>")
    assert model.tokenizer.decode([2, *model.tokenizer.encode("ab")], skip_special_tokens=True) == "ab"
    assert model.tokenizer.apply_chat_template(HELLO).count(2) == 1


def test_all_ids_that_the_file_names(tmp_path):
    keys = ("eos", "eot", "eom", "fim_pad", "fim_rep", "fim_sep")
    model = load(tmp_path, ["<e>"], **{f"{key}_token_id": 9 - i for i, key in enumerate(keys)})
    assert model.config.eos_token_ids == (9, 8, 7, 6, 5, 4)


def test_known_texts_of_a_model_whose_tokenizer_is_not_supported(tmp_path):
    with pytest.warns(UserWarning, match="pass token ids, not text"):
        model = load(tmp_path, ["<|endoftext|>", "<|im_end|>"], pre="poro-chat")
    assert model.config.eos_token_ids == (0, 1)


@pytest.mark.parametrize("text", [*ENDS_OF_TURNS, *ENDS_OF_FILES])
def test_each_known_text_is_an_end(text):
    assert known_ends({"<s>": 0, text: 1, "a": 2}) == [text]


def test_the_end_of_a_message_that_others_follow_is_no_end():
    assert known_ends(["<|end|>", "<|return|>", "<|call|>"]) == ["<|call|>", "<|return|>"]
    assert known_ends(["<|end|>", "<|flush|>", "<|calls|>"]) == ["<|calls|>", "<|flush|>"]
    assert known_ends(["<|end|>", "<|call|>"]) == ["<|call|>", "<|end|>"]
    assert known_ends(["</s>", "<|tool_response>"]) == ["<|tool_response>"]


def test_sentencepiece_has_usual_ids_where_the_file_names_none(tmp_path):
    tokens = ["<unk>", "<s>", "</s>"]
    scores = [0.0] * (len(tokens) + len(BYTES))
    model = load(tmp_path, tokens, model="llama", scores=scores, eos_token_id=None)
    assert (model.config.bos_token_id, model.config.eos_token_ids) == (1, (2,))
    assert model.tokenizer.named_tokens == {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    assert model.tokenizer.encode_prompt("a")[0] == 1


def test_a_template_sees_the_named_tokens_and_what_is_absent_is_undefined(tmp_path):
    model = load(tmp_path, ["<e>", "<p>"], padding_token_id=1)
    model.tokenizer.chat_template = "{{ eos_token }}{{ pad_token }}{{ bos_token is defined }}"
    assert render(model.tokenizer, free_signs(HELLO), HELLO) == "<e><p>False"


def test_an_end_after_each_prompt_is_not_put_there_but_warned_of(tmp_path):
    with pytest.warns(UserWarning, match=r"^x\.gguf: tokenizer\.ggml\.add_eos_token without effect"):
        model = load(tmp_path, ["<e>"], add_eos_token=True)
    assert 0 not in model.tokenizer.encode_prompt("a")
