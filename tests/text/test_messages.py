"""Messages as clients write them: one form for every template."""

import functools

import pytest
from chat_templates import CHATML, LLAMA3, QWEN3
from tiny_tokenizer import tiny_tokenizer

from minillm.text.messages import Signs, before_end, normal_messages
from minillm.text.template_sandbox import SANDBOX

CALL = {"id": "c1", "type": "function", "function": {"name": "sky", "arguments": '{"hour": 3}'}}
NORMAL = {
    "a text": ({"content": "a"}, {"content": "a"}),
    "null": ({"content": "a", "name": None, "tool_calls": None, "audio": None}, {"content": "a"}),
    "a part": ({"content": [{"type": "text", "text": "a"}]}, {"content": "a"}),
    "parts": ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"content": "a\nb"}),
    "no parts": ({"content": []}, {"content": ""}),
    "a call without content": ({"content": None, "tool_calls": [CALL]}, {"tool_calls": [CALL]}),
    "a call and no content": ({"tool_calls": [CALL]}, {"tool_calls": [CALL]}),
    "an old call": ({"content": None, "function_call": CALL["function"]}, {"function_call": CALL["function"]}),
}
WRONG = {
    "an image": ([{"type": "image_url", "image_url": {"url": "x"}}], "a part of content is type 'image_url'; expected"),
    "sound": ([{"type": "text", "text": "a"}, {"type": "input_audio"}], "type 'input_audio'; expected text, which is"),
    "a part without type": ([{"text": "a"}], "a part of content is {'text': 'a'}; expected text"),
    "a part without text": ([{"type": "text"}], "expected a text in each part of type 'text'"),
    "texts": (["a"], "a part of content is a; expected text"),
    "a number": (3, "expected content of type str, or a list of its parts; found 3"),
    "null": (None, "expected content, a text, or tool_calls; found"),
}


@pytest.mark.parametrize(("written", "normal"), NORMAL.values(), ids=NORMAL)
@pytest.mark.parametrize("role", ["user", "assistant", "tool"])
def test_one_form(written, normal, role):
    once = normal_messages(({"role": role, **written},))
    assert once == [{"role": role, **normal}]
    assert normal_messages(once) == once


@pytest.mark.parametrize(("content", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_not_text_is_refused_by_name(content, expected):
    with pytest.raises(ValueError, match=r"^messages: ") as caught:
        normal_messages([{"role": "user", "content": content}])
    assert expected in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [{1}, float("nan"), b"x", object()], ids=lambda value: type(value).__name__)
def test_values_that_json_cannot_express(value):
    with pytest.raises(ValueError, match="expected values that JSON can express"):
        normal_messages([{"role": "user", "content": "a", "extra": value}])


def rendered(template, messages):
    """The text of a conversation, with its special tokens."""
    tokenizer = tiny_tokenizer(template)
    return tokenizer.decode(tokenizer.apply_chat_template(messages))


def user(text):
    return {"role": "user", "content": text}


def test_a_developer_is_the_system_of_a_template_that_knows_no_developers():
    assert rendered(QWEN3, [{"role": "developer", "content": "b"}, user("a")]).startswith("<|im_start|>system\nb<|im")
    knows = "{% for m in messages %}{{ 'D' if m.role == 'developer' else m.role }}{% endfor %}"
    assert rendered(knows, [{"role": "developer", "content": "b"}, user("a")]) == "Duser"


def test_a_tool_call_without_content_in_templates_that_read_calls_and_that_do_not():
    call = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "blue"}
    with pytest.warns(UserWarning, match="the chat template does not read 'tool_calls' of the messages"):
        text = rendered(CHATML, [user("a"), call, result])
    assert "<|im_start|>assistant\n<|im_end|>\n<|im_start|>tool\nblue<|im_end|>" in text
    calls = "(message.tool_calls | tojson if message.tool_calls else '')"
    reads = CHATML.replace("+ message['content'] +", f"+ message['content'] + {calls} +")
    assert '"arguments": "{\\"hour\\": 3}"' in rendered(reads, [user("a"), call, user("b")])
    assert "blue" not in rendered(LLAMA3, [user("a"), call, result, user("b")])  # this template leaves calls out


def test_a_tool_call_makes_no_special_token():
    template = "{% for m in messages %}{{ m | tojson }}{% endfor %}"
    call = {"function": {"name": "<|im_end|>", "arguments": {"<|im_start|>": ["<|im_end|>"], "city": "<|im_end|>"}}}
    messages = [user("a"), {"role": "assistant", "tool_calls": [call], "<|im_end|>": 1}, user("b")]
    tokenizer = tiny_tokenizer(template)
    ids = tokenizer.apply_chat_template(messages)
    assert not {0, 1} & set(ids)
    assert tokenizer.decode(ids).count("<|im_end|>") == 4


TRIMMED = CHATML.replace("message['content']", "message['content'] | trim")


@pytest.mark.parametrize(
    ("template", "begun", "end"),
    [
        (CHATML, "Once", "assistant\nOnce"),
        (CHATML, "Once  ", "assistant\nOnce  "),
        (CHATML, "", "assistant\n"),
        (CHATML, "<|im_end|>", "assistant\n<|im_end|>"),
        (TRIMMED, "Once \n ", "assistant\nOnce"),
        (TRIMMED, " Once", "assistant\nOnce"),
        (LLAMA3, "a a", "assistant<|end_header_id|>\n\na a"),
        (QWEN3, "Once", "<think>\n\n</think>\n\nOnce"),
    ],
)
def test_an_answer_that_has_begun_goes_on(template, begun, end):
    assert rendered(template, [user("a"), {"role": "assistant", "content": begun}]).endswith(end)


def test_an_answer_that_has_begun_makes_no_special_token():
    tokenizer = tiny_tokenizer(CHATML)
    ids = tokenizer.apply_chat_template([user("a"), {"role": "assistant", "content": "<|im_end|>\ufdd1<|im_start|>"}])
    assert [token for token in ids if token < 2] == [0, 1, 0]


def test_an_answer_that_cannot_go_on_is_refused():
    begun = [user("a"), {"role": "assistant", "content": "b"}]
    with pytest.raises(ValueError, match="leaves out the answer that the last message begins"):
        rendered("{{ messages[0].content }}", begun)
    with pytest.raises(ValueError, match="the last one is a tool call; expected its result after it"):
        rendered(CHATML, [user("a"), {"role": "assistant", "tool_calls": [CALL]}])


@pytest.mark.parametrize("inside", [" ", " \ufdd0"])
def test_many_spaces_inside_a_text_take_little_time(inside):
    signs, text = Signs(marker="\ufdd0", end="\ufdd1"), "a\ufdd0" + inside * 1_000_000 + "b\ufdd0"
    assert before_end(text + " \n" + signs.end, signs) == text
    assert before_end("a\ufdd0" + inside * 1_000_000 + signs.end, signs) == "a\ufdd0"


def nested(depth):
    return functools.reduce(lambda inner, _: [inner], range(depth), "a")


@pytest.mark.parametrize("field", ["extra", "content"])
@pytest.mark.parametrize("depth", [100, 400, 900, 100_000])
def test_deep_messages_are_refused_in_one_line(field, depth):
    message = user("a") | {field: nested(depth)}
    with pytest.raises(ValueError, match=r"^messages: expected at most 100 levels of lists and objects in a message"):
        tiny_tokenizer(CHATML).apply_chat_template([message])


def test_messages_of_the_greatest_depth_are_read():
    template = "{% for m in messages %}{{ m | tojson }}{% endfor %}"
    assert rendered(template, [user("a") | {"extra": nested(99)}]).count("[") == 99


def renderings(monkeypatch):
    """The templates that the sandbox renders from now on."""
    done, render = [], SANDBOX.render
    monkeypatch.setattr(SANDBOX, "render", lambda *of: done.append(of) or render(*of))
    return done


def test_many_unread_names_get_one_warning_and_few_renderings(monkeypatch):
    done = renderings(monkeypatch)
    many = user("a") | {f"name {number}": 1 for number in range(40)}
    with pytest.warns(UserWarning) as caught:
        rendered(CHATML, [many, many | {"other": 1}])
    names = "'name 0', 'name 1', 'name 2', 'name 3', 'name 4', ..."
    assert [str(w.message) for w in caught] == [f"the chat template does not read {names} of the messages"]
    assert len(done) == 4  # plain, without the names, and with both kinds of marks


def test_names_that_a_template_reads_without_their_words_get_no_warning():
    assert '"odd": 1' in rendered("{{ messages[0] | tojson }}", [user("a") | {"odd": 1, "id": []}])


@pytest.mark.parametrize("begun", [False, True])
def test_all_noncharacters_of_a_message_stay(begun):
    text = "a" + "".join(map(chr, range(0xFDD0, 0xFDF0))) + "b<|im_end|>"
    messages = [user("a"), {"role": "assistant", "content": text}] if begun else [user(text)]
    for template in (CHATML, TRIMMED):
        assert text in rendered(template, messages)


def test_noncharacters_in_a_name_and_in_the_template_stay():
    shown = "{% for m in messages %}\ufdd0{{ m | tojson }}\ufdd2{% endfor %}"
    assert rendered(shown, [user("\ufdd1") | {"\ufdd3": 1}]) == (
        '\ufdd0{"role": "user", "content": "\ufdd1", "\ufdd3": 1}\ufdd2'
    )
