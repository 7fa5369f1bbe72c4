"""Results that no exercise expects, for every exercise: made from the right one, or from nothing.

Each is an expression, in which `right` is the right result. A learner's function can return it in every call, or only
where a property calls it (after the cases have passed).
"""

import re

from minillm.classroom.exercises.exercise import Exercise

STRANGE = [
    "None", "True", "NotImplemented", "...", "int", "sys", "object()", "lambda: 1", "(n for n in right)", "iter([1])",
    "0", "-1", "10**18", "-10**18", "10**400", "10**5000", "2**63", "float('nan')", "float('inf')", "-1e308", "5e-324",
    "1j", "complex('nan')", "Decimal(1)", "Fraction(1, 3)", "b'bytes'", "bytearray(9)", "'text'", "'x' * 10**6",
    "'\\ud800'", "'\\x1b[2J'", "[]", "()", "{}", "set()", "{1: 2}", "{'a': right}", "{'\\n': right}", "range(10**9)",
    "[[]] * 30_000", "[right] * 2", "(right, right)", "[right] * 1000", "[[[]]] * 3", "[None]", "['a', 'b', 'c']",
    "[float('nan')] * 3", "[10**18] * 3", "[True, True]", "[1j]", "[[1], 2, 'c']", "deep(100)", "deep(900)",
    "deep(10**5)", "own_loop()", "np.array(5)", "np.array(None)", "np.array([])", "np.zeros((0, 3))", "np.zeros(10**6)",
    "np.zeros((1,) * 30)", "np.zeros((10**4, 1))", "np.array([right, right], dtype=object)",
    "np.array([[1], [1, 2]], dtype=object)", "np.ma.masked_array([1.0], [True])",
    "np.array(['a'])", "np.array([b'a'])", "np.array([1j])", "np.array(['2020'], 'M8[Y]')", "np.zeros(3, 'i4,f8')",
    "np.full(3, np.nan)", "np.arange(3)", "np.ones(3, bool)", "np.float64('nan')", "np.float32(1)", "np.int8(1)",
    "np.uint64(2**64 - 1)", "np.longdouble(1)", "np.str_('a')", "np.datetime64('2020')",
    "np.matrix([[1.0]])", "np.recarray(1, 'f8')", "np.broadcast_to(1.0, (10**5, 10))", "np.random.default_rng(0)",
    "Liar()", "LyingArray.of(right)", "LyingList([1])", "LyingInt(3)", "LyingFloat(3)", "LyingText('a')",
    "LyingDict(a=1)", "Mapped()", "[Liar()]", "{'a': Liar()}", "ValueError('x')",
    "like(right, lambda x: x.astype(object))", "like(right, lambda x: x.astype('f4'))", "like(right, lambda x: x + 1)",
    "like(right, lambda x: x * np.inf)", "like(right, lambda x: x[None])", "like(right, lambda x: x[..., None])",
    "like(right, lambda x: x.ravel()[:0])", "like(right, lambda x: np.full(x.shape, np.nan))", "twice(right)",
    "like(right, lambda x: x.astype('f8') + 1e308)", "like(right, lambda x: ~x.astype(bool))", "none_inside(right)",
    "like(right, lambda x: np.repeat(x, 300, axis=0) if x.ndim else x)", "reversed_(right)", "huge_inside(right)",
    "like(right, lambda x: x.astype('c16'))", "like(right, lambda x: x.astype('U9'))", "longer(right)",
]  # fmt: skip
TOOLS = '''
import sys
import numpy as np
from decimal import Decimal
from fractions import Fraction


class Liar:
    def __getattr__(self, name): raise RuntimeError
    def __eq__(self, other): return True
    def __bool__(self): return True
    def __len__(self): return 10**9
    def __array__(self, *a, **k): return np.ones(3)
    def __float__(self): return 1.0
    __hash__ = None


class Mapped(dict):
    def items(self): return [("a", 1)] * 10**6


class LyingArray(np.ndarray):
    @staticmethod
    def of(value):
        return np.asarray(value if isinstance(value, np.ndarray) else 1.0).view(LyingArray)
    def __eq__(self, other): return np.ones(self.shape, bool)


def lying(kind):
    return type("Lying" + kind.__name__, (kind,), {"__eq__": lambda *a: True, "__hash__": None, "__len__": lambda s: 1})


LyingList, LyingInt, LyingFloat, LyingText, LyingDict = map(lying, (list, int, float, str, dict))


def deep(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


def own_loop():
    value = []
    value.append(value)
    return value


def like(value, change):
    """Change every array, or number, of a value."""
    if isinstance(value, (list, tuple)):
        return type(value)(like(item, change) for item in value)
    if isinstance(value, dict):
        return {key: like(item, change) for key, item in value.items()}
    return change(np.asarray(value))


def twice(value):
    return np.array([value, value]) if not isinstance(value, dict) else {key: twice(one) for key, one in value.items()}


def items(value, change):
    if isinstance(value, dict):
        return {key: items(one, change) for key, one in value.items()}
    return change(list(value)) if isinstance(value, (list, tuple)) else change([value])


def none_inside(value): return items(value, lambda x: [*x[:-1], None])
def huge_inside(value): return items(value, lambda x: [*x[:-1], 10**18])
def longer(value): return items(value, lambda x: x + [[]] * 30_000)
def reversed_(value): return items(value, lambda x: x[::-1])
'''


def strange_source(exercise: Exercise, strange: str, after: int = 0) -> str:
    """The solution, but from call number `after` on it returns something strange."""
    solution = re.sub(rf"\b{exercise.name}\b", "solved", exercise.solution)
    return f"""{solution}
{TOOLS}
CALLS = []


def {exercise.name}(*arguments):
    right = solved(*arguments)
    CALLS.append(1)
    return right if len(CALLS) <= {after} else ({strange})
"""
