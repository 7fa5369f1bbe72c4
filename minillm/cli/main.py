"""`minillm`: reads the command, runs it, and turns every foreseeable failure into one line and an exit code.

Exit codes: 0 all well; 2 bad input (one line on stderr); 130 Ctrl-C.
"""

import argparse
import os
import sys
import warnings
from typing import Any, NoReturn

from minillm.support.printable import one_line


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake gives one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how to get help; exit with 2."""
        self.exit(2, f"{self.prog}: {one_line(message)} (see {self.prog} --help)\n")

    def print_help(self, file: Any = None) -> None:
        """As argparse does, but a full disk or a closed pipe is not passed over in silence."""
        (file or sys.stdout).write(self.format_help())


class ShowVersion(argparse.Action):
    """`--version`: looked up only when asked for, since it reads the installed package's metadata."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Print the version and exit."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"minillm {version('minillm-numpy')}")
        except PackageNotFoundError:
            print("minillm, not installed: run from its source folder")
        parser.exit()


def make_parser() -> Parser:
    """The parser of all commands."""
    from minillm.cli import (
        batch,
        bench,
        chat,
        claims,
        course,
        estimate,
        exactness,
        exercise,
        generate,
        lesson,
        models,
        papers,
    )

    parser = Parser(prog="minillm", description="How LLM inference works, in Python and NumPy.")
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for command in (
        generate,
        chat,
        batch,
        models,
        lesson,
        exercise,
        course,
        claims,
        papers,
        estimate,
        exactness,
        bench,
    ):
        command.add_parser(commands)
    return parser


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's; what is not finite is found in the logits, in one line
    try:
        _prepare_output()
        code = _parse_and_run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, `head` say, has seen enough
        code = 0
    except (ValueError, OSError) as problem:
        code = _complain(_message(problem))
    except MemoryError:
        code = _complain("not enough memory for this model or context; use a smaller one")
    except KeyboardInterrupt:
        print(file=sys.stderr)
        code = 130
    _let_go_of_output()
    return code


def _parse_and_run(arguments: list[str] | None) -> int:
    parser = make_parser()
    try:
        options, unknown = parser.parse_known_args(arguments)
        if unknown:  # told by the command, whose --help says what it takes
            command = f"{parser.prog} {options.command or ''}".strip()
            Parser(prog=command).error(f"unrecognized arguments: {' '.join(unknown)}")
    except SystemExit as done:  # --help, --version or a mistake, already printed
        return int(done.code or 0)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    return int(options.run(options))


def _prepare_output() -> None:
    """A character that the terminal's encoding lacks becomes a question mark instead of a failure."""
    if sys.stderr is None:  # closed: messages must not land in the output
        sys.stderr = open(os.devnull, "w")
    if sys.stdout is None:
        raise OSError("standard output is closed; expected a terminal, a file or a pipe")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


def _let_go_of_output() -> None:
    """Text that cannot be written (a full disk, a closed pipe) must not be tried again, loudly, when Python ends."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(message: str) -> int:
    print(f"minillm: {one_line(message)}", file=sys.stderr)
    return 2


def _message(problem: Exception) -> str:
    if isinstance(problem, OSError) and problem.strerror:
        return f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror
    return str(problem)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"minillm: warning: {one_line(str(message))}", file=sys.stderr)
