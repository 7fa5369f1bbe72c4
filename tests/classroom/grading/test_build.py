"""What `course build` makes, tried in clean folders."""

import io
import json
import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from published_schemas import CLASSROOM50, GRADESCOPE, STAMPED, problems

from minillm.classroom.exercises.exercise import all_exercises, find_exercise
from minillm.classroom.grading.build import build, learner_files
from minillm.classroom.grading.course_file import read_course
from minillm.classroom.worker.start import isolation_level

SOFTMAX = find_exercise("softmax")
METADATA = {"created_at": "2026-12-10T23:59:00.123456-08:00", "users": [{"email": "-ada@example.org", "id": 1}]}
CLEAN = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    (folder / "course.toml").write_text('exercises = "softmax"\nseed = 3\n[late]\npercent_per_day = 50\n')
    build(read_course(folder / "course.toml"), folder / "dist")
    return folder / "dist"


def ran(command, folder, **environment):
    return subprocess.run(
        command, cwd=folder, env=CLEAN | environment, capture_output=True, text=True, timeout=200, check=False
    )


def test_the_learner_gets_no_solution():
    """Not a line of a solution that is not in the stub, nor a bug, nor a hint."""
    files = learner_files(read_course(None))
    everything = "\n".join(data.decode("utf-8", "replace") for data in files.values())
    for exercise in all_exercises():
        assert files[f"{exercise.label}.py"].decode() == exercise.stub
        lines = [line for line in exercise.solution.splitlines() if line not in exercise.stub.splitlines()]
        long = [line for line in lines if len(line.strip()) > 40 and line.strip() not in exercise.harness]
        assert [line for line in long if line.strip() in everything] == [], exercise.label
        assert exercise.hints[-1] not in everything
    assert "minillm" not in files["check.py"].decode()


def test_the_learner_checks_with_numpy_alone(built, tmp_path):
    shutil.unpack_archive(built / "learner.zip", tmp_path)
    done = ran([sys.executable, "check.py"], tmp_path)
    assert (done.stdout, done.returncode) == ("03_softmax: not started\n", 1)
    (tmp_path / "03_softmax.py").write_text(SOFTMAX.solution)
    for name in ("3", "03", "softmax", "03_softmax.py"):
        done = ran([sys.executable, "check.py", name], tmp_path)
        assert (done.stdout, done.returncode) == ("03_softmax: 4 examples are right\n", 0)
    done = ran([sys.executable, "check.py", "3", "33"], tmp_path)
    assert (done.stdout.partition(";")[0], done.returncode) == ("there is no exercise 33 here", 2)
    (tmp_path / "03_softmax.py").write_text("def softmax(scores):\n    return scores\n")
    done = ran([sys.executable, "check.py"], tmp_path)
    assert "example 1 is wrong" in done.stdout
    (tmp_path / "03_softmax.py").unlink()
    done = ran([sys.executable, "check.py"], tmp_path)
    assert (done.stdout.partition(" /")[0], done.returncode) == ("03_softmax: there is no file", 1)


def test_the_learner_is_told_the_rules(tmp_path):
    due, late = "due = 2026-12-10T23:59:00+01:00\n", "[late]\npercent_per_day = 10\ndays = 5\n"
    file = tmp_path / "course.toml"
    file.write_text(f'exercises = "3-4"\n{due}hunts = 2\nlearners = ["ada"]\n{late}[points]\nsoftmax = 2.5\nhunt = 3\n')
    text = " ".join(learner_files(read_course(file))["README.md"].decode().split())
    assert "Due: 2026-12-10 23:59:00+01:00. Each begun day after that costs 10 % of the points. " in text
    assert "More than 5 days after it, there are no points." in text
    assert text.endswith("2 bug hunts, in an archive of your own: 3 for each. The sum of all points is 9.5.")
    text = learner_files(read_course(None, "3"))["README.md"].decode()
    assert "Due" not in text
    assert text.rstrip().endswith("\n\nThe sum of all points is 1.")


@pytest.mark.slow
def test_every_solution_passes_the_learners_check(tmp_path):
    for name, data in learner_files(read_course(None)).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    for exercise in all_exercises():
        (tmp_path / f"{exercise.label}.py").write_text(exercise.solution)
    done = ran([sys.executable, "check.py"], tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("are right") == len(all_exercises())


def with_grader(root, archive):
    """The folders of Gradescope's container, with this Python in place of the one that setup.sh installs."""
    shutil.unpack_archive(archive, root / "source")
    (root / "python/bin").mkdir(parents=True)
    (root / "python/bin/python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (root / "python/bin/python").chmod(0o755)
    (root / "submission").mkdir()
    (root / "submission_metadata.json").write_text(json.dumps(METADATA))


@pytest.mark.slow
def test_gradescope_runs_it(built, tmp_path):
    with_grader(tmp_path, built / "gradescope.zip")
    (tmp_path / "submission/03_softmax.py").write_text(SOFTMAX.solution)
    done = ran(["bash", tmp_path / "source/run_autograder"], tmp_path, AUTOGRADER_ROOT=str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results/results.json").read_text())
    assert problems(result, GRADESCOPE) == []
    assert result["score"] == 1.0
    assert result["extra_data"]["isolation"] == isolation_level()
    assert result["extra_data"]["seed"] == 3


@pytest.mark.slow
def test_gradescope_gets_no_result_from_a_broken_grader(built, tmp_path):
    with_grader(tmp_path, built / "gradescope.zip")
    (tmp_path / "source/course.toml").write_text("broken")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/results.json").write_text('{"score": 100}')  # left there by somebody
    done = ran(["bash", tmp_path / "source/run_autograder"], tmp_path, AUTOGRADER_ROOT=str(tmp_path))
    assert done.returncode != 0
    assert not (tmp_path / "results/results.json").exists()


def test_the_archives_have_what_the_platform_needs(built):
    with zipfile.ZipFile(built / "gradescope.zip") as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        assert modes["setup.sh"] == modes["run_autograder"] == 0o100755
        assert ">=3.11" not in archive.read("requirements.txt").decode()
        assert b"--python '>=3.11'" in archive.read("setup.sh")
    for script in ("setup.sh", "run_autograder"):
        with zipfile.ZipFile(built / "gradescope.zip") as archive:
            assert subprocess.run(["bash", "-n"], input=archive.read(script), check=False).returncode == 0


def checkout(folder):
    """A learner's repository of Classroom 50, with a result that the learner has made up."""
    folder.mkdir()
    (folder / "03_softmax.py").write_text(SOFTMAX.solution)
    (folder / "result.json").write_text('{"score": 100, "max-score": 100}')
    (folder / "release-body.md").write_text("All 1000 points!")
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


TOLD = {
    "CLASSROOM": "cs", "ASSIGNMENT": "week-1", "SUBMISSION_TAG": "submit/1", "COMMIT_URL": "https://x/c",
    "RELEASE_URL": "https://x/r", "USERNAME": "ada",
}  # fmt: skip


@pytest.mark.slow
def test_classroom50_runs_it(built, tmp_path):
    folder = checkout(tmp_path / "repository")
    done = ran([sys.executable, built / "classroom50/autograder.py"], folder, **TOLD)
    assert done.returncode == 0, done.stderr
    result = json.loads((folder / "result.json").read_text())
    assert problems(result | STAMPED, CLASSROOM50) == []
    assert (result["score"], result["max-score"]) == (100, 100)
    assert "    1 of 1 points" in (folder / "release-body.md").read_text()


@pytest.mark.parametrize("missing", ["package.zip", "course.toml"])
def test_a_missing_grader_is_an_error_and_no_grade(built, tmp_path, missing):
    shutil.copytree(built / "classroom50", tmp_path / "bundle")
    (tmp_path / "bundle" / missing).unlink()
    folder = checkout(tmp_path / "repository")
    done = ran([sys.executable, tmp_path / "bundle/autograder.py"], folder, **TOLD)
    assert done.returncode == 1
    assert f"this is not a grade: {missing} is missing in" in done.stderr
    assert not (folder / "result.json").exists()


def test_building_again_gives_the_same_bytes(built, tmp_path):
    build(read_course(built / "course.toml"), tmp_path / "again")
    names = sorted(path.relative_to(built) for path in built.rglob("*") if path.is_file())
    assert all((tmp_path / "again" / name).read_bytes() == (built / name).read_bytes() for name in names)
    with pytest.raises(ValueError, match="exists already"):
        build(read_course(None), tmp_path / "again")


@pytest.mark.slow
def test_grading_needs_only_what_requirements_name(built, tmp_path):
    """The grader's archive has no weights, and imports nothing that its requirements do not bring."""
    with zipfile.ZipFile(io.BytesIO((built / "grader.zip").read_bytes())) as archive:
        assert not [name for name in archive.namelist() if name.endswith(".safetensors") or "lessons/" in name]
        archive.extractall(tmp_path)
    program = "import sys; from _minillm_command import __file__ as here; assert here.startswith(sys.path[0]), here; "
    program += "from minillm.cli.main import run; code = run(); import json; print(code, json.dumps(sorted("
    program += "{name.split('.')[0] for name, module in sys.modules.items() if 'site-packages' in str(getattr(module, "
    program += "'__file__', ''))})))"
    (tmp_path / "class/ada").mkdir(parents=True)
    (tmp_path / "class/ada/03_softmax.py").write_text(SOFTMAX.solution)
    command = [sys.executable, "-P", "-c", program, "grade", "class", "--only", "3", "--out", "out"]
    done = ran(command, tmp_path, PYTHONPATH=str(tmp_path / "package"))
    code, names = done.stdout.splitlines()[-1].split(" ", 1)
    assert code == "0", done.stderr
    brought = {"numpy", "rich", "jaxtyping", "wadler_lindig", "markdown_it", "mdurl", "pygments"}
    assert {name for name in json.loads(names) if name[0] != "_"} - brought <= {"minillm"}
