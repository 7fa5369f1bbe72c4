"""The grading of a class: rows, points, repetition, and what it writes."""

import csv
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree

import pytest
from made_class import EXERCISES, LATE, SOFTMAX, make_class

from minillm.classroom.grading import grade
from minillm.classroom.grading.build import learner_files
from minillm.classroom.grading.contents import Contents, Document
from minillm.classroom.grading.course_file import read_course
from minillm.classroom.grading.grade import grade_class, sources_of
from minillm.classroom.grading.hunts import hunt_files
from minillm.classroom.grading.integrity import SMALLEST
from minillm.classroom.grading.report import write_learner, write_tables
from minillm.classroom.grading.result import NOT_HANDED_IN, OUTCOMES, read_result
from minillm.classroom.grading.submissions import find_submissions, one_submission
from minillm.classroom.grading.syntax import facts
from minillm.cli.main import run

SEED = 7


def graded(submissions, out, only=None, **changes):
    (out / "learners").mkdir(parents=True, exist_ok=True)
    course, found = read_course(submissions / "course.toml"), find_submissions(submissions)
    arguments = {"seed": SEED, "jobs": 2, "least": "L0", "report": lambda result, done: None} | changes
    chosen = [one for one in found if only is None or one.learner in only]
    return grade_class(chosen, course, folder=out / "learners", **arguments)


@pytest.fixture(scope="module")
def submissions(tmp_path_factory):
    return make_class(tmp_path_factory.mktemp("class") / "submissions")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


@pytest.fixture(scope="module")
def results(submissions, out):
    found = {result.learner: result for result in graded(submissions, out)}
    for result in found.values():
        write_learner(out, result, for_gradescope=True)
    sources = sources_of(find_submissions(submissions), read_course(submissions / "course.toml"))
    write_tables(out, list(found.values()), sources)
    return found


@pytest.mark.parametrize(
    "probe, why",
    [("import no_such_module\n", "no_such_module"), ("def probe(number):\n    return 5\n", "20 \\+ 1 is 5")],
)
def test_nothing_is_graded_where_no_code_can_run(submissions, tmp_path, monkeypatch, probe, why):
    """Else everybody would get 0 points, for example where the system's Python cannot be locked."""
    monkeypatch.setattr(grade, "PROBE", probe)
    with pytest.raises(OSError, match=f"so nothing is graded: .*{why}"):
        graded(submissions, tmp_path)
    assert list((tmp_path / "learners").iterdir()) == []


def test_every_planned_check_of_every_learner_has_a_row(results):
    assert list(results) == ["=cmd|' !A0", "ada", "bob", "bob (2)", "cy", "dee", "empty", "late"]
    planned = [("03_softmax", "cases"), ("03_softmax", "property 1"), ("03_softmax", "property 2")]
    planned += [(label.replace("03_softmax", "05_causal_mask"), check) for label, check in planned]
    for result in results.values():
        assert [(row.exercise, row.check) for row in result.rows] == planned
        assert {row.outcome for row in result.rows} <= set(OUTCOMES)
        assert result.points == sum(row.points for row in result.rows)
        assert result.out_of == 2


@pytest.mark.parametrize(
    ("learner", "softmax", "mask"),
    [
        ("ada", "passed", "passed"), ("bob", "failed", "not handed in"), ("bob (2)", "passed", "not handed in"),
        ("cy", "passed", "not handed in"), ("dee", "passed", "crashed"), ("late", "passed", "not handed in"),
        ("empty", "not handed in", "not handed in"), ("=cmd|' !A0", "not handed in", "not handed in"),
    ],
)  # fmt: skip
def test_what_comes_out(results, learner, softmax, mask):
    rows = results[learner].rows
    assert [rows[0].outcome, rows[3].outcome] == [softmax, mask]
    assert results[learner].points == (softmax == "passed") + (mask == "passed")


def test_the_message_says_the_known_mistake(results):
    row = results["bob"].rows[0]
    assert "overflows" in row.known_mistake
    assert row.table[0][3] == "differs"
    assert "cases; the first wrong one: " in row.message


def test_what_was_left_out_or_renamed_is_noted(results):
    twins = "several entries have this name"
    assert results["bob (2)"].notes == (
        twins,
        "../03_softmax.py: left out: its name points out of the folder",
    )
    assert results["bob"].notes == (
        twins,
        "softmax (1).py: graded as 03_softmax",
    )
    for as_asked in ("ada", "cy", "dee"):  # a folder, a notebook, files that begin with the name
        assert results[as_asked].notes == ()


def test_files_that_were_handed_out_are_no_news_unless_they_were_changed(tmp_path):
    """Most learners hand in the whole folder. An engine of a bug hunt has a `rope`, too, which is no exercise."""
    course = read_course(None, only="3-4")
    given = {**learner_files(course), **hunt_files("ada", 3, 2), ".minillm/exercises.lock": b"", "pytest.ini": b""}
    for name, data in given.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    read = grade.read_submission(one_submission(tmp_path, "ada"), course)
    assert (read.notes, set(read.staged)) == ((), {"03_softmax", "04_rope"})
    (tmp_path / "04_rope.py").unlink()
    (tmp_path / "check.py").write_bytes(given["check.py"] + b"\nprint('all is right')\n")
    (tmp_path / "helpers.py").write_text("x = 1")
    (tmp_path / "notes.md").write_text("mine")
    read = grade.read_submission(one_submission(tmp_path, "ada"), course)
    assert set(read.staged) == {"03_softmax"}
    assert read.notes == (
        "1 file of other kinds left out",
        "check.py: it differs from the one that is handed out",
        "helpers.py: no exercise in it",
    )


def test_the_late_rule(results):
    late, ada = results["late"], results["ada"]
    assert (late.points, late.days_late, late.score) == (1.0, 1, 0.75)
    assert (ada.points, ada.days_late, ada.score) == (2.0, 0, 2.0)
    assert late.handed_in.startswith("2027-01-16T")


@pytest.mark.usefixtures("results")
def test_a_second_grading_is_the_same_to_the_byte(submissions, out, tmp_path):
    for result in graded(submissions, tmp_path, only=["bob", "dee"]):
        name = f"learners/{result.file}.json"
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes()


def test_a_grading_that_was_killed_continues(results, submissions, out, monkeypatch):
    """Results that are there are taken over; a damaged one, and that of a changed submission, are made again."""
    files = {learner: out / "learners" / f"{result.file}.json" for learner, result in results.items()}
    whole = files["cy"].read_bytes()
    files["cy"].write_bytes(whole[: len(whole) // 2])
    files["dee"].unlink()
    again, honest = [], grade.graded
    monkeypatch.setattr(grade, "graded", lambda planned, *rest: again.append(planned.learner) or honest(planned, *rest))
    assert {result.learner: result for result in graded(submissions, out)} == results
    assert sorted(again) == ["cy", "dee"]
    assert files["cy"].read_bytes() == whole


def test_a_result_depends_on_the_seed_the_course_and_the_submission(results, submissions):
    course = read_course(submissions / "course.toml")
    (ada,) = [one for one in find_submissions(submissions) if one.learner == "ada"]

    def fingerprint(course=course, seed=SEED, submission=ada):
        handed_in = grade.read_submission(submission, course)
        return grade.planned_result(submission, handed_in, course, seed).fingerprint

    other = read_course(submissions / "course.toml", "softmax")
    (bob, *_) = [one for one in find_submissions(submissions) if one.learner == "bob"]
    assert fingerprint() == results["ada"].fingerprint
    assert len({fingerprint(), fingerprint(course=other), fingerprint(seed=8), fingerprint(submission=bob)}) == 4


def test_a_stored_result_of_a_lower_level_is_not_enough(results, submissions, out, monkeypatch):
    monkeypatch.setattr(grade, "level", lambda locks: "L0")
    with pytest.raises(ValueError, match="ran at level L0; L2 is required"):
        graded(submissions, out, only=["ada"], least="L2")


def test_results_are_read_as_they_were_written(results, out):
    for result in results.values():
        assert read_result(out / "learners" / f"{result.file}.json") == result


def test_the_table_has_no_formula(results, out):
    rows = list(csv.DictReader((out / "grades.csv").read_text().splitlines()))
    assert [row["learner"] for row in rows][:2] == ["'=cmd|' !A0", "ada"]
    assert rows[1]["score"] == "2" and rows[1]["03_softmax"] == "1"
    assert rows[2]["03_softmax"] == "0" and rows[2]["05_causal_mask"] == ""


def test_junit_has_a_case_for_each_row(results, out):
    suites = ElementTree.parse(out / "junit.xml").getroot()
    assert [suite.get("name") for suite in suites] == list(results)
    for suite, result in zip(suites, results.values(), strict=True):
        assert int(suite.get("tests")) == len(suite) == len(result.rows)
        skipped = sum(row.outcome == NOT_HANDED_IN for row in result.rows)
        assert int(suite.get("skipped")) == len(suite.findall("testcase/skipped")) == skipped
        bad = sum(not row.passed for row in result.rows) - skipped
        assert int(suite.get("failures")) + int(suite.get("errors")) == bad


def test_the_integrity_report_names_copies(results, out):
    text = (out / "integrity.md").read_text()
    assert "03_softmax, 42 nodes: the reference solution: ada, bob (2), cy, dee, late" in text
    assert "None." in text.partition("Changed arguments")[2]
    assert str(LATE) not in text and "2027-01-16" in text


HELPED = """import numpy as np
def powers(x):
    return np.exp(x - x.max(-1, keepdims=True))
def shares(w):
    return w / w.sum(-1, keepdims=True)
def softmax(scores):
    return shares(powers(scores))
"""
COPIED = """import numpy
def softmax(scores):
    \'\'\'My own.\'\'\'
    return teile(hoch(scores))  # mine
def teile(anteil):
    return anteil / anteil.sum(-1, keepdims=True)
def hoch(werte: "array"):
    return numpy.exp(werte - werte.max(-1, keepdims=True))
"""


def test_a_copy_with_other_names_and_another_order_of_its_functions_has_the_same_tree():
    ours, theirs = facts(HELPED, "softmax"), facts(COPIED, "softmax")
    assert (ours["digest"], ours["nodes"]) == (theirs["digest"], theirs["nodes"])
    assert ours["nodes"] > SMALLEST
    other = facts(HELPED.replace("x.max", "x.min"), "softmax")
    assert other["digest"] != ours["digest"]
    assert facts(f"{HELPED}\nunused = 3\n", "softmax")["digest"] == ours["digest"]


def test_an_import_that_does_not_look_like_one_is_named():
    source = "def softmax(scores):\n    return __import__('minillm.attention').attention.softmax(scores)\n"
    assert facts(source, "softmax")["imports"] == ["__import__"]


def test_each_learner_has_a_page(results, out):
    for result in results.values():
        page = (out / "learners" / f"{result.file}.html").read_text()
        assert page.count("<strong>") == len(result.rows)
        assert "<script" not in page
        markdown = (out / "learners" / f"{result.file}.md").read_text()
        assert f"    {result.score:g} of 2 points" in markdown
    assert json.loads((out / "gradescope" / f"{results['ada'].file}.json").read_text())["score"] == 2.0


def test_the_times_of_a_platform_have_precedence(submissions, tmp_path):
    shutil.copytree(submissions, tmp_path / "class")
    file = tmp_path / "class" / "handed_in.csv"
    file.write_text("learner,time\nada,2027-01-18T12:00:00+00:00\n")
    ada, bob, *_ = (one for one in find_submissions(tmp_path / "class") if one.learner in ("ada", "bob"))
    course = read_course(submissions / "course.toml")
    assert course.days_late(ada.handed_in(ada.read())) == 3
    assert course.days_late(bob.handed_in(bob.read())) == 0
    file.write_text("\ufefftime;learner\r\n2027-01-18T12:00:00+00:00;ada\r\n", encoding="utf-8")
    assert find_submissions(tmp_path / "class")[1].told == ada.told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learner,time\nAda,2027-01-18T12:00:00Z\n", "no submission of Ada"),
        ("ada\n", "expected the columns learner,time"),
        ("", "expected the columns learner,time"),
        ("learner,time\nada,2027-01-18 12:00\n", "'2027-01-18 12:00' is not a time with an offset"),  # whose noon?
        ("learner,time\nada,18.01.2027 12:00\n", "'18.01.2027 12:00' is not a time with an offset"),
        ("learner,time\nada\n", "'' is not a time"),
    ],
)
def test_times_that_would_have_to_be_guessed(tmp_path, text, words):
    (tmp_path / "ada").mkdir()
    (tmp_path / "handed_in.csv").write_text(text)
    with pytest.raises(ValueError, match=f"handed_in.csv: .*{re.escape(words)}"):
        find_submissions(tmp_path)


def test_an_archive_of_another_kind_has_the_learners_name_and_a_stray_file_is_noted(tmp_path):
    (tmp_path / "ada.tar.gz").write_bytes(b"\x1f\x8b")
    (tmp_path / "readme.txt").write_text("nobody")
    course = read_course(None, only="3")
    ada, readme = find_submissions(tmp_path, learners=["ada"])
    read = [grade.read_submission(one, course) for one in (ada, readme)]
    assert (ada.learner, read[0].notes) == ("ada", ())
    assert "found a .gz file" in read[0].refused
    assert read[1].notes == ("this name is not among the learners of the course",)


@pytest.mark.parametrize(("seconds", "year"), [(-(10**12), 1970), (10**12, 9999)])
def test_times_that_no_calendar_has(tmp_path, seconds, year):
    contents = Contents((Document("03_softmax.py", b"x = 1", seconds),))
    assert one_submission(tmp_path, "ada").handed_in(contents).year == year


def test_a_grading_that_is_interrupted_begins_no_further_exercise(submissions, tmp_path, monkeypatch):
    begun = []

    def interrupted(exercise, *rest):
        begun.append(exercise.label)
        raise KeyboardInterrupt

    monkeypatch.setattr(grade, "grade_exercise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        graded(submissions, tmp_path, only=["ada"], jobs=1)
    assert begun == ["03_softmax"]
    handed_in, cancelled = grade.HandedIn(), grade.Event()
    cancelled.set()
    with pytest.raises(grade.CancelledError):
        grade.graded(None, handed_in, read_course(submissions / "course.toml"), cancelled)


def test_a_submission_that_breaks_the_reader_stops_nobody(submissions, tmp_path, monkeypatch):
    monkeypatch.setattr(grade, "stage", lambda contents, exercises: 1 / 0)
    (empty,) = graded(submissions, tmp_path, only=["empty"])
    assert {row.outcome for row in empty.rows} == {"refused"}
    assert "ZeroDivisionError" in empty.rows[0].message


def test_the_class_is_that_of_the_course(submissions):
    assert ",".join(e.name for e in read_course(submissions / "course.toml").exercises) == EXERCISES


def test_everybody_in_the_course_has_a_row_and_a_name_that_is_not_in_it_is_noted(tmp_path):
    """A folder of another name than the list has must not leave a learner without marks unseen."""
    folder, out = tmp_path / "submissions", tmp_path / "results"
    (folder / "ada").mkdir(parents=True)
    (folder / "ada/03_softmax.py").write_text(SOFTMAX.solution)
    (folder / "Joe\u0301").mkdir()  # an accent as macOS writes it
    (folder / "stranger").mkdir()
    (tmp_path / "course.toml").write_text('exercises = "3"\nlearners = ["zoe", "ada", "Jo\u00e9"]\n')
    options = ["grade", str(folder), "--course", str(tmp_path / "course.toml"), "--out", str(out), "--json"]
    assert run(options) == 0
    table = list(csv.DictReader((out / "grades.csv").read_text(encoding="utf-8").splitlines()))
    assert [(row["learner"], row["score"], row["notes"]) for row in table] == [
        ("Jo\u00e9", "0", "0"), ("ada", "1", "0"), ("stranger", "0", "1"), ("zoe", "0", "0"),
    ]  # fmt: skip
    assert {row.outcome for row in read_result(out / "learners/zoe.json").rows} == {NOT_HANDED_IN}
    assert (out / "learners/zoe.html").exists()
    assert "nothing handed in: zoe" in (out / "integrity.md").read_text()
