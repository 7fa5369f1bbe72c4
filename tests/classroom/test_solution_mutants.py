"""Small mistakes planted in the solutions: the check of an exercise finds all of them.

`bugs.py` has the mistakes that people make. Here a program makes them: another operator, a number that is one larger or
smaller, a line left out. Nobody chose them, so they also show what the cases of an exercise leave out.
"""

import ast
import warnings
from collections.abc import Iterator

import pytest

from minillm.classroom.exercises.checker import check
from minillm.classroom.exercises.exercise import all_exercises
from minillm.classroom.worker.worker import Limits, Worker

OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mod, ast.Pow: ast.Mult,
    ast.Mod: ast.FloorDiv, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr, ast.MatMult: ast.Mult, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.LtE, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
SAME = {  # these are correct, too
    "stop_strings": {
        "max((len(text) for text in stop)) + 1",  # as long as a stop string: then it is found already
        "1 -> 0 in max((len(text) for text in stop)) - 0",
        "0 -> -1 in range(min(len(held), max((len(text) for text in stop)) - 1), -1, -1)",  # keeps 0 characters
        "0 -> -1 in next((n for n in lengths if any((text.startswith(held[-n:]) for text in stop))), -1)",
    },
    "greedy_verification": {"True -> False in strict=False"},
    "streaming_latency": {"0 -> -1 in received[-1]"},  # of one token
    "queue_waits": {"0.0 -> -1.0 in [-1.0]", "True -> False in strict=False"},
    "swiglu": {"gate > 0"},
    "temperature_top_k": {"1.0 -> 2.0 in temperature or 2.0"},  # of one token
    "shared_blocks": {"counts[block] <= 0"},
    "int8_round_trip": {"scales <= 0", "1.0 -> 2.0 in np.where(scales == 0, 2.0, scales)"},
}


def mutants(source: str, name: str) -> Iterator[tuple[str, str]]:
    """Yield each wrong solution, with the code that was changed."""
    tree = ast.parse(source)
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
    nodes = [node for statement in function.body[1:] for node in ast.walk(statement)]
    parents = {child: node for node in [function, *nodes] for child in ast.iter_child_nodes(node)}
    for node in nodes:
        for change, told in _changes(node, parents[node]):
            undo = change()
            yield told(), ast.unparse(tree)
            undo()


def _changes(node: ast.AST, parent: ast.AST) -> Iterator[tuple]:
    """Yield functions that change the tree and return what undoes it, each with a function that tells the change."""

    def shown() -> str:
        return ast.unparse(node)

    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in OPERATORS:
        yield _set(node, "op", OPERATORS[type(node.op)]()), shown
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        yield _set(node, "ops", [COMPARISONS[type(node.ops[0])](), *node.ops[1:]]), shown
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        before = node.value
        for after in (not before,) if isinstance(before, bool) else (before + 1, before - 1):
            told = lambda after=after: f"{before} -> {after} in {ast.unparse(parent)}"  # noqa: E731
            yield _set(node, "value", after), told
    if isinstance(node, ast.stmt) and not isinstance(node, ast.Return | ast.FunctionDef):
        body = getattr(parent, "body", [])
        if node in body and len(body) > 1:
            left = f"without {ast.unparse(node)}"
            yield _set(parent, "body", [other for other in body if other is not node]), lambda: left


def _set(node: ast.AST, attribute: str, value):
    def change():
        before = getattr(node, attribute)
        setattr(node, attribute, value)
        return lambda: setattr(node, attribute, before)

    return change


@pytest.fixture(scope="module")
def worker():
    with Worker(Limits(call_s=1.0)) as worker:
        yield worker


@pytest.mark.slow
@pytest.mark.parametrize("exercise", all_exercises(), ids=lambda exercise: exercise.label)
def test_every_small_mistake_is_found(exercise, worker):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        passed = {what for what, source in mutants(exercise.solution, exercise.name)
                  if check(exercise, source, worker, 0).passed}  # fmt: skip
    assert passed == SAME.get(exercise.name, set())


def test_mutants_are_what_they_should_be():
    source = "def f(x):\n    'one'\n    y = x + 1\n    if y < 2 and x:\n        y *= 2\n    return y\n"
    found = [what for what, _ in mutants(source, "f")]
    assert "x - 1" in found and "y <= 2" in found and "y <= 2 and x" not in found and "y < 2 or x" in found
    assert "1 -> 2 in x + 2" in found and "1 -> 0 in x + 0" in found
    assert "y /= 2" in found and "without y = x + 1" in found and "without y *= 2" not in found
    assert len({text for _, text in mutants(source, "f")} - {ast.unparse(ast.parse(source))}) == len(found)
