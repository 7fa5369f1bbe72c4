"""Runs a lesson, every cell twice in a row as an impatient reader does; shows what the first time printed."""

import sys
from pathlib import Path

from minillm.classroom.player.lessons import read_lesson
from minillm.classroom.player.run_cells import LessonRun

run = LessonRun(read_lesson(Path(sys.argv[1])))
for number, cell in enumerate(run.lesson.cells):
    if cell.kind == "code":
        run.run(number)
        run.run_silently(number)
