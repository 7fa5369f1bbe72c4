"""Every test is run by exactly one of plain pytest, with which .ci/run begins, and the sessions that follow there."""

import ast
import re
import tomllib
from itertools import product
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTEST = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]


def pytest_arguments(session):
    """The arguments that a session of noxfile.py gives to pytest; none if it runs something else."""
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    [function] = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == session)
    calls = [[each.value for each in node.args if isinstance(each, ast.Constant)]
             for node in ast.walk(function) if isinstance(node, ast.Call)]  # fmt: skip
    return next((call[call.index("pytest") + 1 :] for call in calls if "pytest" in call), [])


def arguments_of_ci():
    lanes = re.findall(r"nox --stop-on-first-error -s ([a-z ]+)", (ROOT / ".ci" / "run").read_text())
    return [arguments for session in " ".join(lanes).split() if (arguments := pytest_arguments(session))]


def test_every_kind_of_test_has_one_session():
    chosen = [arguments[-1] for arguments in arguments_of_ci() if not arguments[-1].startswith("tests/")]
    assert len(chosen) == 2 and "-m 'not slow'" in PYTEST["addopts"]
    for slow, compiled in product((False, True), repeat=2):
        plain = not slow and not compiled  # numba is not installed yet
        assert plain + sum(eval(each, {"slow": slow, "compiled": compiled}) for each in chosen) == 1


def test_every_folder_that_plain_pytest_leaves_out_has_one_session_that_runs_all_of_it():
    outside = [f"tests/{name}" for name in PYTEST["norecursedirs"] if (ROOT / "tests" / name).is_dir()]
    inside = [arguments for arguments in arguments_of_ci() if arguments[-1].startswith("tests/")]
    assert sorted(arguments[-1] for arguments in inside) == sorted(outside)
    assert [arguments for arguments in inside if arguments[-3:-1] != ["-m", ""]] == []
