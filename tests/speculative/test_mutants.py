"""The proofs catch every mistake that is known to be made in speculative decoding."""

from pathlib import Path

import pytest
from mutants import MUTANTS
from unchecked import run_unchecked

PROGRAM = Path(__file__).parent / "try_mutants.py"


@pytest.fixture(scope="module")
def verdicts():
    return run_unchecked(PROGRAM)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_known_mistake_is_caught(verdicts, name):
    assert verdicts[name], "no proof failed"


def test_the_code_as_it_is_passes(verdicts):
    assert verdicts["none"] == ""
