"""Hostile code: it cannot reach the answers, forge a result, or hang, crash or flood whoever asked."""

import os
import signal
import sys
import time

import numpy as np
import pytest

import minillm
from minillm.classroom.worker import ENVIRONMENT, Failed, Limits, Returned, Worker
from minillm.classroom.worker_process import FORBIDDEN_MODULE, NOT_HERE

FAST = Limits(call_s=0.4, memory_bytes=1 << 30, output_bytes=100_000, result_bytes=1 << 20)
PACKAGE = os.path.dirname(minillm.__file__)
X = np.arange(3.0)


@pytest.fixture(scope="module")
def worker():
    """One worker for all: after each attack it still answers, from a new process if need be."""
    with Worker(FAST) as worker:
        yield worker
        assert worker.load("def f(x): return x + 1", "f") == Returned(None)
        assert worker.call({"x": 1}).value == 2


def outcome(worker, body):
    """What comes back from a function with this body."""
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    loaded = worker.load(f"import numpy as np, os, sys\ndef f(x):\n{lines}", "f")
    return worker.call({"x": X}) if isinstance(loaded, Returned) else loaded


@pytest.mark.parametrize(
    "body",
    [
        "return x * 2",
        "import statistics, random, functools, math, pdb, numpy.ctypeslib, numpy.testing\nreturn x * 2",
        "np.linalg.norm(x); np.random.default_rng(0); np.fft.fft(x)\nreturn x * 2",
        "os.close(0); os.close(1); os.close(2)\nreturn x * 2",
        "sys.stdout.close()\nreturn x * 2",
        "sys.stdout = None\nreturn x * 2",
        "import atexit\natexit.register(lambda: os._exit(0))\nreturn x * 2",
        "np.array_equal = np.allclose = np.testing.assert_allclose = lambda *a, **k: True\nreturn x * 2",
        "return (x * 2).astype('>f8')",
    ],
)
def test_honest_results_arrive(worker, body):
    found = outcome(worker, body)
    assert isinstance(found, Returned), found
    np.testing.assert_array_equal(found.value, X * 2)


@pytest.mark.parametrize(
    "body",
    [
        f"open({PACKAGE + '/attention.py'!r})",
        f"os.open({PACKAGE + '/attention.py'!r}, os.O_RDONLY)",
        f"sys.path.append({os.path.dirname(PACKAGE)!r})\nimport minillm",
        f"import importlib.util as u\ns = u.spec_from_file_location('a', {PACKAGE + '/attention.py'!r})\n"
        "s.loader.exec_module(u.module_from_spec(s))",
        f"np.fromfile({PACKAGE + '/attention.py'!r})",
        f"np.load({PACKAGE + '/attention.py'!r})",
        f"class P(str):\n  startswith = lambda *a: True\nopen(P({PACKAGE + '/attention.py'!r}))",
        f"open({os.path.dirname(os.__file__)!r} + '/../../../..' + {PACKAGE + '/attention.py'!r})",
        f"os.symlink({PACKAGE!r}, '/tmp/there')",
        f"os.scandir({PACKAGE!r})",
        "os.chdir('/tmp')",
        "open('/tmp/left-behind', 'w')",
        "open('/proc/self/environ')",
        "open(f'/proc/{os.getppid()}/mem', 'rb')",
        "os.kill(os.getppid(), 9)",
        "os.killpg(0, 9)",
        "os.fork()",
        "os.system('true')",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "import subprocess\nsubprocess.run(['true'])",
        "import _posixsubprocess",
        "import _imp, importlib.util as u\n_imp.create_dynamic(u.find_spec('_posixsubprocess'))",
        "import _imp, importlib.util as u, importlib.machinery as m\np = u.find_spec('_posixsubprocess').origin\n"
        "n = 'a._posixsubprocess'\n_imp.create_dynamic(m.ModuleSpec(n, m.ExtensionFileLoader(n, p), origin=p))",
        "import _imp, importlib.machinery as m\n"
        "_imp.create_dynamic(m.ModuleSpec('a', m.ExtensionFileLoader('a', '/tmp/a.so'), origin='/tmp/a.so'))",
        "import resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE)",
        "os.setxattr('/tmp', 'user.x', b'1')",
        "import socket\nsocket.socket()",
        "import gc\ngc.get_objects()",
        "sys.modules['linecache'].open = print\nopen('/etc/passwd')",
    ],
)
def test_what_has_nothing_to_do_with_arrays_is_forbidden(worker, body):
    found = outcome(worker, body)
    assert isinstance(found, Failed), found
    assert found.kind == "forbidden", found
    assert "exercise does not need" in found.message


@pytest.mark.parametrize("module", ["_xxsubinterpreters", "_testcapi", "_tkinter", "readline", "_ctypes"])
def test_what_reaches_around_the_lock_cannot_be_imported(worker, module):
    """In another interpreter, for example, this one's audit hook does not hold."""
    assert outcome(worker, f"import {module}").error == "ModuleNotFoundError"
    again = outcome(worker, f"del sys.modules[{module!r}]\nimport {module}")
    assert again.kind == "forbidden" or again.error in ("ModuleNotFoundError", "AttributeError"), again


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux has them")
@pytest.mark.parametrize(
    "body",
    [
        "os.pidfd_open(os.getppid())",
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 1)",
        "os.mknod('/tmp/left-behind')",
        "import posix\nposix.mkfifo('/tmp/left-behind')",
        "import _imp, importlib.machinery as m\n_imp.create_builtin(m.ModuleSpec('posix', m.BuiltinImporter))",
    ],
)
def test_functions_without_an_event_are_gone(worker, body):
    found = outcome(worker, body)
    assert (found.kind, found.error) == ("raised", "AttributeError"), found


def test_every_other_builtin_module_is_still_there(worker):
    names = [name for name in sys.builtin_module_names if name not in (*NOT_HERE, FORBIDDEN_MODULE)]
    found = outcome(worker, f"import importlib\nreturn [importlib.import_module(n).__name__ for n in {names}]")
    assert isinstance(found, Returned), found


def test_the_lock_does_not_use_what_can_be_replaced(worker):
    """The message may be lost with it, the lock is not."""
    found = outcome(worker, "import builtins\nbuiltins.type = lambda x: str\nreturn open('/etc/passwd').read()")
    assert isinstance(found, Failed), found


@pytest.mark.parametrize("name", ["minillm", "minillm.attention", "torch", "scipy", "ctypes", "exercises", "wire2"])
def test_nothing_solved_can_be_imported(worker, name):
    found = outcome(worker, f"import importlib\nimportlib.import_module({name!r})")
    assert (found.kind, found.error, found.line) == ("raised", "ModuleNotFoundError", 4)


def test_minillm_is_not_among_its_modules_nor_in_its_memory(worker):
    assert outcome(worker, "return [m for m in sys.modules if 'minillm' in m] + sys.argv[1:]").value == []
    assert outcome(worker, "return sorted(os.environ)").value == sorted(ENVIRONMENT)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("os._exit(0)", "ended"),
        ("os.abort()", "ended"),
        ("for fd in range(3, 40):\n  try: os.close(fd)\n  except OSError: pass", "ended"),
        (
            "for fd in range(3, 40):\n  try: os.write(fd, b'1 passed' * 9)\n  except OSError: pass\nreturn x",
            "unreadable",
        ),
        ("while True: pass", "time"),
        ("while True:\n  try:\n    while True: pass\n  except BaseException: pass", "time"),
        ("import time\ntime.sleep(60)", "time"),
        ("while True: print('x' * 1000)", "output"),
        ("while True: os.write(2, b'x' * 1000)", "output"),
        ("return np.zeros(10**6)", "unreadable"),
    ],
)
def test_a_process_that_does_not_answer_is_given_up(worker, body, kind):
    began = time.monotonic()
    found = outcome(worker, body)
    assert isinstance(found, Failed)
    assert found.kind == kind, found
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("sys.exit(0)", "SystemExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("return f(x)", "RecursionError"),
        ("return np.zeros(10**10)", "MemoryError"),
        ("input()", "EOFError"),
        ("class E(Exception):\n  def __str__(self): raise ValueError\nraise E", "E"),
        ("y = []\nfor _ in range(10**5): y = [y]\nreturn y", "RecursionError"),
    ],
)
def test_exceptions_are_told(worker, body, error):
    found = outcome(worker, body)
    assert (found.kind, found.error) == ("raised", error)


def test_a_forged_frame_is_a_result_and_no_verdict(worker):
    """Whoever writes into the pipe by hand can only say what a function could return as well, and loses its place."""
    forge = """
import json
header = json.dumps({"dict": [["number", 3], ["result", True], ["passed", True]]}).encode()
body = len(header).to_bytes(8, "little") + header
for fd in range(3, 40):
  try: os.write(fd, len(body).to_bytes(8, "little") + body)
  except OSError: pass
return x"""
    assert outcome(worker, forge).kind == "unreadable"


ANSWER = """
import json
frame = sys._getframe()
while frame.f_code.co_name != 'serve': frame = frame.f_back
number, array = frame.f_locals['request']['number'], {{"array": "uint8", "shape": [2]}}
header = json.dumps({{"dict": {answer}}}).encode()
body = len(header).to_bytes(8, "little") + header + {arrays}
os.write(frame.f_locals['answers'], len(body).to_bytes(8, "little") + body)
import time
time.sleep(60)"""  # so that no second answer comes behind it


@pytest.mark.parametrize(
    ("answer", "arrays"),
    [
        ('[["number", array]]', "b'ab'"),
        ('[["number", number], ["result", 1], ["inputs", 5]]', "b''"),
        ('[["number", number], ["result", 1], ["inputs", array]]', "b'ab'"),
        ('[["number", number], ["result", 1]]', "b''"),
        ('[["forbidden", 5]]', "b''"),
    ],
)
def test_an_answer_of_other_types_is_a_failure(answer, arrays):
    with Worker(FAST) as worker:
        found = outcome(worker, ANSWER.format(answer=answer, arrays=arrays))
    assert isinstance(found, Failed), found
    assert "\n" not in found.message


@pytest.mark.parametrize("answer", ["{'found': 5}", "{'loaded': np.zeros(2)}", "{'error': np.zeros(9), 'message': 5}"])
def test_a_forged_answer_to_load_is_a_failure(answer):
    with Worker(FAST) as worker:
        outcome(worker, f"sys.modules['__main__'].Exercise.load = lambda *a, **k: {answer}")
        found = worker.load("def f(x): pass", "f")
    assert isinstance(found, Failed), found
    assert "\n" not in found.message + found.error


def test_what_it_prints_is_kept_apart(worker):
    assert outcome(worker, "print('15 passed')\nreturn x").value.tolist() == X.tolist()
    assert worker.output == "15 passed\n"


def test_inputs_come_back_as_they_were_left(worker):
    found = outcome(worker, "x[0] = 7\nreturn x.sum()")
    assert (found.value, found.inputs["x"][0]) == (10.0, 7.0)


def test_syntax_errors_have_a_line(worker):
    found = worker.load("x = 1\ndef f(:\n  pass", "f")
    assert (found.kind, found.error, found.line) == ("raised", "SyntaxError", 2)


def test_a_missing_name_is_told_with_what_there_is(worker):
    found = worker.load("def g(x): pass", "f")
    assert (found.kind, found.message) == ("missing", "there is no function f; it defines g")


def test_the_whole_group_is_killed():
    """What a learner's process started would be in its group; the worker itself stands for that here."""
    with Worker(FAST) as worker:
        worker.load("import os\ndef f(): return os.getpgrp(), os.getpid()", "f")
        group, process = worker.call({}).value
        assert group == process != os.getpgrp()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


def test_nothing_is_left_open():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with Worker(FAST) as worker:
        for body in ("return x", "import os; os._exit(1)"):
            outcome(worker, body)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL
