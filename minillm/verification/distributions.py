"""Is a distribution right? Every path of draws is enumerated, and compared with the definition.

The probability of a path is the product of its weights. No random numbers are needed, and no statistics.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from minillm.verification.engine_protocol import Engine, Options
from minillm.verification.sampling_mistakes import EXACT, mistake_of

MOST_DRAWS = 50


def check_distribution(engine: Engine, logits: Sequence[float], options: Options) -> None:
    """Raise AssertionError if a token does not have the probability of the definition."""
    expected = defined_distribution(logits, **options)
    assert expected is not None, "expected options with which rounding does not decide"
    found = distribution(engine, logits, options)
    for token, probability in enumerate(expected):
        if abs(found[token] - probability) > EXACT:
            chance = f"token {token} has the probability {found[token]:.6g}; expected {probability:.6g}"
            meaning = mistake_of(found, logits, options)
            engine.fail(f"of the logits {logits} with {shown_options(options)}, {chance}{meaning}")


def check_ties(engine: Engine, logits: Sequence[float], options: Options) -> None:
    """Raise AssertionError if the probabilities, in any order, are not those of the definition."""
    defined = defined_distribution(logits, **options)
    assert defined is not None, "expected options with which rounding does not decide"
    expected, found = sorted(defined), sorted(distribution(engine, logits, options))
    if any(abs(one - other) > EXACT for one, other in zip(found, expected, strict=True)):
        numbers = ", ".join(f"{number:.4g}" for number in found if number > EXACT)
        wanted = ", ".join(f"{number:.4g}" for number in expected if number > EXACT)
        chances = f"the probabilities are {numbers}; expected {wanted}"
        engine.fail(f"of the logits {logits} with {shown_options(options)}, {chances}")


def defined_distribution(
    logits: Sequence[float], temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0, min_p: float = 0.0
) -> list[float] | None:
    """Return the probability of each token, or None if rounding could decide which tokens are kept.

    >>> defined_distribution([0.0, 0.0, -1.0], top_k=2)
    [0.5, 0.5, 0.0]
    """
    ranked = sorted(range(len(logits)), key=lambda token: -logits[token])  # equal ones by id
    if temperature == 0:
        return [float(token == ranked[0]) for token in range(len(logits))]
    weight = [math.exp((logit - max(logits)) / temperature) for logit in logits]
    ranked = ranked[:top_k]
    total, before, kept = sum(weight[token] for token in ranked), 0.0, []
    for token in ranked:
        for limit, number in ((top_p * total, before), (min_p, weight[token])):  # the largest weight is 1
            if abs(limit - number) <= EXACT:
                return None
        if before < top_p * total and weight[token] >= min_p:
            kept.append(token)
        before += weight[token]
    kept_total = sum(weight[token] for token in kept)
    return [weight[token] / kept_total if token in kept else 0.0 for token in range(len(logits))]


def distribution(engine: Engine, logits: Sequence[float], options: Options) -> list[float]:
    """Return the probability of each token: the sum over all paths of draws that end with it."""
    found, paths = [0.0] * len(logits), [Path([])]
    while paths:
        path = paths.pop()
        token = engine.sample(logits, options, path.draw)
        if path.problem or not (type(token) is int and 0 <= token < len(logits)):
            engine.fail(path.problem or f"sample returned {token!r}; expected an id below {len(logits)}")
        found[token] += path.probability
        paths += path.others
    return found


@dataclass
class Path:
    """One path of draws: the first answers are given, and each later one is the first that is possible.

    Attributes:
        given: the first answers.
        probability: of the path so far.
        others: the paths that part from this one.
        problem: what is wrong with the weights of a draw, or "".
    """

    given: list[int]
    answers: list[int] = field(default_factory=list)
    probability: float = 1.0
    others: list["Path"] = field(default_factory=list)
    problem: str = ""

    def draw(self, weights: Sequence[float]) -> int:
        """Return the index that this path draws. Record a problem if the weights are not probabilities."""
        weights = [float(weight) for weight in weights]
        if not all(weight >= 0 for weight in weights) or abs(sum(weights) - 1) > EXACT:
            shown = ", ".join(f"{weight:.4g}" for weight in weights)
            self.problem = f"draw got the weights {shown}; expected probabilities, with the sum 1"
        elif len(self.answers) >= MOST_DRAWS:
            self.problem = f"one token took more than {MOST_DRAWS} draws"
        if self.problem:
            return 0
        answer = self.next_answer([index for index, weight in enumerate(weights) if weight > 0])
        self.answers.append(answer)
        self.probability *= weights[answer]
        return answer

    def next_answer(self, possible: Sequence[int]) -> int:
        """Return the given answer, or the first possible one. The other ones begin paths of their own."""
        if len(self.answers) < len(self.given):
            return self.given[len(self.answers)]
        self.others += [Path([*self.answers, other]) for other in possible[1:]]
        return possible[0]


def shown_options(options: Options) -> str:
    """Return options as Python arguments."""
    return ", ".join(f"{name}={value}" for name, value in options.items()) or "no options"
