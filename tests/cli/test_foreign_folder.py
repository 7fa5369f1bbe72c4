"""The command `minillm` in a folder of somebody else imports nothing of it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = "from _minillm_command import main\nmain()\n"  # what an installed `minillm` is


@pytest.mark.parametrize("options", [["bin/minillm"], ["-P", "-m", "minillm"]])
@pytest.mark.parametrize("shadow", ["numpy.py", "minillm.py", "json.py", "sitecustomize.py"])
def test_files_of_the_folder_are_not_imported(tmp_path, monkeypatch, options, shadow):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "minillm").write_text(SCRIPT)
    (tmp_path / shadow).write_text("open('was-here', 'w')\n")
    command = [sys.executable, *options, "exercise", "check", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "no exercises here" in done.stderr + done.stdout
    assert not (tmp_path / "was-here").exists()
