"""Hostile submissions: attacks on the grader, each with the outcome that it must get.

Each is a file for exercise 3, softmax. RIGHT is a correct body, so an attack that is only a side effect keeps its
points, and one that replaces the work gets none. An outcome may differ between the isolation levels, because at L1 the
kernel answers before the audit hook does: then it is a set. Groups are numbered as in the teacher's page.
"""

RIGHT = """
    w = np.exp(scores - scores.max(-1, keepdims=True))
    return w / w.sum(-1, keepdims=True)
"""
HEAD = "import os, sys\nimport numpy as np\n"


def at_import(code):
    """The attack when the file is loaded, and a right function."""
    return f"{HEAD}{code}\ndef softmax(scores):{RIGHT}"


def in_call(code):
    """The attack in every call, and nothing after it that is right."""
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    return f"{HEAD}def softmax(scores):\n{lines}\n    return scores\n"


def before_right(code):
    """The attack in every call, then a right result."""
    lines = "\n".join(f"    {line}" for line in code.splitlines())
    return f"{HEAD}def softmax(scores):\n{lines}{RIGHT}"


PASSED, FAILED, CRASHED, TIMED_OUT, REFUSED = {"passed"}, {"failed"}, {"crashed"}, {"timed out"}, {"refused"}
FRAMES = """
frame = sys._getframe()
while frame is not None:
    for value in list(frame.f_locals.values()) + list(frame.f_globals.values()):
        if isinstance(value, np.ndarray) and value.shape == scores.shape and value is not scores:
            return value
    frame = frame.f_back
"""
FORGED = """
import json
for number in range(1, 60):
    frame = json.dumps({'number': number, 'result': 1.0, 'inputs': {}}).encode()
    for pipe in range(3, 200):
        try: os.write(pipe, len(frame).to_bytes(8, 'little') + frame)
        except OSError: pass
"""
PROFILER = """
seen = []
def look(frame, event, argument):
    seen.extend(value for value in frame.f_locals.values() if isinstance(value, np.ndarray))
sys.setprofile(look)
def softmax(scores):
    return next((one for one in seen if one.shape == scores.shape and one is not scores), scores)
"""
TRACED = """
def trace(frame, event, argument):
    if event == 'return' and frame.f_code.co_name == 'run':
        frame.f_locals['inputs'] = {}
    return trace
frame = sys._getframe()
while frame is not None:
    frame.f_trace = trace
    frame = frame.f_back
sys.settrace(trace)
def softmax(scores):
    return scores
"""
OWN_WORKER = """
worker = sys.modules['__main__']
worker.Exercise.run = lambda self, inputs: {'result': inputs['scores'], 'inputs': inputs}
worker.failure = lambda problem: {'loaded': 'softmax'}
once = worker.send
def twice(answers, frame):
    once(answers, frame)
    once(answers, frame)
worker.send = twice
def softmax(scores):
    return scores
"""
OTHER_PIPES = """
for pipe in range(3, 200):
    try: os.dup2(1, pipe)
    except OSError: pass
"""
TEXT_OF_ITS_OWN = """
class Strange(BaseException):
    def __str__(self):
        {}
raise Strange
"""
HOLD = "\ntry:\n    while True: pass\nexcept BaseException: pass"
ATTACKS = {
    # 1 to 5: ends the process, so that a runner without a count of results would call it green
    "exit at import": (at_import("sys.exit(0)"), CRASHED),
    "exit in call": (in_call("sys.exit(0)"), CRASHED),
    "_exit at import": (at_import("os._exit(0)"), CRASHED),
    "_exit in call": (in_call("os._exit(0)"), CRASHED),
    "atexit": (in_call("import atexit; atexit.register(lambda: os._exit(0)); raise SystemExit(0)"), CRASHED),
    # 6 to 8: never ends
    "loop": (in_call("while True: pass"), TIMED_OUT),
    "loop that catches everything": (in_call("while True:" + HOLD.replace("\n", "\n    ")), TIMED_OUT),
    "sleep": (in_call("import time; time.sleep(10**6)"), TIMED_OUT),
    "read standard input": (in_call("input()"), CRASHED),
    # 9 to 11: uses up the machine
    "memory": (in_call("keep = [np.ones(10**7) for _ in range(10**4)]"), CRASHED | TIMED_OUT),
    "fork": (in_call("while True: os.fork()"), REFUSED),
    "daemon": (in_call("import subprocess; subprocess.Popen(['sleep', '1000'])"), REFUSED | CRASHED),
    "flood of prints": (in_call("while True: print('x' * 10000)"), CRASHED),
    "flood past sys.stdout": (in_call("while True: os.write(1, b'x' * 10000)"), CRASHED),
    "text that is longer than a header": (in_call("return 'x' * (50 << 20)"), CRASHED),
    "a million lists": (in_call("return [[] for _ in range(10**6)]"), CRASHED),
    "error whose text ends the process": (in_call(TEXT_OF_ITS_OWN.format("os._exit(0)")), CRASHED),
    "error whose text never ends": (in_call(TEXT_OF_ITS_OWN.format("while True: pass")), TIMED_OUT),
    "error with markup in its name": (
        in_call("raise type('<script>\\n::error::\\x1b[2J', (Exception,), {})('<img>\\ud800')"),
        CRASHED,
    ),
    # 12: prints what a log reader would believe, or what the parent would take for an answer
    "forged answers on every pipe": (in_call(FORGED), CRASHED | FAILED),
    "fake report": (in_call("print('1 passed'); print('::set-output name=score::1'); print('{\"score\": 1}')"), FAILED),
    # 15: changes the judge's tools, in its own process only
    "patched comparison": (in_call("np.allclose = np.array_equal = np.isclose = lambda *a, **k: True"), FAILED),
    "patched builtins": (in_call("import builtins; builtins.isinstance = lambda *a: True"), FAILED | REFUSED),
    "patched serialiser": (in_call("import wire; wire.pack = lambda value: b'1 passed'"), FAILED),
    "worker of its own": (HEAD + OWN_WORKER, CRASHED),
    "other pipes in place of the worker's": (before_right(OTHER_PIPES), CRASHED),
    # 16: looks for the answers
    "import the reference": (at_import("from minillm.attention import softmax"), CRASHED),
    "read the reference": (at_import("import glob; text = open('/etc/passwd').read()"), REFUSED),
    "look for a neighbour": (in_call("return open('../neighbour/03_softmax.py').read()"), REFUSED),
    # 17: takes the answer from the caller
    "frames": (in_call(FRAMES), FAILED),
    "profiler": (HEAD + PROFILER, FAILED),
    "trace of the caller": (HEAD + TRACED, FAILED),
    "environment of the process": (in_call("return open('/proc/self/environ').read()"), REFUSED),
    "memory of the process": (in_call("return os.open('/proc/self/mem', os.O_RDONLY)"), REFUSED),
    "garbage collector": (in_call("import gc\nfor o in gc.get_objects(): pass"), REFUSED),
    # 18: a result that lies
    "lying subclass": (
        f"{HEAD}class Liar(np.ndarray):\n    __eq__ = __ne__ = lambda self, other: np.ones(self.shape, bool)\n"
        "    def __sub__(self, other): return np.zeros(self.shape)\n    __rsub__ = __sub__\n"
        "def softmax(scores):\n    return scores.view(Liar)\n",
        FAILED,
    ),
    "objects": (in_call("return scores.astype(object)"), FAILED),
    "subclass that lies about its class": (
        f"{HEAD}class Liar(np.ndarray):\n    __class__ = np.ndarray\n    dtype = np.dtype(float)\n    shape = (1,)\n"
        "def softmax(scores):\n    return scores.view(Liar)\n",
        FAILED,
    ),
    "object that is equal to all": (
        f"{HEAD}class Same:\n    __eq__ = lambda self, other: True\n    __array__ = lambda self, *a, **k: np.zeros(1)\n"
        "def softmax(scores):\n    return Same()\n",
        FAILED,
    ),
    "NaN": (in_call("return np.full(scores.shape, np.nan)"), FAILED),
    "lower precision": (before_right("scores = scores.astype(np.float32)"), FAILED),
    "shape that broadcasts": (in_call("return np.ones((1,) * scores.ndim)"), FAILED),
    "constant that has the properties": (in_call("return np.full(scores.shape, 1 / scores.shape[-1])"), FAILED),
    "alias of the input": (in_call("return scores"), FAILED),
    # 19: inputs and state
    "changes its input": (
        f"{HEAD}def softmax(scores):\n    scores -= scores.max(-1, keepdims=True)\n    np.exp(scores, out=scores)\n"
        "    scores /= scores.sum(-1, keepdims=True)\n    return scores\n",
        FAILED,
    ),
    "wrong from the tenth call": (
        f"{HEAD}calls = []\ndef softmax(scores):\n    calls.append(1)\n    if len(calls) > 9: return scores{RIGHT}",
        FAILED,
    ),
    # 21 to 25: files, pickles, signals, network, crashes
    "writes a result": (in_call("open('results.json', 'w').write('{}')"), REFUSED),
    "links out": (in_call("os.symlink('/', 'root')"), REFUSED),
    "pickle": (
        f"{HEAD}class Evil:\n    def __reduce__(self): return os.system, ('touch /tmp/evil',)\n"
        "def softmax(scores):\n    return Evil()\n",
        FAILED,
    ),
    "kills its parent": (in_call("os.kill(os.getppid(), 9)"), REFUSED),
    "kills everything": (in_call("os.kill(-1, 9)"), REFUSED),
    "network": (in_call("import socket; socket.create_connection(('127.0.0.1', 80))"), REFUSED | CRASHED),
    "ctypes": (in_call("import ctypes; ctypes.string_at(0)"), CRASHED),
    "recursion": (in_call("return softmax(scores)"), CRASHED),
    "abort": (in_call("os.abort()"), CRASHED),
    # 26: files that are not as they were handed out
    "syntax error": ("def softmax(:\n", CRASHED),
    "other signature": (f"{HEAD}def softmax(scores, axis, dtype): return scores\n", CRASHED),
    "no function": ("softmax = 5\n", FAILED),
    "deep brackets": ("def softmax(scores): return " + "(" * 5000 + "scores" + ")" * 5000 + "\n", CRASHED),
    # 27: no array at all
    "generator": (in_call("yield scores"), FAILED),
    "coroutine": (f"{HEAD}async def softmax(scores): return scores\n", FAILED),
    "class": (f"{HEAD}class softmax:\n    def __init__(self, scores): pass\n", FAILED),
    # what only decoration is
    "prints and is right": (before_right("print(scores)"), PASSED),
}  # fmt: skip
