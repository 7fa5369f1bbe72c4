"""`minillm batch prompts.jsonl --out answers.jsonl`: answer many prompts. Safe to kill: run it again to resume."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

from minillm.cli.options import (
    add_cache_option,
    add_model_options,
    add_sampling_options,
    cache_dtype_from,
    check_folder_of,
    encoded,
    sampling_from,
)
from minillm.cli.parallel import add_parallel_option, load_model
from minillm.cli.printing import logprob_records, print_json, seconds_text
from minillm.support.checks import check_integer
from minillm.support.printable import one_line, safe
from minillm.support.wording import counted

STATIC_BATCH = 8  # requests in a batch of static batching, by default
MOST_SHOWN = 20  # invalid lines whose problem is printed


def add_parser(commands: Any) -> None:
    """Add `batch` with its own options and those of model and sampling."""
    parser = commands.add_parser(
        "batch",
        help="answer a file of prompts",
        description="Answer a file of prompts in one batch. It is safe to kill: run it again to resume.",
    )
    add = parser.add_argument
    add("prompts", help='JSON lines such as {"prompt": "Hello", "max_new_tokens": 20}; - reads standard input')
    add("--out", metavar="FILE", help="append each answer to FILE, as one JSON line, as soon as it is finished")
    add("--compare", action="store_true", help="instead, run naive, static and continuous batching and compare them")
    add("--batch-size", type=int, metavar="B", help="with --compare: requests in a static batch (default 8)")
    add("--raw", action="store_true", help="continue texts unchanged, without the chat template")
    add_parallel_option(parser)
    add_model_options(parser)
    add_cache_option(parser)
    add_sampling_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read all lines, load the model, and answer the lines or compare the schedules."""
    from minillm.cli.compare_schedules import compare
    from minillm.serving.batch_files.prompts import read_lines

    _check_combination(options)
    problems = Problems(options.prompts)
    lines = list(_parsed(read_lines(options.prompts), problems, options))
    if not lines and not problems.found:
        raise ValueError(f"{problems.source} has no lines; expected at least one prompt")
    _warn_of_other_models(lines, options.model)
    model = load_model(options)
    code = compare(model, lines, problems, options) if options.compare else _answer(model, lines, problems, options)
    return code or (2 if problems.found else 0)


class Problems:
    """The lines that cannot be answered.

    Attributes:
        source: the file of prompts, as messages name it.
        found: what is wrong, by line number from 1.
    """

    def __init__(self, source: str) -> None:
        """Begin without a problem; `source` is a file name, or - for standard input."""
        self.source = "standard input" if source == "-" else source
        self.found: dict[int, str] = {}

    def note(self, number: int, problem: ValueError) -> None:
        """Record the problem of one line, and print it unless `MOST_SHOWN` problems have been printed."""
        self.found[number] = one_line(str(problem))
        if len(self.found) <= MOST_SHOWN:
            print(f"minillm: {one_line(f'{self.source} line {number}: {problem}')}", file=sys.stderr)
        elif len(self.found) == MOST_SHOWN + 1:
            print("minillm: more lines cannot be answered; --json lists all of them", file=sys.stderr)


def _check_combination(options: argparse.Namespace) -> None:
    cache_dtype_from(options)
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
    from minillm.serving.batch_files.answers import AnswerFile
    from minillm.serving.batch_files.run import answer_lines, fingerprint, model_fingerprint
    from minillm.support.progress import progress_on_stderr

    settings = {name: getattr(options, name) for name in ("model", "backend", "dtype", "raw")}
    settings["weights"] = model_fingerprint(model)
    if options.weights != "float32":  # answers in float32 keep the fingerprint of earlier versions
        settings["format"] = options.weights
    if options.kv_cache:  # without it, answers of earlier versions are known
        settings["kv_cache"] = options.kv_cache
    asked = {line.number: (fingerprint(settings, line), options.model, line.prompt) for line in lines}
    with AnswerFile(Path(options.out)) as answers:
        answers.check_asked(asked)
        missing = [line for line in lines if line.number not in answers.answered]
        engine, done = Engine(model, cache_dtype=options.kv_cache), Done(len(answers.answered), len(lines))
        try:
            with progress_on_stderr() as report:
                report("answering", done.before, done.of)
                pairs = answer_lines(engine, missing, lambda line: encoded(model, line, options.raw), problems.note)
                for line, request in pairs:
                    answers.append(_answer_record(line, request, asked[line.number][0], options.model))
                    done.count(request)
                    report("answering", done.before + done.now, done.of)
        except KeyboardInterrupt:
            written = done.before + done.now
            print(f"minillm: {written} of {done.of} answers are written; run it again to resume", file=sys.stderr)
            return 130
    _tell(engine, done, problems, options)
    return 0


class Done:
    """The progress of a run.

    Attributes:
        before: answers that an earlier run had written.
        now: answers that this run has written.
        of: answers that are asked for.
        new_tokens: tokens of the answers that this run has written.
    """

    def __init__(self, before: int, of: int) -> None:
        """Begin the run, and its clock."""
        self.before = before
        self.now = 0
        self.of = of
        self.new_tokens = 0
        self._started = perf_counter()

    def count(self, request: Any) -> None:
        """Count the answer of a finished request."""
        self.now += 1
        self.new_tokens += len(request.tokens)

    def seconds(self) -> float:
        """Return the seconds since the run began."""
        return perf_counter() - self._started


def _answer_record(line: Any, request: Any, fingerprint: str, model: str) -> dict[str, Any]:
    """Return the JSON record of one answer; it does not depend on time or on the other requests of the batch."""
    record = {
        "line": line.number,
        "id": line.id,
        "request": fingerprint,
        "model": model,
        "prompt": line.prompt,
        "prompt_tokens": request.completion.prompt_tokens,
        "tokens": request.tokens,
        "text": request.text,
        "finish_reason": request.finish_reason,
    }
    return record | ({"logprobs": logprob_records(request.logprobs)} if request.logprobs else {})


def _tell(engine: Any, done: Done, problems: Problems, options: argparse.Namespace) -> None:
    seconds, steps = done.seconds(), engine.statistics.steps
    if options.json:
        print_json(
            {
                "model": options.model,
                "weights": options.weights,
                "out": options.out,
                "answered": done.now,
                "answered_before": done.before,
                "bad_lines": [{"line": number, "problem": text} for number, text in sorted(problems.found.items())],
                "new_tokens": done.new_tokens,
                "steps": steps,
                "seconds": seconds,
                "tokens_per_s": done.new_tokens / seconds,
            }
        )
        return
    print(f"{counted(done.now, 'answer')} written to {safe(options.out)}; {done.before} already there")
    if done.now:
        made = f"{counted(done.new_tokens, 'token')} in {counted(steps, 'step')}"
        print(f"{made} and {seconds_text(seconds)}: {done.new_tokens / seconds:.1f} tokens/s")
    if problems.found:
        print(f"{counted(len(problems.found), 'line')} could not be answered")
