"""The suite's teeth on real samplers: each bug that is planted into an adapter or into transformers is found.

Plain pytest tries every eighth one. All of them: `pytest tests/oracles/test_planted_sampling_bugs.py -m ""`.
"""

import pytest
from hypothesis.errors import Flaky
from planted.llamacpp_sampling_bugs import BUGS as LLAMACPP
from planted.planting import found, search, with_bug
from planted.transformers_sampling_bugs import BUGS as TRANSFORMERS

DISTRIBUTION = "sampling_has_its_distribution"
TABLES = {
    "llamacpp_sampling": {bug: ("", *texts, "llamacpp_sampling") for bug, texts in LLAMACPP.items()},
    "transformers_sampling": TRANSFORMERS,
}
CASES = [
    pytest.param(adapter, bug, marks=[] if number % 8 == 0 else pytest.mark.slow)
    for adapter, bugs in TABLES.items()
    for number, bug in enumerate(bugs)
]


@pytest.mark.parametrize(("adapter", "bug"), CASES)
def test_a_planted_bug_is_found(tmp_path, monkeypatch, adapter, bug):
    pytest.importorskip("llama_cpp" if adapter.startswith("llamacpp") else "transformers")
    where, right, wrong, engine = TABLES[adapter][bug]
    if where:
        owner, name = found(where)
        monkeypatch.setattr(owner, name, with_bug(getattr(owner, name), right, wrong))
        right = wrong = ""
    with pytest.raises((AssertionError, Flaky)):  # Flaky: the time for shrinking was over
        search(tmp_path, adapter, right, wrong, engine, DISTRIBUTION)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "engine"), sorted({(adapter, row[-1]) for adapter, bugs in TABLES.items() for row in bugs.values()})
)
def test_without_a_bug_nothing_is_found(tmp_path, adapter, engine):
    pytest.importorskip("llama_cpp" if adapter.startswith("llamacpp") else "transformers")
    search(tmp_path, adapter, "", "", engine, DISTRIBUTION, examples=20)


def test_every_table_has_thirty_bugs():
    assert all(len(bugs) >= 30 for bugs in TABLES.values())
