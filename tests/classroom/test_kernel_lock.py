"""The kernel's lock holds when Python's own is off: here there is no audit hook, and ctypes stands for raw memory."""

import json
import os
import platform
import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minillm.classroom.worker import kernel_lock, start, worker_process
from minillm.classroom.worker.worker import Worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lock is Linux's")

PROGRAM = """
import ctypes, fcntl, json, os, signal, socket, sys, threading
worker, secret, own, locks, numbers = sys.argv[1:]
sys.path.insert(0, worker)
import kernel_lock
sys.path.remove(worker)
libc = ctypes.CDLL(None, use_errno=True)
standard = os.path.dirname(os.__file__)
sys.path.insert(0, worker)  # as if kernel_lock.py were the script
done = {"files": lambda: kernel_lock.lock_files(list(kernel_lock.rules_of([], []))), "calls": kernel_lock.lock_calls}
libc.prctl(38, 1, 0, 0, 0)
in_force = [done[name]() for name in locks.split()]
if not all(in_force):
    print(json.dumps("none"))
    sys.exit()

def call(name, *arguments):
    number = json.loads(numbers)[name]
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def tried(attempt):
    try:
        attempt()
        return "done"
    except (OSError, RuntimeError, ImportError) as problem:
        return type(problem).__name__

parent, c = os.getppid(), lambda text: ctypes.c_char_p(text.encode())
attempts = {
    "read a solution": lambda: open(secret).read(),
    "read it by C": lambda: call("openat", -100, c(secret), 0),
    "read it by openat2": lambda: call("openat2", -100, c(secret), c("\\0" * 24), 24),
    "read the memory of others": lambda: open(f"/proc/{parent}/mem", "rb"),
    "list a folder": lambda: os.listdir(os.path.dirname(secret)),
    "write a file": lambda: open(own, "a"),
    "make a file": lambda: open(own + "2", "w"),
    "delete a file": lambda: os.remove(own),
    "rename a file": lambda: os.rename(own, own + "3"),
    "truncate a file": lambda: os.truncate(own, 0),
    "link a file": lambda: os.link(own, own + "4"),
    "make a link": lambda: os.symlink(own, own + "5"),
    "make a folder": lambda: os.mkdir(own + "6"),
    "change rights": lambda: os.chmod(own, 0o777),
    "change times": lambda: os.utime(own),
    "fork": lambda: os.fork() or os._exit(0),
    "clone": lambda: call("clone", 17, 0, 0, 0, 0) or None,
    "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
    "start a thread": lambda: threading.Thread(target=int).start(),
    "leave the group": lambda: call("setsid"),
    "TCP": lambda: socket.socket(),
    "UDP": lambda: socket.socket(type=socket.SOCK_DGRAM),
    "Unix socket": lambda: socket.socketpair(),
    "kill": lambda: os.kill(parent, 0),
    "kill a thread": lambda: call("tgkill", parent, parent, 0),
    "signal by pidfd": lambda: os.pidfd_open(parent),
    "signal by fcntl": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, parent),
    "trace": lambda: call("ptrace", 16, parent, 0, 0),
    "read memory by a call": lambda: call("process_vm_readv", parent, 0, 0, 0, 0, 0),
    "limits of others": lambda: call("prlimit64", parent, 7, 0, c("\\0" * 16)),
    "outlive the parent": lambda: call("prctl", 1, 0, 0, 0, 0),
    "memory file": lambda: os.memfd_create("x"),
    "io_uring": lambda: call("io_uring_setup", 1, c("\\0" * 120)),
    "handle page faults": lambda: call("userfaultfd", 0),
    "terminal": lambda: call("ioctl", 0, 0x5412, c("x")),
}
if "files" in locks:
    attempts["execute"] = lambda: os.execv("/bin/true", ["true"])
out = {name: tried(attempt) for name, attempt in attempts.items()}
import colorsys, decimal, time
out["still works"] = [os.getpid() > 0, time.time() > 0, len(os.listdir(standard)) > 0, len(os.urandom(3))]
print(json.dumps(out), flush=True)
"""
HEADERS = {
    "x86_64": "/usr/include/x86_64-linux-gnu/asm/unistd_64.h",
    "aarch64": "/usr/include/asm-generic/unistd.h",
}
NUMBERS = {
    "openat2": 437, "io_uring_setup": 425, "openat": 257, "clone": 56, "setsid": 112, "tgkill": 234, "ptrace": 101,
    "process_vm_readv": 310, "prlimit64": 302, "prctl": 157, "userfaultfd": 323, "ioctl": 16,
}  # fmt: skip
FILES = {  # what Landlock alone refuses
    "read a solution", "read it by C", "read it by openat2", "read the memory of others", "list a folder",
    "write a file", "make a file", "delete a file", "rename a file", "truncate a file", "link a file", "make a link",
    "make a folder", "execute", "spawn",
}  # fmt: skip
READING = {"read a solution", "read it by C", "read the memory of others", "list a folder"}


def attacked(tmp_path, locks):
    """What each attack came to, under these locks."""
    if platform.machine() != "x86_64":
        pytest.skip("the numbers of the attacks are those of x86-64")
    secret, own = tmp_path / "solution.py", tmp_path / "own"
    secret.write_text("answer = 42")
    own.write_text("text")
    folder = Path(kernel_lock.__file__).parent
    command = [sys.executable, "-I", "-S", "-B", "-c", PROGRAM, folder, secret, own, locks, json.dumps(NUMBERS)]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[0])  # a clone prints, too
    if found == "none":
        pytest.skip(f"this kernel has no lock of {locks}")
    assert own.read_text() == "text"
    assert found.pop("still works") == [True, True, True, 3]
    return {name for name, came_to in found.items() if came_to != "done"}, set(found)


def test_nothing_gets_through_both_locks(tmp_path):
    refused, everything = attacked(tmp_path, "files calls")
    assert refused == everything


def test_calls_alone_refuse_all_but_reading(tmp_path):
    refused, everything = attacked(tmp_path, "calls")
    assert refused == everything - READING


def test_files_alone_refuse_what_reaches_files(tmp_path):
    refused, _ = attacked(tmp_path, "files")
    assert refused >= FILES


@pytest.mark.parametrize("machine", HEADERS)
def test_the_numbers_are_the_kernels(machine):
    header = Path(HEADERS[machine])
    if not header.exists():
        pytest.skip("the headers of the kernel are not installed")
    found = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    found.setdefault("newfstatat", found.get("fstatat", ""))
    assert {name: found[name] for name in kernel_lock.ALLOWED[machine][1]} == {
        name: str(number) for name, number in kernel_lock.ALLOWED[machine][1].items()
    }


def ran(program, number, arguments=(0,) * 6, processor=0xC000003E):
    """What the filter answers: its small machine, in Python."""
    data = struct.pack("=IIQ6Q", number, processor, 0, *arguments)
    at, loaded = 0, 0
    while True:
        code, yes, no, value = struct.unpack("=HBBI", program[at])
        if code == kernel_lock.RETURN:
            return value
        jumps = {kernel_lock.JUMP_IF_EQUAL: loaded == value, kernel_lock.JUMP_IF_ANY_BIT: bool(loaded & value)}
        if code == kernel_lock.LOAD:
            loaded = struct.unpack_from("=I", data, value)[0]
        at += 1 + (0 if code == kernel_lock.LOAD else yes if jumps[code] else no)


@pytest.mark.parametrize("machine", kernel_lock.ALLOWED)
def test_the_filter_allows_its_list_and_nothing_else(machine):
    processor, numbers = kernel_lock.ALLOWED[machine]
    program = list(kernel_lock.call_filter(processor, numbers))
    allowed = {n for n in range(600) if ran(program, n, processor=processor) == kernel_lock.ALLOW}
    assert allowed == set(numbers.values())
    assert ran(program, numbers["read"], processor=0x40000003) == kernel_lock.KILL  # calls of another processor
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_TRUNC, os.O_RDONLY | os.O_TRUNC):
        assert ran(program, numbers["openat"], (0, 0, flags, 0, 0, 0), processor) == kernel_lock.REFUSE
    for command, answer in ((1, kernel_lock.ALLOW), (8, kernel_lock.REFUSE), (1030, kernel_lock.REFUSE)):
        assert ran(program, numbers["fcntl"], (0, command, 0, 0, 0, 0), processor) == answer


def test_the_worker_says_which_locks_are_in_force():
    with Worker() as worker:
        worker.load("def f(): return 1", "f")
        assert set(worker.locks) <= {"namespaces", "landlock", "seccomp"}
        if Path("/proc/self/status").exists() and "seccomp" in worker.locks:
            status = Path(f"/proc/{last_child(worker._running.process.pid)}/status").read_text()
            assert "Seccomp:\t2" in status
            assert "NoNewPrivs:\t1" in status


def last_child(process):
    """The process of the learner's code. In a process namespace it is a child of the one that was started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return last_child(int(children[0])) if children else process


CHECKER = """
import os, sys
from minillm.classroom.worker.worker import Limits, Worker
worker = Worker(Limits(call_s=60.0))
worker.load("import os, time\\ndef f():\\n    " + sys.argv[1], "f")
print(worker._running.process.pid, flush=True)
worker.call({})
"""
CLOSED = "for n in range(3, 40):\n        try: os.close(n)\n        except OSError: pass\n    "


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("ending", "body"),
    [
        (signal.SIGTERM, "while True: pass"),
        (signal.SIGHUP, "time.sleep(10**8)"),
        (signal.SIGKILL, CLOSED + "time.sleep(10**8)"),
    ],
)
def test_a_worker_dies_with_its_checker(ending, body):
    with subprocess.Popen([sys.executable, "-c", CHECKER, body], stdout=subprocess.PIPE, text=True) as checker:
        process = last_child(int(checker.stdout.readline()))
        time.sleep(0.2)  # until it has begun to stay
        assert runs(process)
        checker.send_signal(ending)
        checker.wait(10)
        until = time.monotonic() + 10
        while runs(process) and time.monotonic() < until:
            time.sleep(0.02)
        assert not runs(process)


def test_a_worker_whose_checker_has_ended_already_does_not_begin(tmp_path):
    command = [sys.executable, "-I", "-S", kernel_lock.__file__, "1", "[]", "[]", "/bin/echo", "begun"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == ""


def test_elsewhere_a_thread_looks_at_the_parent():
    left, parents = [], [7, 7, 1]
    worker_process.wait_for_the_end_of(7, ask=lambda: parents.pop(0), sleep=lambda seconds: None, leave=left.append)
    assert (left, parents) == ([0], [])


def test_a_system_that_cannot_start_the_lock_is_used_without_and_says_so(monkeypatch):
    monkeypatch.setattr(start, "_lock", lambda parent: [sys.executable, "-c", "import sys; sys.exit(1)"])
    with Worker() as worker:
        worker.load("def f(): return 1", "f")
        assert (worker.call({}).value, worker.locks) == (1, ())
