"""The suite's teeth on real engines: each of thirty bugs that are planted into a shipped adapter is found.

Plain pytest tries every eighth one. All of them: `pytest tests/oracles/test_planted_bugs.py -m ""`.
"""

from pathlib import Path

import pytest
from hypothesis.errors import Flaky
from planted.llamacpp_bugs import BUGS as LLAMACPP
from planted.transformers_llama_bugs import BUGS as TRANSFORMERS

from minillm.verification import adapters, findings
from minillm.verification.engine_file import load_engines
from minillm.verification.in_process import InProcess
from minillm.verification.properties import PROPERTIES

TABLES = {"transformers_llama": TRANSFORMERS, "llamacpp": LLAMACPP}
CASES = [
    pytest.param(adapter, bug, marks=[] if number % 8 == 0 else pytest.mark.slow)
    for adapter, bugs in TABLES.items()
    for number, bug in enumerate(bugs)
]


@pytest.fixture(autouse=True)
def no_shrinking(monkeypatch):
    """A bug counts as found by its first failing example."""
    monkeypatch.setattr(findings, "SHRINK_SECONDS", 0.0)


@pytest.mark.parametrize(("adapter", "bug"), CASES)
def test_a_planted_bug_is_found(tmp_path, adapter, bug):
    if adapter == "llamacpp":
        pytest.importorskip("llama_cpp")
    right, wrong, engine, name = TABLES[adapter][bug]
    source = Path(adapters.__path__[0], f"{adapter}.py").read_text()
    assert source.count(right) == 1, right
    (tmp_path / "engine.py").write_text(source.replace(right, wrong))
    engines = load_engines(tmp_path / "engine.py", InProcess(tmp_path / "engine.py"))
    [loaded] = [one for one in engines if one.adapter.name == engine]
    try:
        loaded.findings.clear()
        with pytest.raises((AssertionError, Flaky)):  # Flaky: the time for shrinking was over
            PROPERTIES[name].search(loaded.engines, examples=60)
    finally:
        loaded.close()


def test_every_table_has_thirty_bugs():
    assert all(len(bugs) >= 30 for bugs in TABLES.values())
