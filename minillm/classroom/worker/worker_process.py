"""The worker: runs a learner's functions on inputs that it is sent, and returns what they return. It judges nothing.

It runs by itself (`python -I -S worker_process.py`), with no path to any package but NumPy, so that minillm's solved
functions cannot be imported. Before the first line of the learner's code it locks itself up with an audit hook
(PEP 578), which nothing in Python can take off again: no file but the standard library's and NumPy's is opened, no
process started or signalled, no socket, no ctypes. A forbidden act ends the process at once. PEP 578 itself says that
a hook is no sandbox: it stops every ordinary way, and what must not leak (expected results, other people's work)
is never in this process. What acts without an event is taken away before. The lock is for the worker alone, since it
holds until the process ends.
"""

import _imp
import contextlib
import gc
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

FORBIDDEN_EXIT = 77
TOLD_BYTES = 300  # of what was forbidden
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC  # flags of `open`
FILE_NAME = "<exercise>"  # how tracebacks call the learner's source; Python looks for it to show a syntax error
FORBIDDEN_MODULE = "_posixsubprocess"  # with it, processes start without an event
NOT_HERE = (  # NumPy does without; with them, memory, files and other interpreters are reached without an event
    "ctypes", "_ctypes", "_ctypes_test", "_testcapi", "_testinternalcapi", "_tkinter", "readline", "_gdbm", "_dbm",
    "_posixshmem", "_multiprocessing", "_xxsubinterpreters", "_interpreters",
)  # fmt: skip
WITHOUT_AN_EVENT = (  # functions that reach other processes, write files, or (the last two) run code amid the hook
    "pidfd_open", "pidfd_send_signal", "setpriority", "sched_setaffinity", "sched_setscheduler", "sched_setparam",
    "mkfifo", "mknod", "setns", "unshare", "chroot", "activate_stack_trampoline", "signal", "enable",
)  # fmt: skip
SETS_OF_FUNCTIONS = ("supports_dir_fd", "supports_fd", "supports_follow_symlinks", "supports_effective_ids")  # of `os`
FORBIDDEN_EVENTS = (
    "ctypes.", "gc.", "subprocess.", "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.startfile",
    "os.kill", "signal.pthread_kill", "socket.", "os.listdrive", "os.scandir", "os.link", "os.symlink", "os.rename",
    "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.ch", "os.utime", "os.setxattr", "shutil.", "pty.",
    "resource.", "fcntl.", "syslog.", "sys._current", "sys.remote_exec", "sqlite3.", "cpython.run_",
    "cpython.PyInterpreterState_New", "webbrowser.",
)  # fmt: skip


def limit_resources(memory_bytes: int, cpu_seconds: int) -> None:
    """What the system enforces, where it can: memory, processor time (if the parent is gone), no files written."""
    wanted = {
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_CPU": cpu_seconds,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 0,  # of the whole user; the superuser is exempt
    }
    for name, value in wanted.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):  # macOS lacks some
            continue


def disarm_subprocess() -> None:
    """`numpy.testing` imports it, so it can be imported; but what it starts processes with is gone."""
    import _posixsubprocess
    import subprocess

    _posixsubprocess.fork_exec = subprocess._fork_exec = None  # type: ignore[assignment, attr-defined]
    del sys.modules[FORBIDDEN_MODULE]


def take_away() -> None:
    """What no event tells of: some modules, some functions, and the way to make those modules and functions anew."""
    for name in NOT_HERE:
        sys.modules[name] = None  # type: ignore[assignment]
    for name in sys.builtin_module_names:  # they are found here from now on; only a new one would have to be made
        if name not in (*NOT_HERE, FORBIDDEN_MODULE):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    del _imp.create_builtin
    gc.disable()  # what it calls would run in the middle of the hook; `serve` collects, between two requests
    for module in (os, sys.modules["posix"], signal, sys.modules["_signal"], gc, sys):
        for name in WITHOUT_AN_EVENT:
            if hasattr(module, name):
                delattr(module, name)
    for name in SETS_OF_FUNCTIONS:  # they hold what was just deleted
        getattr(os, name).clear()


def make_hook(numpy_folder: str, standard_library: tuple[str, ...], answers: int, begin: bytes) -> Callable[..., None]:
    """The audit hook, which decides what is forbidden, says so, and ends the process.

    Whoever gets hold of its frame (the traceback of a RecursionError has it) can read and change whatever the frame
    leads to: globals, closures, and the insides of any Python function. So there are none. Everything the hook needs
    is in one default argument, a tuple of text, numbers and functions written in C, and it calls nothing else: that
    is why it is in one piece, and long.
    """
    tools = (type, str, int, os.write, os._exit)
    endings = tuple("." + name for name in (FORBIDDEN_MODULE, *NOT_HERE))  # a.b is what b makes
    rules = (FORBIDDEN_EVENTS, FILE_NAME, WRITING, numpy_folder, standard_library, FORBIDDEN_MODULE, endings)

    def hook(
        event: str, arguments: Any, held: Any = (tools, rules, begin, answers, TOLD_BYTES, FORBIDDEN_EXIT)
    ) -> None:
        (exact, text, whole, write, leave), rules, begin, answers, told_bytes, code = held
        events, source, writing, numpy_folder, standard_library, module, endings = rules
        path, fine = source, not event.startswith(events)  # most events tell of no file
        if event == "open":
            path, mode, flags = arguments[0], arguments[1], arguments[2]
            reads = mode is None or (exact(mode) is text and not mode.strip("rbt"))
            reads = reads and exact(flags) is whole and not flags & writing
            fine = reads or exact(path) is whole  # a descriptor: open already
        elif event == "import":
            path = source if arguments[1] is None else arguments[1]  # what is written in C comes again, with its file
            fine = exact(arguments[0]) is text and arguments[0] != module
            fine = fine and (arguments[1] is None or not ("." + arguments[0]).endswith(endings))
        if exact(path) is not text:
            fine = fine and exact(path) is whole
        elif path != source:  # Python looks for the source to show a syntax error; there is no such file
            ours = path.startswith(standard_library) and "-packages" not in path
            fine = fine and ".." not in path and (ours or path.startswith(numpy_folder))
        if fine:
            return
        try:
            of = arguments[0] if arguments and (exact(arguments[0]) is text or exact(arguments[0]) is whole) else ""
            write(answers, begin + f"{event} {of}".encode("utf-8", "replace")[:told_bytes].ljust(told_bytes))
        finally:  # even if the pipe is closed
            leave(code)

    return hook


class Exercise:
    """The learner's source, run; and how its function is called."""

    def __init__(self) -> None:
        """Nothing is loaded yet."""
        self.function: Any = None
        self.call: Any = None

    def load(self, source: str, name: str, harness: str) -> dict[str, Any]:
        """Run the source from the top; find the function. The harness says how to call it, if not just so."""
        scope: dict[str, Any] = {"__name__": FILE_NAME}
        exec(compile(source, FILE_NAME, "exec"), scope)
        if not callable(scope.get(name)):
            return {"missing": name, "found": sorted(key for key in scope if key[:1] != "_" and callable(scope[key]))}
        self.function, self.call = scope[name], None
        if harness:
            around: dict[str, Any] = {}
            exec(compile(harness, "harness", "exec"), around)
            self.call = around["call"]
        return {"loaded": name}

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """What the function returns, and its inputs as it leaves them."""
        if self.call is not None:
            return {"result": self.call(self.function, **inputs), "inputs": inputs}
        return {"result": self.function(*inputs.values()), "inputs": inputs}


def failure(problem: BaseException) -> dict[str, Any]:
    """An exception: its type, its message, and the line of the learner's source in which it was raised."""
    line = getattr(problem, "lineno", None) if isinstance(problem, SyntaxError) else None
    trace = problem.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == FILE_NAME:
            line = trace.tb_lineno
        trace = trace.tb_next
    try:
        message = str(problem.msg if isinstance(problem, SyntaxError) else problem)[:1000]
    except Exception:
        message = ""
    return {"error": type(problem).__name__, "message": message, "line": line if type(line) is int else None}


def serve(requests: int, answers: int) -> None:
    """Answer one request after the other, each with its number, until the parent closes the pipe."""
    from wire import LENGTH_BYTES, pack, unpack  # type: ignore[import-not-found]

    exercise = Exercise()
    while length := read(requests, LENGTH_BYTES):
        request = unpack(read(requests, int.from_bytes(length, "little")))
        try:
            gc.collect()  # by hand, since `take_away` turned it off
            load = request["do"] == "load"
            answer = exercise.load(**request["with"]) if load else exercise.run(request["with"])
            flush()
            frame = pack({"number": request["number"], **answer})
        except BaseException as problem:  # sys.exit() too
            frame = pack({"number": request["number"], **failure(problem)})
        while frame:
            frame = frame[os.write(answers, frame) :]


def flush() -> None:
    """Let what was printed go out; the learner's code may have closed its output, or replaced it."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()


def read(pipe: int, count: int) -> bytes:
    """Exactly so many bytes, or none at the end."""
    data = b""
    while len(data) < count:
        piece = os.read(pipe, count - len(data))
        if not piece:
            return b""
        data += piece
    return data


def main() -> None:
    """Prepare, lock, serve."""
    requests, answers, memory_bytes, cpu_seconds = (int(argument) for argument in sys.argv[1:5])
    numpy_folder, own_folder = sys.argv[5], os.path.dirname(os.path.abspath(__file__))
    limit_resources(memory_bytes, cpu_seconds)
    standard = [folder for folder in sys.path if os.path.isdir(folder)]  # the archive is rarely there
    take_away()
    sys.path[:0] = [numpy_folder, own_folder]
    import numpy
    import wire

    disarm_subprocess()
    sys.path[:] = standard
    sys.argv[1:] = []
    libraries = tuple(folder.rstrip("/") + "/" for folder in (os.path.dirname(os.__file__), *standard))
    gc.freeze()  # what is here now need not be looked through again
    begin = wire.pack({"forbidden": numpy.zeros(TOLD_BYTES, "uint8")})[:-TOLD_BYTES]  # the text comes behind it
    sys.addaudithook(make_hook(os.path.dirname(numpy.__file__) + "/", libraries, answers, begin))
    serve(requests, answers)


if __name__ == "__main__":
    main()
