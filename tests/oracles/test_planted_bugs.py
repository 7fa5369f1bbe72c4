"""The suite's teeth on real engines: each of thirty bugs that are planted into a shipped adapter is found.

Plain pytest tries every eighth one. All of them: `pytest tests/oracles/test_planted_bugs.py -m ""`.
"""

import pytest
from hypothesis.errors import Flaky
from planted.decoders_bugs import LLAMACPP_DECODERS, TRANSFORMERS_DECODERS
from planted.llamacpp_bugs import BUGS as LLAMACPP
from planted.planting import BASES, search
from planted.transformers_llama_bugs import BUGS as TRANSFORMERS

TABLES = {
    "transformers_llama": TRANSFORMERS, "llamacpp": LLAMACPP,
    "transformers_decoders": TRANSFORMERS_DECODERS, "llamacpp_decoders": LLAMACPP_DECODERS,
}  # fmt: skip
CASES = [
    pytest.param(adapter, bug, marks=[] if number % 8 == 0 else pytest.mark.slow)
    for adapter, bugs in TABLES.items()
    for number, bug in enumerate(bugs)
]


@pytest.mark.parametrize(("adapter", "bug"), CASES)
def test_a_planted_bug_is_found(tmp_path, adapter, bug):
    if adapter.startswith("llamacpp"):
        pytest.importorskip("llama_cpp")
    with pytest.raises((AssertionError, Flaky)):  # Flaky: the time for shrinking was over
        search(tmp_path, adapter, *TABLES[adapter][bug], examples=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("adapter", "engine", "name"),
    sorted({(adapter, *row[2:]) for adapter in BASES for row in TABLES[adapter].values()}),
)
def test_without_a_bug_nothing_is_found(tmp_path, adapter, engine, name):
    if adapter.startswith("llamacpp"):
        pytest.importorskip("llama_cpp")
    search(tmp_path, adapter, "", "", engine, name, examples=60)


def test_every_table_has_thirty_bugs():
    assert all(len(bugs) >= 30 for bugs in TABLES.values())
