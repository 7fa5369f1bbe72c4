"""Read what a reader types as an answer: a number with or without a unit, a calculation, a shape, or a choice.

One text may mean several values: 7,625 is 7625, or 7.625 with a decimal comma. All of them are returned, and the
question decides. Nothing that is typed is run as a program.
"""

import ast
import math
import operator
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
FUNCTIONS: dict[str, Callable[[float], float]] = {
    "log": math.log, "ln": math.log, "log2": math.log2, "log10": math.log10, "sqrt": math.sqrt, "exp": math.exp,
}  # fmt: skip
SIGNS = str.maketrans(
    {"−": "-", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "∕": "/", "⁄": "/", "^": "**", "’": "'"}
)
BRACKETS = str.maketrans("[]", "()")
SUPERSCRIPTS = re.compile("[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+")
UNITS = {
    "%": 0.01, "percent": 0.01, "thousand": 1e3, "million": 1e6, "mio": 1e6, "mn": 1e6, "billion": 1e9, "bn": 1e9,
    "mrd": 1e9, "trillion": 1e12,
}  # fmt: skip
CONVERTIBLE: tuple[dict[str, float], ...] = (  # the question may ask for any unit of the same row
    {r"s|secs?|seconds?": 1.0, r"ms|msecs?|milliseconds?": 1e-3, r"[uμ]s|microseconds?": 1e-6},
    {r"\$|usd|dollars?": 1.0, r"¢|c|cts?|cents?": 0.01},
)
ONES = frozenset({"x", "×", "time", "b", "byte"})  # units of numbers as they are, without the s of the plural
PREFIXED_UNIT = re.compile("([kmgt])(i?b|(?:ibi)?bytes?)?", re.IGNORECASE)
TOKEN = re.compile(
    rf"(?P<function>(?:(?:np|math)\.)?(?:{'|'.join(sorted(FUNCTIONS, key=len, reverse=True))})(?=\s*\())"
    r"|(?P<times>(?:[x×]|times)(?=\s*[\d(.,]))"
    r"|(?P<word>(?:[^\W\d_]|[$€£¢%°#×])++\.?(?!\s*\()(?:\s*/\s*[^\W\d_]+)*)"
    r"|(?P<sign>\*\*|[-+*/()])|(?P<space>\s+)|(?P<other>.)",
    re.IGNORECASE,
)
SHAPE_SEPARATORS = (";", ", ", ",", r"[*x×]|\bby\b|\band\b", r"\s")
SIZE = re.compile(r"(?:[^\W\d]+[.: ]+)*([1-9]\d{0,2}(?:[,_' ]\d{3}){1,5}|[1-9]\d{0,15}|0)(?: *[^\W\d_]++)*+")


def _number(thousands: str, decimal: str) -> re.Pattern[str]:
    """Return the pattern of a number with these signs between thousands and before decimals."""
    groups = "|".join(rf"(?:{sign}\d{{3}})+" for sign in (thousands, "_", "'", " "))
    not_thousands = r"(?!\d\d0(?!\d))" if decimal == "," else ""  # 1,500 is 1500: nobody adds a zero to decimals
    return re.compile(
        rf"(?:[1-9]\d{{0,2}}(?:{groups})(?!\d)|\d+)(?:{decimal}{not_thousands}\d*)?(?:e[+-]?\d+)?|{decimal}\d+",
        re.IGNORECASE,
    )


NOTATIONS = ((_number(",", r"\."), "."), (_number(r"\.", ","), ","))  # each with its sign before decimals


def read_numbers(text: str, question: str = "") -> tuple[float, ...]:
    """Return the values that a text may mean as a number; none if it is not a number.

    A number in another unit than the question asks for is only converted: 4 ms are not 4 seconds.

    >>> read_numbers("3072 bytes"), read_numbers("2·6 x 2^3"), read_numbers("8,5x"), read_numbers("three")
    ((3072.0,), (96.0,), (8.5,), ())
    >>> read_numbers("7,625"), read_numbers("25%"), read_numbers("0.5 MiB")
    ((7625.0, 7.625), (25.0, 0.25), (0.5, 500000.0, 524288.0))
    >>> read_numbers("4 cents"), read_numbers("4 cents", "How many dollars?")
    ((4.0, 0.04), (0.04,))
    """
    text = _bare(text).translate(BRACKETS)
    values: list[float] = []
    for number, decimal in NOTATIONS:
        tokens, units = _tokens(text, number, decimal)
        value = _calculated(" ".join(tokens))
        if value is not None:
            values += [] if any(_is_another_unit(unit, question) for unit in units) else [value]
            values += [value * factor for unit in units for factor in _factors(unit)]
    return tuple(dict.fromkeys(values))


def unknown_unit(text: str, question: str) -> str:
    """Return the word after the last number if it is neither a unit nor a word of the question, else an empty text.

    >>> unknown_unit("3 jiffies", "How many ms?"), unknown_unit("3 s", "How many ms?"), unknown_unit("3 ms", "Why?")
    ('jiffies', '', '')
    """
    words = [units[0] for notation in NOTATIONS if (units := _tokens(_bare(text), *notation)[1])]
    known = ONES.union(word.rstrip("s") for word in re.findall(r"\w+", question.lower()))
    return next((word for word in words if not _factors(word) and _name(word).rstrip("s") not in known), "")


def read_shapes(text: str) -> tuple[tuple[int, ...], ...]:
    """Return the shapes that a text may mean; none if it is not a shape.

    >>> read_shapes("(5, 2048)"), read_shapes("5×2,048"), read_shapes("5 rows, 2048 columns"), read_shapes("wide")
    (((5, 2048),), ((5, 2048),), ((5, 2048),), ())
    """
    text = re.sub(r"[()\[\]]", " ", _bare(text))
    shapes = []
    for separator in SHAPE_SEPARATORS:
        parts = re.split(separator, text, flags=re.IGNORECASE)
        sizes = [SIZE.fullmatch(part.strip()) for part in parts if part.strip()]
        if sizes and None not in sizes:
            shapes.append(tuple(int(re.sub(r"\D", "", size[1])) for size in sizes if size))
    return tuple(dict.fromkeys(shapes))


def read_choice(text: str, choices: Sequence[str]) -> str | None:
    """Return the choice that a text means: by its letter, or by words that begin in one choice only.

    >>> read_choice("(b)", ["yes", "no"]), read_choice("Y", ["yes", "no"]), read_choice("maybe", ["yes", "no"])
    ('no', 'yes', None)
    """
    text = _plain(text).strip().lower()
    exact = [choice for choice in choices if _plain(choice).lower() == text]
    letter = re.fullmatch(r"\W*([a-z])(?:[).:\]]\W*.*|\W*)", text)
    number = ord(letter[1]) - ord("a") if letter else len(choices)
    if not exact and number < len(choices):
        return choices[number]
    words = text.strip(" .!?\"'`()[]")
    begun = [choice for choice in choices if words and re.search(rf"\b{re.escape(words)}", choice.lower())]
    found = exact or begun
    return found[0] if len(found) == 1 else None


def _plain(text: str) -> str:
    """Return a text in which all signs of one meaning are the same: full-width digits, superscripts, · and ×."""
    text = SUPERSCRIPTS.sub(lambda found: f"^{found[0]}", text)
    spaced = "".join(f" {c}" if "VULGAR FRACTION" in unicodedata.name(c, "") else c for c in text)
    return unicodedata.normalize("NFKC", spaced).translate(SIGNS)


def _bare(text: str) -> str:
    """Return what follows the last `=`, without quotes and punctuation around it."""
    return _plain(text).rpartition("=")[2].lstrip(" \"'`~≈").rstrip(" .!?\"'`")


def _tokens(text: str, number: re.Pattern[str], decimal: str) -> tuple[list[str], list[str]]:
    """Return the text as tokens of Python, and the words after its last number.

    Words are left out where a unit may stand: after a number, and at the beginning. `x` is a product between numbers.
    """
    tokens: list[str] = []
    units: list[str] = []
    place = 0
    while place < len(text):
        found = number.match(text, place) or TOKEN.match(text, place)
        assert found is not None  # TOKEN matches any character
        kind, token, place = found.lastgroup or "number", found[0], found.end()
        after_number = bool(tokens) and tokens[-1][-1] in "0123456789)"
        if kind == "number":
            tokens, units = [*tokens, _python_number(token, decimal)], []
        elif kind == "times" and after_number:
            tokens.append("*")
        elif kind == "word" and (after_number or not tokens) and token.lower() not in FUNCTIONS:
            units.append(token)
        elif kind == "sign" and units and not tokens and token != "(":
            return [], []  # n + 1: the word is a variable
        elif kind in ("function", "sign"):
            tokens.append(token.lower().rpartition(".")[2])
        elif kind in ("word", "other") or (kind == "times" and tokens):
            return [], []
    return tokens, units


def _python_number(token: str, decimal: str) -> str:
    whole, _, decimals = token.lower().partition(decimal)
    return repr(float(re.sub(r"[,._' ]", "", whole) + (f".{decimals}" if decimals else "")))


def _calculated(expression: str) -> float | None:
    """Return the value of an expression of Python, or None if it is not one."""
    try:
        value = _value(ast.parse(expression, mode="eval").body)
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, float) and math.isfinite(value) else None


def _value(node: ast.expr) -> Any:
    """Evaluate numbers, sums, products, powers and `FUNCTIONS`. Nothing else is evaluated."""
    match node:
        case ast.Constant(value=float() as value):
            return value
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=operand):
            return -_value(operand) if isinstance(sign, ast.USub) else _value(operand)
        case ast.BinOp() if type(node.op) in OPERATORS:
            return OPERATORS[type(node.op)](_value(node.left), _value(node.right))
        case ast.Call(func=ast.Name(id=name), args=[argument]) if name in FUNCTIONS:
            return FUNCTIONS[name](_value(argument))
    raise ValueError("expected a number")


def _factors(unit: str) -> list[float]:
    """Return what a unit may stand for: 0.01 for %, 1000 or 1024 for kB, 1000 for s if the question asks for ms."""
    unit = _name(unit)
    prefixed = PREFIXED_UNIT.fullmatch(unit)
    if prefixed:
        power = "kmgt".index(prefixed[1]) + 1
        return [1000.0**power, 1024.0**power]
    rows = [(row, size) for row in CONVERTIBLE for names, size in row.items() if re.fullmatch(names, unit)]
    converted = [size / other for row, size in rows for other in row.values() if other != size]
    return [*converted, UNITS[unit]] if unit in UNITS else converted


def _is_another_unit(unit: str, question: str) -> bool:
    """Return whether a question names one unit of the same row as this one, and not this one: seconds for ms."""
    words = re.findall(r"(?<!')[^\W\d_]+|[$¢]", question.lower())
    for row in CONVERTIBLE:
        asked = {names for names in row for word in words if re.fullmatch(names, word)}
        given = {names for names in row if re.fullmatch(names, _name(unit))}
        if asked and given and not asked & given:
            return True
    return False


def _name(unit: str) -> str:
    """Return a unit without what it is for: s/pass is a number of seconds, too."""
    return unit.lower().partition("/")[0].strip(" .")
