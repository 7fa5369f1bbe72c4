"""A test that hangs fails after its time limit, with the stack that shows where, and the next test runs."""

import subprocess
import sys

import pytest

HANGING = """
import threading
import time

import pytest


@pytest.mark.timeout(0.5)
@pytest.mark.parametrize("kind", ["sleeps", "computes", "waits"])
def test_that_hangs(kind):
    while kind == "computes":
        pass
    if kind == "sleeps":
        time.sleep(1000)
    threading.Event().wait()


def test_after_it():
    pass
"""


def test_every_test_has_a_limit(request):
    limits = {item.get_closest_marker("timeout").args for item in request.session.items}
    assert limits <= {(300,), (3600,)}
    assert request.node.get_closest_marker("timeout").args == (300,)


@pytest.mark.slow
def test_a_slow_test_has_more(request):
    assert request.node.get_closest_marker("timeout").args == (3600,)


@pytest.mark.parametrize("processes", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_a_test_that_hangs_fails_and_the_next_runs(tmp_path, processes):
    pytest.importorskip("pytest_timeout")
    (tmp_path / "test_hanging.py").write_text(HANGING)
    plugins = ["-p", "no:hypothesispytest", "-p", "no:jaxtyping"]
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(processes), *plugins, "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert "3 failed, 1 passed" in done.stdout
    assert "time.sleep(1000)" in done.stdout and "Timeout (>0.5s)" in done.stdout
