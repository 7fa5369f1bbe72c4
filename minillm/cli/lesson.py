"""`minillm lesson`: list the lessons and your progress; `minillm lesson 4` steps through one."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minillm.cli.printing import print_json, say_unsaved, show
from minillm.support.terminal import is_interactive, wrapped
from minillm.support.wording import failure_text


def add_parser(commands: Any) -> None:
    """Add `lesson`: without a number it lists the lessons."""
    parser = commands.add_parser(
        "lesson",
        help="learn step by step",
        description="List the lessons and your progress, or step through one lesson.",
    )
    add = parser.add_argument
    add("lesson", nargs="?", help="number or name of a lesson; without it, all are listed")
    add("--no-input", action="store_true", help="print the whole lesson (prose, code and output) and ask nothing")
    add("--answers", action="store_true", help="print the questions of the lesson with their answers, for teachers")
    add("--restart", action="store_true", help="begin again, and drop the answers given so far")
    add("--notebook", metavar="FILE.ipynb", help="write the lesson as a notebook instead (needs jupytext)")
    add("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List the lessons, or export, print or play one."""
    from minillm.classroom.player.lessons import find_lesson

    if options.lesson is None:
        if options.notebook or options.no_input or options.restart or options.answers:
            raise ValueError("no lesson is given; expected its number, such as `minillm lesson 1`")
        return _list(options.json)
    lesson = find_lesson(options.lesson)
    if options.notebook:
        from minillm.classroom.player.notebook import export_notebook

        export_notebook(lesson, Path(options.notebook))
        if options.json:
            print_json({"number": lesson.number, "name": lesson.name, "notebook": options.notebook})
        else:
            print(f"wrote {options.notebook}")
        return 0
    if options.answers:
        return _print_answers(lesson, options.json)
    if options.json:
        return _print_as_json(lesson)
    if options.no_input or not is_interactive():
        from minillm.classroom.player.player import play_all

        play_all(lesson, show)
        return 0
    return _play(lesson, options.restart)


def _play(lesson: Any, restart: bool) -> int:
    from minillm.classroom.player.player import Player
    from minillm.classroom.player.progress import LessonProgress, drop_progress, load_progress, save_progress

    def keep(change: Callable[..., None], *arguments: Any) -> None:
        """Change the stored progress. If it cannot be written, print one line, once, and go on."""
        try:
            change(*arguments)
        except OSError as problem:
            if not unsaved:
                say_unsaved(failure_text(problem))
            unsaved.append(problem)

    unsaved: list[OSError] = []
    if restart:
        keep(drop_progress, lesson.topic)
    own = LessonProgress() if restart else load_progress().get(lesson.topic, LessonProgress())
    Player(lesson, own, lambda: keep(save_progress, lesson.topic, own), show).play()
    if own.finished and not own.cell:
        print(wrapped(_write_yourself(lesson.number)))
        print(wrapped(_go_on()))
    return 0


def _print_as_json(lesson: Any) -> int:
    import io
    from contextlib import redirect_stdout

    from minillm.classroom.player.player import play_all

    with redirect_stdout(io.StringIO()):
        outputs = play_all(lesson, show).outputs
    cells = [
        {"kind": cell.kind, "source": cell.source, "output": outputs.get(number)}
        for number, cell in enumerate(lesson.cells)
    ]
    print_json({"number": lesson.number, "name": lesson.name, "title": lesson.title, "cells": cells})
    return 0


def _print_answers(lesson: Any, as_json: bool) -> int:
    """Print the questions of a lesson with their answers. They are computed: the lesson runs first."""
    from minillm.classroom.player.run_cells import answered_questions
    from minillm.classroom.questions import reveal

    questions = answered_questions(lesson)
    if as_json:
        fields = ("text", "choices", "answer", "within", "why", "shows")
        shown = [{field: getattr(question, field) for field in fields} for question in questions]
        print_json({"number": lesson.number, "name": lesson.name, "questions": shown})
        return 0
    print(f"Lesson {lesson.number}: {lesson.title}")
    for question in questions:
        print()
        reveal(question)
    return 0


def _list(as_json: bool) -> int:
    from minillm.classroom.player.lessons import all_lessons
    from minillm.classroom.player.progress import LessonProgress, load_progress, next_lesson

    progress, lessons = load_progress(), all_lessons()
    rows = [(lesson, progress.get(lesson.topic, LessonProgress())) for lesson in lessons]
    if as_json:
        following = next_lesson(lessons, progress)
        print_json({"lessons": [_described(*row) for row in rows], "next": following and following.number})
        return 0
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for column in range(3):
        table.add_column(overflow="fold", justify="left" if column else "right")
    for lesson, own in rows:
        table.add_row(str(lesson.number), lesson.title, _state(lesson, own))
    show(table)
    print(f"\n{wrapped(_go_on())}")
    return 0


def _write_yourself(lesson: int) -> str:
    """Return a line with the exercises of a lesson, by number and name, and the commands that begin them."""
    from minillm.classroom.exercises.exercise import all_exercises

    own = [exercise for exercise in all_exercises() if exercise.lesson == lesson]
    names = ", ".join(f"{exercise.number} {exercise.name}" for exercise in own)
    return (
        f"Write it yourself: {names}. `minillm exercise start my-exercises` makes a folder for all exercises, once. "
        f"There, run `minillm exercise check {own[0].number}`."
    )


def _go_on() -> str:
    """Return a line that names the next lesson."""
    from minillm.classroom.player.lessons import all_lessons
    from minillm.classroom.player.progress import load_progress, next_lesson

    known = load_progress()
    lesson = next_lesson(all_lessons(), known)
    if lesson is None:
        return "All lessons are finished. Write functions of the engine yourself: minillm exercise start my-exercises"
    begun = any(own.cell or own.finished for own in known.values())
    return f"{'Go on' if begun else 'Begin'} with: minillm lesson {lesson.number}"


def _described(lesson: Any, own: Any) -> dict[str, Any]:
    return {
        "number": lesson.number,
        "name": lesson.name,
        "title": lesson.title,
        "cells": len(lesson.cells),
        "cell": _cell_number(lesson, own),
        "finished": own.finished,
        "questions": sum(cell.asks for cell in lesson.cells),
        "right_at_first": sum(tries == 1 for tries in own.answers.values()),
    }


def _state(lesson: Any, own: Any) -> str:
    """Return the progress of one lesson in words."""
    if own.cell:
        return f"at {_cell_number(lesson, own)} of {len(lesson.cells)}" + (", finished before" if own.finished else "")
    if not own.finished:
        return "not started"
    right, asked = sum(tries == 1 for tries in own.answers.values()), sum(cell.asks for cell in lesson.cells)
    return f"done, {right} of {asked} right first time"


def _cell_number(lesson: Any, own: Any) -> int:
    """Return the number of the current cell, from 1. The lesson may have lost cells since it was stored."""
    return int(min(own.cell + 1, len(lesson.cells)))
