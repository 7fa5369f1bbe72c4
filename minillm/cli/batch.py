"""`minillm batch prompts.jsonl --out answers.jsonl`: answer many prompts. Safe to kill: run it again to resume."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minillm.cli.batch_report import Done, Problems, answer_record, asked_of, settings_of, tell
from minillm.cli.options import (
    add_cache_option,
    add_layers_option,
    add_model_options,
    add_sampling_options,
    cache_dtype_from,
    check_folder_of,
    encoded,
    sampling_from,
)
from minillm.cli.parallel import add_parallel_option, load_model, place, way_of
from minillm.support.checks import check_integer
from minillm.support.printable import one_line

STATIC_BATCH = 8  # requests in a batch of static batching, by default


def add_parser(commands: Any) -> None:
    """Add `batch` with its own options and those of model and sampling."""
    parser = commands.add_parser(
        "batch",
        help="answer a file of prompts",
        description="Answer a file of prompts in one batch. It is safe to kill: run it again to resume.",
    )
    add = parser.add_argument
    add("prompts", help='JSON lines such as {"prompt": "Hello", "max_new_tokens": 20}; - reads standard input')
    add("--out", metavar="FILE", help="append each answer to FILE as soon as it is finished; at the end in order")
    add("--compare", action="store_true", help="instead, run naive, static and continuous batching and compare them")
    add("--batch-size", type=int, metavar="B", help="with --compare: requests in a static batch (default 8)")
    add("--raw", action="store_true", help="continue texts unchanged, without the chat template")
    add_parallel_option(parser)
    add_model_options(parser)
    add_layers_option(parser)
    add_cache_option(parser)
    add_sampling_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read all lines, load the model, and answer the lines or compare the schedules."""
    from minillm.cli.compare_schedules import compare

    if place()[1] > 1 and way_of(options) is None:
        from minillm.cli.batch_on_ranks import answer_on_ranks

        return answer_on_ranks(options, lambda: _read(options))
    lines, problems = _read(options)
    model = load_model(options)
    code = compare(model, lines, problems, options) if options.compare else _answer(model, lines, problems, options)
    return code or (2 if problems.found else 0)


def _read(options: argparse.Namespace) -> tuple[list[Any], Problems]:
    """Check the options, and return the lines that can be answered, and what is wrong with the others."""
    from minillm.serving.batch_files.prompts import read_lines

    _check_combination(options)
    problems = Problems(options.prompts)
    lines = list(_parsed(read_lines(options.prompts), problems, options))
    if not lines and not problems.found:
        raise ValueError(f"{problems.source} has no lines; expected at least one prompt")
    _warn_of_other_models(lines, options.model)
    return lines, problems


def _check_combination(options: argparse.Namespace) -> None:
    cache_dtype_from(options)
    if options.compare and place()[1] > 1:
        raise ValueError("--compare measures schedules on one process; start it without mpiexec")
    if options.batch_size is not None and not options.compare:
        raise ValueError("--batch-size belongs to --compare; leave it out, or add --compare")
    options.batch_size = check_integer(
        "--batch-size", STATIC_BATCH if options.batch_size is None else options.batch_size, 1
    )
    if options.max_new_tokens is not None:
        check_integer("--max-new-tokens", options.max_new_tokens, 1)
    if options.compare and options.out:
        raise ValueError("--compare writes no answers; leave out --out")
    if not options.compare and not options.out:
        raise ValueError("expected --out FILE for the answers, or --compare")
    if options.out:
        check_folder_of("--out", options.out)
    if (
        options.out
        and os.path.exists(options.out)
        and os.path.realpath(options.out) == os.path.realpath(options.prompts)
    ):
        raise ValueError(f"--out {options.out} is the file of prompts; expected another file")


def _parsed(lines: Iterable[tuple[int, bytes]], problems: Problems, options: argparse.Namespace) -> Iterable[Any]:
    """Yield the lines that can be answered; note the problems of the others."""
    from minillm.serving.batch_files.prompts import parse_line

    sampling = sampling_from(options)
    for number, line in lines:
        try:
            yield parse_line(number, line, options.max_new_tokens, sampling)
        except ValueError as problem:
            problems.note(number, problem)


def _warn_of_other_models(lines: list[Any], model: str) -> None:
    others = sorted({line.model for line in lines} - {None, model})
    if others:
        named = ", ".join(name[:40] for name in others[:4])
        print(f"minillm: warning: {one_line(f'lines ask for {named}; all are answered by {model}')}", file=sys.stderr)


def _answer(model: Any, lines: list[Any], problems: Problems, options: argparse.Namespace) -> int:
    """Answer the lines that have no answer in the file of answers."""
    from minillm.batching import Engine
    from minillm.loading import open_checkpoint
    from minillm.loading.fingerprint import fingerprint
    from minillm.serving.batch_files.answers import AnswerFile
    from minillm.serving.batch_files.run import answer_lines
    from minillm.support.progress import progress_on_stderr

    asked = asked_of(lines, settings_of(options, fingerprint(open_checkpoint(options.model))), options.model)
    with AnswerFile(Path(options.out)) as answers:
        answers.check_asked(asked)
        missing = [line for line in lines if line.number not in answers.answered]
        engine, done = Engine(model, cache_dtype=options.kv_cache), Done(len(answers.answered), len(lines))
        try:
            with progress_on_stderr() as report:
                report("answering", done.before, done.of)
                pairs = answer_lines(engine, missing, lambda line: encoded(model, line, options.raw), problems.note)
                for line, request in pairs:
                    answers.append(answer_record(line, request, asked[line.number][0], options.model))
                    done.count(len(request.tokens))
                    report("answering", done.before + done.now, done.of)
        except KeyboardInterrupt:
            print(f"minillm: {done.stopped()}", file=sys.stderr)
            return 130
        answers.put_in_order()
    tell(engine.statistics.steps, done, problems, options)
    return 0
