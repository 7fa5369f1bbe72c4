"""A child process in which a stranger's chat template cannot run for long or fill the memory.

jinja2's own sandbox hides Python's internals, but lets a template loop for ever or ask for `'x' * 10**10`. So jinja2
runs in a process of its own (`template_process.py`), where the operating system enforces the limits:

    parent  -- {"template": ..., "variables": ...} -->  child: limits set, template rendered
            <-- {"text": ...} or {"error": ...}    --

The child waits for the next request, since its start takes 0.1 s and a rendering 0.5 ms. It dies with the parent, whose
end of the channel closes then. Why it is done so, and what it costs: docs/decisions/template-sandbox.md.
"""

import atexit
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any

SCRIPT = Path(__file__).with_name("template_process.py")
CPU_SECONDS = 2  # of processor time for one rendering; the system can add one second
WALL_SECONDS = 30.0  # for one rendering and the start of the process, on a busy machine
MEMORY_BYTES = 512_000_000  # of address space, the interpreter's 40 MB included
LONGEST_TEXT = 2_000_000  # characters
LONGEST_ANSWER = 12 * LONGEST_TEXT + 1000  # bytes; an emoji takes 12 in JSON


class TemplateSandbox:
    """Renders templates in a child process. Threads take turns. After a fork, each side has its own child."""

    def __init__(self) -> None:
        """Start no process; the first rendering does."""
        self._lock = threading.RLock()  # if Ctrl-C strikes before its release, the thread can take it again
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None

    def render(self, template: str, variables: dict[str, Any]) -> str:
        """Return the text of `template` with these variables, which must be values that JSON can express.

        Raises:
            ValueError: the template fails, or exceeds a limit.
            OSError: the process cannot be started.
        """
        request = {"template": template, "variables": variables, "characters": LONGEST_TEXT}
        request |= {"cpu_seconds": CPU_SECONDS, "memory_bytes": MEMORY_BYTES}
        with self._lock:
            try:
                answer = json.loads(self._exchange(json.dumps(request).encode() + b"\n"))
            except BaseException:  # Ctrl-C too: the answer would be read as that of the next request
                self.close()
                raise
        if "error" in answer:
            raise ValueError(answer["error"])
        return str(answer["text"])

    def close(self) -> None:
        """Kill the process. The next rendering starts another one."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._channel = self._process = None

    def begin_again_after_fork(self) -> None:
        """Leave the process to the parent of the fork, and the lock, which another thread may have held then."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            self._process.returncode = 0  # not a child of this process, so Popen must not wait for it
        self._lock, self._channel, self._process = threading.RLock(), None, None

    def _exchange(self, request: bytes) -> bytes:
        """Send one line; return the line that comes back."""
        if self._channel is None or self._process is None or self._process.poll() is not None:
            self.close()
            self._start()
        assert self._channel is not None
        end, received = monotonic() + WALL_SECONDS, bytearray()
        try:
            self._channel.settimeout(WALL_SECONDS)
            self._channel.sendall(request)
            while not received.endswith(b"\n"):
                self._channel.settimeout(max(0.001, end - monotonic()))
                data = self._channel.recv(1 << 16)
                received += data
                if not data or len(received) > LONGEST_ANSWER:
                    raise ValueError(self._why_it_ended())
        except TimeoutError:
            raise ValueError(f"it takes more than {WALL_SECONDS:g} seconds") from None
        except OSError:  # the channel is closed
            raise ValueError(self._why_it_ended()) from None
        return bytes(received)

    def _start(self) -> None:
        needed = [find_spec(name) for name in ("jinja2", "markupsafe")]
        folders = [str(Path(spec.origin).parents[1]) for spec in needed if spec and spec.origin]
        ours, theirs = socket.socketpair()
        theirs.settimeout(None)  # socket.setdefaulttimeout may have set one
        with ours, theirs:
            # Not 0, 1 or 2, which are free if the standard streams are closed: libraries still write to them.
            self._channel = socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, 3))
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(SCRIPT), *folders],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent alone
            )

    def _why_it_ended(self) -> str:
        assert self._process is not None
        self._process.kill()  # without effect on a process that has ended
        if self._process.wait() == -signal.SIGXCPU:
            return f"it needs more than {CPU_SECONDS} seconds of processor time"
        return "it ended the process that renders it"


SANDBOX = TemplateSandbox()
atexit.register(SANDBOX.close)
os.register_at_fork(after_in_child=SANDBOX.begin_again_after_fork)
