"""`minillm batch prompts.jsonl --out answers.jsonl`: answer many prompts at once, resumable at any moment."""

import argparse
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from time import perf_counter
from typing import Any

from minillm.cli.options import (
    add_model_options,
    add_sampling_options,
    check_folder_of,
    encoded,
    sampling_from,
)
from minillm.cli.printing import counted, print_json, seconds_text
from minillm.support.checks import check_integer
from minillm.support.printable import one_line, safe

PLACES = 8  # in static batching
MOST_SHOWN = 20  # bad lines; the rest are counted


def add_parser(commands: Any) -> None:
    """Describe the command."""
    parser = commands.add_parser(
        "batch",
        help="answer a file of prompts",
        description="Answer a file of prompts in one batch. Interrupted, the same command goes on where it was.",
    )
    add = parser.add_argument
    add("prompts", help='JSON lines such as {"prompt": "Hello", "max_new_tokens": 20}; - reads standard input')
    add("--out", metavar="FILE", help="write each answer there, a JSON line, as soon as it is done")
    add("--compare", action="store_true", help="run naive, static and continuous batching instead, side by side")
    add("--batch-size", type=int, metavar="B", help="with --compare: places in static batching (default 8)")
    add("--raw", action="store_true", help="continue texts as they stand, without the chat template")
    add_model_options(parser)
    add_sampling_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read everything, load, answer."""
    from minillm.cli.compare_schedules import compare
    from minillm.loading.load import load
    from minillm.serving.batch_files.prompts import read_lines

    _check_combination(options)
    problems = Problems(options.prompts)
    lines = list(_parsed(read_lines(options.prompts), problems, options))
    if not lines and not problems.found:
        raise ValueError(f"{problems.source}: no line; expected at least one prompt")
    model = load(options.model, options.backend, options.dtype)
    code = compare(model, lines, problems, options) if options.compare else _answer(model, lines, problems, options)
    return code or (2 if problems.found else 0)


class Problems:
    """Lines that cannot be answered: told at once, by number, and remembered."""

    def __init__(self, source: str) -> None:
        """None found yet in this file."""
        self.source = "standard input" if source == "-" else source
        self.found: dict[int, str] = {}

    def note(self, number: int, problem: ValueError) -> None:
        """Tell one, unless too many have been told already."""
        self.found[number] = one_line(str(problem))
        if len(self.found) <= MOST_SHOWN:
            print(f"minillm: {one_line(f'{self.source} line {number}: {problem}')}", file=sys.stderr)
        elif len(self.found) == MOST_SHOWN + 1:
            print("minillm: more lines cannot be answered; --json lists them all", file=sys.stderr)


def _check_combination(options: argparse.Namespace) -> None:
    if options.batch_size is not None and not options.compare:
        raise ValueError("--batch-size belongs to --compare; leave it out")
    options.batch_size = check_integer("--batch-size", PLACES if options.batch_size is None else options.batch_size, 1)
    if options.max_new_tokens is not None:
        check_integer("--max-new-tokens", options.max_new_tokens, 1)
    if options.compare and options.out:
        raise ValueError("--compare writes no answers; leave --out out")
    if not options.compare and not options.out:
        raise ValueError("expected --out FILE for the answers, or --compare")
    if options.out:
        check_folder_of("--out", options.out)
    if (
        options.out
        and os.path.exists(options.out)
        and os.path.realpath(options.out) == os.path.realpath(options.prompts)
    ):
        raise ValueError(f"--out {options.out} is the file of prompts; expected another")


def _parsed(lines: Iterable[tuple[int, bytes]], problems: Problems, options: argparse.Namespace) -> Iterable[Any]:
    """The lines that can be answered."""
    from minillm.serving.batch_files.prompts import parse_line

    sampling = sampling_from(options)
    for number, line in lines:
        try:
            yield parse_line(number, line, options.max_new_tokens, sampling)
        except ValueError as problem:
            problems.note(number, problem)


def _answer(model: Any, lines: list[Any], problems: Problems, options: argparse.Namespace) -> int:
    """Answer the lines that have no answer yet."""
    from minillm.batching import Engine
    from minillm.serving.batch_files.answers import AnswerFile
    from minillm.serving.batch_files.run import answer_lines, fingerprint, model_fingerprint
    from minillm.support.progress import progress_on_stderr

    settings = {name: getattr(options, name) for name in ("model", "backend", "dtype", "raw")}
    settings["weights"] = model_fingerprint(model)
    asked = {line.number: (fingerprint(settings, line), options.model, line.prompt) for line in lines}
    with AnswerFile(Path(options.out)) as answers:
        answers.check_asked(asked)
        missing = [line for line in lines if line.number not in answers.answered]
        engine, done = Engine(model), Done(len(answers.answered), len(lines))
        try:
            with progress_on_stderr() as report:
                report("answering", done.before, done.of)
                pairs = answer_lines(engine, missing, lambda line: encoded(model, line, options.raw), problems.note)
                for line, request in pairs:
                    answers.append(_answer_record(line, request, asked[line.number][0], options.model))
                    done.count(request)
                    report("answering", done.before + done.now, done.of)
        except KeyboardInterrupt:
            there = done.before + done.now
            print(f"minillm: {there} of {done.of} answers are there; the same command goes on", file=sys.stderr)
            return 130
    _tell(engine, done, problems, options)
    return 0


class Done:
    """How far a run has come.

    Attributes:
        before, now, of: answers that were there before, that were made now, and that were asked for.
        new_tokens: of the answers made now.
    """

    def __init__(self, before: int, of: int) -> None:
        """Nothing is made yet."""
        self.before, self.now, self.of, self.new_tokens, self._started = before, 0, of, 0, perf_counter()

    def count(self, request: Any) -> None:
        """One more answer."""
        self.now, self.new_tokens = self.now + 1, self.new_tokens + len(request.tokens)

    def seconds(self) -> float:
        """Since the run began."""
        return perf_counter() - self._started


def _answer_record(line: Any, request: Any, fingerprint: str, model: str) -> dict[str, Any]:
    """One answer; nothing in it depends on when and beside what it was made."""
    return {
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


def _tell(engine: Any, done: Done, problems: Problems, options: argparse.Namespace) -> None:
    seconds, steps = done.seconds(), engine.statistics.steps
    if options.json:
        print_json(
            {
                "model": options.model,
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
    print(f"{counted(done.now, 'answer')} written to {safe(options.out)}; {done.before} were there before")
    if done.now:
        made = f"{counted(done.new_tokens, 'token')} in {counted(steps, 'step')}"
        print(f"{made} and {seconds_text(seconds)}: {done.new_tokens / seconds:.1f} tokens/s")
    if problems.found:
        print(f"{counted(len(problems.found), 'line')} could not be answered")
