"""Plain pytest in a workspace, and with somebody's engine: as a learner calls it, in a process of its own."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from exercise_files import solve, write_body

from minillm.classroom.exercises import bughunt
from minillm.classroom.exercises.workspace import Workspace
from minillm.support.install_hint import install_hint

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run_pytest(tmp_path, monkeypatch):
    """Run it in this folder; the plugin is named, since a checkout need not be installed. Others take long to load."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(folder, *arguments):
        command = [sys.executable, "-m", "pytest", "-p", "_minillm_pytest", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "work"
    Workspace.start(folder)
    return folder


@pytest.mark.slow
def test_a_concept_is_picked_by_its_name(run_pytest, folder, monkeypatch):
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    code, out = run_pytest(folder, "-k", "kv_cache", "--collect-only", "-q")
    assert code == 0
    for name in ("11_kv_cache_append.py::kv_cache_append", "13_kv_cache_memory.py::", "06_attention.py::attention"):
        assert name in out
    assert "softmax" not in out


def test_passed_failed_and_not_started(run_pytest, folder):
    solve(folder, "softmax")
    write_body(folder, "rope", "return x")
    write_body(folder, "attention", 'raise NotImplementedError("later")')  # a changed file is not skipped
    code, out = run_pytest(folder, "-v", "-rs", "-k", "softmax or rope or causal_mask or 06_attention")
    assert code == 1
    for line in ("03_softmax.py::softmax PASSED", "04_rope.py::rope FAILED", "05_causal_mask.py::causal_mask SKIPPED"):
        assert line in out
    assert "04_rope: failed at case 1 of 9: the values differ" in out
    assert "2 failed, 1 passed, 2 skipped" in out and "not started yet" in out  # online_softmax, too
    assert "06_attention.py::attention FAILED" in out
    assert "Traceback" not in out


@pytest.mark.slow
def test_what_one_file_does_to_numpy_does_not_reach_the_next(run_pytest, folder):
    write_body(folder, "loss_gradient", "np.cos = np.sin = None")
    solve(folder, "rope")
    code, out = run_pytest(folder, "-k", "loss_gradient or rope", "-q")
    assert (code, "1 failed, 1 passed" in out) == (1, True), out


def test_a_file_that_is_named_is_checked_and_never_run_here(run_pytest, folder, tmp_path):
    write_body(folder, "softmax", "return scores")
    file = folder / "03_softmax.py"
    file.write_text(f"open({str(tmp_path / 'was-here')!r}, 'w')\n" + file.read_text())
    code, out = run_pytest(folder, "03_softmax.py", "-q")
    assert (code, (tmp_path / "was-here").exists()) == (1, False)
    assert "1 failed" in out


CHEAT = """
import pathlib
pathlib.Path(__file__).with_name("was-here").touch()
def pytest_runtest_makereport(item, call):
    import pytest
    return pytest.TestReport.from_item_and_call(item, type(call).from_call(lambda: None, call.when))
"""


@pytest.mark.parametrize("inside", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_conftest_of_the_learner_is_not_loaded(run_pytest, folder, inside):
    """It would run in this process, and could let everything pass."""
    write_body(folder, "softmax", "return scores")
    (folder / "conftest.py").write_text(CHEAT)
    where, arguments = (folder, []) if inside else (folder.parent, [folder.name])
    code, out = run_pytest(where, *arguments, "-k", "softmax", "-v")
    assert (code, (folder / "was-here").exists()) == (1, False), out
    assert "minillm: conftest.py of an exercise folder is not loaded" in out


def test_a_conftest_elsewhere_is_loaded(run_pytest, tmp_path):
    (tmp_path / "conftest.py").write_text("import pytest\n@pytest.fixture\ndef own(): return 1\n")
    (tmp_path / "test_own.py").write_text("def test(own): assert own == 1\n")
    assert run_pytest(tmp_path, "-q")[0] == 0


@pytest.mark.slow
def test_collected_files_are_tests_without_the_hidden_folder_and_pytest_ini(run_pytest, folder, tmp_path):
    solve(folder, "softmax")
    write_body(folder, "rope", "return x")
    collected = tmp_path / "collected"
    collected.mkdir()
    for name in ("03_softmax.py", "04_rope.py"):
        shutil.copy(folder / name, collected)
    code, out = run_pytest(collected, "-v")
    assert (code, "1 failed, 1 passed" in out) == (1, True), out
    assert "03_softmax.py::softmax PASSED" in out and "04_rope.py::rope FAILED" in out


def test_exercises_elsewhere_are_no_tests(run_pytest, tmp_path):
    (tmp_path / "03_softmax.py").write_text("1 / 0")
    assert run_pytest(tmp_path, "-q")[0] == 5  # nothing collected


@pytest.mark.slow
def test_an_engine_imports_its_neighbours(run_pytest, tmp_path):
    (tmp_path / "my_layers.py").write_text("SIZE = 3")
    text = "import my_layers\nVOCAB_SIZE = my_layers.SIZE\ndef new_cache(): return []\n"
    text += "def prefill(tokens, cache):\n    cache += tokens\n    return [len(cache)] * 3\n"
    (tmp_path / "my_engine.py").write_text(text)
    code, out = run_pytest(tmp_path.parent, "--minillm-engine", f"{tmp_path.name}/my_engine.py", "-k", "chunked")
    assert (code, "1 passed" in out) == (0, True), out


def test_an_engine(run_pytest, tmp_path):
    text = bughunt.planted(bughunt.find_bug(5)).replace("    def fork(self, cache)", "    def _fork(self, cache)")
    (tmp_path / "my_engine.py").write_text(text)
    (tmp_path / "test_other.py").write_text("def test(): assert False")
    code, out = run_pytest(tmp_path, "--minillm-engine", "my_engine.py", "-rs", "-k", "truncated or forks or chunked")
    assert code == 1
    assert "1 failed, 1 passed, 1 skipped" in out
    assert "not tested  no fork: forks_are_independent" in out
    assert "truncate(a, 1)" in out
    assert re.search(r"passed      chunked_prefill_is_whole_prefill            \d\.\de-\d\d of 1e-04", out)
    assert "to run it again: python minillm_failure_1.py" in out
    assert (tmp_path / "minillm_failure_1.py").exists()
    assert "Traceback" not in out


REFUSING = """
import numpy as np
VOCAB_SIZE = 5
def new_cache(): return []
def prefill(tokens, cache): cache.extend(tokens); return np.arange(5.0) + len(cache)
def truncate(cache, length): raise NotImplementedError("a recorded window")
"""


@pytest.mark.slow
def test_an_engine_that_refuses_every_call_is_not_tested(run_pytest, tmp_path):
    (tmp_path / "my_engine.py").write_text(REFUSING)
    code, out = run_pytest(tmp_path, "--minillm-engine", "my_engine.py", "-rs", "-k", "truncated or prefill_is_naive")
    assert code == 0
    assert "1 passed, 1 skipped" in out
    assert "every example was refused: truncate(a, " in out
    assert "): a recorded window" in out


SEVERAL = """
import ctypes, time
import numpy as np
class Engine:
    VOCAB_SIZE = 5
    def new_cache(self): return []
    def prefill(self, tokens, cache): cache.extend(tokens); return np.arange(5.0) + len(cache)
    def decode(self, token, cache): return self.prefill([token], cache)
class Wrong(Engine):
    def decode(self, token, cache): return self.prefill([token], cache) * 2
class Slow(Engine):
    def decode(self, token, cache):
        time.sleep(1.0 if len(cache) < 8 else 100)
        return self.prefill([token], cache)
def engines():
    yield "right", Engine()
    yield "wrong", Wrong()
    yield "slow", Slow()
"""


def test_a_report_that_cannot_be_written_is_one_line(run_pytest, tmp_path):
    (tmp_path / "my_engine.py").write_text(SEVERAL)
    arguments = "--minillm-engine my_engine.py --minillm-report nowhere/out.json -k".split()
    code, out = run_pytest(tmp_path, *arguments, "right and prefill_is")
    assert (code, "Traceback" in out, "2 passed" in out) == (2, False, True), out
    assert "--minillm-report: the results cannot be written: nowhere/out.json" in out.replace(f"{tmp_path}/", ""), out


def test_several_engines_are_a_matrix_and_a_file(run_pytest, tmp_path):
    (tmp_path / "my_engine.py").write_text(SEVERAL)
    arguments = "--minillm-engine my_engine.py --minillm-report out.json --junitxml out.xml".split()
    code, out = run_pytest(tmp_path, *arguments, "-k", "(right or wrong) and cached_decoding")
    assert (code, "1 failed, 1 passed" in out) == (1, True), out
    assert re.search(r"\n +right +wrong\ncached_decoding_is_naive_decoding +ok 0e\+00 +FAILED\n", out), out
    assert "FAILED my_engine.py::wrong::cached_decoding_is_naive_decoding - wrong in deco" in out
    right, wrong = json.loads((tmp_path / "out.json").read_text())
    assert (right["engine"], right["verdict"], wrong["engine"], wrong["verdict"]) == (
        "right",
        "passed",
        "wrong",
        "wrong",
    )
    assert wrong["calls"] == ["a = new_cache()", "prefill([0], a)", "decode(0, a)"]
    assert '<property name="verdict" value="wrong" />' in (tmp_path / "out.xml").read_text()


@pytest.mark.slow
def test_a_run_that_is_ended_shows_the_smallest_example_so_far(run_pytest, tmp_path):
    """`timeout 60 pytest` sends SIGTERM."""
    text = SEVERAL.replace("VOCAB_SIZE = 5", "VOCAB_SIZE, CALL_SECONDS = 5, 1.5")
    (tmp_path / "my_engine.py").write_text(text)
    program = "import os, signal, sys\n" + ENDED
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "interrupted: cached_decoding_is_naive_decoding" in done.stdout, done.stdout + done.stderr
    assert "hung in decode; the smallest failing example so far:" in done.stdout
    assert "to run it again: python minillm_failure_1.py" in done.stdout


ENDED = """
import pytest
from minillm.verification import findings
add = findings.Findings.add_failure
def added(self, failure):
    add(self, failure)
    os.kill(os.getpid(), signal.SIGTERM)
findings.Findings.add_failure = added
sys.exit(pytest.main("-p _minillm_pytest --minillm-engine my_engine.py -k".split() + ["slow and cached"]))
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file"),
        ("x = 1", "expected make_engine(config, weights)"),
        ("raise SystemExit(0)", "does not load: SystemExit: 0"),
    ],
)
def test_a_wrong_engine_is_one_line(run_pytest, tmp_path, text, message):
    if text:
        (tmp_path / "my_engine.py").write_text(text)
    code, out = run_pytest(tmp_path, "--minillm-engine", "my_engine.py")
    assert code == 4
    assert next(line for line in out.splitlines() if line).startswith("ERROR: --minillm-engine: ")
    assert message in out


def test_without_hypothesis_it_says_what_is_missing(run_pytest, tmp_path):
    (tmp_path / "hypothesis.py").write_text("raise ImportError")
    code, out = run_pytest(tmp_path, "-p", "no:hypothesispytest", "--minillm-engine", "x.py")
    assert code == 4
    assert f"needs Hypothesis: {install_hint('test')}" in out


def test_the_plugin_imports_nothing_of_minillm_by_itself():
    program = "import sys, _minillm_pytest; print([name for name in sys.modules if name.startswith('minillm')])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_a_slow_import_is_announced_and_ctrl_c_is_one_line(tmp_path):
    (tmp_path / "my_engine.py").write_text("import time\ntime.sleep(600)\n")
    script = "import _minillm_pytest, pytest, sys\n_minillm_pytest.IMPORT_SECONDS = 0.1\n" + (
        "sys.exit(pytest.main('-p _minillm_pytest --minillm-engine my_engine.py'.split()))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    running = subprocess.Popen(
        [sys.executable, "-u", "-c", script], cwd=tmp_path, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stderr.readline() == "minillm: my_engine.py is being imported; Ctrl-C ends it\n"
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=60)
    assert told.strip() == "ERROR: --minillm-engine: interrupted while my_engine.py was being imported"
    assert running.returncode == 4
