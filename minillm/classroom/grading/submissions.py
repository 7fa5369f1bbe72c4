"""Submissions: the folder that a teacher downloads from a learning platform, one entry for each learner.

An entry is a folder, a zip archive, a notebook, or single files such as `ada_03_softmax.py`. Files whose names begin
with the same learner belong together. The time of a submission is that of the newest file. As downloads often change
it, a file `handed_in.csv` with the columns `learner` and `time` has precedence.
"""

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unicodedata import normalize

from minillm.classroom.exercises.exercise import Exercise, all_exercises
from minillm.classroom.grading.contents import Contents, is_answers, read_contents
from minillm.classroom.grading.course_file import LONGEST_NAME, learner_name
from minillm.support.files import read_ordinary_file
from minillm.support.printable import one_line

TIMES = "handed_in.csv"
NOT_SUBMISSIONS = (TIMES, "course.toml")
LARGEST_TIMES = 1_000_000  # bytes
LAST_S = 253_402_300_799  # the last second that a datetime can hold
TWIN = "several entries have this name"
STRANGER = "this name is not among the learners of the course"


@dataclass(frozen=True)
class Submission:
    """What one learner handed in.

    Attributes:
        learner: the name of the entry without its ending. Two entries of the same name are told apart by a number.
        paths: the entry, or several single files; none if the learner handed in nothing.
        file: the name of files about this learner: letters that every file system can hold, different for each learner.
        told: when it was handed in, as `handed_in.csv` says.
        note: what is to be noted about the entry itself, or an empty string.
    """

    learner: str
    paths: tuple[Path, ...]
    file: str
    told: datetime | None = None
    note: str = ""

    def read(self) -> Contents:
        """Return what can be read of it.

        Raises:
            RefusedError: if nothing can be read.
        """
        parts = [read_contents(path) for path in self.paths]
        documents = tuple(document for part in parts for document in part.documents)
        notes = tuple(note for part in parts for note in part.notes)
        return Contents(documents, (self.note, *notes) if self.note else notes)

    def handed_in(self, contents: Contents) -> datetime | None:
        """Return when it was handed in: as told, else the newest time of the files that were read, if any."""
        if self.told is not None or not contents.documents:
            return self.told
        archive = self.paths[0].lstat().st_mtime  # of its files no time is known that the learner cannot set
        newest = max(archive if document.changed is None else document.changed for document in contents.documents)
        return datetime.fromtimestamp(min(max(newest, 0), LAST_S), UTC).replace(microsecond=0)


def find_submissions(folder: Path, skip: Path | None = None, learners: Sequence[str] = ()) -> list[Submission]:
    """Return the submissions in a folder, in the order of the learners' names.

    A learner of the course who handed in nothing has a submission without paths, and so a row of the marks.

    Args:
        folder: the folder with one entry for each learner.
        skip: a path in it that is not a submission: the folder of the results.
        learners: the names of those who take part; empty if they are not known.

    Raises:
        ValueError: if the folder has no submissions, or is itself one.
        OSError: if it cannot be read.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    times = read_times(folder / TIMES)
    entries = [path for path in sorted(folder.iterdir()) if path.name[0] != "." and path.name not in NOT_SUBMISSIONS]
    groups: dict[tuple[str, str], list[Path]] = {}
    for path in entries:
        learner, kind = _learner_of(path)
        if skip is not None and path.resolve() == skip.resolve():
            continue
        if not learner:
            raise ValueError(f"{folder} is one learner's folder; expected the folder that contains it")
        groups.setdefault((learner, kind), []).append(path)
    if not groups:
        raise ValueError(f"{folder}: no submissions here; expected folders, .zip, .py or .ipynb files")
    unknown = sorted(set(times) - {learner for learner, _ in groups})
    if unknown:
        raise ValueError(f"{folder / TIMES}: there is no submission of {one_line(', '.join(unknown[:3]))}")
    absent = set(learners) - {learner for learner, _ in groups}
    groups |= {(learner, "nothing"): [] for learner in absent}
    return list(_named(groups, times, learners))


def one_submission(path: Path, learner: str, told: datetime | None = None) -> Submission:
    """Return the submission of one learner, for platforms that grade one at a time."""
    return Submission(learner, (path,), safe_name(learner), told)


def read_times(file: Path) -> dict[str, datetime]:
    """Return when each learner handed in, by the learner's name; nothing if there is no such file.

    Raises:
        ValueError: if the file is not valid.
    """
    if not file.exists():
        return {}
    try:
        lines = read_ordinary_file(file, LARGEST_TIMES).decode("utf-8-sig").splitlines()
        separator = ";" if lines and ";" in lines[0] else ","  # spreadsheets of many countries write semicolons
        rows = csv.DictReader(lines, delimiter=separator, strict=True)
        if not {"learner", "time"} <= set(rows.fieldnames or ()):
            raise ValueError("expected the columns learner,time in its first line")
        return {learner_name(row["learner"] or ""): parsed_time(row["time"] or "") for row in rows}
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected text in UTF-8") from None
    except (ValueError, csv.Error) as problem:
        raise ValueError(f"{file}: {problem}") from None


def parsed_time(text: str) -> datetime:
    """Return the time that a text names. Without an offset it would be a guess which hour is meant.

    Raises:
        ValueError: if it is not a time, or has no offset.
    """
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(f"{one_line(text)[:40]!r} is not a time with an offset, such as 2026-12-10T23:59:00+01:00")
    return time


def _named(
    groups: dict[tuple[str, str], list[Path]], times: dict[str, datetime], learners: Sequence[str]
) -> Iterator[Submission]:
    counts = Counter(learner for learner, _ in groups)
    seen: dict[str, int] = {}
    files: set[str] = set()
    for (learner, _), paths in sorted(
        groups.items(), key=lambda group: (group[0][0], [path.name for path in group[1]])
    ):
        seen[learner] = seen.get(learner, 0) + 1
        name = learner if seen[learner] == 1 else f"{learner} ({seen[learner]})"
        file = safe_name(name)
        if file.casefold() in files:
            file = f"{file}-{_digest(name)}"
        files.add(file.casefold())
        note = TWIN if counts[learner] > 1 else STRANGER if learners and learner not in learners else ""
        yield Submission(name, tuple(paths), file, times.get(learner), note)


def _learner_of(path: Path) -> tuple[str, str]:
    """Return the learner of an entry, and its kind: "folder", "files" (one of several), or the ending of its name.

    The learner is empty for a file that has the name of an exercise only.
    """
    name = normalize("NFC", one_line(path.name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")))
    if path.is_dir():
        return name[:LONGEST_NAME], "folder"
    stem, suffix = name.removesuffix(path.suffix), path.suffix.lower()
    if is_answers(name):
        return re.split("hunts", stem, flags=re.IGNORECASE)[0].strip(" _-.")[:LONGEST_NAME], "files"
    found = [exercise for exercise in all_exercises() if suffix == ".py" and _names(exercise).search(stem)]
    if found:
        return _names(found[-1]).split(stem)[0].strip(" _-.")[:LONGEST_NAME], "files"
    return stem.removesuffix(".tar")[:LONGEST_NAME] or "_", "files" if suffix == ".py" else suffix or "file"


def _names(exercise: Exercise) -> "re.Pattern[str]":
    """Return the pattern of an exercise's label or name within a file name."""
    return re.compile(rf"(?<![a-z])(?:{exercise.label}|{exercise.name})(?![a-z])")


def safe_name(learner: str) -> str:
    """Return a file name of at most 60 plain characters. It ends in a digest if the learner's name was changed."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", learner)[:50]
    return plain if plain == learner else f"{plain}-{_digest(learner)}"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:8]
