"""The engine's process: answer the requests that come over a socket with a session of one file.

`engine_process.py` starts it: `python -P engine_child.py SOCKET PARENT FILE`. The first answer describes the engines.

After a request "fork", which brings a socket, the process makes a copy of itself that answers on this socket, and tells
how the copy ended. So after a crash the file need not be imported again: importing torch takes seconds.
"""

import ctypes
import faulthandler
import os
import resource
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

from minillm.classroom.worker.wire import LENGTH_BYTES, LONGEST_HEADER, pack, unpack
from minillm.verification.handles import decoded
from minillm.verification.session import Session

SET_PARENT_DEATH_SIGNAL = 1  # of prctl
POLL_SECONDS = 0.5  # between two looks at the parent, where the kernel does not tell of its end


class Stopped(BaseException):
    """Raised in the engine when a function that it called back has failed in the other process."""


class Server:
    """Answers requests.

    Attributes:
        channel: the socket.
        session: the engines.
    """

    def __init__(self, channel: socket.socket, session: Session) -> None:
        """Make a server. `serve` answers requests until the socket is closed."""
        self.channel, self.session = channel, session

    def serve(self) -> None:
        """Answer all requests."""
        while (request := receive(self.channel)) is not None:
            if request["do"] == "fork":
                self._fork()
            else:
                send(self.channel, self._answer(decoded(request, self._function)))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.session.answer(request)
        except BaseException as problem:  # no Ctrl-C reaches this process: KeyboardInterrupt is the engine's
            return self.session.failure(problem)

    def _function(self, number: int) -> Any:
        """Return a function that asks the other process for its result."""

        def call(*arguments: Any) -> Any:
            send(self.channel, {"function": number, "arguments": list(arguments)})
            reply = receive(self.channel)
            if reply is None or "result" not in reply:
                raise Stopped
            return reply["result"]

        return call

    def _fork(self) -> None:
        """Answer requests in a copy of this process, and tell how it ended."""
        _, [number], *_ = socket.recv_fds(self.channel, 1, 1)
        this = os.getpid()
        child = os.fork()
        if child == 0:
            os.setsid()
            end_with(this)
            self.channel = socket.socket(fileno=number)
            return
        os.close(number)
        send(self.channel, {"process": child})
        send(self.channel, {"ended": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])})


def send(channel: socket.socket, value: Any) -> None:
    """Send one frame. A value that cannot be sent becomes an error."""
    try:
        frame = pack(value)
        if int.from_bytes(frame[LENGTH_BYTES : 2 * LENGTH_BYTES], "little") > LONGEST_HEADER:
            raise ValueError("returned too many numbers in lists; expected an array")
    except (ValueError, RecursionError) as problem:
        frame = pack({"error": type(problem).__name__, "message": str(problem)[:200], "place": ""})
    channel.sendall(frame)


def receive(channel: socket.socket) -> Any:
    """Return the value of the next frame, or None at the end."""
    length = read(channel, LENGTH_BYTES)
    return unpack(read(channel, int.from_bytes(length, "little"))) if length else None


def read(channel: socket.socket, count: int) -> bytes:
    """Read exactly `count` bytes, or return b"" at the end."""
    data = bytearray()
    while len(data) < count:
        piece = channel.recv(count - len(data))
        if not piece:
            return b""
        data += piece
    return bytes(data)


def end_with(parent: int) -> None:
    """End this process when its parent ends, even while the engine computes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it has ended before
            os._exit(0)
    else:
        threading.Thread(target=wait_for_the_end_of, args=(parent,), daemon=True).start()


def wait_for_the_end_of(parent: int) -> None:
    """End this process when it has another parent."""
    while os.getppid() == parent:
        time.sleep(POLL_SECONDS)
    os._exit(0)


def main() -> None:
    """Load the file, describe its engines, then answer requests."""
    faulthandler.enable()  # a crash prints the line that made it
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # and writes no core file
    channel, parent, file = socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2]), Path(sys.argv[3])
    end_with(parent)
    sys.argv[1:] = []
    try:
        session = Session(file)
    except ValueError as problem:
        send(channel, {"invalid": str(problem)})
        return
    send(channel, {"described": session.described})
    Server(channel, session).serve()
    os._exit(0)  # no code of the engine runs any more


if __name__ == "__main__":
    main()
