"""The README's commands for many prompts do what it says, one after another as they stand there."""

import json
import os
import re
import subprocess
import sys

from bundled import ROOT


def test_many_prompts_at_once(tmp_path):
    block = re.search(r"## Many prompts at once\n.*?```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    script = f'set -e\nminillm() {{ "{sys.executable}" -m minillm "$@"; }}\n{block}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    answers = {
        answer["line"]: answer for answer in map(json.loads, (tmp_path / "answers.jsonl").read_text().splitlines())
    }
    assert "Paris" in answers[2]["text"] and len(answers[1]["tokens"]) > 8
    for part in ("2 answers written", "2 requests", "continuous", "--- 4 of 4 ---"):
        assert part in done.stdout
