"""Runs code on every outcome of its random numbers, and says how probable each is: exactly, without sampling.

`EveryPath` is a generator whose `random()` returns a `Uniform` and not a number: an unknown point, uniformly
distributed between 0 and 1. When the code compares it with a number, or looks up its place among cumulated
probabilities, the world splits, and the code is run again from the start for each answer. A Uniform that is asked
twice remembers what it answered, as a number would. So the real code runs, and its own thresholds decide the
probabilities.
"""

import numpy as np


class EveryPath(np.random.Generator):
    """The random numbers of one path: the first answers are given, all later ones are the first of several."""

    def __init__(self, answers=()):
        super().__init__(np.random.PCG64(0))
        self.given, self.answers, self.probability = list(answers), [], 1.0
        self.alternatives = []  # paths that split off this one

    def random(self):
        return Uniform(self)

    def split(self, low, high, thresholds):
        """Which of the intervals between the thresholds a Uniform known to be in [low, high) falls in: its number."""
        edges = np.clip([low, *thresholds, high], low, high)
        widths = np.diff(edges) / (high - low)
        if len(self.answers) < len(self.given):
            answer = self.given[len(self.answers)]
        else:
            answer, *others = (int(place) for place in np.flatnonzero(widths > 1e-14))  # less: a sum that misses 1
            self.alternatives += [[*self.answers, other] for other in others]
        self.answers.append(answer)
        self.probability *= widths[answer]
        return answer, float(edges[answer]), float(edges[answer + 1])


class Uniform:
    """A number between 0 and 1 that is not known yet; times a constant, if it was multiplied."""

    __array_ufunc__ = None  # NumPy's scalars leave arithmetic to it

    def __init__(self, path, scale=1.0, known=None):
        self.path, self.scale = path, float(scale)
        self.known = known if known is not None else [0.0, 1.0]  # where it lies, as far as it was asked

    def __mul__(self, factor):
        return Uniform(self.path, self.scale * float(factor), self.known)

    __rmul__ = __mul__

    def __lt__(self, threshold):
        answer, *self.known[:] = self.path.split(*self.known, [float(threshold) / self.scale])
        return answer == 0

    __le__ = __lt__  # a point has no probability

    def __gt__(self, threshold):
        return not self < threshold

    __ge__ = __gt__

    def __array_function__(self, function, types, args, kwargs):
        assert function is np.searchsorted and args[1] is self and self.scale == 1
        answer, *self.known[:] = self.path.split(*self.known, args[0])
        return answer


def distribution(outcome):
    """The probability of everything that `outcome(generator)` can return."""
    found, paths = {}, [[]]
    while paths:
        path = EveryPath(paths.pop())
        result = outcome(path)
        paths += path.alternatives
        found[result] = found.get(result, 0.0) + path.probability
    return found


def assert_same_distribution(found, expected):
    """Equal to 1e-12, for everything that one of the two says is possible."""
    differences = {what: found.get(what, 0.0) - expected.get(what, 0.0) for what in found.keys() | expected.keys()}
    worst = max(differences, key=lambda what: abs(differences[what]))
    assert abs(differences[worst]) < 1e-12, f"{worst} is off by {differences[worst]}"
