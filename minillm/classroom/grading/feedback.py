"""Feedback: a page for each learner, as Markdown and as HTML. All text of the learner's is shown, never interpreted."""

from collections.abc import Iterator
from html import escape

from minillm.classroom.grading.result import Result, Row
from minillm.support.printable import safe
from minillm.support.wording import counted

SHOWN = 400  # printed characters
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
body { overflow-wrap: anywhere; }
pre { border: 1px solid; padding: .75rem; white-space: pre-wrap; }
""".strip()


def details(row: Row) -> str:
    """Return all that is known about a row that did not pass, as plain text; an empty string if it passed."""
    return "\n".join(_details(row))


def _details(row: Row) -> Iterator[str]:
    if row.passed:
        return
    where = f" (line {row.line} of your file)" if row.line else ""
    yield safe(f"{row.message}{where}")
    if row.known_mistake:
        yield safe(f"Likely cause: {row.known_mistake}")
    if row.table:
        yield from _table(row)
    if row.example:
        yield safe(f"Failing input: {row.example}")
    if row.printed:
        yield safe(f"Your code printed: {row.printed[:SHOWN]}")


def _table(row: Row) -> Iterator[str]:
    """Yield the lines of the slice that differs, in columns."""
    lines = [("at", "yours", "expected", ""), *row.table]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        yield safe("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def summary(result: Result) -> list[str]:
    """Return the lines above the exercises: points, time, notes."""
    lines = [f"{result.score:g} of {result.out_of:g} points"]
    if result.days_late:
        late = f"{counted(result.days_late, 'day')} late: {result.points:g} points before the late rule"
        lines.append(late)
    return [*lines, *(f"Note: {note}" for note in result.notes)]


def markdown_page(result: Result) -> str:
    """Return the page as Markdown. Text that is not ours stands in indented blocks, in which nothing has a meaning."""
    parts = [f"# Feedback\n\n{_block(result.learner)}\n\n{_block(*summary(result))}\n"]
    for label in result.exercises:
        points, out_of = result.of_exercise(label)
        parts.append(f"## {label}: {points:g} of {out_of:g} points\n")
        for row in result.rows:
            if row.exercise == label:
                parts.append(f"- **{row.outcome}** ({row.points:g} of {row.out_of:g}): {row.title}\n")
                parts += [f"{_block(details(row), indent=8)}\n"] if details(row) else []
    return "\n".join(parts)


def _block(*texts: str, indent: int = 4) -> str:
    lines = [line for text in texts for line in safe(text).splitlines() or [""]]
    return "\n".join(" " * indent + line for line in lines)


def html_page(result: Result) -> str:
    """Return the page as HTML that loads nothing and runs no script."""
    body = [f"<h1>{_shown(result.learner)}</h1>", *(f"<p>{_shown(line)}</p>" for line in summary(result))]
    for label in result.exercises:
        points, out_of = result.of_exercise(label)
        body.append(f"<h2>{_shown(label)}: {points:g} of {out_of:g} points</h2>")
        for row in result.rows:
            if row.exercise == label:
                worth = f"({row.points:g} of {row.out_of:g})"
                body.append(f"<p><strong>{row.outcome}</strong> {worth}: {_shown(row.title)}</p>")
                body += [f"<pre>{_shown(details(row))}</pre>"] if details(row) else []
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = [
        '<meta charset="utf-8">', f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width">', f"<title>{_shown(result.learner)}</title>",
        f"<style>{STYLE}</style>",
    ]  # fmt: skip
    return "\n".join(["<!doctype html>", '<html lang="en">', *head, *body, "</html>", ""])


def _shown(text: str) -> str:
    return escape(safe(text).encode("utf-8", "replace").decode("utf-8"))
