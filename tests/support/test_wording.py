"""A number agrees with its noun, wherever a message counts something; rounded numbers have no exponent."""

import ast
import re
from pathlib import Path

import pytest

from minillm.support.wording import around_difference, counted, failure_text, rounded

ROOT = Path(__file__).parents[2]
NOUNS = """arrays blocks bugs calls cases cells claims columns copies days dimensions exercises files heads hints hits
hours ids items layers lessons lines matrices numbers positions problems questions replicas requests rounds rows samples
seconds sequences slots steps tensors texts threads tokens users words""".split()
COUNTED = re.compile(rf" (?:(?!with)[a-z]+ )?({'|'.join(NOUNS)})\b(?!/)")
NEVER_ONE = re.compile(r"[A-Z_]+|len\((?:all_\w+\(\)|[A-Z]+)\)|files|sizes\[1\]|.*\bshown\(.*")  # sizes that are fixed


def test_a_number_and_its_noun():
    assert [counted(count, "layer") for count in (0, 1, 2)] == ["0 layers", "1 layer", "2 layers"]
    assert counted(1, "pass", "passes") == "1 pass" and counted(3, "pass", "passes") == "3 passes"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1083.4, "1,080"), (999.7, "1,000"), (8.5e-5, "0.000085"), (0.0, "0"), (-2.5, "-2.5"), (1e9, "1,000,000,000")],
)
def test_a_rounded_number_has_no_exponent(value, shown):
    assert rounded(value) == shown


def test_what_an_error_says():
    assert failure_text(OSError(28, "No space left on device", "x")) == "x: No space left on device"
    assert failure_text(OSError(28, "No space left on device")) == "No space left on device"
    assert failure_text(OSError("said in one piece")) == "said in one piece"


def plurals(path):
    """Yield (line, expression) for each count in a message whose noun is always in the plural."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.JoinedStr):
            continue
        for value, text in zip(node.values, node.values[1:], strict=False):
            if isinstance(value, ast.FormattedValue) and value.format_spec is None and isinstance(text, ast.Constant):
                expression = ast.unparse(value.value)
                if COUNTED.match(text.value) and not NEVER_ONE.fullmatch(expression):
                    yield value.lineno, expression


def test_a_message_counts_with_counted():
    """`minillm.support.wording.counted` writes "1 layer". The article's figures and the lessons' are fixed numbers."""
    paths = [*ROOT.glob("minillm/**/*.py"), *ROOT.glob("exercises/**/*.py")]
    assert [(path.name, *place) for path in paths if "evidence" not in path.parts for place in plurals(path)] == []


def test_texts_that_differ_are_shown_where_they_do():
    assert around_difference("'abc'", "'abd'") == ("'abc'", "'abd'")
    assert around_difference("a", "ab") == ("a", "ab")
    one, other = around_difference("a" * 30 + "b" * 70, "a" * 30 + "c")
    assert (one, other) == (f"...{'a' * 20}{'b' * 40}...", f"...{'a' * 20}c")
