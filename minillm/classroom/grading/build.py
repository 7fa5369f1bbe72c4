"""Build: what a teacher hands out and uploads, made from the exercises and the course.

    dist/
      learner.zip       stubs, check.py, examples: works with NumPy alone, so learners need not install minillm
      gradescope.zip    setup.sh, run_autograder, the grader
      grader.zip        the grader, for GitHub Actions or your own machine
      classroom50/      autograder.py, the grader
      grade.yml         a workflow for GitHub Actions
      hunts/ada.zip     the bug hunts of one learner, if the course has some
      course.toml       points, dates, seed, learners: keep it, a later grading with it gives the same marks
      *.md              one page of instructions for each of them

Everything but learner.zip and hunts/ contains the solutions.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from minillm.classroom.exercises.exercise import Exercise
from minillm.classroom.grading.course_file import Course, checked_learners, course_text
from minillm.classroom.grading.hunts import bugs_of, hunt_files, hunt_rows
from minillm.classroom.grading.judge import planned_rows
from minillm.classroom.grading.submissions import safe_name
from minillm.classroom.worker import wire
from minillm.support.files import read_ordinary_file
from minillm.support.shipped import PACKAGE, shipped
from minillm.support.state_file import named
from minillm.support.wording import counted

HANDOUTS = Path(__file__).parent / "handouts"
REQUIREMENTS = "numpy>=2.2\nrich>=13.7\njaxtyping>=0.3\n"  # what grading imports
COMMAND = "_minillm_command.py"  # what `python -m minillm` begins with; it is next to the package
LARGEST_NAMES = 1_000_000  # bytes of the file with the learners
EXAMPLES = 4  # fixed cases of each exercise that learners get
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # so that a zip of the same files is the same, byte by byte
EXECUTABLE, READABLE = 0o100755 << 16, 0o100644 << 16

Files = dict[str, bytes]


def build(course: Course, folder: Path) -> list[Path]:
    """Write everything into a new folder, and return the paths.

    Args:
        course: the rules of marking.
        folder: the new folder.

    Raises:
        ValueError: if the folder exists and is not empty, or there are hunts but no learners.
        OSError: if it cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists already; expected a new folder, or an empty one")
    if course.hunts and not course.learners:
        raise ValueError("bug hunts need the names of the learners: in course.toml, or in a file with --learners")
    with named(folder):
        for name, data in (_everything(course) | _hunts(course)).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _everything(course: Course) -> Files:
    package, rules = _package(), course_text(replace(course, learners=())).encode()  # a platform needs no names
    around = {"course.toml": rules, "requirements.txt": REQUIREMENTS.encode()}
    grader = {**around, **{f"package/{name}": data for name, data in package.items()}}
    scripts = {name: _handout("gradescope", name) for name in ("setup.sh", "run_autograder")}
    bundle = {**around, "package.zip": zipped(package), "autograder.py": _handout("classroom50", "autograder.py")}
    return {
        "learner.zip": zipped(learner_files(course)),
        "gradescope.zip": zipped({**scripts, **grader}),
        "grader.zip": zipped(grader),
        **{f"classroom50/{name}": data for name, data in bundle.items()},
        "grade.yml": _handout("github", "grade.yml"),
        "course.toml": course_text(course).encode(),
        **{f"{kind}.md": _page(kind, course) for kind in ("gradescope", "classroom50", "github")},
    }


def _hunts(course: Course) -> Files:
    """Return an archive for each learner, if there are hunts."""
    assert course.seed is not None
    return {
        f"hunts/{safe_name(learner)}.zip": zipped(hunt_files(learner, course.seed, course.hunts))
        for learner in course.learners
        if course.hunts
    }


def read_learners(file: Path) -> tuple[str, ...]:
    """Return the names in a file with one name a line.

    Raises:
        ValueError: if there are none, or one twice, or the file is not text.
        OSError: if the file cannot be read.
    """
    try:
        text = read_ordinary_file(file, LARGEST_NAMES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected text in UTF-8") from None
    names = [name for line in text.splitlines() if (name := line.strip())]
    if not names:
        raise ValueError(f"{file}: expected one name a line; found none")
    try:
        return checked_learners(names)
    except ValueError as problem:
        raise ValueError(f"{file}: {problem}") from None


def learner_files(course: Course) -> Files:
    """Return the files of a learner: no solution, no bug, no hint, no hidden case."""
    files = {"check.py": _handout("learner", "check.py"), "README.md": _page("learner", course)}
    files["examples/wire.py"] = Path(wire.__file__).read_bytes()
    for exercise in course.exercises:
        files[f"{exercise.label}.py"] = exercise.stub.encode()
        files[f"examples/{exercise.label}.bin"] = _examples(exercise)
    return files


def _examples(exercise: Exercise) -> bytes:
    """Return a few fixed cases with their results, the smallest first."""
    cases = [[inputs, exercise.expected(inputs)] for inputs in exercise.cases()[:EXAMPLES]]
    return wire.pack({"name": exercise.name, "harness": exercise.harness, "cases": cases})


def _package() -> Files:
    """Return minillm's source and the exercises, without weights and lessons."""
    files = {f"minillm/{path.relative_to(PACKAGE)}": path for path in _sources(PACKAGE)}
    files |= {f"exercises/{path.relative_to(shipped('exercises'))}": path for path in _sources(shipped("exercises"))}
    files[COMMAND] = PACKAGE.parent / COMMAND
    return {name: path.read_bytes() for name, path in files.items()}


def _sources(folder: Path) -> Iterator[Path]:
    left_out = {"__pycache__", "weights", "lessons", *({"exercises"} if folder == PACKAGE else ())}
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and parts[0] not in left_out and "__pycache__" not in parts:
            yield path


def _page(kind: str, course: Course) -> bytes:
    rows = [row for exercise in course.exercises for row in planned_rows(exercise, course.points_of(exercise))]
    scale = 1 if all(row.out_of == int(row.out_of) for row in rows) else 100
    points = sum(course.points_of(exercise) for exercise in course.exercises) + course.hunts * course.hunt_points
    rows += hunt_rows(bugs_of("", 0, course.hunts), course.hunt_points, {})
    lines = [f"| `{e.label}.py` | {course.points_of(e):g} | {e.title} |" for e in course.exercises]
    table = "\n".join(["| file | points | |", "| --- | --- | --- |", *lines])
    filled = {"points": points, "maximum": round(scale * points), "rows": len(rows), "table": table}
    filled |= {"due": _due(course), "sum": _sum(course, points)}
    return _handout(kind, "README.md").decode().format(**filled).encode()


def _due(course: Course) -> str:
    """Return what a learner has to know about the time, or an empty string."""
    if course.due is None:
        return ""
    text = f"\nDue: {course.due.isoformat(' ')}."
    if course.percent_per_day:
        text += f" Each begun day after that costs {course.percent_per_day} % of the points."
    if course.days is not None:
        text += f" More than {counted(course.days, 'day')} after it, there are no points."
    return text + "\n"


def _sum(course: Course, points: float) -> str:
    """Return what all exercises and bug hunts are worth."""
    hunts = f"{counted(course.hunts, 'bug hunt')}, in an archive of your own: {course.hunt_points:g} for each. "
    return f"{hunts if course.hunts else ''}The sum of all points is {points:g}."


def _handout(kind: str, name: str) -> bytes:
    return (HANDOUTS / kind / name).read_bytes()


def zipped(files: Files) -> bytes:
    """Return a zip archive of these files. Scripts are executable."""
    data = BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name, LONG_AGO)
            info.external_attr = EXECUTABLE if content.startswith(b"#!") else READABLE
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return data.getvalue()
