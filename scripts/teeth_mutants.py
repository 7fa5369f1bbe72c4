"""Small bugs that a program plants, as `scripts/teeth.py` needs them: every mutant of a file, and a sample by seed.

A mutant replaces one piece of one line: `<` by `<=`, `+` by `-`, 1 by 2, `min` by `max`, a statement by `pass`. What
cannot change what a program computes is left alone: annotations, decorators, imports, f-strings, docstrings and the
words of an exception.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

COMPARISONS = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"),
    ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.In: ("in", "not in"), ast.NotIn: ("not in", "in"),
    ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is"),
}  # fmt: skip
OPERATORS = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "/"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "/"),
    ast.Mod: ("%", "//"), ast.Pow: ("**", "*"), ast.MatMult: ("@", "*"), ast.BitOr: ("|", "&"), ast.BitAnd: ("&", "|"),
    ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"), ast.BitXor: ("^", "|"),
}  # fmt: skip
NAMES = {
    "min": "max", "max": "min", "any": "all", "all": "any", "argmax": "argmin", "argmin": "argmax",
    "minimum": "maximum", "maximum": "minimum", "floor": "ceil", "ceil": "floor", "zeros": "ones", "ones": "zeros",
    "float64": "float32", "float32": "float64", "int64": "int8", "intp": "int8", "append": "extend",
}  # fmt: skip


@dataclass(frozen=True, order=True)
class Mutant:
    """One line of a file and what replaces it."""

    path: str  # from the root of the tree
    line: int  # its number, from 1
    before: str
    after: str
    kind: str

    def planted(self, source: str) -> str:
        """Return the source of the file with this mutant; raise ValueError if the line is not there."""
        lines = source.splitlines(keepends=True)
        if len(lines) < self.line or lines[self.line - 1].rstrip("\n") != self.before:
            raise ValueError(f"{self.path}: expected line {self.line} to be {self.before!r}")
        lines[self.line - 1] = self.after + "\n"
        return "".join(lines)


@dataclass(frozen=True)
class Source:
    """The text of a file, in which the nodes of its syntax tree have places."""

    path: str
    text: str

    def mutant(self, kind: str, line: int, begin: int, end: int, new: str) -> Mutant:
        """Return the mutant that has `new` at the bytes `begin` to `end` of a line; columns of `ast` are bytes."""
        before = self.text.splitlines()[line - 1]
        raw = before.encode()
        return Mutant(self.path, line, before, (raw[:begin] + new.encode() + raw[end:]).decode(), kind)

    def replace(self, kind: str, node, new: str) -> Iterator[Mutant]:
        """Yield the mutant in which `new` stands for a node, if the node has one line."""
        if node.lineno == node.end_lineno:
            yield self.mutant(kind, node.lineno, node.col_offset, node.end_col_offset, new)

    def between(self, kind: str, left, right, old: str, new: str) -> Iterator[Mutant]:
        """Yield the mutant in which `new` stands for `old` between two nodes of the same line."""
        if left.end_lineno == right.lineno:
            gap = self.text.splitlines()[right.lineno - 1].encode()[left.end_col_offset : right.col_offset].decode()
            if old in gap:
                changed = gap.replace(old, new, 1)
                yield self.mutant(kind, right.lineno, left.end_col_offset, right.col_offset, changed)

    def of(self, node) -> str:
        """Return the text of a node."""
        return ast.get_source_segment(self.text, node) or ""


def mutants(path: str, text: str) -> list[Mutant]:
    """Return every mutant of a file, sorted and each once; all of them parse, and none is the same program."""
    return [mutant for mutant in _candidates(path, text) if _is_another_program(mutant, text)]


def sample(root: Path, paths: list[str], seed: int, count: int) -> list[Mutant]:
    """Return `count` mutants of these files, the same ones for the same seed.

    The mutants are ordered by a hash of the seed and their text. So a change of one line leaves the rest of the sample
    as it was, and a larger sample contains the smaller one.
    """

    def rank(mutant: Mutant) -> bytes:
        return hashlib.sha256(f"{seed}\n{mutant.path}\n{mutant.before}\n{mutant.after}".encode()).digest()

    texts = {path: (root / path).read_text(encoding="utf-8") for path in paths}
    ranked = sorted((mutant for path in paths for mutant in _candidates(path, texts[path])), key=rank)
    return list(islice((mutant for mutant in ranked if _is_another_program(mutant, texts[mutant.path])), count))


def _candidates(path: str, text: str) -> list[Mutant]:
    source = Source(path, text)
    return sorted({mutant for node in _code(ast.parse(text)) for rule in RULES for mutant in rule(node, source)})


def _is_another_program(mutant: Mutant, text: str) -> bool:
    try:
        return ast.dump(ast.parse(mutant.planted(text))) != ast.dump(ast.parse(text))
    except SyntaxError:
        return False


def _code(node) -> Iterator[ast.AST]:
    """Yield the nodes below this one that compute something."""
    for field, value in ast.iter_fields(node):
        if field in {"annotation", "returns", "decorator_list", "exc", "bases", "type_params"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr | ast.Import | ast.ImportFrom):
                yield child
                yield from _code(child)
            if isinstance(child, ast.FunctionDef):
                yield from _dropped(child)


@dataclass(frozen=True)
class _Dropped:
    """A statement of a function that another may follow, so that leaving it out can go unnoticed."""

    statement: ast.stmt


def _dropped(function: ast.FunctionDef) -> Iterator:
    last = function.body[-1]
    for statement in ast.walk(function):
        is_text = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        needed = isinstance(statement, ast.Assign | ast.AnnAssign) and _binds_a_name(statement)
        needed = needed or isinstance(statement, ast.Import | ast.ImportFrom)  # NameError without it
        compound = isinstance(statement, ast.stmt) and hasattr(statement, "body")
        if isinstance(statement, ast.stmt) and statement is not last and not (is_text or needed or compound):
            yield _Dropped(statement)


def _binds_a_name(statement) -> bool:
    targets = getattr(statement, "targets", None) or [getattr(statement, "target", None)]
    return not any(isinstance(target, ast.Subscript | ast.Attribute) for target in targets)


def _comparison(node, source):
    if isinstance(node, ast.Compare):
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            yield from source.between("comparison", left, right, *COMPARISONS[type(op)])


def _operator(node, source):
    if isinstance(node, ast.BinOp):
        yield from source.between("operator", node.left, node.right, *OPERATORS[type(node.op)])
    if isinstance(node, ast.AugAssign):
        yield from source.between("operator", node.target, node.value, *OPERATORS[type(node.op)])
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield from source.replace("operator", node, source.of(node.operand))


def _and_or(node, source):
    if isinstance(node, ast.BoolOp):
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            yield from source.between("and/or", left, right, old, new)


def _condition(node, source):
    tests = node.ifs if isinstance(node, ast.comprehension) else [getattr(node, "test", None)]
    for test in tests:
        if isinstance(test, ast.expr) and not isinstance(node, ast.Assert):
            yield from source.replace("condition", test, f"(not ({source.of(test)}))")


def _number(node, source):
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield from source.replace("constant", node, str(not node.value))
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        for change in (1, -1):
            yield from source.replace("constant", node, repr(node.value + change))


def _name(node, source):
    if isinstance(node, ast.Name) and node.id in NAMES:
        yield from source.replace("function or dtype", node, NAMES[node.id])
    if isinstance(node, ast.Attribute) and node.attr in NAMES and node.lineno == node.end_lineno:
        begin = node.end_col_offset - len(node.attr)
        yield source.mutant("function or dtype", node.lineno, begin, node.end_col_offset, NAMES[node.attr])


def _arguments(node, source):
    if not isinstance(node, ast.Call) or any(isinstance(each, ast.Starred) for each in node.args):
        return
    for left, right in zip(node.args, node.args[1:], strict=False):
        if left.lineno == right.end_lineno:
            gap = source.text.splitlines()[left.lineno - 1].encode()[left.end_col_offset : right.col_offset].decode()
            swapped = source.of(right) + gap + source.of(left)
            yield source.mutant("swapped arguments", left.lineno, left.col_offset, right.end_col_offset, swapped)
    for before, keyword in zip([*node.args, *node.keywords], node.keywords[not node.args :], strict=False):
        if before.end_lineno == keyword.end_lineno and node.args:
            place = keyword.end_lineno, before.end_col_offset, keyword.end_col_offset
            yield source.mutant("argument left out", *place, "")


def _slice(node, source):
    if isinstance(node, ast.Slice):
        for bound, moved in ((node.lower, "+ 1"), (node.upper, "- 1")):
            if bound is not None:
                yield from source.replace("slice", bound, "")
                yield from source.replace("slice", bound, f"{source.of(bound)} {moved}")


def _statement(node, source):
    if isinstance(node, _Dropped):
        yield from source.replace("statement left out", node.statement, "pass")


RULES = [_comparison, _operator, _and_or, _condition, _number, _name, _arguments, _slice, _statement]
