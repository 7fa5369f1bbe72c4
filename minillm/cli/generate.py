"""`minillm generate`: answer one prompt, streamed, then a small table of what it took."""

import argparse
import math
from typing import Any

from minillm.cli.options import add_model_options, add_sampling_options, sampling_from
from minillm.cli.printing import bytes_text, print_json, safe, seconds_text, write


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser("generate", help="answer one prompt", description="Answer one prompt.")
    parser.add_argument("prompt", help="a question or, with --raw, the beginning of a text")
    parser.add_argument("--raw", action="store_true", help="continue the text as it stands, without the chat template")
    parser.add_argument("--no-cache", action="store_true", help="recompute the whole sequence for each token")
    parser.add_argument("--show-phases", action="store_true", help="show tokens, prefill and each decode step")
    parser.add_argument("--logprobs", type=int, metavar="N", help="with --json: the N best tokens at each step")
    add_model_options(parser)
    add_sampling_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, generate, print."""
    from minillm.generation import Generation
    from minillm.model import load

    sampling = sampling_from(options, 4 if options.show_phases else options.logprobs)
    if not options.prompt:
        raise ValueError("the prompt is empty; expected some text")
    model = load(options.model, options.backend, options.dtype)
    chat = not options.raw and model.tokenizer.chat_template is not None
    prompt: Any = [{"role": "user", "content": options.prompt}] if chat else options.prompt
    generation = Generation(model, prompt, options.max_new_tokens, sampling, not options.no_cache)
    if options.show_phases and not options.json:
        return _show_phases(generation)
    for step in generation:
        if not options.json:
            write(step.text)
    if options.json:
        print_json(_record(generation, options))
    else:
        write("\n")
        _print_table(generation)
    return 0


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if seconds > 0 else 0.0


def _record(generation: Any, options: argparse.Namespace) -> dict[str, Any]:
    out = generation.output
    record = {
        "model": options.model,
        "prompt": options.prompt,
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
    from rich.console import Console
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
        ("KV cache", f"{bytes_text(out.kv_cache_bytes)}, reserved for {_capacity(generation)} tokens"),
    ]
    for name, value in rows:
        table.add_row(name, value)
    Console(highlight=False).print(table)


def _capacity(generation: Any) -> int:
    return generation.cache.capacity if generation.cache else 0


def _show_phases(generation: Any) -> int:
    """Tokenization, prefill, then a line for each step: the token, its probability, the next three candidates."""
    from rich.console import Console
    from rich.text import Text

    console, text_of = Console(highlight=False), generation.model.tokenizer.token_text
    shown = " ".join(f"{safe(text_of(token))}[{token}]" for token in generation.prompt)
    console.print(Text(f"Tokenize: {len(generation.prompt)} tokens: {shown}"))
    console.print(f"Prefill: {len(generation.prompt)} tokens in one pass fill the KV cache and give the first logits")
    for number, step in enumerate(generation, start=1):
        others = [(i, p) for i, p in step.logprobs.best if i != step.token][:3]
        rest = "  ".join(f"{safe(text_of(i))!r} {math.exp(p):.1%}" for i, p in others)
        phase = "Prefill gives" if number == 1 else f"Decode step {number - 1}"
        chosen = f"{safe(text_of(step.token))!r} {math.exp(step.logprobs.logprob):.1%}"
        console.print(Text(f"{phase}: {chosen}   then: {rest}"))
    write(generation.output.text + "\n")
    _print_table(generation)
    return 0
