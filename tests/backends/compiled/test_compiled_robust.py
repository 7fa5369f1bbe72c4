"""Threads, forks, Ctrl-C, settings of numba: nothing hangs, and bits stay."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

pytest.importorskip("numba")

import minillm
from minillm.backends.compiled import sharing
from minillm.backends.compiled.rows import rms_norm
from minillm.backends.compiled.sharing import new_counters, share
from minillm.backends.threads import VARIABLES, environment_for

ROOT = Path(__file__).parents[3]
INTERRUPT = """
import os, signal, sys, threading, time
import numpy as np
import minillm

signal.signal(signal.SIGINT, signal.default_int_handler)
model = minillm.load("story", "compiled")
ids = [3 + n % 1000 for n in range(500)]
expected = minillm.prefill(model, ids, minillm.KVCache(model, 500))
cache, rounds = minillm.KVCache(model, 500), 0
main = threading.main_thread().ident
for delay in np.linspace(0, 0.3, 12):
    try:
        threading.Timer(delay, signal.pthread_kill, (main, signal.SIGINT)).start()
        while True:
            cache.truncate(0)
            minillm.prefill(model, ids, cache)
    except KeyboardInterrupt:
        rounds += 1
    assert cache.length in (0, 500)
    cache.truncate(0)
    assert np.array_equal(minillm.prefill(model, ids, cache), expected)
assert rounds == 12
"""


ON_X86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="about x86 processors")


def end_of(*program):
    """The exit status of a Python program on three threads, and what it said. It may have to compile first."""
    environment = environment_for(3) | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "ignore", *program]
    done = subprocess.run(command, env=environment, timeout=250, capture_output=True, text=True)
    return done.returncode, re.sub("compiling for this machine, once: .*\n", "", done.stderr)


@pytest.mark.slow
def test_a_fork_while_another_thread_prefills():
    assert end_of(str(ROOT / "tests" / "fork_while_prefilling.py"), "compiled", "200") == (0, "")


@pytest.mark.slow
def test_ctrl_c_while_prefilling_loses_nothing():
    assert end_of("-c", INTERRUPT) == (0, "")


def test_several_threads_with_two_models_get_the_bits_of_each_alone():
    models = [minillm.load(name, "compiled") for name in ("story", "story-draft")] * 2
    alone = [minillm.forward(model, range(5, 60 + n)) for n, model in enumerate(models)]
    found = [[] for _ in models]

    def work(n):
        for _ in range(5):
            found[n].append(minillm.forward(models[n], range(5, 60 + n)))

    threads = [Thread(target=work, args=[n]) for n in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for logits, expected in zip(found, alone, strict=True):
        assert len(logits) == 5 and all(np.array_equal(one, expected) for one in logits)


@pytest.mark.slow
def test_the_number_of_threads_does_not_change_a_bit():
    program = 'import hashlib, minillm; m = minillm.load("story", "compiled"); print(hashlib.sha256(minillm.forward(m, '
    program += "range(5, 105)).tobytes()).hexdigest())"
    answers = set()
    for threads in ("1", "2", "5"):
        environment = (
            os.environ | dict.fromkeys(VARIABLES, "") | {"PYTHONPATH": str(ROOT), "NUMBA_NUM_THREADS": threads}
        )
        answers.add(subprocess.check_output([sys.executable, "-c", program], env=environment, timeout=250))
    assert len(answers) == 1


def test_a_kernel_is_finished_when_ctrl_c_comes_between(monkeypatch):
    """Another thread may have begun it, and must not write once the call has ended."""

    def interrupted(work, count):
        Thread(target=work, args=[1]).start()
        raise KeyboardInterrupt

    x, weight = np.ones((1, 16), np.float32), np.ones(16, np.float32)
    share(0, rms_norm, x, weight, 0.0, x, new_counters())  # compiles
    monkeypatch.setattr(sharing, "run_tasks", interrupted)
    monkeypatch.setattr(sharing, "thread_count", lambda: 2)
    x, out, counters = np.ones((50_000, 16), np.float32), np.zeros((50_000, 16), np.float32), new_counters()
    with pytest.raises(KeyboardInterrupt):
        share(1e9, rms_norm, x, weight, 0.0, out, counters)
    assert counters[0, sharing.DONE] == 50_000 and (out == 1).all()


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({"NUMBA_DISABLE_JIT": "1"}, "the compiled backend cannot run with NUMBA_DISABLE_JIT=1; unset it, or use"),
        ({"PYTHONPATH": ""}, "the compiled backend needs numba: pip install -e "),
        ({"NUMBA_NUM_THREADS": "0"}, "NUMBA_NUM_THREADS is '0'; expected 1 or more; change it, or use backend='numpy'"),
        pytest.param(
            {"NUMBA_CPU_NAME": "generic"},
            "the compiled backend needs FMA and F16C, and NUMBA_CPU_FEATURES is '' (NUMBA_CPU_NAME is 'generic'); add ",
            marks=ON_X86,
        ),
        pytest.param(
            {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+fma,-f16c"},
            "the compiled backend needs F16C, and NUMBA_CPU_FEATURES is '+fma,-f16c' (NUMBA_CPU_NAME is 'haswell')",
            marks=ON_X86,
        ),
    ],
)
def test_the_command_line_says_in_one_line_what_is_missing(environment, expected, tmp_path):
    (tmp_path / "numba.py").write_text('raise ModuleNotFoundError("blocked", name="numba")')
    path = f"{tmp_path}{os.pathsep}{ROOT}" if "PYTHONPATH" in environment else str(ROOT)
    command = [sys.executable, "-m", "minillm", "generate", "Hello", "--backend", "compiled"]
    environment = {**os.environ, **environment, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, timeout=100, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith(f"minillm: {expected}") and done.stderr.count("\n") == 1
