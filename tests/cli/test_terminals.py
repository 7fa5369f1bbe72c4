"""Any terminal, any pipe, any encoding: nothing steers it, nothing is cut, nothing fails."""

import json
import os
import re
import subprocess

import pytest
from rich.text import Text

from minillm.cli.printing import show
from minillm.support.printable import safe


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 👩‍🚀\n\t.", "plain é 漢 👩‍🚀\n\t."),
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b2J", "\\x9b2J"),
        ("a\rb\bc\x07\x00\x7f", "a\\rb\\x08c\\x07\\x00\\x7f"),
        ("abc\u202edef\u2066", "abc\\u202edef\\u2066"),
    ],
)
def test_characters_that_steer_a_terminal_are_shown_as_escapes(text, shown):
    assert safe(text) == shown


@pytest.mark.parametrize("option", [[], ["--show-phases"]], ids=["text", "phases"])
def test_control_characters_of_a_model_never_reach_the_terminal(call, model_folder, option):
    """A random model at a high temperature writes every byte there is."""
    wild = ("--temperature", 50, "--seed", 3, "--ignore-eos", "--raw")
    tokens = json.loads(call("generate", "x", "--model", model_folder, *wild, "--json").out)["tokens"]
    shown = call("generate", "x", "--model", model_folder, *wild, *option).out
    assert any(200 - 12 <= token < 200 + 20 for token in tokens)  # where the tiny tokenizer keeps control characters
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", shown)


@pytest.mark.parametrize("command", [["generate", "hello", "--show-phases"], ["models"], ["generate", "hello"]])
def test_a_pipe_gets_no_escape_sequences(finish, model_folder, command):
    model = ["--model", model_folder] if command[0] == "generate" else []
    result = finish(*command, *model)
    assert (result.code, result.err) == (0, "")
    assert "\x1b" not in result.out


@pytest.mark.parametrize("kind", [{"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}], ids=["dumb", "no color"])
def test_plain_terminals_get_no_colours(on_terminal, model_folder, kind):
    shown = on_terminal("generate", "hello", "--model", model_folder, "--show-phases", COLUMNS="80", **kind)
    assert "KV cache" in shown
    assert not re.search(r"\x1b\[[\d;]*m", shown)


@pytest.mark.parametrize("columns", [40, 80])
def test_nothing_is_cut_on_a_narrow_terminal(on_terminal, model_folder, columns):
    shown = on_terminal(
        "generate", "a question", "--model", model_folder, "--show-phases", "--max-new-tokens", 2,
        COLUMNS=str(columns), TERM="xterm",
    )  # fmt: skip
    assert "…" not in shown
    phases, table = shown.split(" prompt  ")
    assert all(len(line) <= columns for line in table.splitlines())
    words = " ".join(shown.split())
    assert "Prefill: 29 tokens in one pass fill the KV cache and give the first logits" in words
    assert "'q'=82" in phases
    for value in ("29 tokens", "tokens/s", "finished by length"):
        assert value in " ".join(table.split())


@pytest.mark.parametrize("columns", ["0", "1", "-5", "wide", ""])
def test_a_width_that_cannot_be_still_shows_everything(call, model_folder, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    result = call("generate", "hi", "--model", model_folder, "--max-new-tokens", 2)
    assert (result.code, result.err) == (0, "")
    assert "finished by length" in " ".join(result.out.split())


@pytest.mark.parametrize(
    "encoding", ["ascii", *(pytest.param(name, marks=pytest.mark.slow) for name in ("latin-1", "cp437"))]
)
def test_an_encoding_without_the_characters_shows_question_marks(finish, model_folder, encoding):
    arguments = ("hé 漢", "--model", model_folder, "--temperature", 5, "--seed", 1, "--show-phases")
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    child = finish("generate", *arguments, env=environment, stderr=subprocess.STDOUT, encoding=None)
    assert child.code == 0
    assert "?" in child.out


def test_the_c_locale_is_no_obstacle(finish, model_folder):
    result = finish("generate", "hé 漢", "--model", model_folder, "--json", env={"LC_ALL": "C", "LANG": "C"})
    assert (result.code, json.loads(result.out)["prompt"]) == (0, "hé 漢")


@pytest.mark.parametrize("extra", [[], ["--json"], ["--show-phases"]])
def test_a_full_disk_is_one_line(finish, model_folder, extra):
    with open("/dev/full", "wb") as full:
        result = finish("generate", "hello", "--model", model_folder, *extra, stdout=full)
    assert (result.code, result.err) == (2, "minillm: No space left on device\n")


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["models", "--json"]])
def test_a_full_disk_is_one_line_for_short_output_too(finish, arguments):
    with open("/dev/full", "wb") as full:
        result = finish(*arguments, stdout=full)
    assert (result.code, result.err) == (2, "minillm: No space left on device\n")


@pytest.mark.parametrize("extra", [[], ["--json"], ["--show-phases"]])
def test_a_reader_that_leaves_early_is_no_error(spawn, model_folder, extra):
    child = spawn("generate", "hello", "--model", model_folder, *extra)
    child.stdout.close()  # long before the first byte
    assert (child.wait(60), child.stderr.read()) == (0, b"")


def test_a_closed_standard_output_is_one_line(finish, model_folder):
    result = finish("models", stdout=None, preexec_fn=lambda: os.close(1))
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "standard output is closed" in result.err


def test_with_standard_error_closed_messages_are_lost_and_not_in_the_output(finish):
    result = finish("generate", "x", "--model", "no-such-model", stderr=None, preexec_fn=lambda: os.close(2))
    assert (result.code, result.out) == (2, "")


@pytest.mark.parametrize("kind", ["dumb", "xterm"])
def test_what_is_drawn_is_as_wide_as_the_terminal_of_any_kind(kind, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    show(Text("word " * 20))
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == ["word " * 7 + "word"] * 2 + ["word word word word"]
