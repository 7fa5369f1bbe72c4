"""Hostile code: it cannot reach the answers, forge a result, or hang, crash or flood whoever asked."""

import dis
import inspect
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import minillm
from minillm.classroom.worker import start, worker_process
from minillm.classroom.worker import worker as worker_module
from minillm.classroom.worker.start import ENVIRONMENT
from minillm.classroom.worker.worker import Failed, Limits, Returned, Worker
from minillm.classroom.worker.worker_process import FORBIDDEN_MODULE, NOT_HERE, TOLD_BYTES, make_hook

LIMITS = Limits(call_s=20.0, memory_bytes=1 << 30, output_bytes=100_000, result_bytes=1 << 20)
HASTY = replace(LIMITS, call_s=0.4)  # for calls that end by their limit alone: on a busy machine others take longer
PACKAGE = os.path.dirname(minillm.__file__)
X = np.arange(3.0)


@pytest.fixture(scope="module")
def worker():
    """One worker for all: after each attack it still answers, from a new process if need be."""
    with Worker(LIMITS) as worker:
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
        "import fcntl\nfcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())",
        "import fcntl\nfcntl.ioctl(0, 0)",
        "import syslog\nsyslog.syslog('x')",
        "sys._current_frames()",
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


@pytest.fixture
def told(monkeypatch):
    """What the hook tells of an event before it ends the process; nothing, if it allows it."""
    written = []
    monkeypatch.setattr(os, "write", lambda pipe, frame: written.append(frame))
    monkeypatch.setattr(os, "_exit", lambda code: written.append(code))
    hook = make_hook("/numpy/", ("/lib/",), 1, b"begin:")
    monkeypatch.undo()

    def tell(*event):
        written.clear()
        hook(event[0], event[1:])
        return b"".join(written[:1]).strip() if written else b""

    return tell


OPENED = {  # by its arguments: path, mode, flags
    True: [
        ("/numpy/a.py", "r", os.O_CLOEXEC), ("/lib/a.py", "rb", 0), ("/lib/a", None, os.O_RDONLY), (4, "w", 0),
        ("<exercise>", "rb", 0),
    ],
    False: [
        ("/etc/passwd", "r", 0), ("/lib/../etc", "r", 0), ("/lib/site-packages/a", "r", 0),
        (None, "r", 0), (b"/lib/a", "r", 0),
        *(("/lib/a", mode, 0) for mode in ("w", "a", "x", "rb+", "ab", 5)),
        *(("/lib/a", None, flags) for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, None)),
        ("<exercise>", "w", os.O_WRONLY), ("<exercise>", None, os.O_CREAT),
    ],
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "fine"), [(arguments, fine) for fine in OPENED for arguments in OPENED[fine]])
def test_what_may_be_opened(told, arguments, fine):
    assert (told("open", *arguments) == b"") is fine


@pytest.mark.parametrize("path", ["/etc/\ud800", "/" + "x" * 5000, "\x1b[2J", '"}'])
def test_whatever_is_forbidden_is_told(told, path):
    text = told("open", path, "r", 0)
    assert text.startswith(b"begin:open " + path.encode("utf-8", "replace")[:200])
    assert len(text) <= len(b"begin:") + TOLD_BYTES


KEYLOG = """
import ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.keylog_filename = os.path.dirname(np.__file__) + '/no-such-folder/keys'"""


def test_no_file_is_written_by_way_of_ssl(worker):
    """Its event has a mode that writes, and flags that do not. Where the kernel locks, ssl may not load at all."""
    found = outcome(worker, KEYLOG)
    assert found.kind == "forbidden" or found.error == "ImportError"


def test_minillm_is_not_found_through_the_import_path(worker):
    """The hook forbids its file. Where the kernel locks, its folder cannot even be listed."""
    found = outcome(worker, f"sys.path.append({os.path.dirname(PACKAGE)!r})\nimport minillm")
    assert found.kind == "forbidden" or found.error == "ModuleNotFoundError"


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="Linux has them")
@pytest.mark.parametrize(
    "body",
    [
        "os.pidfd_open(os.getppid())",
        "os.setpriority(os.PRIO_PROCESS, os.getppid(), 1)",
        "os.mknod('/tmp/left-behind')",
        "import posix\nposix.mkfifo('/tmp/left-behind')",
        "import _imp, importlib.machinery as m\n_imp.create_builtin(m.ModuleSpec('posix', m.BuiltinImporter))",
        "import signal\nsignal.signal(signal.SIGUSR1, print)",
        "import _signal\n_signal.signal(_signal.SIGUSR1, print)",
        "import gc\ngc.enable()",
    ],
)
def test_functions_without_an_event_are_gone(worker, body):
    found = outcome(worker, body)
    assert (found.kind, found.error) == ("raised", "AttributeError"), found


def test_the_sets_of_functions_are_empty(worker):
    """They would give back what was taken from the modules."""
    names = ["supports_dir_fd", "supports_fd", "supports_follow_symlinks", "supports_effective_ids"]
    assert outcome(worker, f"return [len(getattr(os, name)) for name in {names}]").value == [0] * 4


LEFT_OVER = """
import gc, os, sys
sys.path.insert(0, sys.argv[1])
import worker_process as w
gone = [getattr(m, n) for m in (os, gc, sys.modules["_signal"]) for n in w.WITHOUT_AN_EVENT if hasattr(m, n)]
w.take_away()
for function in gone:
    for holder in gc.get_referrers(function):
        if holder is not gone and holder not in gone and holder is not globals():
            print(function, type(holder), str(holder)[:80])
"""


def test_nothing_holds_the_functions_that_are_gone():
    """Neither a module nor a list of functions, nor what was imported before."""
    command = [sys.executable, "-I", "-S", "-c", LEFT_OVER, os.path.dirname(worker_process.__file__)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""


BUILT_IN = """
import sys
sys.path.insert(0, sys.argv[1])
import worker_process as w
if w.FORBIDDEN_MODULE not in sys.builtin_module_names:  # as in the Python of Debian and of uv
    sys.builtin_module_names += (w.FORBIDDEN_MODULE,)
w.take_away()
assert w.FORBIDDEN_MODULE in sys.modules, "it could not be imported any more"
w.disarm_subprocess()
assert w.FORBIDDEN_MODULE not in sys.modules
import subprocess
subprocess._fork_exec()
"""


def test_subprocess_is_disarmed_also_where_its_module_is_built_in():
    command = [sys.executable, "-I", "-S", "-c", BUILT_IN, os.path.dirname(worker_process.__file__)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "TypeError: 'NoneType' object is not callable"


def test_every_other_builtin_module_is_still_there(worker):
    names = [name for name in sys.builtin_module_names if name not in (*NOT_HERE, FORBIDDEN_MODULE)]
    found = outcome(worker, f"import importlib\nreturn [importlib.import_module(n).__name__ for n in {names}]")
    assert isinstance(found, Returned), found


def test_the_lock_does_not_use_what_can_be_replaced(worker):
    """The message may be lost with it, the lock is not."""
    found = outcome(worker, "import builtins\nbuiltins.type = lambda x: str\nreturn open('/etc/passwd').read()")
    assert isinstance(found, Failed), found


PATCHED = """
import wire
def patched(*arguments):
    frame = sys._getframe()
    while frame.f_code.co_name != 'hook': frame = frame.f_back
    may_open = frame.f_locals['may_open']
    cells = dict(zip(may_open.__code__.co_freevars, may_open.__closure__))
    cells['numpy_folder'].cell_contents = '/'
    wire._describe = honest
    serve(open('/etc/passwd').read())
def serve(secret):
    frame = sys._getframe()
    while frame.f_code.co_name != 'serve': frame = frame.f_back
    packed = wire.pack({'number': frame.f_locals['request']['number'], 'result': secret})
    os.write(frame.f_locals['answers'], packed)
    os._exit(0)
honest, wire._describe, wire.pack.__globals__['_describe'] = wire._describe, patched, patched
open('/etc/hostname')"""


def test_the_lock_runs_nothing_that_a_learner_can_replace(worker):
    """Else code that is called by the hook finds what the hook decides by, and changes it."""
    found = outcome(worker, PATCHED)
    assert isinstance(found, Failed), found
    assert found.kind == "forbidden"
    assert found.message.endswith("open /etc/hostname")


def atoms(value):
    """What is in a tuple, and in the tuples in it."""
    return [atom for item in value for atom in atoms(item)] if type(value) is tuple else [value]


def test_the_hook_holds_nothing_that_can_be_changed():
    """Its frame is seen by whoever catches an exception in it (at the depth limit): no cells, no globals."""
    hook = inspect.unwrap(make_hook("/numpy/", ("/lib/",), 1, b"begin"))  # from what checks types in tests
    assert (hook.__code__.co_freevars, hook.__code__.co_cellvars) == ((), ())
    assert not [step.argval for step in dis.get_instructions(hook) if "GLOBAL" in step.opname or "NAME" in step.opname]
    held = {type(atom) for atom in atoms((hook.__defaults__, hook.__code__.co_consts))}
    assert held <= {str, int, bool, bytes, type(None), type, type(os.write)}
    assert hook.__kwdefaults__ is None


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
def test_a_process_that_does_not_answer_is_given_up(worker, body, kind, monkeypatch):
    if kind == "time":
        monkeypatch.setattr(worker, "limits", HASTY)
    began = time.monotonic()
    found = outcome(worker, body)
    assert isinstance(found, Failed)
    assert found.kind == kind, found
    assert time.monotonic() - began < 15  # before a call's own limit, and long before a sleep of 60 seconds ends


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
    with Worker(LIMITS) as worker:
        found = outcome(worker, ANSWER.format(answer=answer, arrays=arrays))
    assert isinstance(found, Failed), found
    assert "\n" not in found.message


@pytest.mark.parametrize("answer", ["{'found': 5}", "{'loaded': np.zeros(2)}", "{'error': np.zeros(9), 'message': 5}"])
def test_a_forged_answer_to_load_is_a_failure(answer):
    with Worker(LIMITS) as worker:
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
    assert (found.kind, found.message) == ("missing", "expected a function f; found g")


def test_the_whole_group_is_killed(monkeypatch):
    """What a learner's process started would be in its group; the worker itself stands for that here."""
    monkeypatch.setattr(start, "_namespaces", tuple)  # there it ends with the group a moment later
    with Worker(LIMITS) as worker:
        worker.load("def f(): return 1", "f")
        group = worker._running.process.pid
        assert group == os.getpgid(group) != os.getpgrp()
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)


def test_nothing_is_left_open():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with Worker(LIMITS) as worker:
        for body in ("return x", "import os; os._exit(1)"):
            outcome(worker, body)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
    assert signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL


def test_all_calls_together_have_a_time_limit():
    with Worker(Limits(call_s=2.0, check_s=0.5)) as worker:
        worker.load("import time\ndef f(): time.sleep(0.2)", "f")
        began, found = time.monotonic(), Returned(None)
        while isinstance(found, Returned) and time.monotonic() - began < 20:
            found = worker.call({})
        assert found == Failed("time", "all calls took more than 0.5 seconds")
        assert time.monotonic() - began < 10
        worker.load("def f(): return 1", "f")  # each source has its own time
        assert worker.call({}).value == 1


def test_output_after_the_answer_is_limited_too(monkeypatch):
    """A thread, where threads are possible, may print without end after the function has returned."""
    with Worker(Limits(output_bytes=1000)) as worker:
        worker.load("def f(): return 1", "f")
        output, ready, read = worker._running.output, worker_module._ready, os.read

        def after_the_answer(pipes, written, seconds):
            others = [pipe for pipe in pipes if pipe != output]
            return ready(others, written, seconds) if others else {output}

        monkeypatch.setattr(worker_module, "_ready", after_the_answer)
        monkeypatch.setattr(os, "read", lambda pipe, count: b"x" * 100 if pipe == output else read(pipe, count))
        assert worker.call({}) == Failed("output", "the code printed more than 1000 bytes")


def test_pipes_with_large_numbers():
    """`select.select` fails with descriptors from 1024."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(before[0], 2000), before[1]), before[1]))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        with Worker() as worker:
            assert worker.load("def f(): print(1); return 2", "f") == Returned(None)
            assert (worker.call({}), worker.output) == (Returned(2, {}), "1\n")
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_proc_the_code_runs_unlocked(monkeypatch, tmp_path):
    monkeypatch.setattr(start, "MAPS", tmp_path / "nothing")
    start._namespaces.cache_clear()
    with Worker() as worker:
        assert worker.load("def f(): return 2", "f") == Returned(None)
        assert (worker.call({}), worker.locks) == (Returned(2, {}), ())
    start._namespaces.cache_clear()
