"""Questions: what counts as the answer, what a known mistake is told, what is shown when nobody can answer."""

import builtins
import time
from unittest import mock

import numpy as np
import pytest

from minillm.classroom.questions import Question, ask, asking, parse_reply, predict, reveal


@pytest.fixture
def reply(monkeypatch):
    """Type these lines."""

    def typed(*lines):
        waiting = list(lines)
        monkeypatch.setattr(builtins, "input", lambda prompt: waiting.pop(0))
        return waiting

    return typed


def ask_with(question, lines):
    """What `ask` returns if these lines are typed."""
    with mock.patch.object(builtins, "input", side_effect=lines):
        return ask(question)


def read(question, typed):
    return question.accepts(parse_reply(typed, question.choices))


@pytest.mark.parametrize(
    ("answer", "typed"),
    [
        (12, " 12 "), (12, "12."), (12, "= 12"), (12, "x = 12"), (12, '"12"'), (12, "[12]"), (12, "about 12"),
        (1000, "1_000"), (12000, "12,000"), (1024, "1,024"), (1024, "1.024"), (1024, "1 024"), (1024, "1'024"),
        (2755008, "2.755.008"), (1024.5, "1,024.5"), (1024.5, "1.024,5"),
        (8.5, "8,5"), (0.125, "0,125"), (7.625, "7,625"), (0.5, ".5"), (0.5, ",5"), (0.5, "1/2"), (0.5, "½"),
        (8.5, "8.5x"), (8.5, "8.5 times"), (8.5, "8.5×"), (8.5, "~8.5"), (8.5, "≈ 8.5"), (8.5, "８．５"),
        (3072, "3072 bytes"), (154, "154 tokens/s"), (154, "154 tokens / s"), (1, "1 FLOP/byte"), (56, "56ms"),
        (0.08, "$0.08"), (0.08, "0.08 $"), (25, "25%"), (0.25, "25 %"), (2700000, "2.7 million"),
        (56.0, "0.056 s"), (56.0, "0.056 seconds"), (56.0, "56000 µs"), (0.056, "56 ms"), (0.000056, "56 μs per pass"),
        (0.056, "56000us"), (56.0, "0.056 s/pass"), (0.0826, "8.26 cents"), (0.08, "8 ct"), (0.08, "8¢"),
        (8.0, "0.08 $"),
        (1800000, "1.8 mio"), (1800000, "1.8 mio. tokens"), (1.8e9, "1.8 bn"), ((5, 2048), "5 X 2048"),
        ((5, 2048), "5 BY 2048"), (10240, "5 X 2048"),
        (524288, "512 KiB"), (524288, "0.5 MB"), (3072, "3 kB"), (74.5, "74.5 GiB"),
        (384, "2*6*32"), (3072, "2·6·2·32·4"), (10240, "5×2048"), (10240, "5 x 2048"), (6, "2 times 3"),
        (384, "2 layers * 6 heads * 32 bytes"), (5.5, "(72 - 6) / 12"), (-2.5, "-3 + 1/2"), (-3, "−3"),
        (2048, "2^11"), (2048, "2**11"), (2048, "2¹¹"), (0.001, "10⁻³"), (2e6, "2x10^6"), (2e6, "2e6"),
        (11, "log2(2048)"), (11, "log₂(2048)"), (0, "ln(1)"), (3, "np.sqrt(9)"),
        ((5, 2048), "(5, 2048)"), ((5, 2048), "5×2048"), ((5, 2048), "5x2048"), ((5, 2048), "5 x 2,048"),
        ((5, 2048), "[5,2048]"), ((5, 2048), "5 2048"), ((5, 2048), "5 by 2048"), ((5, 2048), "5 rows, 2048 columns"),
        ((5, 2048), "torch.Size([5, 2048])"), ((2048,), "(2048,)"), ((2048,), "2048"), ((6, 7, 7), "6 x 7 x 7"),
        ((12, 128, 128), "12,128,128"), (0.1 + 0.2, "0.3"), ("Paris", " paris "), (True, "true"),
    ],
)  # fmt: skip
def test_a_right_answer_is_right_as_people_write_it(answer, typed):
    assert read(Question("?", answer), typed)
    assert ask_with(Question("?", answer), [typed]) == 1


@pytest.mark.parametrize(
    ("answer", "typed"),
    [
        (12000, "12"), (12, "12,000"), (100.0, "100,000"), (1.0, "1,000"), ((5, 2048), "(2048, 5)"), ((5, 2048), "5"),
        (56.0, "0.56 s"), (0.08, "0.8 cents"), (154, "0.154 tokens/s"),
        (5, "-5"), (8.5, "85"), (1024, "1.0245"), (3, "1/3"), ((2, 48), "2,048"), (3, "three"), (64, "2*heads*32"),
    ],
)  # fmt: skip
def test_a_wrong_answer_is_wrong(answer, typed):
    assert not read(Question("?", answer), typed)


CHOICES = ("about the same", "one pass is at least twice as fast")


@pytest.mark.parametrize(
    "typed", ["b", "B", "b)", "(b)", " b. ", "[b]", "'b'", "b) one pass", "One pass", "fast", "ｂ"]
)
def test_a_choice_is_given_by_letter_or_by_its_words(typed):
    assert read(Question("?", CHOICES[1], CHOICES), typed)
    assert not read(Question("?", CHOICES[0], CHOICES), typed)


@pytest.mark.parametrize("typed", ["y", "Y", "yes", "YES.", "a", "(a)"])
def test_yes_is_given_as_people_give_it(typed):
    assert read(Question("?", "yes", ("yes", "no")), typed)


HOSTILE = ["2**10**10", "1/0", "'a'*3", "__import__('os')", "1e999", "9" * 5000, "(" * 50_000, "(" * 150]


@pytest.mark.parametrize(
    "typed", ["three", "q", "12 13", "?", "(6, 7)", "2*heads*32", "n+1", "K - 1", "ln 2048", "\x1b[A", *HOSTILE]
)
def test_what_cannot_be_read_costs_no_try_and_is_never_run(typed, capsys):
    question = Question("?", 12)
    assert ask_with(question, [typed] * 9 + ["12"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("cannot be read. Type a number, such as 2*6*32.") == 9 and "\x1b" not in said


@pytest.mark.parametrize(("typed", "unit"), [
    ("5 min", "min"), ("0.5 PB", "PB"), ("3 jiffies per pass", "jiffies"), ("0,05 h/pass", "h/pass"), ("7 is it", "is"),
])  # fmt: skip
def test_an_unknown_unit_costs_no_try(typed, unit, capsys):
    assert ask_with(Question("How many milliseconds does one take?", 300.0), [typed] * 9 + ["300"]) == 1
    assert capsys.readouterr().out.count(f"'{unit}' is an unknown unit. Type a number, such as 2*6*32.") == 9


@pytest.mark.parametrize(
    "typed", ["0.2 s", "250 tokens", "250 token/s", "250x", "250 times", "250 bytes", "2.5 kB", "2%"]
)
def test_a_known_unit_or_a_word_of_the_question_is_a_try(typed):
    assert ask_with(Question("How many Tokens?", 300.0), [typed, "300"]) == 2


@pytest.mark.parametrize(("text", "typed", "tries"), [
    ("How many seconds does a step take?", "4.5 ms", 2), ("How many seconds does a step take?", "4500 ms", 1),
    ("How many seconds does a step take?", "4.5 s", 1), ("How many ms does it take?", "4.5 seconds", 2),
    ("What do they cost, in dollars?", "4.5 cents", 2), ("What do they cost, in dollars?", "450¢", 1),
    ("A step takes 2 ms. How many seconds are they?", "4.5 ms", 1), ("How long is it?", "4.5 ms", 1),
])  # fmt: skip
def test_a_number_in_another_unit_than_the_question_asks_for_is_converted(text, typed, tries):
    assert ask_with(Question(text, 4.5), [typed, "4.5"]) == tries


def test_a_right_number_is_right_with_any_word():
    assert ask_with(Question("?", 12), ["12 eggs"]) == 1


def test_long_words_are_read_quickly():
    for word in ("a" * 190, "a " * 90, "a/" * 90, "1 " * 90, "1,000" * 30, "np." * 50):
        for typed in (f"5{word}!", word, f"({word}"):
            began = time.process_time()
            parse_reply(typed)
            parse_reply(typed, CHOICES)
            assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("question", "typed", "expected"),
    [
        (Question("?", (6, 7)), "wide", "'wide' cannot be read. Type a shape, such as (6, 7)."),
        (Question("?", "yes", ("yes", "no")), "c", "'c' cannot be read. Type a letter from a to b."),
        (Question("?", CHOICES[0], CHOICES), "", "Type a letter from a to b, or press Enter again to see the answer."),
    ],
)
def test_what_can_be_typed_is_said_in_the_kind_of_the_question(question, typed, expected, capsys):
    ask_with(question, [typed, "", ""])
    assert expected in capsys.readouterr().out.splitlines()


def test_one_enter_too_many_does_not_give_up(reply, capsys):
    left = reply("", "12")
    assert (ask(Question("?", 12)), left) == (1, [])
    assert "Type a number, such as 2*6*32, or press Enter again to see the answer." in capsys.readouterr().out
    left = reply("", "x y", "", "11", "", "", "12")
    assert (ask(Question("?", 12)), left) == (0, ["12"])


@pytest.mark.parametrize(
    ("answer", "shown"),
    [(1083.4, "1,080"), (999.7, "1,000"), (8.5e-5, "0.000085"), (2.0, "2"), (524288, "524,288"), (8.5101, "8.51"),
     (1.5e7, "15,000,000"), ((5, 2048), "(5, 2048)"), (True, "True")],
)  # fmt: skip
def test_an_answer_is_shown_without_an_exponent(answer, shown, capsys):
    reveal(Question("?", answer))
    assert capsys.readouterr().out.splitlines()[-1] == f"Answer: {shown}"


@pytest.mark.parametrize("columns", [20, 40, 80, 200])
def test_every_line_is_as_wide_as_the_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    words = "word " * 40
    question = Question(words, "yes", ("yes", words), mistakes={words.strip(): words}, why=words)
    ask_with(question, ["nonsense", "b", "", ""])
    lines = capsys.readouterr().out.splitlines()
    assert min(columns, 78) - 8 <= max(map(len, lines)) <= columns
    assert any(line.startswith("     word") for line in lines)


def test_an_estimate_may_be_off_by_a_share():
    question = Question("?", 100.0, within=0.2)
    assert read(question, "119") and read(question, "81")
    assert not read(question, "121") and not read(question, "79")


def test_a_right_answer_ends_the_question(reply, capsys):
    left = reply("11", "12", "13")
    assert ask(Question("How many?", 12, why="A dozen.")) == 2
    assert left == ["13"]
    shown = capsys.readouterr().out
    assert shown.index("Not quite.") < shown.index("Right at attempt 2: 12\nA dozen.")
    assert ask_with(Question("?", 8.51, within=0.05, why="It is half."), ["8.5"]) == 1
    assert "Right at the first attempt (about): 8.51\nIt is half." in capsys.readouterr().out


def test_an_answer_is_followed_by_what_it_shows(reply, capsys):
    """After a right answer it is the praise, and after wrong ones it is what was to be learned."""
    question = Question("How many?", 12, why="A dozen.", shows="Eggs are counted in dozens.")
    for typed, heading in ((["12"], "Right at the first attempt"), (["1", "2", "3"], "Answer")):
        reply(*typed)
        ask(question)
        end = f"{heading}: 12\nA dozen.\nThis shows: Eggs are counted in dozens.\n"
        assert capsys.readouterr().out.endswith(end)


def test_a_known_mistake_gets_its_own_words(reply, capsys):
    reply("144", "", "")
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
