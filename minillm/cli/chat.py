"""`minillm chat`: a conversation, one question a line. The state of the chat is in `minillm/conversation.py`.

Ctrl-C during an answer stops it, and the conversation keeps the text so far; Ctrl-C at the prompt leaves. If the input
is not a terminal, Ctrl-C always leaves.

A line that begins with a slash is a command, and an unknown one is refused. A message that begins with a slash is typed
with two: the line `//tmp is full` sends `/tmp is full`.
"""

import argparse
import contextlib
import sys
from typing import Any

from minillm.cli.options import (
    DEFAULT_CHAT_MODEL,
    add_cache_option,
    add_layers_option,
    add_model_options,
    add_sampling_options,
    cache_dtype_from,
    check_utf8,
    max_new_tokens_from,
    sampling_from,
)
from minillm.cli.parallel import add_parallel_option, load_model
from minillm.cli.printing import print_json, write
from minillm.support.printable import one_line
from minillm.support.terminal import is_interactive, wrapped

COMMANDS = (
    "/help lists the commands, /reset begins again, /exit, /quit or Ctrl-D ends; // begins a message with a slash"
)


def add_parser(commands: Any) -> None:
    """Add `chat` with --system and the options of model and sampling."""
    parser = commands.add_parser("chat", help="talk with a model", description=f"Talk with a model. {COMMANDS}.")
    parser.add_argument("--system", help="a system message, first in the conversation")
    add_parallel_option(parser)
    add_model_options(parser, DEFAULT_CHAT_MODEL)
    add_layers_option(parser)
    add_cache_option(parser)
    add_sampling_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read lines until the end of input, and answer each."""
    from minillm.conversation import Conversation

    sampling, cache_dtype = sampling_from(options), cache_dtype_from(options)
    check_utf8("--system", options.system or "")
    model = load_model(options)
    if model.tokenizer.chat_template is None:
        raise ValueError(f"{options.model} has no chat template; use `minillm generate --model {options.model}`")
    new_tokens = max_new_tokens_from(options, model.config.max_position_embeddings)
    conversation = Conversation(model, options.system, new_tokens, sampling, cache_dtype)
    interactive = is_interactive() and not options.json
    if interactive:
        print(wrapped("Ask something; Ctrl-C stops an answer, /reset begins again, /help lists all commands."))
    while (line := _read_line(interactive)) not in (None, "/exit", "/quit"):
        if line == "/reset":
            conversation.reset()
        elif line == "/help":
            if not options.json:
                print(wrapped(f"{COMMANDS}."))
        elif line:
            _turn(conversation, line, interactive, options.json)
    if options.json:
        print_json({"model": options.model, "weights": options.weights, "messages": conversation.messages})
    return 0


def _read_line(interactive: bool) -> str | None:
    if sys.stdin is None:
        return None
    if interactive:
        with contextlib.suppress(ImportError):
            import readline  # noqa: F401  # makes input() a line editor with a history
    try:
        return input("> " if interactive else "").strip()
    except EOFError:
        return None
    except UnicodeDecodeError:
        raise ValueError("standard input: expected text in UTF-8") from None


def _turn(conversation: Any, line: str, interactive: bool, quiet: bool) -> None:
    """Answer one line. At a terminal, neither Ctrl-C nor a question that is refused ends the conversation."""
    try:
        _answer(conversation, line, quiet)
    except KeyboardInterrupt:
        if not interactive:
            raise
        print("\n(stopped; Ctrl-C again leaves)", file=sys.stderr)
    except ValueError as problem:
        if not interactive:
            raise
        print(f"minillm: {one_line(str(problem))}", file=sys.stderr)


def _message(line: str) -> str:
    """Return the message of a line, or raise ValueError if the line is an unknown command."""
    if line.startswith("/") and not line.startswith("//"):
        raise ValueError(f"there is no command {line.split()[0][:40]!r}: {COMMANDS}")
    return line[1:] if line.startswith("//") else line


def _answer(conversation: Any, line: str, quiet: bool) -> None:
    from minillm.conversation import ConversationTooLong

    check_utf8("standard input", line)
    try:
        for text in conversation.stream(_message(line)):
            if not quiet:
                write(text)
    except ConversationTooLong as problem:
        raise ValueError(f"{problem}; begin again with /reset") from None
    if not quiet:
        write("\n")
