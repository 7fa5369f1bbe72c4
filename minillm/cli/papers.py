"""`minillm papers`: compare the figures that papers publish with minillm's own."""

import argparse
from typing import Any

from minillm.cli.options import add_page_options
from minillm.cli.printing import markdown_row, print_json, show
from minillm.evidence.papers import Figure, Ours, all_figures, find_figure
from minillm.support.progress import progress_on_stderr


def add_parser(commands: Any) -> None:
    """Add `papers`, with a figure's id and the two formats of its page."""
    parser = commands.add_parser(
        "papers",
        help="compare papers' figures with minillm's",
        description="Compare the figures that papers publish with what minillm computes, counts or simulates. "
        "All of them take a few minutes; each is shown as soon as it is computed.",
    )
    add = parser.add_argument
    add("id", nargs="*", help="show only these figures")
    add_page_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compute the figures and print them."""
    figures = [find_figure(id) for id in dict.fromkeys(options.id)] or all_figures()
    if not options.json and not options.markdown:
        for figure in figures:
            _show(figure, figure.ours())
        return 0
    computed = _compute(figures)
    if options.json:
        print_json({"figures": [figure_record(*each) for each in computed]})
    else:
        print(markdown_page(computed), end="")
    return 0


def _compute(figures: list[Figure]) -> list[tuple[Figure, Ours]]:
    """Compute all figures before any is printed, with progress on stderr."""
    computed: list[tuple[Figure, Ours]] = []
    with progress_on_stderr() as report:
        for figure in figures:
            report(figure.id, len(computed), len(figures))
            computed.append((figure, figure.ours()))
    return computed


def figure_record(figure: Figure, ours: Ours) -> dict[str, Any]:
    """Return the JSON record of a figure."""
    return {
        "id": figure.id,
        "paper": figure.paper,
        "published": figure.published,
        "kind": figure.kind.value,
        "computes": figure.meaning,
        "ours": ours.value,
        "agrees": ours.agrees if figure.compute else None,
        "words": ours.words,
        "working": list(ours.working),
    }


def _mark(figure: Figure, ours: Ours) -> str:
    return "–" if figure.compute is None else "✓" if ours.agrees else "✗"


def _show(figure: Figure, ours: Ours) -> None:
    show(
        f"{_mark(figure, ours)} {figure.id} ({figure.kind.value}): {figure.paper}", f"    published: {figure.published}"
    )
    if figure.compute is not None:
        show(f"    ours: {ours.value}", f"    {ours.words}", *(f"      {step}" for step in ours.working))


def markdown_page(computed: list[tuple[Figure, Ours]]) -> str:
    """Return all figures as a page with one table."""
    agree = sum(ours.agrees for figure, ours in computed if figure.compute)
    own = sum(figure.compute is not None for figure, _ in computed)
    lines = ["# Papers' figures and ours", "", f"Made by `minillm papers --markdown`. {agree} of {own} agree; "
             f"{len(computed) - own} are quoted.", "",
             "| figure | paper | published | ours | |", "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for figure, ours in computed:
        words = f"{'' if figure.compute is None else 'agrees: ' if ours.agrees else 'differs: '}{ours.words}"
        lines.append(markdown_row(f"`{figure.id}`", figure.paper, figure.published, ours.value, words))
    return "\n".join(lines) + "\n"
