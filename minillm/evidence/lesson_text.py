"""The prose of twelve lessons, as a text to measure models with: English, 44,000 characters, the same everywhere."""

from minillm.classroom.player.lessons import all_lessons

LESSONS = 12  # the figures of docs/quantization-accuracy.md are of the first twelve


def lesson_text() -> str:
    """Return the prose of the first twelve lessons, in order, without code."""
    lessons = all_lessons()[:LESSONS]
    return "\n\n".join(cell.source for lesson in lessons for cell in lesson.cells if cell.kind == "prose")
