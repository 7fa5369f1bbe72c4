"""The views of a result: each against its published schema, and against what a learner could put into it."""

import csv
import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from published_schemas import CLASSROOM50, GRADESCOPE, STAMPED, problems

from minillm.classroom.grading.feedback import html_page, markdown_page
from minillm.classroom.grading.formats.classroom50 import classroom50
from minillm.classroom.grading.formats.grades_csv import grades_csv, guarded
from minillm.classroom.grading.formats.gradescope import gradescope
from minillm.classroom.grading.formats.junit import junit
from minillm.classroom.grading.result import OUTCOMES, Result, Row, read_result, write_result

EVIL = "</pre><script>alert(1)</script> & ]]> `x`\n# Title\n\x1b[31m\x00\u202e ```"
ENVIRONMENT = {
    "CLASSROOM": "cs", "ASSIGNMENT": "week-1", "SUBMISSION_TAG": "submit/2026-12-10-abc", "COMMIT_URL": "https://x/c",
    "RELEASE_URL": "https://x/r",
}  # fmt: skip


def row(outcome="passed", out_of=1.0, **more):
    return Row("03_softmax", "cases", "every result", outcome, out_of * (outcome == "passed"), out_of, **more)


def result(*rows, **changes):
    points, out_of = sum(one.points for one in rows), sum(one.out_of for one in rows)
    values = {
        "learner": "ada", "file": "ada", "rows": rows, "points": points, "out_of": out_of, "score": points, "notes": (),
        "handed_in": "2026-12-10T22:59:00+00:00", "days_late": 0, "used": {"03_softmax": ("a.py", "0")}, "claimed": {},
        "seed": 5, "isolation": "L1", "locks": ("namespaces",), "fingerprint": "f",
    }  # fmt: skip
    return Result(**values | changes)


EVERY_OUTCOME = result(*(row(outcome, message=EVIL, known_mistake="a mistake") for outcome in OUTCOMES))
EVIL_RESULT = result(
    row("failed", message=EVIL, example=EVIL, printed=EVIL, table=((EVIL, "1", "2", "differs"),)),
    learner=f"=cmd()\n{EVIL}", notes=(EVIL,),
)  # fmt: skip
HALVES = result(row(out_of=0.5), row("failed", 0.25), row("crashed", 0.25), days_late=1, score=0.45)
ALL = (EVERY_OUTCOME, EVIL_RESULT, HALVES)


@pytest.mark.parametrize("one", ALL)
def test_gradescope(one):
    value = json.loads(json.dumps(gradescope(one)))
    assert problems(value, GRADESCOPE) == []
    assert len(value["tests"]) == len(one.rows)
    assert "seed" not in value["output"]  # learners see the output, and could compute the hidden cases
    assert value["score"] == one.score
    assert sum(test["score"] for test in value["tests"]) == one.points
    assert [test["status"] == "passed" for test in value["tests"]] == [row.passed for row in one.rows]


@pytest.mark.parametrize("one", ALL)
def test_classroom50(one):
    value = json.loads(json.dumps(classroom50(one, ENVIRONMENT)))
    assert problems(value | STAMPED, CLASSROOM50) == []
    assert 0 <= value["score"] <= value["max-score"] == sum(test["max-score"] for test in value["tests"])
    assert all(0 <= test["score"] <= test["max-score"] for test in value["tests"])
    scale = 100 if one is HALVES else 1
    assert (value["score"], value["max-score"]) == (round(scale * one.score), scale * one.out_of)
    assert value["review"] == value["commit"]


@pytest.mark.parametrize("missing", ENVIRONMENT)
def test_classroom50_without_the_runner_is_an_error(missing):
    with pytest.raises(ValueError, match=missing):
        classroom50(EVERY_OUTCOME, {**ENVIRONMENT, missing: ""})


@pytest.mark.parametrize("empty", [result(), result(row(out_of=0.0))])
def test_classroom50_never_says_0_of_0(empty):
    with pytest.raises(ValueError, match="nothing to grade"):
        classroom50(empty, ENVIRONMENT)


def test_the_schemas_refuse_what_is_wrong():
    good = gradescope(HALVES)
    assert problems({**good, "score": "1"}, GRADESCOPE) == ["result.score is '1'"]
    assert problems({**good, "more": 1}, GRADESCOPE) == ["result has the key more"]
    assert problems({**good, "stdout_visibility": "no"}, GRADESCOPE) == ["result.stdout_visibility is 'no'"]
    assert problems(classroom50(HALVES, ENVIRONMENT), CLASSROOM50) == [f"result lacks {key}" for key in STAMPED]


def test_pages_interpret_nothing():
    page = html_page(EVIL_RESULT)
    assert "<script" not in page and "\x1b" not in page and "\u202e" not in page
    assert page.count("<pre>") == page.count("</pre>") == 1
    lines = markdown_page(EVIL_RESULT).splitlines()
    unsafe = [line for line in lines if ("Title" in line or "`" in line or "alert" in line) and line[:4] != "    "]
    assert unsafe == []


def test_tables_and_xml_interpret_nothing():
    (line,) = csv.DictReader(grades_csv([EVIL_RESULT]).splitlines(keepends=True))
    assert line["learner"].startswith("'=cmd()")
    root = ElementTree.fromstring(junit([EVIL_RESULT, EVERY_OUTCOME]))
    assert [len(suite) for suite in root] == [1, len(OUTCOMES)]
    tags = [case[0].tag if len(case) else "passed" for case in root[1]]
    assert tags == ["passed", "failure", "error", "error", "skipped", "error"]
    assert (root[1].get("failures"), root[1].get("errors"), root[1].get("skipped")) == ("1", "3", "1")


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx", "\r=1", " =1", "|x", "%x"])
def test_cells_that_a_spreadsheet_would_compute(text):
    assert guarded(text) == f"'{text}"


def test_a_formula_behind_what_another_country_takes_for_the_end_of_a_cell():
    """A spreadsheet in German splits at semicolons, so the second half of a name is a cell of its own."""
    for separator in (";", ",", "\t", '"', "; ", ";\ufeff"):
        for sign in "=+-@|%\uff1d\uff0b\uff0d\uff20":
            cell = guarded(f"ada{separator}{sign}1").split(separator.strip()[:1] or separator)[1]
            assert cell.startswith("'"), (separator, sign)
    assert guarded("ada-lin; bob, c.=d") == "ada-lin; bob, c.=d"


@pytest.mark.parametrize("one", ALL)
def test_a_result_is_read_as_it_was_written(one, tmp_path):
    write_result(tmp_path / "ada.json", one)
    assert read_result(tmp_path / "ada.json") == one


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-20], lambda text: "", lambda text: "[]",
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace('"passed"', '"perfect"'), lambda text: text.replace('"learner"', '"name"'),
    ],
)  # fmt: skip
def test_a_damaged_result_counts_as_none(tmp_path, change):
    write_result(tmp_path / "ada.json", HALVES)
    text = (tmp_path / "ada.json").read_text()
    assert change(text) != text
    (tmp_path / "ada.json").write_text(change(text))
    assert read_result(tmp_path / "ada.json") is None
    assert read_result(tmp_path / "missing.json") is None


def test_replacing_one_row_changes_the_points_of_its_exercise():
    assert HALVES.of_exercise("03_softmax") == (0.5, 1.0)
    better = replace(HALVES, rows=(HALVES.rows[0], replace(HALVES.rows[1], outcome="passed", points=0.25)))
    assert better.of_exercise("03_softmax") == (0.75, 0.75)
