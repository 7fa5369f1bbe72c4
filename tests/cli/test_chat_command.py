"""`minillm chat` with piped input: turns, reset, system message, JSON (the conversation: test_conversation.py)."""

import json

import pytest

from minillm.cli.chat import _message


@pytest.fixture
def chat(finish, model_folder):
    """The messages of a conversation whose user types these lines."""

    def run(lines, *arguments):
        typed = "".join(f"{line}\n" for line in lines).encode()
        result = finish("chat", "--model", model_folder, "--json", *arguments, input=typed)
        assert (result.code, result.err) == (0, "")
        return json.loads(result.out)["messages"]

    return run


def test_every_line_is_answered(chat):
    messages = chat(["a", "", "b"], "--max-new-tokens", 2)
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert [message["content"] for message in messages[::2]] == ["a", "b"]


def test_the_system_message_is_first_and_stays_after_a_reset(chat):
    messages = chat(["a", "/reset", "b", "/exit", "c"], "--system", "Be kind.", "--max-new-tokens", 2)
    assert [message["content"] for message in messages[:2]] == ["Be kind.", "b"]
    assert len(messages) == 3


def test_a_message_with_a_slash_is_typed_with_two(chat):
    messages = chat(["/help", "//reset", "///tmp", "a/b", "//"], "--max-new-tokens", 2)
    assert [message["content"] for message in messages[::2]] == ["/reset", "//tmp", "a/b", "/"]


@pytest.mark.parametrize("typed", ["/helps", "/", "/reset now", "/Exit", "/tmp is full", "/help\t/exit"])
def test_an_unknown_command_is_not_a_message(typed):
    with pytest.raises(ValueError, match=r"there is no command '/.*': /help lists the commands, /reset"):
        _message(typed)


def test_an_unknown_command_in_a_pipe_is_one_line(finish, model_folder):
    result = finish("chat", "--model", model_folder, "--max-new-tokens", 2, input=b"/helps\na\n")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "there is no command '/helps'" in result.err and "// begins a message with a slash" in result.err


def test_at_a_terminal_an_unknown_command_lists_the_commands_and_the_chat_goes_on(on_terminal, model_folder):
    shown = on_terminal("chat", "--model", model_folder, typed="/helps\n/help\n/exit\n", COLUMNS="40", TERM="dumb")
    words = " ".join(shown.split())
    assert "minillm: there is no command '/helps': /help lists" in words
    assert words.count("/help lists the commands, /reset begins again") == 2
    ours = [line for line in shown.splitlines() if not line.startswith("minillm: ")]
    assert max(map(len, ours)) <= 40


def test_no_input_is_an_empty_conversation(chat):
    assert chat([]) == []


def test_the_answers_are_printed_one_after_the_other(finish, raw_model_folder, model_folder):
    result = finish("chat", "--model", model_folder, "--max-new-tokens", 2, input=b"a\nb\n")
    assert (result.code, result.err) == (0, "")
    assert result.out.count("\n") >= 2 and "> " not in result.out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (b"a" * 300 + b"\n", "the conversation takes 319 tokens, more than the model's context of 128"),
        (b"a\nb\nc\nd\ne\nf\ng\n", "more than the model's context of 128; begin again with /reset"),
        (b"\xff\n", "standard input: expected text in UTF-8"),
    ],
    ids=["a long question", "a long conversation", "not UTF-8"],
)
def test_what_cannot_be_answered_is_one_line(finish, model_folder, typed, expected):
    command = ("chat", "--model", model_folder, "--json", "--max-new-tokens", 20)
    result = finish(*command, input=typed, env={"PYTHONIOENCODING": "utf-8"})
    assert (result.code, result.out) == (2, "")
    assert expected in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_bytes_that_are_not_utf8_are_refused(finish, model_folder, errors):
    """With "surrogateescape", as Python reads in the C locale, such bytes come in as lone surrogates."""
    result = finish("chat", "--model", model_folder, input=b"\xff\n", env={"PYTHONIOENCODING": f"utf-8:{errors}"})
    assert (result.code, result.err) == (2, "minillm: standard input: expected text in UTF-8\n")
