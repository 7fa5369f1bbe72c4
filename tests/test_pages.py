"""The pages name what exists: every path, every function of the table of concepts, the whole tree, and its floors."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import minillm

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    path.relative_to(ROOT).as_posix() for glob in ("*.md", "docs/**/*.md", "lessons/*.md") for path in ROOT.glob(glob)
)
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PATH = re.compile(r"`((?:minillm|tests|scripts|docs|exercises|lessons|weights|\.github)/[\w./-]*)`")
PLACEHOLDER = "NN_name"  # in CONTRIBUTING.md, for a folder that is to be made
COMPLETE = ("kv_cache", "speculative", "batching")  # the folders of which the tree lists every file


def named_paths(text):
    """Every path in backticks that should exist."""
    return [path for path in PATH.findall(text) if PLACEHOLDER not in path]


@pytest.mark.parametrize("page", PAGES)
def test_every_path_exists(page):
    missing = [path for path in named_paths((ROOT / page).read_text(encoding="utf-8")) if not (ROOT / path).exists()]
    assert missing == []


def test_a_missing_path_is_found():
    assert named_paths("`minillm/model.py`, `x.py`, `exercises/NN_name` and `tests/no.py`") == [
        "minillm/model.py",
        "tests/no.py",
    ]


def names_in(path):
    """The names that a file defines, methods and attributes of classes too."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    return defined | {
        node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def test_every_function_of_the_table_is_in_its_file():
    found = re.findall(r"`(minillm/[\w/]+\.py)` \(((?:`\w+`(?:, )?)+)\)", ARCHITECTURE)
    assert len(found) > 10
    for path, names in found:
        assert set(re.findall(r"`(\w+)`", names)) <= names_in(ROOT / path), (path, names)


def tree():
    """What the tree of the page lists below minillm/: files and folders."""
    figure = re.search(r"```\nminillm/\n(.*?)\n(?=\S)", ARCHITECTURE, re.DOTALL)[1]
    listed, folder = set(), ""
    for line in figure.splitlines():
        depth = len(line) - len(line.lstrip())
        names = re.findall(r"^\s+([\w.]+/?)", line)
        if depth == 2:
            folder = names[0] if names[0].endswith("/") else ""
            listed.add(names[0].rstrip("/"))
        elif depth == 4:
            listed.add(folder + names[0])
    return listed


def test_the_tree_is_whole():
    package, listed = ROOT / "minillm", tree()
    assert [name for name in listed if not (package / name).exists()] == []
    top = {path.name for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert top - listed == {"__init__.py", "__main__.py"}
    for folder in COMPLETE:
        files = {f"{folder}/{path.name}" for path in (package / folder).glob("*.py")}
        assert files - listed == {f"{folder}/__init__.py"}


def test_the_floors_are_those_of_the_import_contracts():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    figure = re.search(r"## The floors\n.*?```\n(.*?)```", ARCHITECTURE, re.DOTALL)[1]
    lines = [re.split(" {4,}", line.strip())[0].split() for line in figure.splitlines() if "---" not in line]
    assert [set(line) for line in lines] == [set(layer.split(" | ")) for layer in layers]


def sessions_in(name):
    """The sessions that a file runs or names after `nox -s`."""
    named = re.findall(r"nox(?: --[\w-]+)* -s ([a-z ]+)", (ROOT / name).read_text())
    return {session for line in named for session in line.split()}


def test_every_session_is_explained_and_run_by_both_checks():
    """`tests` is plain pytest, which .ci/run runs as the README does; docs and quick are parts of others.

    The hour of `teeth` is for changes of the core files.
    """
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    sessions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    assert sessions_in("CONTRIBUTING.md") == sessions
    assert sessions_in(".github/workflows/check.yml") == sessions - {"docs", "quick", "teeth"}
    assert sessions_in(".ci/run") == sessions - {"docs", "quick", "teeth", "tests"}


def test_the_quick_tests_of_the_readme_are_those_of_nox():
    quick = re.search(r"^QUICK = \((.*)\)", (ROOT / "noxfile.py").read_text(), re.MULTILINE)[1]
    assert f"pytest {quick.replace(',', '').replace(chr(34), '')} " in (ROOT / "README.md").read_text()


def test_the_version_is_the_same_everywhere_and_each_release_speaks_of_hashes():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"\nversion: {minillm.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^## (.*)$", changelog, re.MULTILINE)[:2] == ["Unreleased", minillm.__version__]
    for release in changelog.split("\n## ")[1:]:
        assert re.search(r"^Hashes: .+\.$", release, re.MULTILINE), release


def entries():
    """Each term of the glossary with its text."""
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8").split("\n## ")[0]
    return re.findall(r"^- \*\*(.+?)\*\*: (.*(?:\n  .*)*)", page, re.MULTILINE)


def test_the_glossary_is_sorted_and_names_a_file_for_each_word():
    terms = [term.lower().replace("-", " ") for term, _ in entries()]
    assert terms == sorted(terms) and len(set(terms)) == len(terms) >= 60
    for term, text in entries():
        assert re.search(r"\]\(\.\./minillm/[\w/]+\.\w+\)$", text), term
