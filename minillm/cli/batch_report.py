"""What a batch reports: the lines that cannot be answered, its progress, the records of its answers."""

import argparse
import sys
from time import perf_counter
from typing import Any

from minillm.cli.printing import logprob_records, print_json, seconds_text
from minillm.support.printable import one_line, safe
from minillm.support.wording import counted

MOST_SHOWN = 20  # invalid lines whose problem is printed


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


def settings_of(options: argparse.Namespace, fingerprint: str) -> dict[str, Any]:
    """Return what decides all answers of a run, besides the prompts and their options.

    Args:
        options: of the command.
        fingerprint: of the model's files.
    """
    names = ("model", "backend", "dtype", "raw", "weights", "kv_cache")
    return {"files": fingerprint} | {name: getattr(options, name) for name in names}


def asked_of(lines: list[Any], settings: dict[str, Any], model: str) -> dict[int, tuple[str, str, Any]]:
    """Return what is asked by each line: the fingerprint of the request, the model's name, the prompt."""
    from minillm.serving.batch_files.run import fingerprint

    return {line.number: (fingerprint(settings, line), model, line.prompt) for line in lines}


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

    def count(self, new_tokens: int) -> None:
        """Count one more answer."""
        self.now += 1
        self.new_tokens += new_tokens

    def stopped(self) -> str:
        """Return what to say when the run is stopped."""
        return f"{self.before + self.now} of {self.of} answers are written; run it again to resume"

    def seconds(self) -> float:
        """Return the seconds since the run began."""
        return perf_counter() - self._started


def answer_record(line: Any, request: Any, fingerprint: str, model: str) -> dict[str, Any]:
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


def tell(steps: int, done: Done, problems: Problems, options: argparse.Namespace) -> None:
    """Print what was answered, in how many steps of all engines, and how fast."""
    seconds = done.seconds()
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
