"""Runs a long test program in a process of its own, where nobody checks shapes, which would take most of the time."""

import json
import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def run_unchecked(program, *arguments):
    """What the program printed, as JSON. If it fails, so does the test, with the program's traceback."""
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, TESTS / program, *arguments], capture_output=True, text=True, cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
