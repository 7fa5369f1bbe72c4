"""`minillm generate --n 4`: several answers to one prompt, which share the keys and values of its full blocks."""

import argparse
from time import perf_counter
from typing import Any

from minillm.cli.options import cache_dtype_from
from minillm.cli.printing import bytes_text, logprob_records, print_json, seconds_text, show, write
from minillm.support.wording import counted


def run_samples(
    model: Any, prompt: list[int], text: str, max_new_tokens: int, sampling: Any, options: argparse.Namespace
) -> int:
    """Generate all answers in one batch; print the first as it grows, the others after it, and a table."""
    from minillm.batching import Engine

    engine = Engine(model, cache_dtype=cache_dtype_from(options))
    samples = engine.submit_samples(prompt, options.n, max_new_tokens, sampling)
    display = None if options.json else InOrder(samples)
    started = perf_counter()
    for event in engine.events():
        if display:
            display.take(event.request, event.step.text, bool(event.step.finish_reason))
    seconds = perf_counter() - started
    if options.json:
        print_json(_record(engine, samples, text, seconds, options))
    else:
        _print_table(engine, samples, seconds)
    return 0


class InOrder:
    """Print the texts of several samples in order, although their pieces come interleaved.

    Attributes:
        samples: the requests, in the order in which their texts are printed.
        unwritten: text by request that waits for the request's turn.
        finished: requests whose last piece has come.
        turn: index of the request that is printed now.
    """

    def __init__(self, samples: list[Any]) -> None:
        """Print the heading of the first sample."""
        self.samples, self.unwritten = samples, {sample: "" for sample in samples}
        self.finished: set[Any] = set()
        self.turn = 0
        self._write_heading()

    def take(self, sample: Any, text: str, is_last: bool) -> None:
        """Take a piece of one sample's text, and print every piece whose turn has come."""
        self.unwritten[sample] += text
        self.finished |= {sample} if is_last else set()
        while self.turn < len(self.samples):
            current = self.samples[self.turn]
            write(self.unwritten[current])
            self.unwritten[current] = ""
            if current not in self.finished:
                return
            write("\n")
            self.turn += 1
            if self.turn < len(self.samples):
                self._write_heading()

    def _write_heading(self) -> None:
        seed = self.samples[self.turn].completion.sampling.seed
        write(f"--- {self.turn + 1} of {len(self.samples)}{'' if seed is None else f', seed {seed}'} ---\n")


def _record(engine: Any, samples: list[Any], text: str, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "model": options.model,
        "weights": options.weights,
        "prompt": text,
        "prompt_tokens": samples[0].completion.prompt_tokens,
        "samples": [_sample_record(sample) for sample in samples],
        "seconds": seconds,
        "tokens_per_s": sum(len(sample.tokens) for sample in samples) / seconds,
        "kv_cache_bytes": engine.statistics.peak_used_blocks * engine.pool.block_nbytes,
        "kv_cache_bytes_unshared": engine.statistics.peak_table_blocks * engine.pool.block_nbytes,
    }


def _sample_record(sample: Any) -> dict[str, Any]:
    record = {
        "seed": sample.completion.sampling.seed,
        "tokens": sample.tokens,
        "text": sample.text,
        "finish_reason": sample.finish_reason,
    }
    return record | ({"logprobs": logprob_records(sample.logprobs)} if sample.logprobs else {})


def _print_table(engine: Any, samples: list[Any], seconds: float) -> None:
    from rich.table import Table

    tokens, counts, size = sum(len(sample.tokens) for sample in samples), engine.statistics, engine.pool.block_nbytes
    used, unshared = counts.peak_used_blocks, counts.peak_table_blocks
    prompt = samples[0].completion.prompt_tokens
    fed_back = tokens - len(samples)  # all new tokens but the last of each answer
    run = counts.prefill_tokens + counts.decode_tokens - fed_back
    answers, steps = counted(len(samples), "answer"), counted(counts.steps, "step")
    alone = prompt * len(samples)
    rows = [
        ("prompt", f"{counted(prompt, 'token')}; {run} prefilled for all answers, {alone} without sharing"),
        ("new", f"{counted(tokens, 'token')} in {answers}, {steps}, {seconds_text(seconds)}"),
        ("together", f"{tokens / seconds:.1f} tokens/s"),
        ("KV cache", f"{bytes_text(used * size)} in {counted(used, 'block')}; {unshared} without sharing"),
    ]
    if samples[0].completion.sampling.temperature == 0:
        rows.append(("note", "temperature 0 makes all answers the same; try --temperature 0.8"))
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    show(table)
