"""Every phase of every engine, measured in turn, round after round, together with the machine's limits.

Ratios are taken within a round: other load on the machine affects an engine and the next one, a second later, alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import sleep

from minillm.benchmark.engine_process import EngineProcess, Generated
from minillm.benchmark.limits import Limits
from minillm.support.progress import Report

PAUSE = 0.2  # seconds in which the previous engine's threads stop spinning for more work


@dataclass(frozen=True)
class Phase:
    """One thing to measure: the prefill of a prompt, or decode steps after it in one or several sequences."""

    kind: str  # "prefill" or "decode"
    context: int  # tokens of the prompt
    sequences: int = 1

    @property
    def title(self) -> str:
        """Return the name for tables."""
        batch = f", batch {self.sequences}" if self.sequences > 1 else ""
        return f"{self.kind} {self.context}" if self.kind == "prefill" else f"decode @{self.context}{batch}"


@dataclass
class Figures:
    """All measurements; each list has one number per round.

    Attributes:
        limits: of the machine.
        rates: tokens per second, by engine and phase.
        tokens: the greedy tokens of the first round, by engine and context.
        peak_memory_bytes: by engine, after a prefill and a decode of one sequence.
        beyond_products_s: seconds per layer that minillm's decode step takes beyond its matrix products.
    """

    limits: list[Limits] = field(default_factory=list)
    rates: dict[str, dict[Phase, list[float]]] = field(default_factory=dict)
    tokens: dict[str, dict[int, tuple[int, ...]]] = field(default_factory=dict)
    peak_memory_bytes: dict[str, int] = field(default_factory=dict)
    beyond_products_s: list[float] = field(default_factory=list)


def measure_rounds(
    machine: EngineProcess,
    groups: Mapping[str, Sequence[EngineProcess]],
    prompt: Sequence[int],
    runs: Sequence[tuple[int, int]],
    new_tokens: int,
    rounds: int,
    report: Report,
) -> dict[str, Figures]:
    """Measure all figures of each group of engines. All engines of all groups take turns.

    Args:
        machine: the process that measures the limits.
        groups: the engines that are compared with each other, by the format of their weights; minillm first in each.
        prompt: token ids, as many as the longest context.
        runs: (context, sequences) of each measurement.
        new_tokens: decode steps of each measurement.
        rounds: number of times that each is measured.
        report: called with the progress.

    Raises:
        ValueError: an engine failed.
    """
    all_figures = {weights: Figures() for weights in groups}
    pairs = [(engine, all_figures[weights]) for weights, engines in groups.items() for engine in engines]
    for engine, figures in pairs:  # warms up; the peak before any batch is what one conversation needs
        report(f"starting {engine.name}", 0, rounds)
        run = engine.generate(prompt[: max(runs)[0]], new_tokens)
        figures.peak_memory_bytes[engine.name] = run.peak_memory_bytes
    request = {"task": "beyond products", "prompt": list(prompt[: min(runs)[0]]), "new_tokens": new_tokens}
    for done in range(rounds):
        report("measuring", done, rounds)
        sleep(PAUSE)
        limits = Limits(*machine.figures({}, "bandwidth", "matmul"))
        _measure_runs(pairs, prompt, runs, new_tokens)
        for weights, engines in groups.items():
            all_figures[weights].limits.append(limits)
            all_figures[weights].beyond_products_s += engines[0].figures(request, "seconds")
    return all_figures


def _measure_runs(
    pairs: Sequence[tuple[EngineProcess, Figures]],
    prompt: Sequence[int],
    runs: Sequence[tuple[int, int]],
    new_tokens: int,
) -> None:
    """Make each run once on every engine, which take turns."""
    longest = max(runs)[0]
    for context, sequences in runs:
        for engine, figures in pairs:
            sleep(PAUSE)
            generated = engine.generate(prompt[:context], new_tokens, sequences)
            _note(figures, engine.name, generated, context, sequences, context == longest)


def _note(figures: Figures, name: str, run: Generated, context: int, sequences: int, prefill: bool) -> None:
    rates = figures.rates.setdefault(name, {})
    if sequences == 1:
        figures.tokens.setdefault(name, {}).setdefault(context, run.tokens)
    if sequences == 1 and prefill:
        rates.setdefault(Phase("prefill", context), []).append(context / run.prefill_s)
    steps = len(run.tokens) - 1
    rates.setdefault(Phase("decode", context, sequences), []).append(sequences * steps / run.decode_s)
