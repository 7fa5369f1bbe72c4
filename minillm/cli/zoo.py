"""`minillm zoo`: list historical bugs of public engines, tell the story of one, and show it at work.

Exit status: 0, also of `--show` if the property catches the bug; 1 if it does not; 2 invalid input.
"""

import argparse
from dataclasses import asdict
from typing import Any

from minillm.cli.options import add_page_options
from minillm.cli.printing import markdown_row, print_json, show
from minillm.support.terminal import wrapped
from minillm.support.wording import counted
from minillm.zoo.bug import Bug, all_bugs, find_bug, property_meaning
from minillm.zoo.comparison import Comparison, Observation, compare

PAGE = """# The bug zoo

Made by `minillm zoo --markdown`. Thirty bugs of public engines, each with the thread in which it was reported, and as a
patch of a few lines to minillm. A property finds each of them: a sentence that is true of every correct engine, which
[Hypothesis](https://hypothesis.readthedocs.io) tries with random prompts, caches and requests, and whose smallest
counterexample it shows. The texts are our own words; the threads have the whole story.

```sh
minillm zoo                # the list
minillm zoo 24             # what a user saw, the thread, the cause, the property
minillm zoo 24 --show      # some seconds: the patch, and what the healthy and the patched engine do
```

`--show` needs the extra `test`. It runs each engine in a process of its own. There the source of one module is changed
before it is imported ([patched_process.py](../minillm/zoo/patched_process.py)), and the installed files stay as they
are. The exit status is 0 if the property holds for the healthy engine and fails for the patched one, else 1.

A bug is a file in [exercises/zoo](../exercises/zoo). The properties of caches are those of
[your own engine](../minillm/verification/cache_properties.py); those of requests, sampling, texts and weights are in
[minillm/zoo](../minillm/zoo).
"""
COLOURS = {"-": "red", "+": "green", " ": ""}  # of the lines of a diff


def add_parser(commands: Any) -> None:
    """Add `zoo` with the number of a bug."""
    parser = commands.add_parser(
        "zoo",
        help="look at historical bugs of public engines",
        description="List thirty historical bugs of public engines. Each is a small patch to minillm: with its number, "
        "read what a user saw, where it was reported, and which property catches it.",
    )
    parser.add_argument("number", metavar="N", nargs="?", help="number of a bug (default: list all)")
    parser.add_argument(
        "--show", action="store_true", help="show the patch, and run the healthy and the patched engine"
    )
    add_page_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the list or one bug. Return 1 if a shown bug is not caught."""
    if options.number is None:
        if options.show:
            raise ValueError("--show needs the number of a bug, as in: minillm zoo 7 --show")
        _list(options)
        return 0
    if options.markdown:
        raise ValueError("--markdown prints the page of all bugs; leave out the number")
    bug = find_bug(_number(options.number))
    if not options.show:
        print_json(bug_record(bug)) if options.json else _tell(bug)
        return 0
    compared = compare(bug)
    if options.json:
        print_json(bug_record(bug) | asdict(compared) | {"diff": bug.diff(), "caught": compared.caught})
    else:
        _show_at_work(bug, compared)
    return 0 if compared.caught else 1


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"there is no bug {text[:40]!r}; expected a number from 1 to {len(all_bugs())}")
    return int(text[:9])


def bug_record(bug: Bug) -> dict[str, Any]:
    """Return the JSON record of a bug."""
    return {
        "number": bug.number, "name": bug.name, "title": bug.title, "engine": bug.engine, "kind": bug.kind,
        "thread": bug.thread, "thread_title": bug.thread_title, "seen": bug.seen, "cause": bug.cause,
        "property": bug.caught_by, "asks": property_meaning(bug.caught_by),
        "module": bug.module, "function": bug.function,
    }  # fmt: skip


def _list(options: argparse.Namespace) -> None:
    if options.json:
        print_json({"bugs": [bug_record(bug) for bug in all_bugs()]})
    elif options.markdown:
        print(markdown_page(), end="")
    else:
        _show_list()


def markdown_page() -> str:
    """Return the page of all bugs, with one table."""
    lines = [
        PAGE,
        "| | the engine | does this | what a user saw, or would have seen | caught by |",
        "| --- | --- | --- | --- | --- |",
    ]
    for bug in all_bugs():
        thread = f"{bug.engine}: [{bug.thread_name.split(', ')[1]}]({bug.thread})"
        lines.append(markdown_row(str(bug.number), thread, bug.title, bug.seen, f"`{bug.caught_by}`"))
    return "\n".join(lines) + "\n"


def _show_list() -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "bug", "engine", "kind", "caught by"):
        table.add_column(heading, overflow="fold")
    for bug in all_bugs():
        name, caught_by = bug.name.replace("_", " "), bug.caught_by.replace("_", " ")
        table.add_row(str(bug.number), name, bug.engine, bug.kind, caught_by)
    show(table, "", f"{counted(len(all_bugs()), 'bug')}. minillm zoo 7 tells the story of bug 7; --show runs it.")


def _tell(bug: Bug) -> None:
    show(
        f"{bug.number}. {bug.title}", "",
        wrapped(f"{bug.engine}, {bug.kind}. {bug.thread_title}"), bug.thread, "",
        wrapped(f"Seen: {bug.seen}"), "", wrapped(f"Cause: {bug.cause}"), "",
        f"Caught by the property {bug.caught_by}:", wrapped(property_meaning(bug.caught_by)), "",
        f"minillm zoo {bug.number} --show runs minillm with this bug.",
    )  # fmt: skip


def _show_at_work(bug: Bug, compared: Comparison) -> None:
    from rich.text import Text

    show(f"{bug.number}. {bug.title}", "", f"{bug.module}, {bug.function}:")
    show(*(Text(line, style=COLOURS.get(line[:1], "")) for line in bug.diff()), "")
    show("The healthy engine:", *_indented(compared.healthy.answer), "")
    show("With this bug:", *_indented(compared.patched.answer), "")
    show(f"The property {bug.caught_by}:", f"    healthy: {_verdict(compared.healthy)}",
         f"    with this bug: {_verdict(compared.patched)}")  # fmt: skip
    if compared.patched.failure is not None:
        show(*_indented(compared.patched.failure.splitlines(), "        "))


def _verdict(observed: Observation) -> str:
    return "holds" if observed.failure is None else "fails; the smallest counterexample:"


def _indented(lines: list[str], indent: str = "    ") -> list[str]:
    return [indent + line for line in lines]
