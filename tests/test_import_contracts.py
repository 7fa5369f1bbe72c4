"""The import contracts of pyproject.toml: kept as the code stands, and each of them broken by one planted import."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("importlinter", reason="needs the extra `lint`")
grimp = pytest.importorskip("grimp")
pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
BREAKS = {  # the contract, and an import that it forbids: where, and what
    "Floors: a module imports only modules that stand lower": ("model.py", "import minillm.kv_cache.paged"),
    "No circle among siblings, at any depth": ("kv_cache/blocks.py", "import minillm.kv_cache.paged"),
    "The specification shares nothing with the engine": ("reference.py", "from minillm.layers import rms_norm"),
    "Estimates are computed from a config alone": ("estimate/memory.py", "from minillm.support import checks"),
    "A backend knows no other backend": ("backends/exact.py", "from minillm.backends.fast import Fast"),
    "The processes for strangers' code import nothing of minillm": (
        "classroom/worker/worker_process.py",
        "from minillm.support import checks",
    ),
}


def lint(folder):
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"
    done = subprocess.run(
        [sys.executable, "-c", program, "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "minillm", tmp_path / "minillm", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_all_contracts_are_kept(copy):
    code, out = lint(copy)
    assert code == 0, out
    assert f"Contracts: {len(BREAKS)} kept, 0 broken." in out


def imports():
    """For each module of the package, the modules that it imports at any place, for types alone too."""
    graph = grimp.build_graph("minillm", cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_no_module_imports_itself_at_any_distance():
    """Also through the `__init__` of its own package, which the contract of siblings does not see."""
    imported = imports()
    for start in imported:
        reached, new = set(), {start}
        while new:
            new = set().union(*(imported[module] for module in new)) - reached
            assert start not in new, start
            reached |= new


@pytest.mark.parametrize("contract", BREAKS)
def test_one_import_breaks_each(copy, contract):
    file, line = BREAKS[contract]
    path = copy / "minillm" / file
    path.write_text(f"{path.read_text()}\n\ndef planted():\n    {line}\n")  # inside a function: that counts too
    code, out = lint(copy)
    assert code == 1, out
    assert f"{contract} BROKEN" in out


def test_a_new_file_at_the_top_has_to_say_where_it_stands(copy):
    (copy / "minillm" / "planted.py").write_text("")
    code, out = lint(copy)
    assert code != 0
    assert "minillm.planted" in out
