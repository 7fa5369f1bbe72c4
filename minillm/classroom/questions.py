"""Questions: the reader predicts a result, then the lesson shows it.

The answer is never written in the lesson: the lesson computes it when it asks. A wrong prediction teaches more than an
answer that is only read (compare "unlocking" in the autograder ok: learners type the expected output before a test
runs). At a terminal and in a live notebook, `predict` waits for an answer and checks it. Without input it shows the
question and the answer.
"""

import ast
import operator
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

TRIES = 3
WIDTH = 78
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        text: the question.
        answer: a number, a tuple of numbers (a shape), a text, or one of the choices.
        choices: the possible answers of a multiple-choice question.
        mistakes: common wrong answers, with an explanation of each.
        within: the relative tolerance of a number: 0.05 accepts answers within 5%.
        why: the explanation that follows the answer.
    """

    text: str
    answer: Any
    choices: Sequence[str] = ()
    mistakes: Mapping[Any, str] | None = None
    within: float = 0.0
    why: str = ""

    def accepts(self, reply: Any) -> bool:
        """Return whether a reply is correct."""
        return _equal(reply, self.answer, self.within)

    def comment(self, reply: Any) -> str:
        """Return the feedback to a wrong reply: the explanation of a known mistake, or "Not quite."."""
        for wrong, message in (self.mistakes or {}).items():
            if _equal(reply, wrong, self.within):
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
) -> None:
    """Ask the reader a question. The arguments are those of `Question`.

    Raises:
        ValueError: if the answer is not one of the choices.
    """
    answer = answer.item() if isinstance(answer, np.generic) else answer
    if choices and answer not in choices:
        raise ValueError(f"the answer is {answer!r}; expected one of the choices {list(choices)}")
    _askers[-1](Question(text, answer, choices, mistakes, within, why))


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

    Raises:
        EOFError: if the input has ended.
    """
    _show_question(question)
    right = 0
    for number in range(1, TRIES + 1):
        reply = _read_reply(question)
        if reply is None:
            break
        if question.accepts(reply):
            right = number
            print("Right.")
            break
        again = "" if number == TRIES else " Try again, or press Enter to see the answer."
        print(_wrapped(question.comment(reply) + again))
    _show_answer(question)
    return right


def parse_reply(text: str, choices: Sequence[str] = ()) -> Any:
    """Return the typed text as a value: a choice (by letter), a number, a product like 2*6*32, a shape, or a text."""
    text = text.strip().rstrip("%")
    if choices:
        letter = ord(text.lower()) - ord("a") if len(text) == 1 else -1
        return choices[letter] if 0 <= letter < len(choices) else text
    try:
        return _value(ast.parse(text.lstrip("[").rstrip("]"), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        pass
    parts = text.strip("()[]").replace(",", " ").replace("x", " ").split()
    numbers = [float(part) for part in parts if part.isdecimal()]
    return tuple(numbers) if parts and len(numbers) == len(parts) else text


def _value(node: ast.expr) -> Any:
    """Evaluate numbers, tuples, sums and products. Nothing else is evaluated."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.Tuple):
        return tuple(_value(part) for part in node.elts)
    raise ValueError("expected a number")


def _equal(reply: Any, answer: Any, within: float) -> bool:
    if isinstance(answer, tuple):
        return isinstance(reply, tuple) and reply == answer
    if isinstance(answer, int | float) and isinstance(reply, tuple):  # 12,000 was parsed as (12, 0)
        reply = _with_thousands(reply)
    if isinstance(answer, int | float) and isinstance(reply, int | float):
        return bool(abs(reply - answer) <= max(within * abs(answer), 1e-9 * abs(answer)))
    return str(reply).strip().lower() == str(answer).strip().lower()


def _with_thousands(groups: tuple[Any, ...]) -> Any:
    """Return (12, 0) as 12000: a number with thousands separators is parsed as a tuple."""
    if not groups or not all(isinstance(group, int | float) and 0 <= group < 1000 for group in groups):
        return groups
    return sum(group * 1000**place for place, group in enumerate(reversed(groups)))


def _read_reply(question: Question) -> Any:
    """Return a reply, or None for an empty line: the reader wants to see the answer."""
    text = input("? ")
    return parse_reply(text, question.choices) if text.strip() else None


def _show_question(question: Question) -> None:
    print(_wrapped(f"Predict: {question.text}"))
    for letter, choice in zip("abcdefgh", question.choices, strict=False):
        print(f"  {letter}) {choice}")


def _show_answer(question: Question) -> None:
    answer = question.answer
    about = " (about)" if question.within else ""
    shown = f"{answer:,}" if isinstance(answer, int) and not isinstance(answer, bool) else str(answer)
    shown = f"{answer:,.3g}" if isinstance(answer, float) else shown
    print(_wrapped(f"Answer{about}: {shown}"))
    if question.why:
        print(_wrapped(question.why))


def _wrapped(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def _ask_if_interactive(question: Question) -> None:
    """Ask if the session is interactive, else show the answer: for `python lesson.py`, or a notebook."""
    live = "ipykernel" in sys.modules or (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty())
    try:
        (ask if live else reveal)(question)
    except (EOFError, NotImplementedError):  # a notebook that a program runs has no input
        _show_answer(question)


_askers: list[Asker] = [_ask_if_interactive]  # the last one receives the questions
