"""Draw the pictures of lessons/README.md: the output of lessons in a real run, as SVG files that rich exports.

python scripts/lesson_pictures.py --out lessons/pictures
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported, as the command `minillm lesson` does

import argparse
import io
from pathlib import Path

from rich.console import Console
from rich.text import Text

from minillm.classroom.player.display import Code
from minillm.classroom.player.lessons import find_lesson
from minillm.classroom.player.run_cells import LessonRun

# The name of the file, the lesson, and a word in the cell that is shown.
PICTURES = (
    ("attention", "attention", "copier"),
    ("batching", "batching", "has_work"),
    ("roofline", "hardware", "roofline("),
)


def picture(lesson_name: str, word: str) -> str:
    """Run a lesson up to the first code cell that contains this word. Return what it shows, as SVG."""
    lesson = find_lesson(lesson_name)
    run = LessonRun(lesson)
    for number, cell in enumerate(lesson.cells):
        if cell.kind == "code":
            run.run_silently(number)
        if cell.kind == "code" and word in cell.source:
            break
    console = Console(record=True, width=80, file=io.StringIO(), highlight=False)
    if not cell.speaks:
        console.print(Code(cell.source + "\n"))
    console.print(Text(run.outputs[number].rstrip()))
    return console.export_svg(title=f"minillm lesson {lesson.number}: {lesson.title}", unique_id=lesson_name)


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("lessons/pictures"))
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for name, lesson, word in PICTURES:
        (out / f"{name}.svg").write_text(picture(lesson, word), encoding="utf-8")
        print(f"wrote {out / name}.svg")


if __name__ == "__main__":
    main()
