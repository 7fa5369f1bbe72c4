"""The lessons' own prose, as a text to measure models with: English, about 38,000 characters, the same everywhere."""

from minillm.classroom.player.lessons import all_lessons


def lesson_text() -> str:
    """Return the prose of all lessons, in order, without code."""
    return "\n\n".join(cell.source for lesson in all_lessons() for cell in lesson.cells if cell.kind == "prose")
