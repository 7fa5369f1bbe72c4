"""`minillm doctor`: say whether this machine is ready, and what to do if it is not.

Exit status: 0 ready, also with notes; 1 something that minillm needs is missing.
"""

import argparse
from dataclasses import asdict
from typing import Any

from minillm.cli.printing import print_json, write
from minillm.support.terminal import wrapped
from minillm.support.wording import counted

ABOUT = 16  # columns of the first column
SIGNS = {"ok": "ok", "note": "note", "absent": "-", "missing": "MISSING"}  # words, so that they can be read aloud


def add_parser(commands: Any) -> None:
    """Add `doctor`, whose one option is --json."""
    parser = commands.add_parser(
        "doctor",
        help="say whether this machine is ready",
        description="Say whether this machine is ready for minillm, and what to do if it is not. No network is needed.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look at everything, print it, and return 1 if something is missing."""
    from minillm.evidence.machine import MISSING, NOTE, Finding, examine

    findings = list[Finding]()
    for finding in examine():
        findings.append(finding)
        if not options.json:
            write(_lines(finding))
    missing, notes = (sum(one.state == state for one in findings) for state in (MISSING, NOTE))
    if options.json:
        print_json({"ready": not missing, "findings": [asdict(one) for one in findings]})
    else:
        verdict = f"Not ready: {counted(missing, 'thing')} missing" if missing else "Ready"
        write(f"{verdict}, {counted(notes, 'note')}.\n")
    return 1 if missing else 0


def _lines(finding: Any) -> str:
    """Return what was found, and below it what to do. A command stays on one line, so that it can be copied."""
    indent = " " * (8 + ABOUT)
    lines = [wrapped(finding.found, f"{SIGNS[finding.state]:8}{finding.about:{ABOUT}}", indent)]
    lines += [wrapped(f"-> {finding.advice}", indent)] if finding.advice else []
    lines += [f"{indent}{finding.command}"] if finding.command else []
    return "\n".join([*lines, ""])
