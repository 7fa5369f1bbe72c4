"""`minillm`: reads the command, runs it, and turns every foreseeable failure into one line and an exit code.

Exit codes: 0 all well; 2 bad input (one line on stderr); 130 Ctrl-C.
"""

import argparse
import os
import sys
import warnings
from typing import Any, NoReturn

from minillm.cli.printing import one_line


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake gives one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how to get help; exit with 2."""
        self.exit(2, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")


def make_parser() -> Parser:
    """The parser of all commands."""
    from minillm.cli import bench, chat, generate, models

    parser = Parser(prog="minillm", description="How LLM inference works, in Python and NumPy.")
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for command in (generate, chat, models, bench):
        command.add_parser(commands)
    return parser


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    warnings.showwarning = _show_warning
    try:
        options = make_parser().parse_args(arguments)
        code = options.run(options)
        sys.stdout.flush()
        return int(code or 0)
    except (ValueError, OSError) as problem:
        if isinstance(problem, BrokenPipeError):  # the reader, `head` say, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        print(f"minillm: {one_line(_message(problem))}", file=sys.stderr)
        return 2
    except MemoryError:
        print("minillm: not enough memory for this model or context; use a smaller one", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130


def _message(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.strerror and problem.filename:
        return f"{problem.filename}: {problem.strerror}"
    return str(problem)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"minillm: warning: {one_line(str(message))}", file=sys.stderr)
