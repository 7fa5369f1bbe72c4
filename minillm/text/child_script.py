"""The script of a child process: it answers requests, each within a limit of processor time and of memory.

`child_process.py` runs `python -I -S child_script.py PROGRAM FOLDER ...`. PROGRAM is a Python file with a function
`answer`. It can import the libraries in the folders, and nothing of minillm. Each line of standard input is a request
in JSON, for example

    {"template": "{{ x }}!", "variables": {"x": "Hi"}, "cpu_seconds": 2, "memory_bytes": 512000000}

and each line of standard output is its answer: what `answer` returns for the request, or {"error": "..."} if it fails.
A request that needs more than `cpu_seconds` is not answered: the system ends the process with SIGXCPU. With too little
memory the process ends itself, or a library does.
"""

import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from typing import Any

OUT_OF_MEMORY = 12  # exit code


def load(program: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return the function `answer` of this Python file.

    The files next to it are its submodules, so that none of them takes the place of a library's module, or the reverse.
    """
    spec = spec_from_file_location("program", program, submodule_search_locations=[os.path.dirname(program)])
    assert spec is not None and spec.loader is not None
    sys.modules["program"] = module = module_from_spec(spec)
    spec.loader.exec_module(module)
    answer: Callable[[dict[str, Any]], dict[str, Any]] = module.answer
    return answer


def within_limits(answer: Callable[[dict[str, Any]], dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request, or {"error": ...}. The limits are for what it needs in addition to now."""
    used = math.ceil(time.process_time())  # RLIMIT_CPU counts whole seconds from the start of the process
    set_limit(resource.RLIMIT_CPU, used + request["cpu_seconds"])
    set_limit(resource.RLIMIT_AS, address_space() + request["memory_bytes"])
    try:
        return answer(request)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)  # this also frees what the request left behind
    except BaseException as problem:  # a stranger's program can fail in any way; a panic in Rust is a BaseException
        return {"error": str(problem)[:1000] or type(problem).__name__}


def address_space() -> int:
    """Return the bytes of this process's address space. Only Linux tells them, and only Linux limits them."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def set_limit(kind: int, value: int) -> None:
    """Set a limit of the system as far as it allows that. The next request can set another value."""
    hard = resource.getrlimit(kind)[1]
    try:
        resource.setrlimit(kind, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    except (ValueError, OSError):  # macOS refuses RLIMIT_AS
        pass


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Answer requests until the input ends, which also happens when the parent dies."""
    set_limit(resource.RLIMIT_CORE, 0)  # SIGXCPU would write a core file
    while line := sys.stdin.buffer.readline():
        sys.stdout.buffer.write(json.dumps(within_limits(answer, json.loads(line))).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.path += sys.argv[2:]  # -S leaves out site-packages
    serve(load(sys.argv[1]))
