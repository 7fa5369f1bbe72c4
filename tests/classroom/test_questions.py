"""Questions: what counts as the answer, what a known mistake is told, what is shown when nobody can answer."""

import builtins

import numpy as np
import pytest

from minillm.classroom.questions import Question, ask, asking, parse_reply, predict


@pytest.fixture
def reply(monkeypatch):
    """Type these lines."""

    def typed(*lines):
        waiting = list(lines)
        monkeypatch.setattr(builtins, "input", lambda prompt: waiting.pop(0))
        return waiting

    return typed


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (" 12 ", 12),
        ("1_000", 1000),
        ("2*6*32", 384),
        ("-3 + 1/2", -2.5),
        ("(6, 7, 7)", (6, 7, 7)),
        ("[6,7]", (6, 7)),
        ("6 x 7 x 7", (6, 7, 7)),
        ("25%", 25),
        ("Paris", "Paris"),
        ("__import__('os')", "__import__('os')"),
        ("2**10**10", "2**10**10"),
        ("1/0", "1/0"),
        ("'a'*3", "'a'*3"),
        ("", ""),
    ],
)
def test_a_reply_is_a_number_a_shape_or_a_text_and_never_run(text, value):
    assert parse_reply(text) == value


@pytest.mark.parametrize(("text", "value"), [("b", "no"), ("B", "no"), ("yes", "yes"), ("c", "c"), ("", "")])
def test_a_choice_is_given_by_letter_or_in_words(text, value):
    assert parse_reply(text, ["yes", "no"]) == value


@pytest.mark.parametrize(
    ("answer", "typed", "right"),
    [
        (12000, "12,000", True),
        (1024, "1,024", True),
        (12000, "12", False),
        ((5, 2048), "(5, 2048)", True),
        ((5, 2048), "(2048, 5)", False),
        ((5, 2048), "5", False),
        (0.1 + 0.2, "0.3", True),
        ("Paris", " paris ", True),
        (3, "three", False),
    ],
)
def test_what_counts_as_the_answer(answer, typed, right):
    assert Question("?", answer).accepts(parse_reply(typed)) == right


def test_an_estimate_may_be_off_by_a_share():
    question = Question("?", 100.0, within=0.2)
    assert question.accepts(119) and question.accepts(81)
    assert not question.accepts(121) and not question.accepts(79)


def test_a_right_answer_ends_the_question(reply, capsys):
    left = reply("11", "12", "13")
    assert ask(Question("How many?", 12, why="A dozen.")) == 2
    assert left == ["13"]
    shown = capsys.readouterr().out
    assert shown.index("Not quite.") < shown.index("Right.") < shown.index("Answer: 12\nA dozen.")


def test_a_known_mistake_gets_its_own_words(reply, capsys):
    reply("144", "")
    assert ask(Question("?", 12, mistakes={144: "That is a gross."})) == 0
    assert "That is a gross. Try again" in capsys.readouterr().out


def test_after_three_wrong_answers_it_is_shown(reply, capsys):
    left = reply("1", "2", "3", "4")
    assert ask(Question("?", 12)) == 0
    assert left == ["4"]
    assert capsys.readouterr().out.endswith("Not quite.\nAnswer: 12\n")


def test_an_answer_that_is_no_choice_is_a_mistake_of_the_lesson():
    with pytest.raises(ValueError, match="expected one of the choices"):
        predict("?", answer="maybe", choices=["yes", "no"])


def test_numpy_answers_are_numbers():
    heard = []
    with asking(heard.append):
        predict("?", answer=np.int64(3))
        predict("?", answer=np.True_.item())
    assert [type(question.answer) for question in heard] == [int, bool]


def test_without_a_terminal_question_and_answer_are_shown(capsys):
    predict("How many eggs are in a dozen, if a dozen is what everybody takes it for, which it is?", answer=12)
    shown = capsys.readouterr().out
    assert shown.endswith("Answer: 12\n")
    assert max(map(len, shown.splitlines())) <= 78
