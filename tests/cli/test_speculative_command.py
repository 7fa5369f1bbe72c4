"""`minillm generate --speculative`: the same text, marks that say which tokens were drafted, and a summary."""

import json
import re

import pytest

WORDS = ("--raw", "--max-new-tokens", 24, "--ignore-eos")


@pytest.fixture
def generate(call, model_folder):
    def run(*arguments):
        result = call("generate", "--model", model_folder, "ababab", *WORDS, *arguments)
        assert (result.code, result.err) == (0, "")
        return result.out

    return run


@pytest.mark.parametrize("draft", ["lookup", "skip", "itself"])
@pytest.mark.parametrize("k", [1, 4, "auto"])
def test_the_tokens_are_those_of_plain_decoding(generate, model_folder, draft, k):
    name = model_folder if draft == "itself" else draft
    plain = json.loads(generate("--json", "--dtype", "float64"))
    found = json.loads(generate("--json", "--dtype", "float64", "--speculative", "--draft", name, "--k", k))
    assert found["tokens"] == plain["tokens"]
    assert found.keys() == plain.keys() | {"proposed", "accepted", "rounds"}
    assert found["proposed"] >= found["accepted"] and found["rounds"] >= (24 - 1) / 16
    if draft == "itself" and k == 4:
        assert found["accepted"] == found["proposed"] == 24 - 1 - found["rounds"]


def test_marks_say_what_was_drafted(generate, model_folder):
    """Four accepted and a bonus in each round, after the token that the prompt's pass gives."""
    shown = generate("--speculative", "--draft", model_folder, "--k", 4, "--temperature", 1, "--seed", 3)
    text, _, rest = shown.rpartition("\n[accepted draft tokens]\n")
    assert text.count("[") == text.count("]+") == 5  # 23 tokens: four rounds of 5, one of 3
    assert "\x1b" not in shown
    assert rest.startswith("~the model's own token in place of a rejected one\n+a bonus token after a round")
    assert re.search(r"rounds +5, with 4\.60 tokens each", rest)
    assert re.search(r"draft tokens +18 proposed, 18 accepted \(100%\)", rest)


def test_colours_only_where_there_are_some(generate, model_folder, monkeypatch):
    arguments = ("--speculative", "--draft", model_folder, "--k", 4)
    plain = generate(*arguments)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    coloured = generate(*arguments)
    assert "\x1b[32m[" in coloured  # green
    without_times = [re.sub(r"\x1b\[[0-9;]*m|\d+\.\d.*", "", each) for each in (plain, coloured)]
    assert without_times[0] == without_times[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[32m" not in generate(*arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--speculative", "--k", "0"), "--k is 0; expected an integer of at least 1"),
        (
            ("--speculative", "--k", "many"),
            "--k is 'many'; expected an integer of at least 1 and at most 9 digits, or auto",
        ),
        (("--speculative", "--k", "9" * 5000), "9999'; expected an integer of at least 1 and at most 9 digits"),
        (("--speculative", "--k", "-1"), "--k is '-1'; expected an integer"),
        (("--speculative", "--k", "2.5"), "--k is '2.5'"),
        (("--draft", "lookup"), "--draft is an option of --speculative"),
        (("--k", "3"), "--k is an option of --speculative"),
        (("--speculative", "--no-cache"), "leave --no-cache out"),
        (("--speculative", "--show-phases"), "leave --show-phases out"),
        (("--speculative", "--draft", "no-such-model"), "no-such-model"),
        (("--speculative", "--draft", ""), "expected a name, a folder"),
        (("--speculative", "--draft", "story"), "cannot draft for"),
    ],
)
def test_misuse_is_one_line(call, model_folder, arguments, expected):
    result = call("generate", "--model", model_folder, "ab", *arguments)
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert expected in result.err
