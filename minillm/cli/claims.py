"""`minillm claims`: fact-check an article on LLM inference. Each claim is computed or run, and judged."""

import argparse
from collections import Counter
from collections.abc import Mapping
from typing import Any

from minillm.cli.options import add_page_options
from minillm.cli.printing import markdown_row, print_json, show
from minillm.evidence.claims import Claim, Finding, Verdict, all_claims, find_claim
from minillm.evidence.claims.timed import EXPERIMENTS, timings
from minillm.support.wording import counted

MARKS = {Verdict.TRUE: "✓", Verdict.TRUE_IF: "◐", Verdict.IMPRECISE: "≈", Verdict.FALSE: "✗", Verdict.UNCHECKABLE: "–"}


def add_parser(commands: Any) -> None:
    """Add `claims` with its filters, its inputs and the two formats of its page."""
    parser = commands.add_parser(
        "claims",
        help="fact-check an article",
        description="Fact-check an article on LLM inference: compute or run each claim that can be checked.",
    )
    add = parser.add_argument
    add("id", nargs="*", help="show the calculation behind each of these claims")
    add("--set", action="append", default=[], metavar="INPUT=VALUE", help="change an input; may be repeated")
    add("--verdict", help="list only claims that are: true, 'true if', imprecise, false, 'not checkable'")
    add("--section", help="list only claims of this section (its first letters are enough)")
    add_page_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print the named claims, or the list of all claims that the filters leave."""
    if options.id:
        if options.verdict or options.section:
            raise ValueError("--verdict and --section filter the list; leave them out when you name a claim")
        return _run_named(options)
    if options.set:
        raise ValueError("--set needs a claim, as in: minillm claims kv-token-7b --set layers=80")
    judged = list(_chosen(options.verdict, options.section))
    if options.json:
        print_json({"claims": [claim_record(claim, found) | {"timed": timings(claim.id)} for claim, found in judged]})
    elif options.markdown:
        print(markdown_page(judged), end="")
    else:
        _show_list(judged)
    return 0


def _run_named(options: argparse.Namespace) -> int:
    claims = [find_claim(name) for name in dict.fromkeys(options.id)]
    settings = parse_settings(options.set)
    if settings and len(claims) > 1:
        raise ValueError("--set changes the inputs of one claim; name one claim, or leave out --set")
    judged = [(claim, claim.judge(settings)) for claim in claims]
    if options.json:
        records = [claim_record(*pair, settings) | {"timed": timings(pair[0].id)} for pair in judged]
        print_json(records[0] if len(records) == 1 else {"claims": records})
    elif options.markdown:
        print(markdown_page(judged), end="")
    else:
        for claim, finding in judged:
            if claim is not claims[0]:
                show("")
            _show_one(claim, finding)
    return 0


def parse_settings(settings: list[str]) -> dict[str, str]:
    """Return inputs by name.

    >>> parse_settings(["layers=80", "kv_heads = 8"])
    {'layers': '80', 'kv_heads': '8'}

    Raises:
        ValueError: one of them has no `=`, or no name before it.
    """
    for setting in settings:
        if not setting.partition("=")[0].strip() or "=" not in setting:
            raise ValueError(f"--set is {setting[:40]!r}; expected INPUT=VALUE, such as layers=80")
    return {name.strip(): value.strip() for name, _, value in (setting.partition("=") for setting in settings)}


def _chosen(verdict: str | None, section: str | None) -> list[tuple[Claim, Finding]]:
    """Return the claims that the filters leave, each with its finding."""
    verdicts = {each.value for each in Verdict}
    if verdict is not None and verdict not in verdicts:
        raise ValueError(f"--verdict is {verdict[:40]!r}; expected one of {', '.join(sorted(verdicts))}")
    claims = all_claims()
    if section is not None:
        titles = list(dict.fromkeys(claim.section for claim in claims))
        claims = [claim for claim in claims if claim.section.lower().startswith(section.lower())]
        if not claims:
            raise ValueError(f"no section {section[:40]!r}; known are {', '.join(titles)}")
    judged = [(claim, claim.judge()) for claim in claims]
    return [(claim, finding) for claim, finding in judged if verdict in (None, finding.verdict.value)]


def claim_record(claim: Claim, finding: Finding, settings: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the JSON record of a claim; `settings` are the inputs that differ from the defaults."""
    return {
        "id": claim.id,
        "section": claim.section,
        "quote": claim.quote,
        "checks": claim.meaning,
        "verdict": finding.verdict.value,
        "note": finding.note,
        "figure": finding.figure,
        "working": list(finding.working),
        "inputs": claim.inputs | claim.parsed(settings or {}),
        "inputs_by_default": claim.inputs,
        "runs_the_engine": claim.runs,
        "corrects": claim.corrects,
    }


def verdict_text(finding: Finding) -> str:
    """Return the verdict and its condition, such as `true if: batched`."""
    return f"{finding.verdict.value}: {finding.note}" if finding.note else finding.verdict.value


def _show_list(judged: list[tuple[Claim, Finding]]) -> None:
    section = ""
    for claim, finding in judged:
        if claim.section != section:
            section = claim.section
            show("", section.upper())
        show(f"{MARKS[finding.verdict]} {claim.id}: \u201c{claim.quote}\u201d", f"    {finding.figure}",
             f"    {verdict_text(finding)}", *(f"    timed here: {line}" for line in timings(claim.id)))  # fmt: skip
    show("", summary(judged), "minillm claims ID shows the calculation behind one claim, and its inputs.")


def summary(judged: list[tuple[Claim, Finding]]) -> str:
    """Return how many claims have each verdict, as one sentence."""
    counts = Counter(finding.verdict for _, finding in judged)
    parts = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict)
    return f"{counted(len(judged), 'claim')}: {parts}."


def _show_one(claim: Claim, finding: Finding) -> None:
    show(f"{claim.id}, section {claim.section}", f"\u201c{claim.quote}\u201d", "", claim.meaning, "")
    show(*(f"  {step}" for step in finding.working), "", f"{MARKS[finding.verdict]} {verdict_text(finding)}")
    if claim.id in EXPERIMENTS:
        show("", "Timed on this machine, just now; the verdict does not depend on it:",
             *(f"  {line}" for line in timings(claim.id)))  # fmt: skip
    if claim.corrects:
        show(f"The figure worked out by hand was {claim.corrects}.")
    if claim.inputs:
        show("", "Default inputs: " + ", ".join(f"{name}={_plain(value)}" for name, value in claim.inputs.items()),
             f"Change them: minillm claims {claim.id} --set {next(iter(claim.inputs))}=...")  # fmt: skip


def _plain(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def markdown_page(judged: list[tuple[Claim, Finding]]) -> str:
    """Return the list as a page: a table for each section, and at the end the errors found in hand-worked figures."""
    lines = ["# Claims, computed and judged", "", "Made by `minillm claims --markdown`. " + summary(judged)]
    section = ""
    for claim, finding in judged:
        if claim.section != section:
            section = claim.section
            lines += ["", f"## {section}", "", "| claim | it says | found | verdict |", "| --- | --- | --- | --- |"]
        lines.append(markdown_row(f"`{claim.id}`", claim.quote, _found(claim, finding), verdict_text(finding)))
    corrected = [f"- `{claim.id}`: {claim.corrects}." for claim, _ in judged if claim.corrects]
    if corrected:
        lines += ["", "## Corrected", "", "All figures were worked out by hand before there was code for them. Where "
                  "code disagreed, by hand it was:", "", *corrected]  # fmt: skip
    return "\n".join(lines) + "\n"


def _found(claim: Claim, finding: Finding) -> str:
    ran = " (run on the engine)" if claim.runs else ""
    timed = f" (timed on your machine by `minillm claims {claim.id}`)" if claim.id in EXPERIMENTS else ""
    return finding.figure + ran + timed
