"""`minillm trace`: record a run; then say what each step did, step through it, or write the trace, a page or spans."""

import argparse
import json
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from minillm.cli.generate import read_prompt
from minillm.cli.options import (
    add_cache_option,
    add_layers_option,
    add_model_options,
    add_sampling_options,
    cache_dtype_from,
    check_folder_of,
    check_utf8,
    encoded,
    layers_from,
    max_new_tokens_from,
    prompt_ids,
    sampling_from,
)
from minillm.cli.printing import bytes_text, print_json, write
from minillm.cli.speculative import (
    add_speculative_options,
    check_speculative_options,
    draft_length_from,
    drafter_from,
    speculative_generation,
)
from minillm.support.checks import check_choice, check_integer
from minillm.support.state_file import write_whole
from minillm.support.terminal import terminal_width
from minillm.support.wording import counted

DETAILS, PREEMPTION = ("tokens", "choices", "attention"), ("recompute", "swap")  # as in minillm.trace and batching
ENGINE = ("block_size", "num_blocks", "max_batch_tokens", "preemption")
VIEWS = ("text", "pass", "cache", "attention", "choice", "batch", "speculation")  # as in minillm.trace.terminal
FILES = ("out", "html", "perfetto")
OF_READING = ("read", "html", "perfetto", "terminal", "view", "force", "json")  # the others belong to a run
MOST_SAMPLES = 100
EXAMPLES = """\
examples:
  minillm trace "The sky is"                              say each step in words
  minillm trace "The sky is" --terminal                   step through the run
  minillm trace "The sky is" --n 3 --html run.html        a page for a browser
  minillm trace --batch prompts.jsonl --out run.jsonl     record an engine
  minillm trace --read run.jsonl --terminal --view cache  step through the file
"""


def add_parser(commands: Any) -> None:
    """Add `trace` with its own options and those of model, sampling, speculative decoding and engine."""
    parser = commands.add_parser(
        "trace",
        help="record a run, step by step",
        description="Record what a run does: say it step by step, step through it, or write it to files.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("prompt", nargs="?", help="a question or, with --raw, a text to continue; - reads it from standard input")
    add("--batch", metavar="FILE", help="instead, all prompts of a file such as `minillm batch` takes, in one engine")
    add("--read", metavar="FILE", help="instead, a trace that was written before")
    add("--out", metavar="FILE", help="write the trace: JSON lines (see docs/trace.md)")
    add("--html", metavar="FILE", help="write a page that steps through the run")
    add("--perfetto", metavar="FILE", help="write spans as JSON, which ui.perfetto.dev opens")
    add("--terminal", action="store_true", help="step through the run on the terminal, forward and back")
    add("--view", metavar="NAME", help="of --terminal: text, pass, cache, attention, choice, batch or speculation")
    add("--force", action="store_true", help="overwrite these files")
    add(
        "--detail",
        help="tokens, choices (also candidates; the default) or attention (also weights; the default of --html and "
        "--terminal)",
    )
    add("--layers", metavar="L", help="layers whose attention is recorded, such as 0,5 (default: three, or all of six)")
    add("--times", action="store_true", help="also record seconds; then no two traces are equal")
    add("--raw", action="store_true", help="continue texts unchanged, without the chat template")
    add("--no-cache", action="store_true", help="recompute the whole sequence for each token")
    add("--n", type=int, default=1, metavar="N", help="N samples of the prompt in one engine")
    add("--block-size", type=int, metavar="N", help="of the engine: tokens in a block (default 16)")
    add("--num-blocks", type=int, metavar="N", help="of the engine: blocks in the pool; few lead to preemption")
    add("--max-batch-tokens", type=int, metavar="N", help="of the engine: the most tokens in a step (default 512)")
    add("--preemption", help="of the engine: recompute (default) or swap")
    add_model_options(parser)
    add_layers_option(parser)
    add_cache_option(parser)
    add_sampling_options(parser)
    add_speculative_options(parser)
    parser.set_defaults(run=run, show_phases=False, of_run=_of_run(parser))


def _of_run(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return the options that a trace which is read cannot have, with their defaults."""
    return {name: value for name, value in vars(parser.parse_args([])).items() if name not in OF_READING}


def run(options: argparse.Namespace) -> int:
    """Record or read a trace, then print it or write files."""
    from minillm.trace.reader import load

    _check_combination(options)
    trace = load(options.read) if options.read is not None else _recorded(options)
    files = [*_write_files(trace, options)]
    if options.terminal:
        from minillm.cli.trace_terminal import show_on_terminal

        show_on_terminal(trace, options.view)
    elif options.json:
        print_json(_summary(trace))
    elif files or options.out:
        _print_files([*([options.out] if options.out and options.read is None else []), *files], trace)
    else:
        _print_sentences(trace)
    return 0


def _check_combination(options: argparse.Namespace) -> None:
    sources = [option for option in ("prompt", "batch", "read") if getattr(options, option) is not None]
    if len(sources) != 1:
        found = " and ".join("a prompt" if source == "prompt" else f"--{source}" for source in sources) or "nothing"
        raise ValueError(f"expected a prompt, --batch FILE or --read FILE; found {found}")
    given = [_option(name) for name, default in options.of_run.items() if getattr(options, name) != default]
    if options.read is not None and given:
        raise ValueError(f"--read takes a trace as it is; leave out {' and '.join(given)}")
    check_choice("--detail", _detail(options), DETAILS)
    _check_terminal_options(options)
    if options.layers and _detail(options) != "attention":
        raise ValueError("--layers belongs to --detail attention; add that, or leave out --layers")
    check_integer("--n", options.n, 1, MOST_SAMPLES)
    _check_engine_options(options)
    check_speculative_options(options)
    _check_files(options)


def _check_terminal_options(options: argparse.Namespace) -> None:
    if options.view is not None and not options.terminal:
        raise ValueError("--view is an option of --terminal; add that, or leave out --view")
    if options.terminal and options.json:
        raise ValueError("--terminal and --json both print; leave out one of them")
    check_choice("--view", options.view or "text", VIEWS)


def _check_engine_options(options: argparse.Namespace) -> None:
    engine = options.batch is not None or options.n > 1
    if engine and options.no_cache:
        raise ValueError("--no-cache decodes one prompt naively, and an engine has a cache; leave out one of them")
    if options.batch is not None and options.n > 1:
        raise ValueError("--n gives samples of one prompt; leave it out, or --batch")
    for name in ENGINE:
        if getattr(options, name) is not None and not engine:
            raise ValueError(f"{_option(name)} is an option of an engine; add --batch FILE or --n")


def _option(name: str) -> str:
    """Return an option as it is typed."""
    return f"--{name.replace('_', '-')}"


def _check_files(options: argparse.Namespace) -> None:
    """Check the files that are written, before minutes of work."""
    taken: dict[Path, str] = {}
    for name in ("batch", "read", *FILES):
        option, file = f"--{name}", getattr(options, name)
        if file is None:
            continue
        if name in FILES:
            _check_new_file(option, Path(file), options.force)
        if other := taken.get(Path(file).resolve()):
            raise ValueError(f"{other} and {option} name one file, {file}; choose another name for one of them")
        taken[Path(file).resolve()] = option


def _check_new_file(option: str, file: Path, force: bool) -> None:
    check_folder_of(option, str(file))
    if file.exists() and not file.is_file():
        raise ValueError(f"{option} {file} is not an ordinary file; choose another name")
    if file.exists() and not force:
        raise ValueError(f"{option} {file} exists; add --force to overwrite it, or choose another name")
    if not os.access(folder := file.resolve().parent, os.W_OK):
        raise ValueError(f"{option}: the folder {folder} cannot be written; choose another one")


def _detail(options: argparse.Namespace) -> str:
    return str(options.detail or ("attention" if options.html or options.terminal else "choices"))


def _layers(text: str | None) -> list[int] | None:
    """Return the numbers in a text such as 0,5."""
    if text is None:
        return None
    parts = text.split(",")
    if not all(part.isdecimal() and len(part) < 6 for part in parts):
        raise ValueError(f"--layers is {text[:40]!r}; expected numbers of layers such as 0,5")
    return [int(part) for part in parts]


def _recorded(options: argparse.Namespace) -> Any:
    """Load the model, and return the trace of the run that the options describe."""
    from minillm.loading.load import load
    from minillm.trace.attention import missing_layers
    from minillm.trace.recording import record

    layers, text = _layers(options.layers), read_prompt(options.prompt) if options.prompt is not None else ""
    sampling, cache_dtype = sampling_from(options), cache_dtype_from(options)
    check_utf8("the prompt", text)
    lines = _lines(options, sampling) if options.batch is not None else []
    model = load(options.model, options.backend, options.dtype, options.weights, layers_from(options))
    if missing := missing_layers(model, layers or []):
        raise ValueError(missing)
    if lines:
        asked = [(*encoded(model, line, options.raw), line.sampling) for line in lines]
        runs = _engine_run(model, asked, options)
    else:
        prompt = prompt_ids(model, text, options.raw)
        room = model.config.max_position_embeddings - len(prompt) + 1  # the last new token is never fed back
        runs = _single_run(model, prompt, max_new_tokens_from(options, room), sampling, cache_dtype, options)
    with record(options.out, _detail(options), layers, options.times, options.force) as recording:
        for _ in runs:
            pass
    return recording.trace


def _lines(options: argparse.Namespace, sampling: Any) -> list[Any]:
    """Return the lines of --batch. Unlike `minillm batch`, a line that cannot be answered ends the command."""
    from minillm.serving.batch_files.prompts import parse_line, read_lines

    lines = []
    for number, line in read_lines(options.batch):
        try:
            lines.append(parse_line(number, line, options.max_new_tokens, sampling))
        except ValueError as problem:
            raise ValueError(f"{options.batch}, line {number}: {problem}") from None
    if not lines:
        raise ValueError(f"{options.batch} has no lines; expected at least one prompt")
    return lines


def _single_run(
    model: Any, prompt: list[int], new_tokens: int, sampling: Any, cache_dtype: str | None, options: argparse.Namespace
) -> Iterator[Any]:
    """Return what runs one prompt when it is iterated over."""
    from minillm.generation import Generation

    if options.n > 1:
        return _engine_run(model, [(prompt, new_tokens, sampling)], options)
    if options.speculative:
        return iter(speculative_generation(model, prompt, new_tokens, sampling, options))
    return iter(Generation(model, prompt, new_tokens, sampling, not options.no_cache, cache_dtype=cache_dtype))


def _engine_run(model: Any, asked: list[tuple[list[int], int, Any]], options: argparse.Namespace) -> Iterator[Any]:
    """Submit all prompts to an engine when it is iterated over, and run it."""
    from minillm.batching import Engine

    given = {name: getattr(options, name) for name in ENGINE if getattr(options, name) is not None}
    if options.speculative:
        given |= {"drafter": drafter_from(model, options), "k": draft_length_from(options)}
    engine = Engine(model, cache_dtype=options.kv_cache, **given)
    for prompt, new_tokens, sampling in asked:
        engine.submit_samples(prompt, options.n, new_tokens, sampling)
    yield from engine.events()


def _write_files(trace: Any, options: argparse.Namespace) -> Iterator[str]:
    """Write the page and the spans, and yield their names."""
    if options.html:
        write_whole(Path(options.html), _page(trace, options))
        yield options.html
    if options.perfetto:
        from minillm.trace.perfetto import chrome_trace

        write_whole(Path(options.perfetto), json.dumps(chrome_trace(trace)))
        yield options.perfetto


def _page(trace: Any, options: argparse.Namespace) -> str:
    """Return the page. If it is too large and nobody asked for attention, leave that out, and say so."""
    from minillm.trace.page import page

    try:
        return page(trace)
    except ValueError:
        if options.detail or not trace.has_attention:
            raise
    text = page(trace.without_attention())
    said = "attention is left out of the page, which would have more than 2 MB; for it, record fewer layers (--layers)"
    warnings.warn(f"{said} or fewer tokens", stacklevel=2)
    return text


def _print_files(files: list[str], trace: Any) -> None:
    steps, requests = len(trace.states.steps) - 1, len(trace.states.last["requests"])
    write(f"{counted(steps, 'step')} of {counted(requests, 'request')}\n")
    for file in files:
        write(f"{file}: {bytes_text(Path(file).stat().st_size)}\n")


def _print_sentences(trace: Any) -> None:
    from minillm.trace.terminal.layout import prose
    from minillm.trace.words import sentences

    for step, sentence in enumerate(sentences(trace)):
        lines = [sentence]  # in a pipe, a step stays a line
        if sys.stdout.isatty():
            lines = [line.plain for line in prose(sentence, terminal_width() - 6, hanging=0)]
        for number, line in enumerate(lines):
            write(f"{'' if number else step:4}  {line}\n")


def _summary(trace: Any) -> dict[str, Any]:
    """Return what --json prints."""
    from minillm.trace.words import sentences

    last = trace.states.last
    names = ("tokens", "text", "status", "why")
    requests = [{name: request[name] for name in names} for request in last["requests"].values()]
    return {
        "finished": trace.finished,
        "requests": requests,
        "totals": last["totals"],
        "steps": sentences(trace),
    }
