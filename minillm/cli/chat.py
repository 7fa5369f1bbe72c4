"""`minillm chat`: a conversation. The cache is kept between turns, so only the new tokens are prefilled.

Ctrl-C during an answer stops the answer, and what was said so far stays in the conversation; at the prompt it leaves.
Where the input is no terminal it always leaves.
"""

import argparse
import contextlib
import sys
from collections.abc import Callable
from typing import Any

from minillm.cli.options import (
    DEFAULT_CHAT_MODEL,
    add_model_options,
    add_sampling_options,
    check_utf8,
    max_new_tokens_from,
    sampling_from,
)
from minillm.cli.printing import print_json, write
from minillm.support.printable import one_line


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("chat", help="talk with a model", description="Talk with a model.")
    parser.add_argument("--system", help="a system message, first in the conversation")
    add_model_options(parser, DEFAULT_CHAT_MODEL)
    add_sampling_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read lines until the end of input; answer each."""
    from minillm.loading.load import load

    sampling = sampling_from(options)
    check_utf8("--system", options.system or "")
    model = load(options.model, options.backend, options.dtype)
    if model.tokenizer.chat_template is None:
        raise ValueError(f"{options.model} has no chat template; use `minillm generate --model {options.model}`")
    new_tokens = max_new_tokens_from(options, model.config.max_position_embeddings)
    conversation = Conversation(model, options.system, new_tokens, sampling)
    interactive = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty() and not options.json
    if interactive:
        print("Ask something; Ctrl-C stops an answer, /reset begins again, /exit or Ctrl-D ends.")
    while (line := _read_line(interactive)) not in (None, "/exit", "/quit"):
        if line == "/reset":
            conversation.reset()
        elif line:
            _turn(conversation, line, interactive, options.json)
    if options.json:
        print_json({"model": options.model, "messages": conversation.messages})
    return 0


class Conversation:
    """The messages so far, and a cache that holds the tokens of their beginning.

    Attributes:
        messages: [{"role": ..., "content": ...}], the system message first if there is one.
        cached: the tokens whose keys and values the cache holds.
    """

    def __init__(self, model: Any, system: str | None, max_new_tokens: int, sampling: Any) -> None:
        """Nothing said yet."""
        from minillm.kv_cache.contiguous import KVCache

        self.model, self.max_new_tokens, self.sampling = model, max_new_tokens, sampling
        self.start = [{"role": "system", "content": system}] if system else []
        self.messages, self.cached = list(self.start), list[int]()
        self.cache = KVCache(model, 1)  # grows with the conversation: the longest context may be more than the memory

    def reset(self) -> None:
        """Forget everything but the system message. What the cache holds of that is found again by comparing."""
        self.messages = list(self.start)

    def answer(self, question: str, show: Callable[[str], None]) -> None:
        """One turn; `show` gets the text in pieces. Interrupted, it keeps what was answered so far.

        Raises:
            ValueError: the conversation is longer than the context, or the template refuses it; nothing has changed.
        """
        from minillm.generation import Generation

        messages = [*self.messages, {"role": "user", "content": question}]
        prompt = self.model.tokenizer.apply_chat_template(messages)
        new_tokens = min(self.max_new_tokens, self._room(prompt))
        self._grow(len(prompt) + new_tokens - 1)
        text, generation = "", None
        tokens = list(prompt)
        try:
            self.cache.truncate(common_prefix(self.cached, prompt))  # the new prompt begins as the old one did
            generation = Generation(self.model, prompt, new_tokens, self.sampling, cache=self.cache)
            for step in generation:
                tokens.append(step.token)
                text += step.text
                show(step.text)
        finally:
            self.cached = tokens[: self.cache.length]
            if text or (generation and generation.output):
                self.messages = [*messages, {"role": "assistant", "content": text}]

    def _grow(self, tokens: int) -> None:
        """A cache of twice this size, if it holds less than this; what the old one held is computed once more."""
        from minillm.kv_cache.contiguous import KVCache

        if tokens > self.cache.capacity:
            longest = self.model.config.max_position_embeddings
            self.cache, self.cached = KVCache(self.model, min(2 * tokens, longest)), []

    def _room(self, prompt: list[int]) -> int:
        context = self.model.config.max_position_embeddings
        if len(prompt) > context:
            raise ValueError(
                f"the conversation takes {len(prompt)} tokens, more than the model's context of {context}; "
                "begin again with /reset"
            )
        return context - len(prompt) + 1  # the last new token is never fed back


def common_prefix(cached: list[int], prompt: list[int]) -> int:
    """How many first tokens agree; at least one token of the prompt is left to run, or there would be no logits."""
    length = 0
    while length < min(len(cached), len(prompt) - 1) and cached[length] == prompt[length]:
        length += 1
    return length


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


def _turn(conversation: Conversation, line: str, interactive: bool, quiet: bool) -> None:
    """Answer one line. At a terminal, neither Ctrl-C nor a question that is too long or no text ends it all."""
    try:
        check_utf8("standard input", line)
        conversation.answer(line, (lambda text: None) if quiet else write)
        write("" if quiet else "\n")
    except KeyboardInterrupt:
        if not interactive:
            raise
        print("\n(stopped; Ctrl-C again leaves)", file=sys.stderr)
    except ValueError as problem:
        if not interactive:
            raise
        print(f"minillm: {one_line(str(problem))}", file=sys.stderr)
