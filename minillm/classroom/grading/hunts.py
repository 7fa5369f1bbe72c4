"""Hunts: which planted bugs each learner has to find, the files for it, and the marks of the answers.

A bug hunt is a small engine, or an estimate, with one wrong line (exercises/bughunt). Which bugs a learner gets follows
from the seed of the course and the learner's name. The files are named with letters, `hunt_a.py`, so their names do not
tell which of the bugs they have. The learner writes the places of the bugs into `hunts.txt`:

    hunt_a: attend:35
    hunt_b: prefill:52

No code of the learner runs for it.
"""

import hashlib
import re
from collections.abc import Iterator

from minillm.classroom.exercises.bughunt import SHOWN_BY, all_bugs, answer, find_bug, planted
from minillm.classroom.grading.contents import ANSWERS, Contents, is_answers
from minillm.classroom.grading.result import FAILED, NOT_HANDED_IN, PASSED, Row

TITLE = "the line of the bug is found"
LINE = re.compile(r"\s*(hunt_[a-z])(?:\.py)?\s*[:=]\s*(\S.*?)\s*", re.IGNORECASE)


HUNT = re.compile(r"(.*/)?hunt_[a-z0-9]+\.py", re.IGNORECASE)


def is_hunt(name: str) -> bool:
    """Return whether a file is the engine of a bug hunt, by its name: also of `minillm exercise bughunt`."""
    return HUNT.fullmatch(name) is not None


def bugs_of(learner: str, seed: int, count: int) -> dict[str, int]:
    """Return the numbers of a learner's bugs by the names of the hunts.

    >>> bugs_of("ada", 5, 2)
    {'hunt_a': 9, 'hunt_b': 7}
    """

    def drawn(number: int) -> str:
        return hashlib.sha256(f"hunt {seed} {number} {learner}".encode("utf-8", "surrogatepass")).hexdigest()

    numbers = sorted(range(1, len(all_bugs()) + 1), key=drawn)[:count]
    return {f"hunt_{chr(ord('a') + place)}": number for place, number in enumerate(numbers)}


def hunt_files(learner: str, seed: int, count: int) -> dict[str, bytes]:
    """Return the files that one learner gets: the hunts, and `hunts.txt` for the answers."""
    bugs = bugs_of(learner, seed, count)
    files = {f"{name}.py": planted(find_bug(number)).encode() for name, number in bugs.items()}
    lines = ["# In each file one line is wrong. Write its place after the colon, as FUNCTION:LINE, such as attend:35."]
    lines += [f"# {name}.py fails in: {SHOWN_BY[find_bug(number).kind]} {name}.py" for name, number in bugs.items()]
    return {**files, ANSWERS: "\n".join([*lines, *(f"{name}: " for name in bugs), ""]).encode()}


def answers_in(contents: Contents) -> dict[str, str]:
    """Return the answers by the names of the hunts. In several files, and several lines, the first answer counts."""
    answers = dict[str, str]()
    for document in contents.documents:
        if not is_answers(document.name):
            continue
        for line in document.data.decode("utf-8-sig", "replace").splitlines():
            found = LINE.fullmatch(line)
            if found:
                answers.setdefault(found[1].lower(), found[2])
    return answers


def hunt_rows(bugs: dict[str, int], points: float, answers: dict[str, str]) -> Iterator[Row]:
    """Yield a row for each hunt of a learner.

    Args:
        bugs: the numbers of the learner's bugs, as `bugs_of` returns them.
        points: the points of one hunt.
        answers: what the learner answered, as `answers_in` returns it.
    """
    for name, number in bugs.items():
        given = answers.get(name)
        if given is None:
            yield Row(name, "answer", TITLE, NOT_HANDED_IN, 0.0, points, f"{ANSWERS} has no answer for it")
            continue
        try:
            found, text = answer(number, given)
        except ValueError as problem:
            found, text = False, str(problem)
        yield Row(name, "answer", TITLE, PASSED if found else FAILED, points * found, points, "" if found else text)
