"""Estimates stand alone: what they compute, they compute from a config and a shape, without the engine."""

import ast
from pathlib import Path

import pytest

import minillm.estimate

FOLDER = Path(minillm.estimate.__file__).parent
ALLOWED = ("minillm.estimate", "minillm.config", "minillm.arrays")  # the last are the names of shapes


def imported(nodes):
    """The names of the modules that these statements import."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "expected the module's full name"
            yield node.module


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.py")), ids=lambda file: file.stem)
def test_estimates_import_nothing_of_the_engine_but_its_config(file):
    names = set(imported(ast.walk(ast.parse(file.read_text(encoding="utf-8")))))
    assert not {name for name in names if name.startswith("minillm") and not name.startswith(ALLOWED)}
