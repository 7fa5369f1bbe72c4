"""The suite's teeth on real samplers: each bug that is planted into an adapter or into transformers is found.

Plain pytest tries every eighth one. All of them: `pytest tests/oracles/test_planted_sampling_bugs.py -m ""`.
"""

from pathlib import Path

import pytest
from hypothesis.errors import Flaky
from planted.llamacpp_sampling_bugs import BUGS as LLAMACPP
from planted.planting import found, with_bug
from planted.transformers_sampling_bugs import BUGS as TRANSFORMERS

from minillm.verification import adapters, findings
from minillm.verification.engine_file import load_engines
from minillm.verification.in_process import InProcess
from minillm.verification.properties import PROPERTIES

TABLES = {
    "llamacpp_sampling": {bug: ("", *texts, "llamacpp_sampling") for bug, texts in LLAMACPP.items()},
    "transformers_sampling": TRANSFORMERS,
}
CASES = [
    pytest.param(adapter, bug, marks=[] if number % 8 == 0 else pytest.mark.slow)
    for adapter, bugs in TABLES.items()
    for number, bug in enumerate(bugs)
]


@pytest.fixture(autouse=True)
def no_shrinking(monkeypatch):
    """A bug counts as found by its first failing example."""
    monkeypatch.setattr(findings, "SHRINK_SECONDS", 0.0)


def search(tmp_path, adapter, engine, right="", wrong="", **examples):
    """Search with an adapter in which a text is another one."""
    source = Path(adapters.__path__[0], f"{adapter}.py").read_text()
    if right and source.count(right) != 1:
        raise ValueError(right)  # not an AssertionError: that would count as found
    file = tmp_path / f"{adapter}.py"
    file.write_text(source.replace(right, wrong) if right else source)
    engines = load_engines(file, InProcess(file))
    [loaded] = [one for one in engines if one.adapter.name == engine]
    try:
        loaded.findings.clear()
        PROPERTIES["sampling_has_its_distribution"].search(loaded.engines, **examples)
    finally:
        loaded.close()


@pytest.mark.parametrize(("adapter", "bug"), CASES)
def test_a_planted_bug_is_found(tmp_path, monkeypatch, adapter, bug):
    pytest.importorskip("llama_cpp" if adapter.startswith("llamacpp") else "transformers")
    where, right, wrong, engine = TABLES[adapter][bug]
    if where:
        owner, name = found(where)
        monkeypatch.setattr(owner, name, with_bug(getattr(owner, name), right, wrong))
        right = wrong = ""
    with pytest.raises((AssertionError, Flaky)):  # Flaky: the time for shrinking was over
        search(tmp_path, adapter, engine, right, wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "engine"), sorted({(adapter, row[-1]) for adapter, bugs in TABLES.items() for row in bugs.values()})
)
def test_without_a_bug_nothing_is_found(tmp_path, adapter, engine):
    pytest.importorskip("llama_cpp" if adapter.startswith("llamacpp") else "transformers")
    search(tmp_path, adapter, engine, examples=20)


def test_every_table_has_thirty_bugs():
    assert all(len(bugs) >= 30 for bugs in TABLES.values())
