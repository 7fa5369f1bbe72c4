"""The page of a comparison: one HTML file without scripts, in the colours and words of the page of a trace.

It shows the passes of both runs, the first difference with its source lines, and a table of the largest difference of
each operation in each layer, in which a difference can be seen growing.
"""

import base64
import hashlib
import html
from collections.abc import Iterator
from pathlib import Path

from minillm.bisection.meaning import STRUCTURAL, meaning
from minillm.bisection.observed import OPERATIONS, Observed, Place
from minillm.bisection.report import Report, about_first
from minillm.trace.page import FOLDER as TRACE_PAGE

CELL, ROW = 12, 14  # pixels of a token, and of a pass
MOST_PASSES = 60  # drawn of each run

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'sha256-{digest}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Two runs of {model}, compared</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Two runs of {model}, compared</h1>
<p class="verdict">{verdict}</p>
{sections}
</main>
</body>
</html>
"""


def page(report: Report) -> str:
    """Return the page."""
    style = "\n".join(
        file.read_text(encoding="utf-8") for file in (TRACE_PAGE / "style.css", Path(__file__).with_suffix(".css"))
    )
    sections = [*_first(report), _passes(report), *_table(report), *_notes(report)]
    return TEMPLATE.format(
        digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        model=html.escape(report.model),
        style=style,
        verdict=html.escape(report.verdict.capitalize()),
        sections="\n".join(sections),
    )


def _section(title: str, *content: str) -> str:
    return "\n".join(["<section>", f"<h2>{html.escape(title)}</h2>", *content, "</section>"])


def _first(report: Report) -> Iterator[str]:
    """Yield the section of the first difference, if there is one."""
    if report.found.first is None:
        return
    items = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{_value(name, value)}</dd>" for name, value in about_first(report)
    )
    yield _section(
        "The first difference", f"<dl>{items}</dl>", f"<p>{html.escape(meaning(report.found, report.expected))}</p>"
    )


def _value(name: str, value: str) -> str:
    text = html.escape(value)
    return f"<code>{text}</code>" if name in ("asked for by", "computed by") else text


def _passes(report: Report) -> str:
    sides = (("A", report.a, report.found.a, "a"), ("B", report.b, report.found.b, "b"))
    figures = (_figure(f"{name}: {side}", observed, _step(report, which)) for name, side, observed, which in sides)
    return _section("The passes", "<p>Each row is a pass, and each column a token.</p>", *figures)


def _step(report: Report, which: str) -> int | None:
    """Return the pass of the first difference."""
    first = report.found.first
    return None if first is None else getattr(first.pair, which).step


def _figure(caption: str, observed: Observed, marked: int | None) -> str:
    """Return a picture of the passes over the first sequence; that of the first difference is dashed."""
    passes = observed.passes[:MOST_PASSES]
    spans = [next(((first, count) for number, first, count in parts if number == 0), (0, 0)) for parts in passes]
    width = 60 + CELL * max((first + count for first, count in spans), default=0)
    rows = "".join(_row(step, *span, step == marked) for step, span in enumerate(spans) if span[1])
    more = len(observed.passes) - len(passes)
    caption += f", {len(observed.passes)} passes" + (f", of which the first {len(passes)} are drawn" if more else "")
    return (
        f"<figure><figcaption>{html.escape(caption)}</figcaption>"
        f'<svg width="{width}" height="{ROW * len(passes)}" viewBox="0 0 {width} {ROW * len(passes)}" role="img" '
        f'aria-label="{html.escape(caption)}">{rows}</svg></figure>'
    )


def _row(step: int, first: int, count: int, is_first_difference: bool) -> str:
    words = f"pass {step}: " + (f"token {first}" if count == 1 else f"tokens {first} to {first + count - 1}")
    kind = ' class="different"' if is_first_difference else ""
    x, y = 54 + CELL * first, ROW * step
    return (
        f"<g{kind}><title>{words}</title>"
        f'<text x="0" y="{y + 10}">pass {step}</text>'
        f'<rect class="runs" x="{x + 1}" y="{y + 2}" width="{CELL * count - 2}" height="{ROW - 4}" rx="2"/></g>'
    )


def _table(report: Report) -> Iterator[str]:
    """Yield the table of operations and layers, if anything differs."""
    largest = report.found.largest
    if not largest:
        return
    layers = sorted({place.in_layer for place in largest if place.in_layer is not None})
    head = "".join(f'<th scope="col">layer {layer}</th>' for layer in layers)
    rows = [
        f'<tr><th scope="row">{name}</th>{"".join(_cells(report, number, layers))}</tr>'
        for number, name in enumerate(OPERATIONS)
        if any(place.operation == number for place in largest)
    ]
    caption = "<caption>The largest relative difference of each operation. The first difference is framed.</caption>"
    yield _section(
        "How it grows",
        f'<table class="heat">{caption}<thead><tr><th scope="col">operation</th>{head}</tr></thead>',
        f"<tbody>{''.join(rows)}</tbody></table>",
    )


def _cells(report: Report, operation: int, layers: list[int]) -> Iterator[str]:
    """Yield the cells of an operation: one in each layer, or one over all for what is not in a layer."""
    of_all = [place for place in report.found.largest if place.operation == operation and place.in_layer is None]
    if of_all:
        yield _cell(report, of_all[0], max(1, len(layers)))
        return
    for layer in layers:
        yield _cell(report, Place(layer, operation), 1)


def _cell(report: Report, place: Place, columns: int) -> str:
    found = report.found
    relative = found.largest[place].relative if place in found.largest else 0.0
    kinds = ["large" if relative > STRUCTURAL else "some"] if relative else []
    kinds += ["first"] if found.first is not None and found.first.place == place else []
    return f'<td colspan="{columns}" class="{" ".join(kinds)}">{f"{relative:.1e}" if relative else "0"}</td>'


def _notes(report: Report) -> Iterator[str]:
    for note in report.all_notes():
        yield f"<p>{html.escape(note)}</p>"
