"""The pictures of the pages are drawn from real runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_pictures_show_code_and_output_of_a_run(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "scripts" / "lesson_pictures.py", "--out", tmp_path]
    subprocess.run(command, check=True, capture_output=True, env=environment, timeout=120)
    named = set(re.findall(r"\(pictures/(\w+\.svg)\)", (ROOT / "lessons" / "README.md").read_text()))
    assert named == {path.name for path in tmp_path.iterdir()} and named
    for path in tmp_path.iterdir():
        assert path.stat().st_size < 50_000
        kept = ROOT / "lessons" / "pictures" / path.name
        assert kept.read_text() == path.read_text(), "out of date: python scripts/lesson_pictures.py"
    attention = (tmp_path / "attention.svg").read_text()
    assert "copier" in attention and "██" in attention and "goes&#160;from" in attention
