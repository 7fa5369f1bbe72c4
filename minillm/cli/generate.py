"""`minillm generate`: stream the answer to one prompt, then print a small table of counts and times."""

import argparse
import math
import sys
from collections.abc import Sequence
from typing import Any

from minillm.cli.options import (
    add_cache_option,
    add_layers_option,
    add_model_options,
    add_sampling_options,
    cache_dtype_from,
    check_utf8,
    max_new_tokens_from,
    prompt_ids,
    sampling_from,
)
from minillm.cli.parallel import add_parallel_option, load_model
from minillm.cli.printing import bytes_text, logprob_records, print_json, seconds_text, show, write
from minillm.cli.speculative import (
    StepWriter,
    add_speculative_options,
    check_speculative_options,
    speculative_generation,
    speculative_record,
    speculative_rows,
)
from minillm.support.checks import check_integer
from minillm.support.wording import counted

LONGEST_INPUT = 10_000_000  # bytes of standard input; far more than any context
MOST_SAMPLES = 1000


def add_parser(commands: Any) -> None:
    """Add `generate` with its own options and those of model, sampling and speculative decoding."""
    parser = commands.add_parser("generate", help="answer one prompt", description="Answer one prompt.")
    add = parser.add_argument
    add("prompt", help="a question or, with --raw, a text to continue; - reads it from standard input")
    add("--raw", action="store_true", help="continue the text unchanged, without the chat template")
    add("--no-cache", action="store_true", help="recompute the whole sequence for each token (slow)")
    add("--n", type=int, default=1, metavar="N", help="give N answers, which share the prompt's full blocks")
    add("--show-phases", action="store_true", help="show the tokens, the prefill and each decode step")
    add("--logprobs", type=int, metavar="N", help="with --json: the N most probable tokens of each step")
    add("--with", dest="with_", metavar="DIR", help="run with your functions: the exercises passed in DIR")
    add_parallel_option(parser)
    add_model_options(parser)
    add_layers_option(parser)
    add_cache_option(parser)
    add_sampling_options(parser)
    add_speculative_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Load, generate and print; with `--with`, the learner's functions replace minillm's own meanwhile."""
    if options.with_ is None:
        return _run(options)
    from pathlib import Path

    from minillm.classroom.exercises.plug_in import plugged_in

    with plugged_in(Path(options.with_)) as names:
        options.backend = "plain"  # the only backend that calls these functions unchanged
        print(f"Running your functions in this process, on the plain backend: {', '.join(names)}", file=sys.stderr)
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    from minillm.cli.samples import run_samples
    from minillm.generation import Generation

    _check_combination(options)
    sampling, cache_dtype = (
        sampling_from(options, 4 if options.show_phases else options.logprobs),
        cache_dtype_from(options),
    )
    text = read_prompt(options.prompt)
    check_utf8("the prompt", text)
    model = load_model(options)
    prompt = prompt_ids(model, text, options.raw)
    room = model.config.max_position_embeddings - len(prompt) + 1  # the last new token is never fed back
    new_tokens = max_new_tokens_from(options, room)
    if options.n > 1:
        return run_samples(model, prompt, text, new_tokens, sampling, options)
    if options.speculative:
        generation: Generation = speculative_generation(model, prompt, new_tokens, sampling, options)
    else:
        generation = Generation(model, prompt, new_tokens, sampling, not options.no_cache, cache_dtype=cache_dtype)
    if options.show_phases:
        _show_phases(generation)
        return 0
    writer = StepWriter() if options.speculative and not options.json else None
    for step in generation:
        if writer:
            writer(step)
        elif not options.json:
            write(step.text)
    if options.json:
        print_json(_record(generation, text, options))
    else:
        writer.finish() if writer else write("\n")
        _print_table(generation, speculative_rows(generation.output) if writer else [])
    return 0


def _check_combination(options: argparse.Namespace) -> None:
    if options.logprobs is not None and not options.json:
        raise ValueError("--logprobs is shown in JSON only; add --json, or use --show-phases instead")
    if options.show_phases and options.json:
        raise ValueError("--show-phases is a display for people; leave out --json, or use --json --logprobs instead")
    check_integer("--n", options.n, 1, MOST_SAMPLES)
    if options.n > 1 and (options.show_phases or options.no_cache or options.speculative):
        left_out = "--show-phases, --no-cache and --speculative"
        raise ValueError(f"--n computes its answers in one batch, on one cache; leave out {left_out}")
    check_speculative_options(options)


def read_prompt(prompt: str) -> str:
    """Return the prompt; for `-` all of standard input, without the line end that `echo` adds.

    Raises:
        ValueError: standard input is too long, or not in UTF-8.
    """
    if prompt != "-":
        return prompt
    data = sys.stdin.buffer.read(LONGEST_INPUT + 1) if sys.stdin is not None else b""
    if len(data) > LONGEST_INPUT:
        raise ValueError(f"standard input has more than {LONGEST_INPUT} bytes; expected a prompt")
    try:
        return data.decode("utf-8").removesuffix("\n")
    except UnicodeDecodeError:
        raise ValueError("standard input: expected text in UTF-8") from None


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if seconds > 0 else 0.0


def _record(generation: Any, text: str, options: argparse.Namespace) -> dict[str, Any]:
    out = generation.output
    record = {
        "model": options.model,
        "weights": options.weights,
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
    if options.speculative:
        record |= speculative_record(out)
    if out.logprobs:
        record["logprobs"] = logprob_records(out.logprobs)
    return record


def _print_table(generation: Any, more_rows: Sequence[tuple[str, str]] = ()) -> None:
    from rich.table import Table

    out = generation.output
    table = Table(show_header=False, box=None, padding=(0, 1))
    prefill, decode = _rate(out.prompt_tokens, out.timings.prefill_s), _rate(len(out.tokens) - 1, out.timings.decode_s)
    rows = [
        ("prompt", counted(out.prompt_tokens, "token")),
        ("new", f"{counted(len(out.tokens), 'token')}, finished by {out.finish_reason}"),
        ("time to first token", seconds_text(out.timings.ttft_s)),
        ("time per token", seconds_text(out.timings.tpot_s)),
        ("prefill", f"{prefill:.1f} tokens/s"),
        ("decode", f"{decode:.1f} tokens/s"),
        ("KV cache", _cache_text(generation)),
        *more_rows,
    ]
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    show(table)


def _cache_text(generation: Any) -> str:
    if generation.cache is None:
        return "none"
    cache = generation.cache
    in_int8 = "" if cache.dtype is None else f" in {cache.dtype}"
    return f"{bytes_text(cache.nbytes)}{in_int8}, reserved for {counted(cache.capacity, 'token')}"


def _show_phases(generation: Any) -> None:
    """Print the tokens, the prefill, and for each step its token and the three next best, with probabilities."""
    from rich.text import Text

    from minillm.prefill import PREFILL_CHUNK

    count = len(generation.prompt)
    passes = math.ceil(count / PREFILL_CHUNK) if generation.cache else 1

    def shown(token: int) -> str:
        return repr(generation.model.tokenizer.token_text(token))  # repr: control characters become escapes

    show(Text(f"Tokenize: {counted(count, 'token')}: {' '.join(f'{shown(t)}={t}' for t in generation.prompt)}"))
    effect = "fill the KV cache and give the first logits" if generation.cache else "give the first logits; no cache"
    in_passes = "one pass" if passes == 1 else counted(passes, "pass", "passes")
    show(Text(f"Prefill: {counted(count, 'token')} in {in_passes} {effect}"))
    for number, step in enumerate(generation):
        others = [(token, logprob) for token, logprob in step.logprobs.best if token != step.token][:3]
        rest = "  ".join(f"{shown(token)} {math.exp(logprob):.1%}" for token, logprob in others)
        phase = f"Decode step {number}" if number else "Prefill gives"
        chosen = f"{shown(step.token)} {math.exp(step.logprobs.logprob):.1%}"
        show(Text(f"{phase}: {chosen}   then: {rest}"))
    write(generation.output.text + "\n")
    _print_table(generation)
