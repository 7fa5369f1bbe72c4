"""`minillm`: parse the command line, run the command, and turn each expected failure into one line and an exit status.

Exit status: 0 success; 2 invalid input, with a one-line error on stderr; 130 Ctrl-C. `minillm exercise` and
`minillm course check` also use 1: something failed. So does `minillm bisect`: the runs differ.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from itertools import pairwise
from typing import Any, NoReturn

from minillm.support.printable import one_line
from minillm.support.wording import failure_text

DASH = "; put -- before a text that begins with a dash"


class Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line instead of the whole usage.

    Attributes:
        typed: the arguments of the command line, for hints.
    """

    typed: tuple[str, ...] = ()

    def error(self, message: str) -> NoReturn:
        """Print what is wrong and how to get help, and exit with status 2."""
        if "are required" in message and any(argument.startswith("-") for argument in Parser.typed):
            message += DASH
        if "expected one argument" in message:
            message += _way_out(self, Parser.typed, message)
        message = f"{one_line(message)} (see {self.prog} --help)"
        _end_ranks(message, 2)
        self.exit(2, f"{self.prog}: {message}\n")

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """Return the value of an option, also if it is `--`, which argparse would remove."""
        if action.option_strings and action.nargs is None and arg_strings == ["--"]:
            return self._get_value(action, "--")
        return super()._get_values(action, arg_strings)

    def print_help(self, file: Any = None) -> None:
        """Print the help; unlike argparse, raise OSError if the disk is full or the pipe is closed."""
        (file or sys.stdout).write(self.format_help())


def _way_out(parser: argparse.ArgumentParser, typed: Sequence[str], message: str) -> str:
    """Return how to give a text that is spelt like an option, as the end of a message."""
    from minillm.cli.arguments import texts_of

    for option, value in pairwise(typed):
        if f"{option}:" in message and option in texts_of(parser) and value.startswith("-"):
            return f"; if {value[:40]} is its text, write {option}={value[:40]}"
    return ""


class ShowVersion(argparse.Action):
    """`--version`, which reads the metadata of the installed package only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Print the version, and exit."""
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"minillm {version('minillm-numpy')}")
        except PackageNotFoundError:
            print("minillm, not installed: run from its source folder")
        parser.exit()


COMMANDS = (  # modules of this folder, in the order of the help; imported when the parser is made
    *("generate", "chat", "batch", "models", "lesson", "exercise", "course", "grade", "claims", "papers"),
    *("estimate", "exactness", "bench", "quantize", "trace", "bisect", "zoo", "doctor"),
)


def make_parser() -> Parser:
    """Return the parser of all commands."""
    parser = Parser(prog="minillm", description="How LLM inference works, in Python and NumPy.")
    parser.add_argument("--version", action=ShowVersion, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"minillm.cli.{name}").add_parser(commands)
    return parser


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return the exit status; None takes the arguments from `sys.argv`."""
    warnings.showwarning = _show_warning
    warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's; `sample` refuses logits that are not finite
    try:
        _prepare_output()
        code = _parse_and_run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the pipe, such as `head`, has ended
        code = 0
    except OSError as problem:
        code = _complain(failure_text(problem))
    except ValueError as problem:
        code = _complain(str(problem))
    except MemoryError:
        code = _complain("not enough memory for this model or context; use a smaller one")
    except KeyboardInterrupt:
        _end_ranks("interrupted", 130)
        print(file=sys.stderr)
        code = 130
    _flush_or_discard_output()
    if code:
        _end_ranks(None, code)
    return code


def _parse_and_run(arguments: list[str] | None) -> int:
    from minillm.cli.arguments import hint, join_values
    from minillm.cli.parallel import be_quiet_unless_first, begin_mpi, begin_together, check_place

    be_quiet_unless_first()
    begin_mpi()
    parser = make_parser()
    Parser.typed = tuple(sys.argv[1:] if arguments is None else arguments)
    try:
        options, unknown = parser.parse_known_args(join_values(parser, Parser.typed))
        if unknown:  # the message names the command, whose --help lists its options
            command = f"{parser.prog} {options.command or ''}".strip()
            meant = hint(parser, options.command, unknown)
            Parser(prog=command).error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
    except SystemExit as done:  # --help, --version or an error, already printed
        return int(done.code or 0)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    from minillm.backends.memory import keep_freed_memory

    check_place(options)
    begin_together(options)
    keep_freed_memory()  # a setting of the whole process: the command may change it, the library may not
    return int(options.run(options))


def _prepare_output() -> None:
    """Print `?` for a character that the terminal's encoding lacks, instead of failing."""
    if sys.stderr is None:  # closed: `print(file=None)` would write messages to stdout
        sys.stderr = open(os.devnull, "w")
    if sys.stdout is None:
        raise OSError("standard output is closed; expected a terminal, a file or a pipe")
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")


def _flush_or_discard_output() -> None:
    """Flush stdout. If that fails (full disk, closed pipe), discard the text: Python would fail again at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _end_ranks(problem: str | None, code: int) -> None:
    from minillm.cli.parallel import end_ranks

    end_ranks(problem, code)


def _complain(message: str) -> int:
    _end_ranks(message, 2)
    print(f"minillm: {one_line(message)}", file=sys.stderr)
    return 2


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"minillm: warning: {one_line(str(message))}", file=sys.stderr)
