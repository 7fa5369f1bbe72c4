"""The suite's teeth on transformers' `generate`: each bug that is planted into transformers' own code is found.

Plain pytest tries every eighth one. All of them, with other examples: `pytest tests/oracles/test_planted_generate_bugs.py
-m "" --hypothesis-seed 2`.
"""

from pathlib import Path

import pytest
from hypothesis.errors import Flaky
from planted.planting import found, with_bug
from planted.transformers_generate_bugs import BUGS

from minillm.verification import adapters, findings
from minillm.verification.engine_file import load_engines
from minillm.verification.in_process import InProcess
from minillm.verification.properties import PROPERTIES

ADAPTER = Path(adapters.__path__[0], "transformers_generate.py").read_text()
NO_STATIC = '"cache": ["dynamic", "static"], "n": [1]', '"cache": ["dynamic"], "n": [1]'  # it has a bug of its own
CASES = [pytest.param(bug, marks=[] if number % 8 == 0 else pytest.mark.slow) for number, bug in enumerate(BUGS)]


@pytest.fixture(autouse=True)
def no_shrinking(monkeypatch):
    """A bug counts as found by its first failing example."""
    monkeypatch.setattr(findings, "SHRINK_SECONDS", 0.0)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    """A function that plants a bug, and loads an engine of the adapter."""
    opened = []

    def planted(where, right, wrong, name):
        text = ADAPTER.replace(*NO_STATIC) if name == "drafts" else ADAPTER
        if where:
            owner, function = found(where)
            monkeypatch.setattr(owner, function, with_bug(getattr(owner, function), right, wrong))
        else:
            assert text.count(right) == 1, right
            text = text.replace(right, wrong)
        (tmp_path / "engine.py").write_text(text)
        opened.extend(load_engines(tmp_path / "engine.py", InProcess(tmp_path / "engine.py")))
        return next(one for one in opened if one.adapter.name == name)

    yield planted
    for loaded in opened:
        loaded.close()


@pytest.mark.parametrize("bug", CASES)
def test_a_planted_bug_is_found(engine, bug):
    *planted, name, holds = BUGS[bug]
    loaded = engine(*planted, name)
    with pytest.raises((AssertionError, Flaky)):
        PROPERTIES[holds].search(loaded.engines)


@pytest.mark.slow
def test_drafts_without_a_bug_pass(engine):
    """Otherwise every planted bug would be found."""
    assert ADAPTER.count(NO_STATIC[0]) == 1
    loaded = engine("", "PADDING = 17, -1, 0", "PADDING = 17, -1, 0", "drafts")
    PROPERTIES["options_change_no_answer"].search(loaded.engines)


def test_there_are_thirty_bugs():
    assert len(BUGS) >= 30
