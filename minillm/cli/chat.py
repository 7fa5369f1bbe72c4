"""`minillm chat`: a conversation. The cache is kept between turns, so only the new tokens are prefilled."""

import argparse
import sys
from typing import Any

from minillm.cli.options import add_model_options, add_sampling_options, sampling_from
from minillm.cli.printing import print_json, write


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("chat", help="talk with a model", description="Talk with a model.")
    parser.add_argument("--system", help="a system message, first in the conversation")
    add_model_options(parser)
    add_sampling_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read lines until the end of input; answer each."""
    from minillm.model import load

    sampling = sampling_from(options)
    model = load(options.model, options.backend, options.dtype)
    if model.tokenizer.chat_template is None:
        raise ValueError(f"{options.model} has no chat template; use `minillm generate --model {options.model}`")
    start = [{"role": "system", "content": options.system}] if options.system else []
    messages, cache, cached = list(start), _new_cache(model), list[int]()
    interactive = sys.stdin.isatty() and not options.json
    if interactive:
        print("Ask something; /reset begins again, /exit or Ctrl-D ends.")
    while (line := _read_line(interactive)) is not None:
        if line in ("/exit", "/quit"):
            break
        if line == "/reset":
            messages, cached = list(start), []
            continue
        if not line:
            continue
        messages.append({"role": "user", "content": line})
        text, cached = _answer(model, messages, cache, cached, options.max_new_tokens, sampling, options.json)
        messages.append({"role": "assistant", "content": text})
    if options.json:
        print_json({"model": options.model, "messages": messages})
    return 0


def _new_cache(model: Any) -> Any:
    from minillm.kv_cache import KVCache

    return KVCache(model, model.config.max_position_embeddings)


def _read_line(interactive: bool) -> str | None:
    try:
        return input("> " if interactive else "").strip()
    except EOFError:
        return None
    except UnicodeDecodeError as problem:
        raise ValueError("the input is not text in the terminal's encoding; expected UTF-8") from problem


def _answer(
    model: Any,
    messages: list[dict[str, str]],
    cache: Any,
    cached: list[int],
    max_new_tokens: int,
    sampling: Any,
    quiet: bool,
) -> tuple[str, list[int]]:
    """One turn: keep the cache's common beginning with the new prompt, prefill the rest, answer.

    Returns the answer's text and the tokens that the cache now holds.
    """
    from minillm.generation import Generation, encode_prompt

    prompt = encode_prompt(model, messages)
    cache.truncate(common_prefix(cached, prompt))
    generation = Generation(model, prompt, max_new_tokens, sampling, cache=cache)
    for step in generation:
        if not quiet:
            write(step.text)
    if not quiet:
        write("\n")
    assert generation.output is not None
    return generation.output.text, (prompt + generation.output.tokens)[: cache.length]


def common_prefix(cached: list[int], prompt: list[int]) -> int:
    """How many first tokens agree; at least one token of the prompt is left to run, or there would be no logits."""
    length = 0
    while length < min(len(cached), len(prompt) - 1) and cached[length] == prompt[length]:
        length += 1
    return length
