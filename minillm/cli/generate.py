"""`minillm generate`: answer one prompt, streamed, then a small table of what it took."""

import argparse
import math
import sys
from typing import Any

from minillm.cli.options import add_model_options, add_sampling_options, max_new_tokens_from, sampling_from
from minillm.cli.printing import bytes_text, print_json, seconds_text, show, write

LONGEST_INPUT = 10_000_000  # bytes; far more than any context


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("generate", help="answer one prompt", description="Answer one prompt.")
    parser.add_argument(
        "prompt", help="a question or, with --raw, the beginning of a text; - reads it from standard input"
    )
    parser.add_argument("--raw", action="store_true", help="continue the text as it stands, without the chat template")
    parser.add_argument("--no-cache", action="store_true", help="recompute the whole sequence for each token")
    parser.add_argument("--show-phases", action="store_true", help="show tokens, prefill and each decode step")
    parser.add_argument("--logprobs", type=int, metavar="N", help="with --json: the N best tokens at each step")
    parser.add_argument("--with", dest="with_", metavar="DIR", help="use your passed exercises of this folder")
    add_model_options(parser)
    add_sampling_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, generate, print; with the learner's functions in the place of ours, if asked for."""
    if options.with_ is None:
        return _run(options)
    from pathlib import Path

    from minillm.classroom.plug_in import plugged_in

    with plugged_in(Path(options.with_)) as names:
        options.backend = "plain"  # the one that calls these functions as they are
        print(f"In this process, on the plain backend, yours are used: {', '.join(names)}", file=sys.stderr)
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    from minillm.model import load

    _check_combination(options)
    sampling = sampling_from(options, 4 if options.show_phases else options.logprobs)
    text = _read_stdin() if options.prompt == "-" else options.prompt
    if not text:
        raise ValueError("the prompt is empty; expected some text")
    generation = _request(load(options.model, options.backend, options.dtype), text, sampling, options)
    if options.show_phases:
        _show_phases(generation)
        return 0
    for step in generation:
        if not options.json:
            write(step.text)
    if options.json:
        print_json(_record(generation, text, options))
    else:
        write("\n")
        _print_table(generation)
    return 0


def _check_combination(options: argparse.Namespace) -> None:
    if options.logprobs is not None and not options.json:
        raise ValueError("--logprobs is shown in JSON only; add --json, or use --show-phases instead")
    if options.show_phases and options.json:
        raise ValueError("--show-phases is a display; leave --json out, or use --json --logprobs instead")


def _read_stdin() -> str:
    """All of standard input, without the line end that `echo` adds."""
    data = sys.stdin.buffer.read(LONGEST_INPUT + 1) if sys.stdin is not None else b""
    if len(data) > LONGEST_INPUT:
        raise ValueError(f"standard input: more than {LONGEST_INPUT} bytes; expected a prompt")
    try:
        return data.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError("standard input: expected text in UTF-8") from None


def _request(model: Any, text: str, sampling: Any, options: argparse.Namespace) -> Any:
    """The Generation that the options describe: by the chat template if the model has one, unless --raw."""
    from minillm.generation import Generation, encode_prompt

    chat = not options.raw and model.tokenizer.chat_template is not None
    prompt = encode_prompt(model, [{"role": "user", "content": text}] if chat else text)
    room = model.config.max_position_embeddings - len(prompt) + 1  # the last new token is never fed back
    return Generation(model, prompt, max_new_tokens_from(options, room), sampling, not options.no_cache)


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if seconds > 0 else 0.0


def _record(generation: Any, text: str, options: argparse.Namespace) -> dict[str, Any]:
    out = generation.output
    record = {
        "model": options.model,
        "prompt": text,
        "prompt_tokens": out.prompt_tokens,
        "tokens": out.tokens,
        "text": out.text,
        "finish_reason": out.finish_reason,
        "ttft_s": out.timings.ttft_s,
        "tpot_s": out.timings.tpot_s,
        "prefill_tokens_per_s": _rate(out.prompt_tokens, out.timings.prefill_s),
        "decode_tokens_per_s": _rate(len(out.tokens) - 1, out.timings.decode_s),
        "kv_cache_bytes": out.kv_cache_bytes,
    }
    if out.logprobs:
        record["logprobs"] = [{"token": t.token, "logprob": t.logprob, "best": t.best} for t in out.logprobs]
    return record


def _print_table(generation: Any) -> None:
    from rich.table import Table

    out = generation.output
    table = Table(show_header=False, box=None, padding=(0, 1))
    prefill, decode = _rate(out.prompt_tokens, out.timings.prefill_s), _rate(len(out.tokens) - 1, out.timings.decode_s)
    rows = [
        ("prompt", f"{out.prompt_tokens} tokens"),
        ("new", f"{len(out.tokens)} tokens, finished by {out.finish_reason}"),
        ("time to first token", seconds_text(out.timings.ttft_s)),
        ("time per token", seconds_text(out.timings.tpot_s)),
        ("prefill", f"{prefill:.1f} tokens/s"),
        ("decode", f"{decode:.1f} tokens/s"),
        ("KV cache", _cache_text(generation)),
    ]
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    show(table)


def _cache_text(generation: Any) -> str:
    if generation.cache is None:
        return "none"
    return f"{bytes_text(generation.cache.nbytes)}, reserved for {generation.cache.capacity} tokens"


def _show_phases(generation: Any) -> None:
    """Tokenization, prefill, then a line for each step: the token, its probability, the next three candidates."""
    from rich.text import Text

    from minillm.generation import PREFILL_CHUNK

    count = len(generation.prompt)
    passes = math.ceil(count / PREFILL_CHUNK) if generation.cache else 1

    def shown(token: int) -> str:
        return repr(generation.model.tokenizer.token_text(token))  # repr: no character that steers a terminal

    show(Text(f"Tokenize: {count} tokens: {' '.join(f'{shown(t)}={t}' for t in generation.prompt)}"))
    effect = "fill the KV cache and give the first logits" if generation.cache else "give the first logits; no cache"
    show(Text(f"Prefill: {count} tokens in {'one pass' if passes == 1 else f'{passes} passes'} {effect}"))
    for number, step in enumerate(generation):
        others = [(token, logprob) for token, logprob in step.logprobs.best if token != step.token][:3]
        rest = "  ".join(f"{shown(token)} {math.exp(logprob):.1%}" for token, logprob in others)
        phase = f"Decode step {number}" if number else "Prefill gives"
        chosen = f"{shown(step.token)} {math.exp(step.logprobs.logprob):.1%}"
        show(Text(f"{phase}: {chosen}   then: {rest}"))
    write(generation.output.text + "\n")
    _print_table(generation)
