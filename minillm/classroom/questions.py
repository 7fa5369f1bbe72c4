"""Questions: the reader predicts a result, then the lesson shows it.

The answer is never written in the lesson: the lesson computes it when it asks. A wrong prediction teaches more than an
answer that is only read (compare "unlocking" in the autograder ok: learners type the expected output before a test
runs). At a terminal and in a live notebook, `predict` waits for an answer and checks it. Without input it shows the
question and the answer.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from minillm.classroom.replies import read_choice, read_numbers, read_shapes, unknown_unit
from minillm.support.printable import one_line
from minillm.support.terminal import is_interactive, wrapped
from minillm.support.wording import rounded

TRIES = 3
LONGEST_REPLY = 200  # characters; what is longer is not read
LETTERS = "abcdefgh"  # of the choices


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        text: the question.
        answer: a number, a tuple of numbers (a shape), a text, or one of the choices.
        choices: the possible answers of a multiple-choice question.
        mistakes: common wrong answers, with an explanation of each.
        within: the relative tolerance of a number: 0.05 accepts answers within 5%.
        why: how the answer comes about. It follows the answer.
        shows: what the answer shows about inference, in one sentence. It comes last.
    """

    text: str
    answer: Any
    choices: Sequence[str] = ()
    mistakes: Mapping[Any, str] | None = None
    within: float = 0.0
    why: str = ""
    shows: str = ""

    @property
    def kind(self) -> str:
        """What is asked for: "choice", "shape", "number" or "text"."""
        if self.choices:
            return "choice"
        if isinstance(self.answer, tuple):
            return "shape"
        return "number" if isinstance(self.answer, int | float) and not isinstance(self.answer, bool) else "text"

    @property
    def expected(self) -> str:
        """What can be typed, in words."""
        last = LETTERS[max(0, len(self.choices) - 1)]
        return {
            "choice": f"a letter from a to {last}",
            "shape": "a shape, such as (6, 7)",
            "number": "a number, such as 2*6*32",
            "text": "a text",
        }[self.kind]

    def accepts(self, readings: Sequence[Any]) -> bool:
        """Return whether one of the readings of a reply (see `parse_reply`) is correct."""
        return any(_equal(reading, self.answer, self.within) for reading in readings)

    def understands(self, readings: Sequence[Any]) -> bool:
        """Return whether one of the readings of a reply is of the kind that is asked for."""
        types = {"shape": tuple, "number": int | float}
        return any(isinstance(reading, types.get(self.kind, str)) for reading in readings)

    def comment(self, readings: Sequence[Any]) -> str:
        """Return the feedback to a wrong reply: the explanation of a known mistake, or "Not quite."."""
        for wrong, message in (self.mistakes or {}).items():
            if any(_equal(reading, wrong, self.within) for reading in readings):
                return message
        return "Not quite."


Asker = Callable[[Question], Any]


def predict(
    text: str,
    answer: Any,
    choices: Sequence[str] = (),
    mistakes: Mapping[Any, str] | None = None,
    within: float = 0.0,
    why: str = "",
    shows: str = "",
) -> None:
    """Ask the reader a question. The arguments are those of `Question`.

    Raises:
        ValueError: if the answer is not one of the choices.
    """
    answer = answer.item() if isinstance(answer, np.generic) else answer
    if choices and answer not in choices:
        raise ValueError(f"the answer is {answer!r}; expected one of the choices {list(choices)}")
    _askers[-1](Question(text, answer, choices, mistakes, within, why, shows))


@contextmanager
def asking(asker: Asker) -> Iterator[None]:
    """Send the questions to `asker` inside this context."""
    _askers.append(asker)
    try:
        yield
    finally:
        _askers.pop()


def reveal(question: Question) -> None:
    """Show the question and the answer."""
    _show_question(question)
    _show_answer(question)


def ask(question: Question) -> int:
    """Let the reader answer. Return the number of the correct attempt, or 0 if there was none.

    A reply that cannot be read, or is wrong and has an unknown unit, does not count as an attempt.

    Raises:
        EOFError: if the input has ended.
    """
    _show_question(question)
    right = 0
    for number in range(1, TRIES + 1):
        readings = _read_reply(question)
        if readings is None:
            break
        if question.accepts(readings):
            right = number
            break
        again = "" if number == TRIES else " Try again, or press Enter twice to see the answer."
        print(wrapped(question.comment(readings) + again))
    _show_answer(question, {0: "Answer", 1: "Right at the first attempt"}.get(right, f"Right at attempt {right}"))
    return right


def parse_reply(text: str, choices: Sequence[str] = (), question: str = "") -> list[Any]:
    """Return all that a typed text may mean: one of the choices, or else numbers, shapes and the text itself.

    >>> parse_reply("6 x 7"), parse_reply("a)", ["yes", "no"]), parse_reply("perhaps", ["yes", "no"])
    ([42.0, (6, 7), '6 x 7'], ['yes'], [])
    """
    if len(text) > LONGEST_REPLY:
        return []
    if choices:
        choice = read_choice(text, choices)
        return [] if choice is None else [choice]
    return [*read_numbers(text, question), *read_shapes(text), text.strip()]


def _equal(reading: Any, answer: Any, within: float) -> bool:
    if isinstance(answer, int | float) and isinstance(reading, int | float):
        return bool(abs(reading - answer) <= max(within, 1e-9) * abs(answer))
    if isinstance(answer, tuple):
        return isinstance(reading, tuple) and reading == answer
    return str(reading).strip().lower() == str(answer).strip().lower()


def _read_reply(question: Question) -> list[Any] | None:
    """Return the readings of a reply, or None after two empty lines: the reader wants to see the answer."""
    was_empty = False
    while (text := input("? ").strip()) or not was_empty:
        was_empty = not text
        readings = parse_reply(text, question.choices, question.text)
        complaint = _complaint(question, text, readings)
        if not complaint:
            return readings
        print(wrapped(complaint))
    return None


def _complaint(question: Question, text: str, readings: list[Any]) -> str:
    """Return why a reply cannot be judged, and what to type; an empty text if it can."""
    if not text:
        return f"Type {question.expected}, or press Enter again to see the answer."
    if not question.understands(readings):
        return f"{one_line(text[:40])!r} cannot be read. Type {question.expected}."
    if question.kind != "number" or question.accepts(readings) or not (unit := unknown_unit(text, question.text)):
        return ""
    return f"{one_line(unit[:40])!r} is an unknown unit. Type {question.expected}."


def _show_question(question: Question) -> None:
    print(wrapped(f"Predict: {question.text}"))
    for letter, choice in zip(LETTERS, question.choices, strict=False):
        print(wrapped(choice, f"  {letter}) ", " " * 5))


def _show_answer(question: Question, heading: str = "Answer") -> None:
    """Print the answer after this heading, then how it comes about, then what the reader has learned from it."""
    answer = question.answer
    about = " (about)" if question.within else ""
    shown = f"{answer:,}" if isinstance(answer, int) and not isinstance(answer, bool) else str(answer)
    shown = rounded(answer) if isinstance(answer, float) else shown
    print(wrapped(f"{heading}{about}: {shown}"))
    if question.why:
        print(wrapped(question.why))
    if question.shows:
        print(wrapped(f"This shows: {question.shows}"))


def _ask_if_interactive(question: Question) -> None:
    """Ask if the session is interactive, else show the answer: for `python lesson.py`, or a notebook."""
    live = "ipykernel" in sys.modules or is_interactive()
    try:
        (ask if live else reveal)(question)
    except (EOFError, NotImplementedError):  # a notebook that a program runs has no input
        _show_answer(question)


_askers: list[Asker] = [_ask_if_interactive]  # the last one receives the questions
