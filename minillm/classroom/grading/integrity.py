"""Integrity: what a teacher may want to look at. It is a report and never a verdict, and no mark depends on it.

Two functions of a few lines are often equal by chance, and everybody copies the stub. So the report names the size of
each tree, and the reader decides.
"""

import sys
from collections.abc import Iterator

from minillm.classroom.exercises.exercise import Exercise, find_exercise
from minillm.classroom.grading.analysis import analysed
from minillm.classroom.grading.result import Result
from minillm.support.printable import one_line
from minillm.support.wording import counted

SMALLEST = 40  # nodes of a syntax tree; smaller ones agree by chance
REACHING = {"ctypes", "gc", "importlib", "inspect", "os", "socket", "subprocess", "sys"}  # out of the function
UNREMARKABLE = {"numpy", *sys.stdlib_module_names} - REACHING
HEAD = (
    "# Integrity report\n\nNothing here is a verdict, and no mark depends on it. Equal trees may be chance, and a "
    "learner's own progress file can be edited.\n"
)


def integrity_report(results: list[Result]) -> str:
    """Return the report as Markdown."""
    exercises = [find_exercise(label) for label in (results[0].exercises if results else [])]
    sections = {
        "Functions with the same syntax tree": list(_copies(results, exercises)),
        "Imports that an exercise does not need": list(_imports(results)),
        "Changed arguments": list(_signatures(results, exercises)),
        "Files that were left out, or graded under another name": [
            f"{_name(one)}: {one_line(note)}" for one in results for note in one.notes
        ],
        "Time line: when it was handed in, and what the progress file claims": list(_time_line(results)),
    }
    return HEAD + "".join(f"\n## {title}\n\n{_listed(lines)}" for title, lines in sections.items())


def _listed(lines: list[str]) -> str:
    return "".join(f"    {line}\n" for line in lines) or "None.\n"  # an indented block: nothing in it has a meaning


def _copies(results: list[Result], exercises: list[Exercise]) -> Iterator[str]:
    """Yield a line for each tree that several learners have, or that is the reference's."""
    solutions = analysed("facts", [{"source": one.solution, "function": one.name} for one in exercises])
    for exercise, solution in zip(exercises, solutions, strict=True):
        groups: dict[str, list[Result]] = {}
        for one in results:
            facts = one.syntax.get(exercise.label, {})
            if facts.get("digest") and facts["nodes"] >= SMALLEST:
                groups.setdefault(facts["digest"], []).append(one)
        for digest, same in groups.items():
            is_reference = solution is not None and digest == solution["digest"]
            if len(same) > 1 or is_reference:
                size = counted(same[0].syntax[exercise.label]["nodes"], "node")
                what = "the reference solution: " if is_reference else ""
                yield f"{exercise.label}, {size}: {what}{', '.join(map(_name, same))}"


def _imports(results: list[Result]) -> Iterator[str]:
    for one in results:
        for label, facts in one.syntax.items():
            names = [name for name in facts.get("imports", []) if name not in UNREMARKABLE]
            if names:
                yield f"{_name(one)}, {label}: {one_line(', '.join(names))}"


def _signatures(results: list[Result], exercises: list[Exercise]) -> Iterator[str]:
    stubs = analysed("facts", [{"source": one.stub, "function": one.name} for one in exercises])
    for exercise, stub in zip(exercises, stubs, strict=True):
        for one in results:
            facts = one.syntax.get(exercise.label)
            if facts and stub and facts.get("digest") and facts["arguments"] != stub["arguments"]:
                yield f"{_name(one)}, {exercise.label}: {one_line(', '.join(facts['arguments']))}"


def _time_line(results: list[Result]) -> Iterator[str]:
    for one in sorted(results, key=lambda result: (result.handed_in or "~", result.learner)):
        totals = {key: sum(c.get(key, 0) for c in one.claimed.values()) for key in ("attempts", "hints", "gave_up")}
        said = f"{counted(totals['attempts'], 'attempt')}, {counted(totals['hints'], 'hint')}"
        claims = f"; {said}, {counted(totals['gave_up'], 'solution')} shown" if one.claimed else "; no progress file"
        yield f"{one.handed_in or 'nothing handed in'}: {_name(one)}{claims}"


def _name(result: Result) -> str:
    return one_line(result.learner)
