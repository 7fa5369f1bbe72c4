"""The kernel's lock of the worker process, on Linux: what no code in it can take off.

The audit hook of `worker_process.py` is Python's own, so code that writes into the memory of the process (NumPy can do
that) can remove it. The two locks of this file are the kernel's. They need no rights, and they last until the process
ends:

- Landlock (Linux 5.13 or later): a list of the files that may be read. No file is written, made, removed or executed.
- seccomp: a list of the system calls that may be made. None of them starts a process or a thread, opens a socket, sends
  a signal, or opens a file for writing.

An old kernel, a container or macOS may have none; `lock` says which of the two are in force.

`worker.py` runs this file as a script, `python -I -S kernel_lock.py PARENT LIBRARIES FOLDERS COMMAND...`. It locks
itself, then becomes the worker process: the command, with the names of the locks as one more argument. The locks stay,
and ctypes, which is needed to set them, never comes into the worker process. Nothing of the package is imported.
"""

import ctypes
import errno
import json
import os
import platform
import struct
import sys
from collections.abc import Iterable, Iterator

SET_PARENT_DEATH_SIGNAL, SET_SECCOMP, SET_NO_NEW_PRIVILEGES = 1, 22, 38  # of prctl
SIGKILL = 9

# Landlock: linux/landlock.h. The numbers of its system calls are the same on every processor.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
VERSION_WANTED, PATH_BENEATH = 1, 1
RIGHTS_OF_VERSION = {1: 13, 2: 14, 3: 15, 5: 16}  # version: how many rights it knows, one bit each
EXECUTE, READ_FILE, READ_FOLDER = 1 << 0, 1 << 2, 1 << 3
SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/ld-musl-x86_64.path", "/etc/ld-musl-aarch64.path")  # where libraries lie

# seccomp: a filter in the kernel's small machine language, linux/filter.h.
FILTER_MODE = 2
LOAD, JUMP_IF_EQUAL, JUMP_IF_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
NUMBER_AT, PROCESSOR_AT, ARGUMENTS_AT = 0, 4, 16  # bytes, in the kernel's description of a call
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
OTHER_THAN_COPIES_AND_FLAGS = 0xFFFFFFFF & ~3  # fcntl: commands above 3 can send signals
OTHER_THAN_CLOSE_ON_EXEC = 0xFFFFFFFF & ~0x5451  # ioctl: Python opens its first file with it

# Processor: its number, and the numbers of the allowed calls (asm/unistd.h).
ALLOWED = {
    "x86_64": (0xC000003E, {
        "read": 0, "write": 1, "open": 2, "close": 3, "stat": 4, "fstat": 5, "lstat": 6, "poll": 7, "lseek": 8,
        "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "rt_sigaction": 13, "rt_sigprocmask": 14,
        "rt_sigreturn": 15, "ioctl": 16, "pread64": 17, "readv": 19, "writev": 20, "access": 21, "pipe": 22,
        "select": 23, "sched_yield": 24, "mremap": 25, "mincore": 27, "madvise": 28, "dup": 32, "dup2": 33,
        "nanosleep": 35, "getpid": 39, "execve": 59, "exit": 60, "uname": 63, "fcntl": 72, "getcwd": 79,
        "readlink": 89, "gettimeofday": 96, "getrlimit": 97, "getrusage": 98, "sysinfo": 99, "times": 100,
        "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108, "getppid": 110, "getpgrp": 111,
        "getgroups": 115, "getpgid": 121, "getsid": 124, "sigaltstack": 131, "arch_prctl": 158, "gettid": 186,
        "time": 201, "futex": 202, "sched_getaffinity": 204, "getdents64": 217, "set_tid_address": 218,
        "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "exit_group": 231,
        "openat": 257, "newfstatat": 262, "readlinkat": 267, "faccessat": 269, "pselect6": 270, "ppoll": 271,
        "set_robust_list": 273, "dup3": 292, "pipe2": 293, "prlimit64": 302, "getrandom": 318, "statx": 332,
        "rseq": 334, "faccessat2": 439,
    }),
    "aarch64": (0xC00000B7, {
        "getcwd": 17, "dup": 23, "dup3": 24, "fcntl": 25, "ioctl": 29, "faccessat": 48, "openat": 56, "close": 57,
        "pipe2": 59, "getdents64": 61, "lseek": 62, "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67,
        "pselect6": 72, "ppoll": 73, "readlinkat": 78, "newfstatat": 79, "fstat": 80, "exit": 93, "exit_group": 94,
        "set_tid_address": 96, "futex": 98, "set_robust_list": 99, "nanosleep": 101, "clock_gettime": 113,
        "clock_getres": 114, "clock_nanosleep": 115, "sched_getaffinity": 123, "sched_yield": 124,
        "restart_syscall": 128, "sigaltstack": 132, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139,
        "times": 153, "getpgid": 155, "getsid": 156, "getgroups": 158, "uname": 160, "getrlimit": 163,
        "getrusage": 165, "gettimeofday": 169, "getpid": 172, "getppid": 173, "getuid": 174, "geteuid": 175,
        "getgid": 176, "getegid": 177, "gettid": 178, "sysinfo": 179, "brk": 214, "munmap": 215, "mremap": 216,
        "execve": 221, "mmap": 222, "mprotect": 226, "mincore": 232, "madvise": 233, "prlimit64": 261,
        "getrandom": 278, "statx": 291, "rseq": 293, "faccessat2": 439,
    }),
}  # fmt: skip
FORBIDDEN_BITS = {  # call: (which argument, the bits that it must not have)
    "open": (1, WRITING),
    "openat": (2, WRITING),
    "fcntl": (1, OTHER_THAN_COPIES_AND_FLAGS),
    "ioctl": (1, OTHER_THAN_CLOSE_ON_EXEC),
    "prlimit64": (0, 0xFFFFFFFF),  # the number of another process
}


def lock(rules: Iterable[tuple[str, int]]) -> list[str]:
    """Lock this process for good. Return the names of the locks in force: `landlock`, `seccomp`, both or none.

    Args:
        rules: (path, rights of Landlock there). The rights hold for a folder with all that is in it.
    """
    if _system().prctl(SET_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:  # the kernel asks for it before both locks
        return []
    in_force = {"landlock": lock_files(rules), "seccomp": lock_calls()}
    return [name for name, locked in in_force.items() if locked]


def lock_files(rules: Iterable[tuple[str, int]]) -> bool:
    """Allow only these (path, rights), and what is beneath. Return whether the kernel can do that."""
    system = _system()
    version = system.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), VERSION_WANTED)
    if version < 1:
        return False
    rights = max(count for first, count in RIGHTS_OF_VERSION.items() if first <= version)
    handled = ctypes.c_uint64((1 << rights) - 1)
    ruleset = system.syscall(CREATE_RULESET, ctypes.byref(handled), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    added = all(_allow(ruleset, path, allowed) for path, allowed in rules)
    locked = added and system.syscall(RESTRICT_SELF, ruleset, 0) == 0
    os.close(ruleset)
    return bool(locked)


def _allow(ruleset: int, path: str, rights: int) -> bool:
    """Add one rule. Return whether the kernel took it. A path that does not exist needs none."""
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    added = _system().syscall(ADD_RULE, ruleset, PATH_BENEATH, struct.pack("=Qi", rights, file), 0)
    os.close(file)
    return bool(added == 0)


def lock_calls() -> bool:
    """Allow only the calls of ALLOWED. Return whether the kernel can do that, and the processor is one of them."""
    if platform.machine() not in ALLOWED:
        return False
    program = b"".join(call_filter(*ALLOWED[platform.machine()]))
    code = ctypes.create_string_buffer(program)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    described = Program(len(program) // 8, ctypes.addressof(code))
    return bool(_system().prctl(SET_SECCOMP, FILTER_MODE, ctypes.byref(described), 0, 0) == 0)


def call_filter(processor: int, numbers: dict[str, int]) -> Iterator[bytes]:
    """Yield the instructions of the filter: 8 bytes each. A jump skips its number of instructions."""
    yield _step(LOAD, PROCESSOR_AT)
    yield _step(JUMP_IF_EQUAL, processor, yes=1)
    yield _step(RETURN, KILL)
    yield _step(LOAD, NUMBER_AT)
    for name, number in numbers.items():
        argument, bits = FORBIDDEN_BITS.get(name, (0, 0))
        if not bits:
            yield _step(JUMP_IF_EQUAL, number, no=1)
        else:
            yield _step(JUMP_IF_EQUAL, number, no=4)
            yield _step(LOAD, ARGUMENTS_AT + 8 * argument)  # the lower half of 8 bytes
            yield _step(JUMP_IF_ANY_BIT, bits, no=1)
            yield _step(RETURN, REFUSE)
        yield _step(RETURN, ALLOW)
    yield _step(RETURN, REFUSE)


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _system() -> ctypes.CDLL:
    """Return the C library. Its functions take C's own types, so numbers are passed as they are."""
    return ctypes.CDLL(None, use_errno=True)


def rules_of(libraries: Iterable[str], folders: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield what Python and NumPy read: shared libraries, the standard library without packages, and these folders."""
    for path in (os.path.realpath(sys.executable), *libraries):  # the loader of libraries is one of them
        yield path, READ_FILE | EXECUTE
    for path in SYSTEM_FILES:
        yield path, READ_FILE
    standard = [folder for folder in sys.path[1:] if os.path.isdir(folder)]  # the first is that of this file
    parts = [os.path.join(folder, name) for folder in standard for name in os.listdir(folder)]
    parts = [part for part in parts if not part.endswith("-packages")]  # minillm may be one of them
    for path in (*parts, *folders):
        yield path, READ_FILE | READ_FOLDER * os.path.isdir(path)
    for path in (*standard, *map(os.path.dirname, folders)):
        yield path, READ_FOLDER  # an import lists them


def main() -> None:
    """Bind this process to its parent, lock it, then become the command."""
    parent, libraries, folders, command = int(sys.argv[1]), *map(json.loads, sys.argv[2:4]), sys.argv[4:]
    _system().prctl(SET_PARENT_DEATH_SIGNAL, SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it has ended before
        return
    os.execv(command[0], [*command, ",".join(lock(list(rules_of(libraries, folders))))])


if __name__ == "__main__":
    main()
