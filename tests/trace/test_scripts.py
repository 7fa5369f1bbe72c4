"""Tests of the page's scripts that need no browser: node runs them."""

import shutil
import subprocess
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.test.js"))
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="node is not installed")
@pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])
def test_script(file):
    done = subprocess.run([NODE, file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
