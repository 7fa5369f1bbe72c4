"""The suite's teeth on real engines: each of thirty bugs that are planted into a shipped adapter is found.

Plain pytest tries every eighth one. All of them: `pytest tests/oracles/test_planted_bugs.py -m ""`.
"""

from pathlib import Path

import pytest
from hypothesis.errors import Flaky
from planted.decoders_bugs import LLAMACPP_DECODERS, TRANSFORMERS_DECODERS
from planted.llamacpp_bugs import BUGS as LLAMACPP
from planted.transformers_llama_bugs import BUGS as TRANSFORMERS

from minillm.verification import adapters, findings
from minillm.verification.engine_file import load_engines
from minillm.verification.in_process import InProcess
from minillm.verification.properties import PROPERTIES

TABLES = {
    "transformers_llama": TRANSFORMERS, "llamacpp": LLAMACPP,
    "transformers_decoders": TRANSFORMERS_DECODERS, "llamacpp_decoders": LLAMACPP_DECODERS,
}  # fmt: skip
BASES = {"transformers_decoders": "transformers_llama", "llamacpp_decoders": "llamacpp"}  # whose functions they have
CASES = [
    pytest.param(adapter, bug, marks=[] if number % 8 == 0 else pytest.mark.slow)
    for adapter, bugs in TABLES.items()
    for number, bug in enumerate(bugs)
]


@pytest.fixture(autouse=True)
def no_shrinking(monkeypatch):
    """A bug counts as found by its first failing example."""
    monkeypatch.setattr(findings, "SHRINK_SECONDS", 0.0)


def search(tmp_path, adapter, right, wrong, engine, name):
    """Search with an adapter in which, or in whose base, a text is another one."""
    base = BASES.get(adapter, adapter)
    places = f"minillm.verification.adapters import {base}", f"minillm.verification.adapters.{base} import"
    texts = {one: Path(adapters.__path__[0], f"{one}.py").read_text() for one in (base, adapter)}
    if right and sum(text.count(right) for text in texts.values()) != 1:
        raise ValueError(right)  # not an AssertionError: that would count as found
    for one, text in texts.items():
        neighbour = text.replace(f"from {places[0]}", f"import {base}").replace(places[1], f"{base} import")
        (tmp_path / f"{one}.py").write_text(neighbour.replace(right, wrong) if right else neighbour)
    engines = load_engines(tmp_path / f"{adapter}.py", InProcess(tmp_path / f"{adapter}.py"))
    [loaded] = [one for one in engines if one.adapter.name == engine]
    try:
        loaded.findings.clear()
        PROPERTIES[name].search(loaded.engines, examples=60)
    finally:
        loaded.close()


@pytest.mark.parametrize(("adapter", "bug"), CASES)
def test_a_planted_bug_is_found(tmp_path, adapter, bug):
    if adapter.startswith("llamacpp"):
        pytest.importorskip("llama_cpp")
    with pytest.raises((AssertionError, Flaky)):  # Flaky: the time for shrinking was over
        search(tmp_path, adapter, *TABLES[adapter][bug])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "engine", "name"),
    sorted({(adapter, *row[2:]) for adapter in BASES for row in TABLES[adapter].values()}),
)
def test_without_a_bug_nothing_is_found(tmp_path, adapter, engine, name):
    if adapter.startswith("llamacpp"):
        pytest.importorskip("llama_cpp")
    search(tmp_path, adapter, "", "", engine, name)


def test_every_table_has_thirty_bugs():
    assert all(len(bugs) >= 30 for bugs in TABLES.values())
