"""`minillm grade` and `minillm course build`: what they print, and what they refuse in one line."""

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from minillm.classroom.exercises.exercise import find_exercise
from minillm.classroom.worker import start
from minillm.cli.main import run

SOFTMAX = find_exercise("softmax")


@pytest.fixture
def submissions(tmp_path):
    """A learner who has not begun, and one whose archive is damaged: no code of them runs."""
    folder = tmp_path / "submissions"
    (folder / "ada").mkdir(parents=True)
    (folder / "ada/03_softmax.py").write_text(SOFTMAX.stub)
    (folder / "bob\x1b[31m.zip").write_bytes(b"no archive")
    return folder


def grade(submissions, tmp_path, *more):
    return run(["grade", str(submissions), "--out", str(tmp_path / "results"), *more])


def test_the_table(submissions, tmp_path, capsys):
    assert grade(submissions, tmp_path, "--only", "3", "--seed", "7") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0].split() == ["learner", "score", "of", "days", "late", "passed", "notes"]
    assert lines[1].split() == ["ada", "0", "1", "0", "0", "of", "3", "0"]
    assert "2 learners, mean 0.00 of 1" in lines
    level = start.isolation_level()
    assert f"isolation {level}, seed 7" in lines
    assert "\x1b" not in out
    assert ("isolation L0" in err) == (level == "L0")
    names = {path.name for path in (tmp_path / "results").iterdir()}
    assert names == {"grades.csv", "junit.xml", "integrity.md", "grading.json", "learners"}


def test_json_and_the_stored_seed(submissions, tmp_path, capsys):
    assert grade(submissions, tmp_path, "--only", "3", "--json") == 0
    first = json.loads(capsys.readouterr().out)
    assert grade(submissions, tmp_path, "--only", "3", "--json") == 0
    assert json.loads(capsys.readouterr().out) == first
    assert [one["learner"] for one in first["learners"]] == ["ada", "bob\\x1b[31m"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--jobs", "0"], "--jobs is 0"), (["--only", "99"], "no exercise '99'"), (["--only", ""], "no exercise ''"),
        (["--course", "none.toml"], "none.toml"), (["--require", "L3"], "expected one of L0, L1"),
        (["--require", "L2"], "cannot check from inside"),
        (["--seed", "-1"], "at least 0"), (["--handed-in", "2026-12-10"], "add --one NAME"),
        (["--classroom50", "x.json"], "add --one NAME"), (["--one", "ada", "--handed-in", "soon"], "is not a time"),
    ],
)  # fmt: skip
def test_what_is_refused(submissions, tmp_path, capsys, more, words):
    assert grade(submissions, tmp_path, *more) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_folder_that_is_not_a_class(submissions, tmp_path, capsys):
    for folder, words in ((submissions / "none", "no folder"), (submissions / "ada", "one learner's folder")):
        assert grade(folder, tmp_path) == 2
        assert words in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert grade(tmp_path / "empty", tmp_path) == 2
    assert "no submissions here" in capsys.readouterr().err


def test_a_level_that_this_system_does_not_have(submissions, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(start, "_namespaces", tuple)
    assert grade(submissions, tmp_path, "--require", "L1") == 2
    assert "isolation level L0; L1 is required" in capsys.readouterr().err
    assert grade(submissions, tmp_path, "--only", "3") == 0
    assert "isolation L0" in capsys.readouterr().err


def test_results_that_cannot_be_written(submissions, tmp_path, capsys):
    (tmp_path / "results").write_text("a file")
    assert grade(submissions, tmp_path, "--only", "3") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_build(tmp_path, capsys):
    arguments = ["course", "build", "--only", "3-4", "--due", "2026-12-10T23:59", "--out", str(tmp_path / "dist")]
    assert run([*arguments, "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {"learner.zip", "gradescope.zip", "classroom50/autograder.py", "course.toml"} <= set(files)
    assert "due = 2026-12-10T23:59:00+00:00" in (tmp_path / "dist/course.toml").read_text()
    assert run(arguments) == 2
    assert "exists already" in capsys.readouterr().err
    assert run(["course", "build", "--due", "soon", "--out", str(tmp_path / "b")]) == 2
    assert "expected a time such as" in capsys.readouterr().err


def test_a_course_file_that_is_not_named_is_not_forgotten_silently(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "course.toml").write_text('exercises = "3"\n')
    assert run(["course", "build", "--only", "3", "--out", "a"]) == 0
    assert "not read; to use it, add --course course.toml" in capsys.readouterr().err
    assert run(["course", "build", "--course", "course.toml", "--out", "b"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.slow
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_grading_continues_after_a_kill_at_any_moment(tmp_path, sent):
    """Killed again and again, and then left alone: the same files as without a kill, and nothing else."""
    chosen = random.Random(int(sent))
    for name in ("ada", "bob", "cy"):
        (tmp_path / "class" / name).mkdir(parents=True)
        (tmp_path / "class" / name / "03_softmax.py").write_text(SOFTMAX.solution)
    command = [sys.executable, "-m", "minillm", "grade", "class", "--only", "3", "--seed", "4", "--out"]
    subprocess.run([*command, "whole"], cwd=tmp_path, check=True, capture_output=True)
    for _ in range(3):
        (tmp_path / "killed/grading.json").unlink(missing_ok=True)  # it is the first file that is written
        with subprocess.Popen([*command, "killed"], cwd=tmp_path, stdout=-3, stderr=subprocess.PIPE) as process:
            while not (tmp_path / "killed/grading.json").exists() and process.poll() is None:
                time.sleep(0.01)  # the first moments of every command are tested in test_interrupts.py
            time.sleep(chosen.uniform(1, 3))
            process.send_signal(sent)
            error = process.communicate()[1]
        assert process.returncode in (0, -sent, 130)
        assert b"Traceback" not in error
    subprocess.run([*command, "killed"], cwd=tmp_path, check=True, capture_output=True)
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert all((tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes() for name in files)
