"""Staging: find in what a learner handed in the source of each exercise.

Files are renamed on their way through mail, browsers and learning platforms. So the file of an exercise is looked for
in this order:

1. its own name, `03_softmax.py`;
2. a name that contains it, `softmax (1).py` or `ada_03_softmax_final.py`, with the function in the file;
3. any other Python file that defines the function;
4. a notebook that defines the function.

If two files are equally good, the first by name counts, which is noted in one line. So is every name that a learner
was not asked for. Engines of bug hunts do not count, and `check.py` is noted only if it was changed.
"""

import json
import re
import tokenize
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from minillm.classroom.exercises.exercise import Exercise, all_exercises
from minillm.classroom.grading.analysis import analysed
from minillm.classroom.grading.contents import PROGRESS, Contents, Document
from minillm.classroom.grading.hunts import is_hunt
from minillm.classroom.worker import wire
from minillm.support.checks import is_utf8
from minillm.support.files import parse_json
from minillm.support.wording import counted

ENCODINGS = {"utf-8", "utf-8-sig", "ascii", "iso-8859-1", "cp1252"}
MOST_CLAIMED = 1_000_000  # attempts
MOST_UNUSED = 5  # files that are named in notes
HELPER_FILES = (Path(__file__).parent / "handouts/learner/check.py", Path(wire.__file__))  # of learner.zip
HELPERS = {file.name: file.read_text(encoding="utf-8") for file in HELPER_FILES}
EXACT, SIMILAR, OTHER, NOTEBOOK = range(4)
DEFINITION = re.compile(r"^(?:async )?def (\w+)\(|^(\w+) *=", re.MULTILINE)


@dataclass(frozen=True)
class Staged:
    """The source of one exercise.

    Attributes:
        name: the name of the file within the submission.
        source: its text; an empty string if it is refused.
        refused: why the file cannot be graded, or an empty string.
    """

    name: str
    source: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Candidate:
    """A file that may hold exercises: its text, or why it has none."""

    document: Document
    text: str
    refused: str = ""

    @property
    def path(self) -> PurePosixPath:
        """Its name as a path."""
        return PurePosixPath(self.document.name)

    @cached_property
    def defined(self) -> set[str]:
        """The names that its text defines. They are looked for once: a large file takes a tenth of a second."""
        return {function or variable for function, variable in DEFINITION.findall(self.text)}

    def rank(self, exercise: Exercise) -> int | None:
        """Return how well it fits an exercise, EXACT best, or None if it does not."""
        if self.path.name == f"{exercise.label}.py":
            return EXACT
        words = re.sub(r"[^a-z0-9]+", "_", self.path.stem.lower())
        similar = f"_{exercise.name}_" in f"_{words}_"
        if self.refused and similar:
            return SIMILAR
        if exercise.name not in self.defined:
            return None
        if self.path.suffix.lower() == ".ipynb":
            return NOTEBOOK
        return SIMILAR if similar else OTHER


def stage(contents: Contents, exercises: tuple[Exercise, ...]) -> tuple[dict[str, Staged], tuple[str, ...]]:
    """Return the source of each exercise that was handed in, by its label, and one line for each thing of note."""
    files = [file for file in contents.documents if file.name.endswith((".py", ".ipynb")) and not is_hunt(file.name)]
    candidates = [_candidate(document) for document in files]
    staged, notes, used = dict[str, Staged](), list(contents.notes), set[str]()
    for exercise in exercises:
        best, said = _best(candidates, exercise)
        notes += said
        if best is not None:
            staged[exercise.label] = Staged(best.document.name, best.text, best.refused)
            used.add(best.document.name)
    others = [one for one in candidates if one.document.name not in used and not one.document.refused]  # has a note
    unused = [candidate for candidate in others if not _is_known(candidate)]
    for candidate in unused[:MOST_UNUSED]:
        changed = candidate.path.name in HELPERS
        why = "it differs from the one that is handed out" if changed else "no exercise in it"
        notes.append(f"{candidate.document.name}: {candidate.refused or why}")
    if len(unused) > MOST_UNUSED:
        notes.append(f"{counted(len(unused) - MOST_UNUSED, 'more file')} without an exercise")
    return staged, tuple(notes)


def _is_known(candidate: Candidate) -> bool:
    """Return whether a file is an exercise's, also of one that this course leaves out, or as it was handed out."""
    return candidate.text == HELPERS.get(candidate.path.name) or any(
        candidate.rank(exercise) is not None for exercise in all_exercises()
    )


def _best(candidates: list[Candidate], exercise: Exercise) -> tuple[Candidate | None, list[str]]:
    """Return the file that counts for an exercise, and what is to be noted about the choice."""
    ranked = [(rank, candidate) for candidate in candidates if (rank := candidate.rank(exercise)) is not None]
    # A file that cannot be read counts only if there is no other one.
    ranked.sort(key=lambda pair: (pair[1].refused != "", pair[0], len(pair[1].path.parts), pair[1].document.name))
    if not ranked:
        return None, []
    (rank, best), *others = ranked
    expected = rank in (EXACT, NOTEBOOK) or best.path.name.endswith(f"_{exercise.label}.py")
    notes = [] if expected else [f"{best.document.name}: graded as {exercise.label}"]
    equal = [candidate.document.name for other, candidate in others if other == rank]
    if equal:
        notes.append(f"{best.document.name}: graded as {exercise.label}, and not {', '.join(equal[:3])}")
    return best, notes[-1:]


def claimed_progress(contents: Contents) -> dict[str, dict[str, int]]:
    """Return attempts, hints and solutions shown by exercise, as the learner's progress file claims."""
    documents = [document for document in contents.documents if document.name.endswith(PROGRESS)]
    try:
        known = parse_json(documents[0].data) if documents else {}
    except ValueError:
        return {}
    claims = known.items() if isinstance(known, dict) else []
    return {str(name)[:60]: _claims(values) for name, values in list(claims)[:100] if isinstance(values, dict)}


def _claims(values: dict[str, Any]) -> dict[str, int]:
    numbers = {key: values.get(key, 0) for key in ("attempts", "hints", "gave_up")}
    return {key: int(n) for key, n in numbers.items() if isinstance(n, int) and 0 <= n <= MOST_CLAIMED}


def _candidate(document: Document) -> Candidate:
    if document.refused:
        return Candidate(document, "", document.refused)
    try:
        if document.name.endswith(".ipynb"):
            return Candidate(document, _notebook_source(document.data))
        return Candidate(document, _decoded(document.data))
    except ValueError as problem:
        return Candidate(document, "", str(problem))


def _decoded(data: bytes) -> str:
    """Return the text of a Python file: UTF-8, or the encoding that its first lines name."""
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        if encoding not in ENCODINGS:
            raise ValueError(f"expected text in UTF-8, found the encoding {encoding[:40]}")
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError):
        raise ValueError("expected text in UTF-8") from None
    if "\0" in text:
        raise ValueError("expected text, found a binary file")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _notebook_source(data: bytes) -> str:
    """Return the definitions in a notebook's code cells.

    Raises:
        ValueError: if the file is not a notebook.
    """
    notebook = parse_json(data)
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise ValueError("expected a notebook with cells")
    code = [_text(cell.get("source")) for cell in cells if isinstance(cell, dict) and cell.get("cell_type") == "code"]
    (source,) = analysed("definitions", [{"cells": code}])
    if not isinstance(source, str):
        raise ValueError("the code of the notebook cannot be analysed")
    return source


def _text(source: Any) -> str:
    lines = source if isinstance(source, list) else [source]
    text = "".join(line for line in lines if isinstance(line, str))
    return text if is_utf8(text) else json.dumps(text)
