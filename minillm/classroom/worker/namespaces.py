"""Namespaces: a small world of its own for the worker process, on Linux, made without any rights.

The user, mount, process, network and IPC namespaces of `unshare(2)` take away what a process can see:

- files: its root folder holds Python, its standard library, NumPy, and this folder, all read-only. The reference
  solutions, the grader, other submissions, /proc, /home and /tmp are not there at all.
- processes: it sees no other process, so it cannot send a signal to one. What it starts ends with it.
- network: there is none.

`start.py` runs this file as a script, `python -I -S namespaces.py PLACES HIDDEN COMMAND...`. It enters the namespaces,
then becomes the command with `namespaces` as one more argument. Where a system does not allow that (macOS, many
containers, some distributions), it ends with status NOT_ALLOWED. Nothing of the package is imported.

Source: user_namespaces(7), mount_namespaces(7), pivot_root(2).
"""

import ctypes
import json
import os
import signal
import sys

NOT_ALLOWED = 78
NEW_USER, NEW_MOUNTS, NEW_PROCESSES, NEW_NETWORK, NEW_IPC = 0x10000000, 0x00020000, 0x20000000, 0x40000000, 0x08000000
READ_ONLY, NO_SETUID, REMOUNT, BIND, RECURSIVE, PRIVATE, DETACH = 1, 2, 32, 4096, 16384, 1 << 18, 2
KEPT_FLAGS = {2: 2, 4: 4, 8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}  # of statvfs, and what mount(2) calls them
NOBODY = 65534  # the user in the namespace: not the superuser, so the command has no capability there
SET_PARENT_DEATH_SIGNAL = 1  # of prctl
NEW_ROOT = "/proc"  # covered in the new namespace only; nothing that is shown is in it


def enter(places: list[str], hidden: list[str]) -> None:
    """Enter the namespaces, in a child process; this process waits for it and ends in the same way.

    Args:
        places: the files and folders that remain, each at its own path.
        hidden: folders in them that are empty instead, if no place is in them.

    Raises:
        OSError: if the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", NEW_USER | NEW_MOUNTS | NEW_PROCESSES | NEW_NETWORK | NEW_IPC)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{NOBODY} {user} 1")
    _write("/proc/self/gid_map", f"{NOBODY} {group} 1")
    _make_root(places, hidden)
    child = os.fork()  # only a child is in the new process namespace
    if child:
        _end_like(child)
    _call("prctl", SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)


def _make_root(places: list[str], hidden: list[str]) -> None:
    """Make a root folder in memory that contains only these places, and enter it for good."""
    _mount(None, "/", None, RECURSIVE | PRIVATE)
    _mount("none", NEW_ROOT, "tmpfs", NO_SETUID)
    for path in sorted(places):  # a folder before what is in it
        _add(path, hidden)
    _mount("none", NEW_ROOT, None, REMOUNT | READ_ONLY | NO_SETUID)
    os.chdir(NEW_ROOT)
    _call("pivot_root", b".", b".")  # the old root is now on top of the new one
    _call("umount2", b".", DETACH)
    os.chdir("/")


def _add(path: str, hidden: list[str]) -> None:
    """Show a file or a folder at its own path in the new root, read-only."""
    target = NEW_ROOT + path
    if os.path.lexists(target):  # it is in a folder that is shown already
        return
    if os.path.islink(path) and os.path.isdir(path):  # such as /lib, which stands for /usr/lib
        os.makedirs(os.path.dirname(target), exist_ok=True)
        os.symlink(os.readlink(path), target)
        return
    os.makedirs(target if os.path.isdir(path) else os.path.dirname(target), exist_ok=True)
    if not os.path.isdir(path):
        os.close(os.open(target, os.O_CREAT))
    _mount(path, target, None, BIND)
    flags = os.statvfs(target).f_flag
    kept = sum(flag for bit, flag in KEPT_FLAGS.items() if flags & bit)  # a mount must not lose them
    _mount(None, target, None, REMOUNT | BIND | READ_ONLY | kept)
    for folder in hidden:
        if folder.startswith(path + "/") and os.path.isdir(folder):
            _mount("none", NEW_ROOT + folder, "tmpfs", NO_SETUID)


def _end_like(child: int) -> None:
    """Wait for the child, then end with its exit status or by its signal."""
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        if os.WTERMSIG(status) != signal.SIGKILL:  # its effect cannot be set
            signal.signal(os.WTERMSIG(status), signal.SIG_DFL)
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def _write(file: str, text: str) -> None:
    handle = os.open(file, os.O_WRONLY)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def _mount(source: "str | None", target: str, kind: "str | None", flags: int) -> None:
    names = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    _call("mount", *names, ctypes.c_ulong(flags), None)


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library. Raise OSError if it fails."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{name} is not allowed")


def main() -> None:
    """Bind this process to its parent, enter the namespaces, then become the command."""
    places, hidden, command = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
    try:
        _call("prctl", SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        enter(places, hidden)
    except (OSError, AttributeError):  # AttributeError: the C library does not have the function
        os._exit(NOT_ALLOWED)
    os.execv(command[0], [*command, "namespaces"])


if __name__ == "__main__":
    main()
