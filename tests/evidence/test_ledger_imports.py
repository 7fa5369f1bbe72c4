"""The ledgers import the engine only inside the functions that run it: listing claims and figures needs none of it."""

import ast
from pathlib import Path

import pytest

import minillm.evidence

FOLDER = Path(minillm.evidence.__file__).parent
ALLOWED = ("minillm.evidence", "minillm.estimate", "minillm.config", "minillm.arrays")


def imported(nodes):
    """The names of the modules that these statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "expected the module's full name"
            yield node.module


@pytest.mark.parametrize("folder", ["claims", "papers"])
def test_the_ledgers_import_the_engine_only_where_they_run_it(folder):
    files = list((FOLDER / folder).glob("*.py"))
    for file in files:
        names = set(imported(ast.parse(file.read_text(encoding="utf-8")).body))
        assert not {name for name in names if name.startswith("minillm") and not name.startswith(ALLOWED)}, file
    assert len(files) > 5
