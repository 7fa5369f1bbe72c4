"""A made-up class: submissions of every shape, right, wrong, late, empty and odd, for exercises 3 and 5."""

import json
import os
import zipfile
from pathlib import Path

from minillm.classroom.exercises.exercise import find_exercise

SOFTMAX, MASK = find_exercise("softmax"), find_exercise("causal_mask")
EXERCISES = "softmax,causal_mask"
IN_TIME, LATE = 1_800_000_000, 1_800_000_000 + 100_000  # seconds; the due date is between them
DUE = "2027-01-15T12:00:00+00:00"  # four hours after IN_TIME
WITHOUT_MAXIMUM = (
    "import numpy as np\ndef softmax(scores):\n    w = np.exp(scores)\n    return w / w.sum(-1, keepdims=True)\n"
)


def notebook(*cells):
    return json.dumps({"cells": [{"cell_type": "code", "source": cell.splitlines(True)} for cell in cells]})


def make_class(folder: Path) -> Path:
    """Write the class into a new folder, and return it."""
    folder.mkdir()
    files = {
        "ada/03_softmax.py": SOFTMAX.solution,
        "ada/05_causal_mask.py": MASK.solution,
        "bob/softmax (1).py": WITHOUT_MAXIMUM,
        "bob/05_causal_mask.py": MASK.stub,
        "cy.ipynb": notebook("%matplotlib inline\nimport minillm\n", SOFTMAX.solution, "print(minillm.load('story'))"),
        "dee_03_softmax.py": "\ufeff" + SOFTMAX.solution.replace("\n", "\r\n"),
        "dee_05_causal_mask.py": "def causal_mask(:\n",
        "=cmd|' !A0/zoe.py": SOFTMAX.stub,
        "empty/README.md": "nothing",
        "late/03_softmax.py": SOFTMAX.solution,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="")
    with zipfile.ZipFile(folder / "bob.zip", "w") as archive:  # another learner of the same name
        archive.writestr("work/03_softmax.py", SOFTMAX.solution)
        archive.writestr("../03_softmax.py", "evil = 1")
    for path in folder.rglob("*"):
        os.utime(path, (LATE, LATE) if "late" in path.parts else (IN_TIME, IN_TIME))
    (folder / "course.toml").write_text(f'exercises = "{EXERCISES}"\ndue = {DUE}\n[late]\npercent_per_day = 25\n')
    return folder
