"""The worker process: run a learner's functions on given inputs, and return their results. It makes no verdict.

No reader of the engine needs this file: it is about security, not about inference.

Three walls stand around a learner's code, and each holds less than the next one:

1. The process runs without the package (`python -I -S worker_process.py`): only NumPy and the standard library can be
   imported. Expected results, seeds and other learners' files are never in it.
2. An audit hook (PEP 578) forbids files other than those of NumPy and the standard library, new processes, signals,
   sockets and ctypes. A forbidden operation ends the process immediately, and its name is reported. Functions that
   raise no audit event are deleted first. The hook stops mistakes and simple tricks. It does not stop code that writes
   into the memory of the process: `__array_interface__` of NumPy is enough for that, and such code can remove the hook.
3. On Linux the kernel's lock (`kernel_lock.py`) forbids the same things, also to code that changes its own process.
   The first answer of the process says which locks are in force. Without one (macOS, an old kernel, some containers)
   only 1, 2 and the limits of the system hold.

What remains in each case: the code can use its processor time and memory up to the limits, and answer anything. To
grade the code of other people, run the checks inside a container, too.
"""

import _imp
import contextlib
import gc
import importlib
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

FORBIDDEN_EXIT = 77
TOLD_BYTES = 300  # bytes of the message about a forbidden operation
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC  # flags of `open`
POLL_S = 0.5  # seconds between two looks at the parent, where the kernel does not tell of its end
FILE_NAME = "<exercise>"  # name of the learner's source in tracebacks; Python opens it for a syntax error
FORBIDDEN_MODULE = "_posixsubprocess"  # it starts processes without an event
NOT_HERE = (  # NumPy does not need them; they reach memory, files and other interpreters without an event
    "ctypes", "_ctypes", "_ctypes_test", "_testcapi", "_testinternalcapi", "_tkinter", "readline", "_gdbm", "_dbm",
    "_posixshmem", "_multiprocessing", "_xxsubinterpreters", "_interpreters",
)  # fmt: skip
WITHOUT_AN_EVENT = (  # they reach other processes, write files, or (the last two) run code during the hook
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


def wait_for_the_end_of(parent: int, ask: Any = os.getppid, sleep: Any = time.sleep, leave: Any = os._exit) -> None:
    """End the process when it has another parent. The functions are arguments, because a learner can replace them."""
    while ask() == parent:
        sleep(POLL_S)
    leave(0)


def limit_resources(memory_bytes: int, cpu_seconds: int) -> None:
    """Set the limits of the operating system: memory, processor time (in case the parent has ended), no file writes."""
    limits = {
        "RLIMIT_AS": memory_bytes,
        "RLIMIT_CPU": cpu_seconds,
        "RLIMIT_FSIZE": 0,
        "RLIMIT_CORE": 0,
        "RLIMIT_NPROC": 0,  # counts all processes of the user; the superuser is exempt
    }
    for name, value in limits.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):  # macOS lacks some
            continue


def disarm_subprocess() -> None:
    """Make `subprocess` unable to start processes. It stays importable, because `numpy.testing` imports it."""
    import _posixsubprocess
    import subprocess

    _posixsubprocess.fork_exec = subprocess._fork_exec = None  # type: ignore[assignment, attr-defined]
    del sys.modules[FORBIDDEN_MODULE]


def take_away() -> None:
    """Delete what raises no event: some modules, some functions, and the function that would create them again."""
    for name in NOT_HERE:
        sys.modules[name] = None  # type: ignore[assignment]
    # Import all built-in modules now, because create_builtin is deleted below. In some Pythons, such as Debian's and
    # uv's, FORBIDDEN_MODULE is one of them: `disarm_subprocess` needs it, and removes it.
    for name in sys.builtin_module_names:
        if name not in NOT_HERE:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    del _imp.create_builtin
    gc.disable()  # its callbacks would run during the hook; `serve` collects between two requests
    for module in (os, sys.modules["posix"], signal, sys.modules["_signal"], gc, sys):
        for name in WITHOUT_AN_EVENT:
            if hasattr(module, name):
                delattr(module, name)
    for name in SETS_OF_FUNCTIONS:  # they contain the deleted functions
        getattr(os, name).clear()


def make_hook(numpy_folder: str, standard_library: tuple[str, ...], answers: int, begin: bytes) -> Callable[..., None]:
    """Return the audit hook: it detects a forbidden operation, reports it, and ends the process.

    Code that gets the frame of the hook (for example from the traceback of a RecursionError) can change everything that
    the frame refers to: globals, closures and Python functions. So the hook uses none of them. All its data is in one
    default argument: a tuple of text, numbers and functions written in C. For the same reason the hook is one long
    function and calls no other Python function.
    """
    tools = (type, str, int, os.write, os._exit)
    endings = tuple("." + name for name in (FORBIDDEN_MODULE, *NOT_HERE))  # the module a.b is created by b
    rules = (FORBIDDEN_EVENTS, FILE_NAME, WRITING, numpy_folder, standard_library, FORBIDDEN_MODULE, endings)

    def hook(
        event: str, arguments: Any, data: Any = (tools, rules, begin, answers, TOLD_BYTES, FORBIDDEN_EXIT)
    ) -> None:
        (exact, text, integer, write, leave), rules, begin, answers, told_bytes, code = data
        events, source, writing, numpy_folder, standard_library, module, endings = rules
        path, fine = source, not event.startswith(events)  # most events have no file
        if event == "open":
            path, mode, flags = arguments[0], arguments[1], arguments[2]
            reads = mode is None or (exact(mode) is text and not mode.strip("rbt"))
            reads = reads and exact(flags) is integer and not flags & writing
            fine = reads or exact(path) is integer  # a file descriptor is already open
        elif event == "import":
            path = source if arguments[1] is None else arguments[1]  # C modules: their second event has it
            fine = exact(arguments[0]) is text and arguments[0] != module
            fine = fine and (arguments[1] is None or not ("." + arguments[0]).endswith(endings))
        if exact(path) is not text:
            fine = fine and exact(path) is integer
        elif path != source:  # Python opens the source for a syntax error; no such file exists
            standard = path.startswith(standard_library) and "-packages" not in path
            fine = fine and ".." not in path and (standard or path.startswith(numpy_folder))
        if fine:
            return
        try:
            of = arguments[0] if arguments and (exact(arguments[0]) is text or exact(arguments[0]) is integer) else ""
            write(answers, begin + f"{event} {of}".encode("utf-8", "replace")[:told_bytes].ljust(told_bytes))
        finally:  # also if the pipe is closed
            leave(code)

    return hook


class Exercise:
    """The learner's function and how it is called."""

    def __init__(self) -> None:
        """Make an exercise without a function; `load` sets it."""
        self.function: Any = None
        self.call: Any = None
        self.module = contextlib.ExitStack()  # while it is open, the source is a module like any other

    def load(self, source: str, name: str, harness: str) -> dict[str, Any]:
        """Run the source and find the function. The harness, if any, defines how it is called."""
        from user_module import user_module  # type: ignore[import-not-found]

        self.module.close()
        scope = self.module.enter_context(user_module(source, "exercise", FILE_NAME)).__dict__
        if not callable(scope.get(name)):
            return {"missing": name, "found": sorted(key for key in scope if key[:1] != "_" and callable(scope[key]))}
        self.function, self.call = scope[name], None
        if harness:
            around: dict[str, Any] = {}
            exec(compile(harness, "harness", "exec"), around)
            self.call = around["call"]
        return {"loaded": name}

    def run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Return the result of the function, and its inputs after the call."""
        if self.call is not None:
            return {"result": self.call(self.function, **inputs), "inputs": inputs}
        return {"result": self.function(*inputs.values()), "inputs": inputs}


def failure(problem: BaseException) -> dict[str, Any]:
    """Describe an exception: its type, its message, and the line of the learner's source that raised it."""
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


def serve(requests: int, answers: int, locks: list[str]) -> None:
    """Say which locks are in force, then answer requests, each with its number, until the parent closes the pipe."""
    from wire import LENGTH_BYTES, pack, unpack  # type: ignore[import-not-found]

    exercise = Exercise()
    send(answers, pack({"number": 0, "locks": locks}))
    while length := read(requests, LENGTH_BYTES):
        request = unpack(read(requests, int.from_bytes(length, "little")))
        try:
            gc.collect()  # `take_away` disabled automatic collection
            load = request["do"] == "load"
            answer = exercise.load(**request["with"]) if load else exercise.run(request["with"])
            flush()
            frame = pack({"number": request["number"], **answer})
        except BaseException as problem:  # also SystemExit
            frame = pack({"number": request["number"], **failure(problem)})
        send(answers, frame)


def send(answers: int, frame: bytes) -> None:
    """Write a whole frame."""
    while frame:
        frame = frame[os.write(answers, frame) :]


def flush() -> None:
    """Flush the printed output. The learner's code may have closed or replaced sys.stdout."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()


def read(pipe: int, count: int) -> bytes:
    """Read exactly `count` bytes, or return b"" at the end of the pipe."""
    data = b""
    while len(data) < count:
        chunk = os.read(pipe, count - len(data))
        if not chunk:
            return b""
        data += chunk
    return data


def main() -> None:
    """Bind this process to its parent, set the limits, install the audit hook, then answer requests."""
    requests, answers, memory_bytes, cpu_seconds, parent = (int(argument) for argument in sys.argv[1:6])
    numpy_folder, own_folder = sys.argv[6], os.path.dirname(os.path.abspath(__file__))
    locks = [name for text in sys.argv[7:] for name in text.split(",") if name]
    if not sys.argv[7:]:  # else `kernel_lock.py` has asked the kernel for it
        threading.Thread(target=wait_for_the_end_of, args=(parent,), daemon=True).start()
    limit_resources(memory_bytes, cpu_seconds)
    standard = [folder for folder in sys.path if os.path.isdir(folder)]  # the zip archive usually does not exist
    take_away()
    sys.path[:0] = [numpy_folder, own_folder]
    import numpy
    import user_module  # noqa: F401
    import wire

    disarm_subprocess()
    sys.path[:] = standard
    sys.argv[1:] = []
    libraries = tuple(folder.rstrip("/") + "/" for folder in (os.path.dirname(os.__file__), *standard))
    gc.freeze()  # existing objects need not be collected again
    begin = wire.pack({"forbidden": numpy.zeros(TOLD_BYTES, "uint8")})[:-TOLD_BYTES]  # the text follows it
    sys.addaudithook(make_hook(os.path.dirname(numpy.__file__) + "/", libraries, answers, begin))
    serve(requests, answers, locks)


if __name__ == "__main__":
    main()
