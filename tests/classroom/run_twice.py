"""Runs a lesson, every cell twice in a row as an impatient reader does; shows what the first time printed.

Every frame has to fit on a terminal of 80 columns and 24 lines, together with its prompt: it is drawn in place of the
one before it, and on a higher one the reader sees only its end.
"""

import sys
from pathlib import Path

from minillm.classroom.frames import print_frames
from minillm.classroom.player.lessons import read_lesson
from minillm.classroom.player.run_cells import LessonRun

MOST_LINES, MOST_COLUMNS = 24 - 2, 80 - 1


def print_frames_that_fit(frames, printed):
    """Print the frames that matter, as where nobody steps through them, and check all."""
    for frame in frames:
        lines = frame.splitlines()
        assert len(lines) <= MOST_LINES and max(map(len, lines)) <= MOST_COLUMNS, frame
    print_frames(frames, printed)


run = LessonRun(read_lesson(Path(sys.argv[1])))
for number, cell in enumerate(run.lesson.cells):
    if cell.kind == "code":
        run.run(number, stepper=print_frames_that_fit)
        run.run_silently(number)
