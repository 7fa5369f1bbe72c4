"""Comparison: the healthy and the patched engine, each in a process of its own.

Exit status, and what it means: the bug is *caught* if the property holds for the healthy engine and fails for the
patched one.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minillm.support.install_hint import install_hint
from minillm.support.printable import one_line
from minillm.support.shipped import PACKAGE
from minillm.zoo.bug import Bug

SCRIPT = Path(__file__).with_name("patched_process.py")
LONGEST_S = 120  # seconds of one process; a healthy engine takes a few
HUNG = f"no answer within {LONGEST_S} seconds"


@dataclass(frozen=True)
class Observation:
    """What one engine did.

    Attributes:
        answer: its lines of text on the bundled model.
        failure: the smallest counterexample to the property, or None if the property holds.
    """

    answer: list[str]
    failure: str | None


@dataclass(frozen=True)
class Comparison:
    """Both engines.

    Attributes:
        healthy, patched: what they did.
    """

    healthy: Observation
    patched: Observation

    @property
    def caught(self) -> bool:
        """Whether the property tells the two apart."""
        return self.healthy.failure is None and self.patched.failure is not None


def compare(bug: Bug) -> Comparison:
    """Run both engines.

    Raises:
        ValueError: Hypothesis is not installed, or the healthy engine does not run.
    """
    if find_spec("hypothesis") is None:
        raise ValueError(f"properties need Hypothesis, which is not installed: {install_hint('test')}")
    return Comparison(observe(bug, patched=False), observe(bug, patched=True))


def observe(bug: Bug, patched: bool) -> Observation:
    """Run one engine in a child process.

    Raises:
        ValueError: the healthy engine ended or hung. A patched engine that does so is an observation.
    """
    request = {
        "root": str(PACKAGE.parent), "number": bug.number, "module": bug.module,
        "patch": bug.patch if patched else [],
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-W", "ignore", str(SCRIPT)], input=json.dumps(request), capture_output=True,
            text=True, encoding="utf-8", timeout=LONGEST_S, env=_environment(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return _ended(HUNG, patched)
    result = _parsed(done.stdout)
    if result is None:
        return _ended(f"the process ended with exit code {done.returncode}: {_last_line(done.stderr)}", patched)
    return Observation(result["answer"], result["failure"])


def _environment() -> dict[str, str]:
    return {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"}


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        result: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return result


def _last_line(text: str) -> str:
    return one_line((text.strip().splitlines() or ["nothing was said"])[-1])


def _ended(what: str, patched: bool) -> Observation:
    if not patched:
        raise ValueError(f"the engine without a patch does not run: {what}")
    return Observation([what], what)
