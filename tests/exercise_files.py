"""What a learner may have written into a workspace."""

from pathlib import Path

from minillm.classroom.exercises.exercise import find_exercise


def solve(folder: Path, name: str) -> None:
    exercise = find_exercise(name)
    (folder / f"{exercise.label}.py").write_text(exercise.solution)


def write_body(folder: Path, name: str, body: str) -> None:
    """The exercise with this line as its function's body."""
    exercise = find_exercise(name)
    (folder / f"{exercise.label}.py").write_text(exercise.sections["learner"] + f"    {body}\n")
