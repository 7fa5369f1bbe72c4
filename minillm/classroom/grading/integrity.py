"""Integrity: what a teacher may want to look at. It is a report and never a verdict, and no mark depends on it.

Two functions of a few lines are often equal by chance, and everybody copies the stub. So the report names the size of
each tree, and the reader decides.
"""

import sys
from collections.abc import Iterator
from typing import Any

from minillm.classroom.exercises.exercise import find_exercise
from minillm.classroom.grading.analysis import analysed
from minillm.classroom.grading.result import Result
from minillm.support.printable import one_line
from minillm.support.wording import counted

Facts = dict[str, dict[str, Any]]  # of one learner's sources, by the label of the exercise
SMALLEST = 40  # nodes of a syntax tree; smaller ones agree by chance
REACHING = {"ctypes", "gc", "importlib", "inspect", "os", "socket", "subprocess", "sys"}  # out of the function
UNREMARKABLE = {"numpy", *sys.stdlib_module_names} - REACHING
HEAD = (
    "# Integrity report\n\nNothing here is a verdict, and no mark depends on it. Equal trees may be chance, and a "
    "learner's own progress file can be edited.\n"
)


def integrity_report(results: list[Result], sources: list[dict[str, str]]) -> str:
    """Return the report as Markdown.

    Args:
        results: the results of the class.
        sources: for each of them, the source of each exercise that was handed in, by its label.
    """
    exercises = [find_exercise(label) for label in sorted({label for one in sources for label in one})]
    ours = [{one.label: one.solution for one in exercises}, {one.label: one.stub for one in exercises}]
    solutions, stubs, *facts = _facts([*ours, *sources])
    everybody = list(zip(map(_name, results), facts, strict=True))
    sections = {
        "Functions with the same syntax tree": list(_copies(everybody, solutions)),
        "Imports, and functions that can import, that an exercise does not need": list(_imports(everybody)),
        "Changed arguments": list(_signatures(everybody, stubs)),
        "Files that were left out, or graded under another name": [
            f"{_name(one)}: {one_line(note)}" for one in results for note in one.notes
        ],
        "Time line: when it was handed in, and what the progress file claims": list(_time_line(results)),
    }
    return HEAD + "".join(f"\n## {title}\n\n{_listed(lines)}" for title, lines in sections.items())


def _facts(sources: list[dict[str, str]]) -> list[Facts]:
    """Return what `syntax.facts` says about each source that can be analysed, in the same places."""
    asked = [{"source": source, "function": label[3:]} for one in sources for label, source in one.items()]
    found = iter(analysed("facts", asked))
    known = [{label: next(found) for label in one} for one in sources]
    return [{label: facts for label, facts in one.items() if facts and facts["digest"]} for one in known]


def _listed(lines: list[str]) -> str:
    return "".join(f"    {line}\n" for line in lines) or "None.\n"  # an indented block: nothing in it has a meaning


def _copies(everybody: list[tuple[str, Facts]], solutions: Facts) -> Iterator[str]:
    """Yield a line for each tree that several learners have, or that is the reference's."""
    for label, solution in solutions.items():
        groups: dict[str, list[str]] = {solution["digest"]: []}
        sizes = dict[str, int]()
        for name, facts in everybody:
            if label in facts and facts[label]["nodes"] >= SMALLEST:
                groups.setdefault(facts[label]["digest"], []).append(name)
                sizes[facts[label]["digest"]] = facts[label]["nodes"]
        for digest, names in groups.items():
            what = "the reference solution: " if digest == solution["digest"] else ""
            if len(names) > 1 or (names and what):
                yield f"{label}, {counted(sizes[digest], 'node')}: {what}{', '.join(names)}"


def _imports(everybody: list[tuple[str, Facts]]) -> Iterator[str]:
    for name, facts in everybody:
        for label, found in facts.items():
            modules = [module for module in found["imports"] if module not in UNREMARKABLE]
            if modules:
                yield f"{name}, {label}: {one_line(', '.join(modules))}"


def _signatures(everybody: list[tuple[str, Facts]], stubs: Facts) -> Iterator[str]:
    for label, stub in stubs.items():
        for name, facts in everybody:
            if label in facts and facts[label]["arguments"] != stub["arguments"]:
                yield f"{name}, {label}: {one_line(', '.join(facts[label]['arguments']))}"


def _time_line(results: list[Result]) -> Iterator[str]:
    for one in sorted(results, key=lambda result: (result.handed_in or "~", result.learner)):
        totals = {key: sum(c.get(key, 0) for c in one.claimed.values()) for key in ("attempts", "hints", "gave_up")}
        said = f"{counted(totals['attempts'], 'attempt')}, {counted(totals['hints'], 'hint')}"
        claims = f"; {said}, {counted(totals['gave_up'], 'solution')} shown" if one.claimed else "; no progress file"
        yield f"{one.handed_in or 'nothing handed in'}: {_name(one)}{claims}"


def _name(result: Result) -> str:
    return one_line(result.learner)
