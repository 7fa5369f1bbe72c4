"""What speculative decoding gains: plain and speculative decoding of the same prompts, in turn, in one run.

Next to each measurement is the result of the formula (`estimate/speculation.py`) for what was measured: how often draft
tokens are accepted (a), what one costs (c), and what a pass of n rows costs (v).
"""

import statistics
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minillm.benchmark.timing import ratios, seconds
from minillm.decode import decode_step
from minillm.estimate.speculation import best_k, speedup, tokens_per_round
from minillm.generation import generate
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model
from minillm.prefill import prefill
from minillm.sampling import Sampling
from minillm.speculative import PromptLookup, SpeculativeGeneration
from minillm.speculative.rounds import SpeculationCounts
from minillm.support.checks import check_integer
from minillm.support.progress import Report
from minillm.transformer import forward_batch

SAMPLING = Sampling(ignore_eos=True)
ROWS = (1, 2, 3, 4, 5, 6, 7, 8, 16)  # the cost of a pass is measured for these numbers of rows
CONTEXT = 128  # tokens before them

LIST = "".join(f"{number}. Wash the {thing}.\n" for number, thing in enumerate(("cup", "plate", "spoon", "pan"), 1))
CODE = '''\
def area(width, height):
    """The area of a rectangle."""
    if width < 0 or height < 0:
        raise ValueError("a length is negative")
    return width * height


def volume(width, height, depth):
    """The volume of a box."""
    if depth < 0:
        raise ValueError("a length is negative")
    return area(width, height) * depth
'''


@dataclass(frozen=True)
class Task:
    """A prompt: text to continue, or a question if the model has a chat template."""

    title: str
    text: str
    chat: bool = False

    def prompt(self, model: Model) -> list[int]:
        """Return the token ids of the prompt."""
        if self.chat and model.tokenizer.chat_template is not None:
            return model.tokenizer.apply_chat_template([{"role": "user", "content": self.text}])
        return model.tokenizer.encode_prompt(self.text)


TASKS = (
    Task("repetitive list", LIST * 3),
    Task("copying code", f"Copy this code, without a change:\n\n```python\n{CODE}```", chat=True),
    Task("free chat", "How can I learn to cook well?", chat=True),
    Task("a story", "Once upon a time"),
)


def measure_speculation(
    model: Model, drafts: Sequence[Model], new_tokens: int, rounds: int, report: Report
) -> dict[str, Any]:
    """Measure every task with prompt lookup and with every draft model.

    Args:
        model: the target model.
        drafts: smaller models with the same tokens.
        new_tokens: tokens of each answer; fewer where the context ends.
        rounds: how often plain and speculative decoding are measured, in turn.
        report: called with the progress.
    """
    check_integer("rounds", rounds, 1)
    verify = verify_costs(model, rounds)
    cases = []
    drafters: list[Model | PromptLookup] = [PromptLookup(), *drafts]
    for drafter in drafters:
        cost = draft_cost(model, drafter, rounds) if isinstance(drafter, Model) else 0.0
        for done, task in enumerate(TASKS):
            report(task.title, done, len(TASKS))
            cases.append(_case(model, drafter, task, new_tokens, rounds, cost, verify))
    return {"model": model.name, "verify_cost": {str(rows): cost for rows, cost in verify.items()}, "cases": cases}


def verify_costs(model: Model, rounds: int) -> dict[int, float]:
    """Return v: seconds of a forward pass by its rows, over those of one row; medians of alternating rounds."""
    cache = KVCache(model, CONTEXT + max(ROWS))
    prefill(model, [1] * CONTEXT, cache)

    def forward_s(rows: int) -> float:
        took = seconds(lambda: forward_batch(model, [([1] * rows, cache)], [rows]))
        cache.truncate(CONTEXT)
        return took

    forward_s(1)  # warms up
    times = [[forward_s(rows) for rows in ROWS] for _ in range(max(5, rounds))]
    return {rows: statistics.median(one[index] / one[0] for one in times) for index, rows in enumerate(ROWS)}


def draft_cost(model: Model, draft: Model, rounds: int) -> float:
    """Return c: seconds of a decode step of the draft model over one of the target."""
    caches = {id(each): KVCache(each, CONTEXT + 1) for each in (model, draft)}
    for each in (model, draft):
        prefill(each, [1] * CONTEXT, caches[id(each)])

    def step(each: Model) -> float:
        took = seconds(lambda: decode_step(each, 1, caches[id(each)]))
        caches[id(each)].truncate(CONTEXT)
        return took

    step(model), step(draft)  # warms up
    return statistics.median(step(draft) / step(model) for _ in range(max(5, rounds)))


def _case(
    model: Model,
    drafter: Model | PromptLookup,
    task: Task,
    new_tokens: int,
    rounds: int,
    cost: float,
    verify: dict[int, float],
) -> dict[str, Any]:
    """Measure one drafter on one task."""
    prompt = task.prompt(model)
    plain_s, speculative_s, same = [], [], True
    for _ in range(rounds):
        plain = generate(model, prompt, new_tokens, SAMPLING)
        generation = SpeculativeGeneration(model, drafter, prompt, new_tokens, SAMPLING)
        deque(generation, maxlen=0)  # to its end
        assert generation.output is not None
        plain_s.append(plain.timings.decode_s)
        speculative_s.append(generation.output.timings.decode_s)
        same &= generation.output.tokens == plain.tokens
    measured = {
        "task": task.title,
        "drafter": drafter.name if isinstance(drafter, Model) else "lookup",
        "times_plain": ratios(plain_s, speculative_s).record(),
        "same_tokens": same,
        "new_tokens": len(plain.tokens),
    }
    return measured | _explained(generation.speculation.counts, len(plain.tokens), cost, verify)


def _explained(counts: SpeculationCounts, tokens: int, cost: float, verify: dict[int, float]) -> dict[str, Any]:
    """Return what was drafted and accepted, and what the formula makes of it."""
    judged = counts.accepted + counts.rejected
    acceptance = counts.accepted / judged if judged else 0.0
    cost_of = interpolated(verify)
    return {
        "rounds": counts.rounds,
        "proposed": counts.proposed,
        "accepted": counts.accepted,
        "tokens_per_round": (tokens - 1) / max(1, counts.rounds),
        "acceptance": acceptance,
        "draft_cost": cost,
        "predicted_times_plain": predicted_speedup(counts.lengths, acceptance, cost, cost_of),
        "best_fixed_k": best_k(acceptance, cost, max(ROWS) - 1, cost_of),
        "best_fixed_times_plain": max(speedup(acceptance, k, cost, cost_of) for k in range(max(ROWS))),
    }


def predicted_speedup(
    lengths: dict[int, int], acceptance: float, cost: float, verify_cost: Callable[[int], float]
) -> float:
    """Return the formula's speed-up over rounds of several lengths: their tokens over their cost in decode steps."""
    tokens = sum(count * tokens_per_round(acceptance, k) for k, count in lengths.items())
    steps = sum(count * (k * cost + verify_cost(k + 1)) for k, count in lengths.items())
    return tokens / steps if steps else 1.0


def interpolated(verify: dict[int, float]) -> Callable[[int], float]:
    """Return v for any number of rows up to the largest measured: on a straight line between its neighbours."""

    def cost(rows: int) -> float:
        below, above = max(n for n in verify if n <= rows), min(n for n in verify if n >= rows)
        share = (rows - below) / (above - below) if above > below else 0.0
        return verify[below] + share * (verify[above] - verify[below])

    return cost
