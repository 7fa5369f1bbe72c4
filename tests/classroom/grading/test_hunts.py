"""Bug hunts of a class: who gets which bugs, and what an answer is worth."""

import json
import zipfile
from dataclasses import replace

import pytest
from made_class import SOFTMAX

from minillm.classroom.exercises.bughunt import all_bugs, find_bug, place_of, planted
from minillm.classroom.grading.build import build, read_learners
from minillm.classroom.grading.contents import Contents, Document, read_contents
from minillm.classroom.grading.course_file import Course, course_text, read_course
from minillm.classroom.grading.grade import grade_class
from minillm.classroom.grading.hunts import answers_in, bugs_of, hunt_files, hunt_rows
from minillm.classroom.grading.submissions import find_submissions

COURSE = 'exercises = "softmax"\nseed = 3\nhunts = 2\n[points]\nhunt = 1.5\n'


@pytest.fixture
def course(tmp_path):
    (tmp_path / "course.toml").write_text(COURSE)
    return read_course(tmp_path / "course.toml")


def right_answers(learner, seed=3, count=2):
    places = {name: place_of(find_bug(number)) for name, number in bugs_of(learner, seed, count).items()}
    return {name: f"{function}:{line}" for name, (function, line) in places.items()}


def test_learners_get_different_bugs_and_always_the_same():
    drawn = [tuple(bugs_of(f"learner {n}", 3, 2).values()) for n in range(30)]
    assert len(set(drawn)) > 20
    assert {number for pair in drawn for number in pair} > set(range(1, 13))
    assert drawn[5] == tuple(bugs_of("learner 5", 3, 2).values())
    assert sorted(bugs_of("ada", 3, len(all_bugs())).values()) == list(range(1, len(all_bugs()) + 1))
    assert any(bugs_of("ada", seed, 2) != bugs_of("ada", 3, 2) for seed in range(5))


def test_the_files_of_a_learner_do_not_tell_the_bug():
    files = hunt_files("ada", 3, 2)
    assert set(files) == {"hunt_a.py", "hunt_b.py", "hunts.txt"}
    for name, number in bugs_of("ada", 3, 2).items():
        assert files[f"{name}.py"].decode() == planted(find_bug(number))
        assert find_bug(number).right not in files["hunts.txt"].decode()
    assert answers_in(Contents((Document("hunts.txt", files["hunts.txt"]),))) == {}  # as it was handed out


@pytest.mark.parametrize("data", [b"hunt_a: attend:35", b"\xef\xbb\xbfHunt_A.py = attend:35\r\nhunt_a: x:1\r\n"])
@pytest.mark.parametrize("name", ["hunts.txt", "work/hunts (1).txt", "ada_hunts.TXT"])
def test_answers_are_read_as_people_write_and_rename_them(name, data):
    assert answers_in(Contents((Document(name, data),))) == {"hunt_a": "attend:35"}


def test_a_row_for_each_hunt():
    bugs, right = bugs_of("ada", 3, 2), right_answers("ada")
    function, line = right["hunt_a"].split(":")

    def rows(**answers):
        return [(row.exercise, row.outcome, row.points, row.out_of) for row in hunt_rows(bugs, 1.5, answers)]

    assert rows() == [("hunt_a", "not handed in", 0, 1.5), ("hunt_b", "not handed in", 0, 1.5)]
    assert rows(**right) == [("hunt_a", "passed", 1.5, 1.5), ("hunt_b", "passed", 1.5, 1.5)]
    assert rows(hunt_a=f"{function} : {line}")[0] == ("hunt_a", "passed", 1.5, 1.5)
    wrong = list(hunt_rows(bugs, 1.5, {"hunt_a": f"{function}:{int(line) + 1}", "hunt_b": "somewhere"}))
    assert [(row.outcome, row.points) for row in wrong] == [("failed", 0), ("failed", 0)]
    assert [row.message for row in wrong] == [
        "Right function, wrong line.", "'somewhere' is not an answer; expected function:line, such as attend:35",
    ]  # fmt: skip


def test_hunts_in_a_class(course, tmp_path):
    """A learner with both, one with a neighbour's answers, one with an answer file alone, and an unreadable one."""
    folder, out = tmp_path / "submissions", tmp_path / "out"
    out.mkdir()
    for learner in ("ada", "bob"):
        (folder / learner).mkdir(parents=True)
        (folder / learner / "03_softmax.py").write_text(SOFTMAX.solution)
        lines = "".join(f"{name}: {place}\n" for name, place in right_answers("ada").items())
        (folder / learner / "hunts.txt").write_text(lines)
    (folder / "cy_hunts.txt").write_text("".join(f"{name}: {p}\n" for name, p in right_answers("cy").items()))
    (folder / "dee.zip").write_bytes(b"no archive")
    (folder / "eve.txt").write_text("not an answer")

    def graded():
        found = grade_class(find_submissions(folder), course, 3, out, 1, "L0", lambda result, done: None)
        return {one.learner: [(row.exercise, row.outcome, row.points) for row in one.rows[3:]] for one in found}

    results = graded()
    assert results["ada"] == [("hunt_a", "passed", 1.5), ("hunt_b", "passed", 1.5)]
    assert [points for _, _, points in results["bob"]] == [0, 0]
    assert results["cy"] == results["ada"]
    assert {outcome for _, outcome, _ in results["dee"]} == {"refused"}
    stored = json.loads((out / "ada.json").read_text())
    assert (stored["points"], stored["out_of"]) == (4, 4)
    (folder / "ada/hunts.txt").write_text("hunt_a: attend:9999")  # a changed answer is graded again
    assert graded()["ada"] == [("hunt_a", "failed", 0), ("hunt_b", "not handed in", 0)]


def test_course_build_makes_an_archive_for_each_learner(course, tmp_path):
    (tmp_path / "names.txt").write_text("\ufeffada\n\nMüller Jörg\n", encoding="utf-8")
    build(replace(course, learners=read_learners(tmp_path / "names.txt")), tmp_path / "dist")
    archives = sorted((tmp_path / "dist/hunts").iterdir())
    assert len(archives) == 2
    with zipfile.ZipFile(tmp_path / "dist/hunts/ada.zip") as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == hunt_files("ada", 3, 2)
    again = read_course(tmp_path / "dist/course.toml")
    assert (again.hunts, again.hunt_points, again.seed, again.learners) == (2, 1.5, 3, ("ada", "Müller Jörg"))
    with zipfile.ZipFile(tmp_path / "dist/gradescope.zip") as archive:
        assert b"ada" not in archive.read("course.toml")  # a platform needs no names
    assert "with 4 points" in (tmp_path / "dist/gradescope.md").read_text()


def test_hunts_without_learners_are_refused_and_learners_without_hunts_are_not(course, tmp_path):
    with pytest.raises(ValueError, match="bug hunts need the names"):
        build(course, tmp_path / "dist")
    assert not (tmp_path / "dist").exists()
    build(Course(course.exercises, seed=3, learners=("ada",)), tmp_path / "dist")
    assert not (tmp_path / "dist/hunts").exists()


@pytest.mark.parametrize("data, words", [(b"", "found none"), (b"a\nb\na\n", "'a' twice"), (b"\xff", "UTF-8")])
def test_a_wrong_file_of_names(tmp_path, data, words):
    (tmp_path / "names.txt").write_bytes(data)
    with pytest.raises(ValueError, match=words):
        read_learners(tmp_path / "names.txt")


@pytest.mark.parametrize("line", ["hunts = 25", "hunts = -1", "hunts = true", "hunts = 1\n[points]\nhunt = 'x'"])
def test_a_wrong_number_of_hunts(tmp_path, line):
    (tmp_path / "course.toml").write_text(line)
    with pytest.raises(ValueError, match=r"hunts|hunt are"):
        read_course(tmp_path / "course.toml")


def test_the_text_of_a_course_keeps_its_hunts(course):
    assert "hunts = 2" in course_text(course) and "hunt = 1.5" in course_text(course)


def test_answers_are_of_limited_size(tmp_path):
    (tmp_path / "hunts.txt").write_text("x" * 200_000)
    assert "larger than" in read_contents(tmp_path).notes[0]
