"""An install hint is a command that works from any folder: minillm itself is in no package registry."""

import re
import tomllib
from pathlib import Path

from minillm.support import install_hint as module
from minillm.support.install_hint import install_hint

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_in_a_checkout_the_hint_names_its_folder():
    assert install_hint("notebook") == f'pip install -e "{ROOT}[notebook]"'


def test_an_installed_minillm_says_where_the_command_works(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "PACKAGE", tmp_path / "minillm")
    assert install_hint("gpu") == 'pip install -e ".[gpu]" in the source folder of minillm'


def test_every_hint_names_an_extra_and_none_names_the_distribution():
    """pip would look for it in a registry."""
    for path in [
        *ROOT.glob("minillm/**/*.py"),
        *ROOT.glob("_minillm*.py"),
        *ROOT.glob("*.md"),
        *ROOT.glob("[!.]*/**/*.md"),
    ]:
        text = path.read_text()
        assert not re.search(re.escape(PROJECT["name"]) + r"\s*\[", text), path
        assert not re.search(r"install\s+['\"]?" + re.escape(PROJECT["name"]), text), path
        for extra in re.findall(r"install_hint\([\'\"](\w+)[\'\"]\)|pip install -e ['\"]\.\[([\w,]+)\]", text):
            assert set("".join(extra).split(",")) <= set(PROJECT["optional-dependencies"]) | {"extra"}, path
