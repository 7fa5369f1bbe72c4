"""An engine in a process of its own: what crashes, hangs, prints or answers anything at all has a verdict."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minillm.verification.engine_process import EngineProcess
from minillm.verification.handles import Handle

OWN = """
import ctypes, os, signal, sys, time
import numpy as np
from minillm.verification import Unsupported
VOCAB_SIZE = 5
def new_cache(): return []
def prefill(tokens, cache):
    cache.extend(tokens)
    return np.arange(5.0) + len(cache)
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def process(tmp_path):
    """Makes the process of a file with this text; it is closed at the end."""
    made = []

    def make(text):
        (tmp_path / "engine.py").write_text(OWN + text)
        made.append(EngineProcess(tmp_path / "engine.py"))
        made[-1].ask({"do": "begin", "engine": "engine", "config": None}, 60)
        return made[-1]

    yield make
    for one in made:
        one.close()


def begin(process):
    assert process.ask({"do": "begin", "engine": "engine", "config": None}, 60) == {}


def call(process, name, *arguments, returns="logits", numbers=(), seconds=60.0):
    request = {"do": "call", "name": name, "arguments": list(arguments), "returns": returns, "numbers": list(numbers)}
    return process.ask(request, seconds)


def decoded(process, body, seconds=60.0):
    """The answer of an engine whose decode has this body."""
    running = process(f"def decode(token, cache):\n    {body}\n")
    call(running, "new_cache", returns="cache", numbers=[0])
    return running, call(running, "decode", 1, Handle(0), seconds=seconds)


def test_caches_stay_in_the_process(process):
    running = process("def fork(cache): return list(cache)\n")
    assert call(running, "new_cache", returns="cache", numbers=[0]) == {"value": None}
    call(running, "prefill", [1, 2], Handle(0))
    call(running, "fork", Handle(0), returns="cache", numbers=[1])
    call(running, "prefill", [1], Handle(0))
    assert call(running, "prefill", [1], Handle(1))["value"].tolist() == [3, 4, 5, 6, 7]
    begin(running)
    assert call(running, "prefill", [1], Handle(1))["error"] == "KeyError"  # a new example has no cache


@pytest.mark.parametrize(
    ("body", "how"),
    [
        ("ctypes.string_at(0)", "signal SIGSEGV (Segmentation fault)"),
        ("os.abort()", "signal SIGABRT (Aborted)"),
        pytest.param("os._exit(3)", "exit status 3", marks=pytest.mark.slow),
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", "signal SIGKILL (Killed)", marks=pytest.mark.slow),
    ],
)
def test_a_crash_is_an_answer_and_the_next_example_has_a_new_process(process, body, how):
    running, answer = decoded(process, f"print('before', flush=True); {body}")
    assert answer["crashed"] == how
    assert answer["output"][0] == "before"
    assert how.startswith(("exit", "signal SIGKILL")) or answer["output"][1:] == ["engine.py, line 11 in decode"]
    for _ in range(2):  # copies of a process that has loaded the file
        begin(running)
        call(running, "new_cache", returns="cache", numbers=[0])
        assert call(running, "prefill", [1], Handle(0))["value"].tolist() == [1, 2, 3, 4, 5]
        assert call(running, "decode", 1, Handle(0))["crashed"] == how
    running.refresh()
    begin(running)


def test_an_engine_that_hangs_is_killed(process):
    running, answer = decoded(process, "time.sleep(600)", seconds=0.2)
    assert answer == {"hung": 0.2}
    begin(running)
    call(running, "new_cache", returns="cache", numbers=[0])
    assert call(running, "decode", 1, Handle(0), seconds=0.2) == {"hung": 0.2}  # a copy, too


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ("raise SystemExit(0)", {"error": "SystemExit", "message": "0", "place": "line 11"}),
        ("raise KeyboardInterrupt", {"error": "KeyboardInterrupt", "message": "", "place": "line 11"}),
        ("return cache[9]", {"error": "IndexError", "message": "list index out of range", "place": "line 11"}),
        ("raise Unsupported('no\\nway')", {"refused": "no way"}),
        ("raise NotImplementedError", {"refused": ""}),
        ("return None", {"value": None}),
    ],
)
def test_exceptions_are_answers(process, body, answer):
    assert decoded(process, body)[1] == pytest.approx(answer, nan_ok=True)


def test_what_is_printed_or_closed_does_not_break_the_connection(process):
    body = "print('x' * 100_000); os.write(1, b'y' * 100_000); os.write(2, b'z'); sys.stdin.read(); sys.stdout.close()"
    assert decoded(process, body + "; return [1] * 5")[1]["value"].tolist() == [1] * 5


def test_results_of_other_kinds_arrive(process):
    answer = decoded(process, "return [float('nan'), np.float32(1), 2, True, np.float16(0.5)]")[1]["value"]
    np.testing.assert_array_equal(answer, [np.nan, 1, 2, 1, 0.5])
    assert decoded(process, "return np.zeros((3000, 20_000))")[1]["error"] == "ValueError"
    assert decoded(process, "return [0.5] * 500_000")[1]["value"].shape == (500_000,)
    assert decoded(process, "return 'text'")[1] == {"value": "text"}
    running = process("def stream(prompt, options):\n    yield np.int64(1)\n    yield 'x' * 5_000_000")
    assert "expected an array" in call(running, "stream", [1], {}, returns="value")["message"]


def test_functions_are_called_back_and_their_failure_ends_the_call(process):
    running = process("def sample(logits, options, draw): return 10 * draw([0.25, 0.75]) + draw(np.ones(2))\n")
    drawn = iter([1, 0])
    assert call(running, "sample", [1.0], {}, lambda weights: next(drawn), returns="value") == {"value": 10}

    def fails(weights):
        raise AssertionError("no distribution")

    with pytest.raises(AssertionError, match="no distribution"):
        call(running, "sample", [1.0], {}, fails, returns="value")
    assert call(running, "sample", [1.0], {}, lambda weights: 1, returns="value") == {"value": 11}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_the_kind", "engine.py does not load: ModuleNotFoundError"),
        ("ctypes.string_at(0)", "does not load: its process ended with signal SIGSEGV"),
        ("os._exit(3)", "does not load: its process ended with exit status 3"),
    ],
)
def test_a_file_that_does_not_load_is_one_line(process, text, message):
    with pytest.raises(ValueError) as problem:
        process(text)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


PARENT = """
import os, sys, time
from pathlib import Path
from minillm.verification.engine_process import EngineProcess
process = EngineProcess(Path(sys.argv[1]))
process.ask({"do": "begin", "engine": "engine", "config": None}, 60)
ask = {"do": "call", "arguments": [], "returns": "value", "numbers": []}
print(process.ask({**ask, "name": "sample"}, 60)["value"], flush=True)
if sys.argv[2] == "copy":
    process.ask({**ask, "name": "stream"}, 60)
    process.ask({"do": "begin", "engine": "engine", "config": None}, 60)
    print(process.ask({**ask, "name": "sample"}, 60)["value"], flush=True)
process.ask({**ask, "name": "generate"}, 600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process looks for its parent every half second")
@pytest.mark.parametrize("kind", ["original", "copy"])
@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_no_process_outlives_its_parent(tmp_path, kind, number):
    """Even if the engine hangs in code that is not Python's."""
    text = "def sample(): return os.getpid()\ndef stream(): os._exit(1)\n"
    text += "def generate(): ctypes.PyDLL(None).sleep(600)\n"
    (tmp_path / "engine.py").write_text(OWN + text)
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), str(tmp_path / "engine.py"), kind]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as parent:
        assert parent.stdout is not None
        children = [int(parent.stdout.readline()) for _ in range(1 + (kind == "copy"))]
        time.sleep(0.2)
        parent.send_signal(number)
    for _ in range(200):
        if not any(map(runs, children)):
            return
        time.sleep(0.05)
    raise AssertionError("a process still runs")


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
