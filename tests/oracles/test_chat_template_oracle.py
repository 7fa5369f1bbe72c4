"""The chat templates of real models give the same ids as transformers' `apply_chat_template`.

Messages that spell special tokens are not compared: transformers makes special tokens of them (see tests/text).
"""

import json

import pytest
from chat_templates import TEMPLATES
from hypothesis import assume, given
from hypothesis import strategies as st
from jinja2 import TemplateError
from tiny_tokenizer import definition
from tokenizers import Tokenizer as LibraryTokenizer
from transformers import PreTrainedTokenizerFast

from minillm.text.special_tokens import SpecialTokens
from minillm.text.tokenizer import Tokenizer

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<s>", "</s>"]


NAMED = SpecialTokens({"bos_token": "<s>", "eos_token": "</s>"})


def with_special() -> str:
    values = definition()
    first = len(values["model"]["vocab"])
    model = values["added_tokens"][0]
    values["added_tokens"] += [model | {"id": first + i, "content": text} for i, text in enumerate(SPECIAL[2:])]
    return json.dumps(values)


THEIRS = PreTrainedTokenizerFast(
    tokenizer_object=LibraryTokenizer.from_str(with_special()), bos_token="<s>", eos_token="</s>"
)
FRAGMENTS = [
    "<think>",
    "</think>",
    "\n",
    " ",
    "<tool_response>",
    "</tool_response>",
    "Hello",
    "é",
    "😀",
    "{{ 1 }}",
    "<",
]
CHARACTERS = st.characters(codec="utf-8") | st.sampled_from("\ufdd0\ufdd1")
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.text(CHARACTERS, max_size=4), max_size=5).map("".join)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant", "tool"]), "content": TEXTS}),
    min_size=1, max_size=5,
)  # fmt: skip


@pytest.mark.parametrize("name", TEMPLATES)
@given(messages=MESSAGES)
def test_templates_give_the_ids_that_transformers_gives(name, messages):
    """An answer that has begun goes on. Lengths and JSON would show how transformers marks its end."""
    ours = Tokenizer(with_special().encode(), (), TEMPLATES[name], NAMED)
    begun = messages[-1]["role"] == "assistant"
    assume(not begun or name not in ("listing", "filters"))
    try:
        expected = THEIRS.apply_chat_template(
            messages, chat_template=TEMPLATES[name], return_dict=False,
            add_generation_prompt=not begun, continue_final_message=begun,
        )  # fmt: skip
    except ValueError as refusal:  # the template took a part of the answer away; what is left may go on here
        assert "the final message does not appear in the chat" in str(refusal)
        return
    except TemplateError as refusal:
        with pytest.raises(ValueError, match=r"^the chat template failed: ") as caught:
            ours.apply_chat_template(messages)
        assert str(refusal) in str(caught.value)
        return
    assert ours.apply_chat_template(messages) == expected


@given(TEXTS)
def test_alternating_turns_in_the_mistral_form(text):
    messages = [{"role": role, "content": text} for role in ("user", "assistant", "user")]
    expected = THEIRS.apply_chat_template(messages, chat_template=TEMPLATES["mistral"], return_dict=False)
    ours = Tokenizer(with_special().encode(), (), TEMPLATES["mistral"], NAMED)
    assert ours.apply_chat_template(messages) == expected
