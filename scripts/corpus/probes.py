"""What a trained model is asked: (kind, prompt, answer). Its greedy continuation of the prompt has to be the answer."""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from corpus import counting, facts, patterns, sums

SEED = 20


class Probe(NamedTuple):
    """One question. The answer begins with a space and ends with the full stop, after which the document ends."""

    kind: str
    prompt: str
    answer: str


def capital_probes() -> list[Probe]:
    """Every capital in both main phrasings; they are in training: this asks whether the facts were learnt."""
    known = facts.all_facts("capital")
    return [Probe("capital", *facts.phrase(fact, i)) for fact in known for i in range(facts.MAIN_PHRASINGS)]


def heldout_phrasing_probes() -> list[Probe]:
    """Every fact, of every kind, in the phrasing that training never showed for it."""
    known = [fact for kind in facts.PHRASINGS for fact in facts.all_facts(kind)]
    return [Probe(fact.kind, *facts.phrase(fact, facts.heldout_phrasing(fact))) for fact in known]


def sum_probes() -> list[Probe]:
    """Every held-out pair, in turn as "23 + 45 =" and as a question."""
    pairs = enumerate(sums.heldout_pairs())
    return [_split_sum(sums.sentence(sums.FORMATS[i % 2], *pair)) for i, pair in pairs]


def counting_probes() -> list[Probe]:
    """Every held-out count."""
    counts = [count for count in counting.all_counts() if counting.is_heldout(count)]
    return [Probe("counting", *counting.prompt_and_answer(count)) for count in counts]


def pattern_probes(kind: str, count: int = 300) -> list[Probe]:
    """Held-out lists to copy, repeat or reverse."""
    task: Callable[[list[str]], tuple[str, str]] = patterns.TASKS[kind]
    source = patterns.lists(Random(f"{SEED} {kind}"), heldout=True)
    return [Probe(kind, *task(next(source))) for _ in range(count)]


def all_probes() -> dict[str, list[Probe]]:
    """Every probe, by the name of its group."""
    groups = {
        "capitals": capital_probes(),
        "held-out phrasings": heldout_phrasing_probes(),
        "sums": sum_probes(),
        "counting": counting_probes(),
    }
    return groups | {kind: pattern_probes(kind) for kind in patterns.TASKS}


def _split_sum(sentence: str) -> Probe:
    prompt, _, answer = sentence.rpartition(" ")
    return Probe("sum", prompt, " " + answer)
