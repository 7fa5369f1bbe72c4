"""The pass: what ran through the model in this step, the shape of every array, its work, and the roofline."""

from dataclasses import dataclass

from rich.text import Text

from minillm.estimate.work import Tokens, visible_pairs
from minillm.support.wording import counted, rounded
from minillm.trace.state import Line
from minillm.trace.terminal.amounts import amount, bar
from minillm.trace.terminal.characters import shown
from minillm.trace.terminal.layout import columns, folded, prose, styled
from minillm.trace.terminal.moment import Moment
from minillm.trace.terminal.views.roofline import intensity_of, roofline
from minillm.trace.words import letter

ROWS = 8  # sequences that are drawn
WHO = 13  # columns of a sequence's letter and phase
NAME, SHAPE, WEIGHTS, FLOPS = 18, 16, 14, 9  # columns of the table of arrays
WIDE = 70  # columns with room for the shapes of weights, and for FLOPs as numbers


def draw(moment: Moment) -> list[Text]:
    """Return the facts of the pass, its sequences, its arrays and its place under the roofline."""
    passed = moment.passed
    if passed is None:
        return [Text("The run was interrupted before the pass of this step." if moment.step else "Nothing has run.")]
    parts = [_facts(moment, passed), _sequences(moment, passed), _drafts(moment), _arrays(moment, passed)]
    return [line for part in parts for line in part] + roofline(moment, passed)


def _facts(moment: Moment, passed: Line) -> list[Text]:
    tokens = sum(row["count"] for row in passed["rows"])
    facts = [
        f"{counted(tokens, 'token')} of {counted(len(passed['rows']), 'sequence')}",
        amount(passed["flops"], "FLOPs"),
        f"reads {amount(passed['weight_bytes'], 'B')} of weights and {amount(passed['cache_bytes'], 'B')} of cache",
        f"{rounded(intensity_of(passed))} FLOPs a byte",
    ]
    facts += [f"{rounded(1000 * passed['took'])} ms"] if "took" in passed else []
    return folded(facts, moment.width, style="bold")


def _sequences(moment: Moment, passed: Line) -> list[Text]:
    """Return a bar for each sequence: a column for each token in the cache and each new one, if they fit."""
    rows = passed["rows"]
    said = [f" {row['count']} new, {row['first']} cached" for row in rows]
    room = moment.width - WHO - max(map(len, said), default=0)
    scale = min(1.0, room / max((row["first"] + row["count"] for row in rows), default=1))
    lines = [_sequence(row, scale) + Text(text, "dim") for row, text in zip(rows[:ROWS], said, strict=False)]
    more = f"… and {counted(len(rows) - ROWS, 'sequence')} more"
    return [*lines, *([Text(more, "dim")] if len(rows) > ROWS else [])]


def _sequence(row: Line, scale: float) -> Text:
    who = "" if row["id"] is None else letter(row["id"])
    new = max(1, round(row["count"] * scale))
    cached = max(0, round((row["first"] + row["count"]) * scale) - new)
    line = styled(f"{who:<2} ", "bold") + Text(f"{row['phase']:<{WHO - 3}}")
    return line + Text("░" * cached, "dim") + Text("█" * new, "green")


def _drafts(moment: Moment) -> list[Text]:
    passes = [line for line in moment.of("pass") if line["model"] > 0]
    if not passes:
        return []
    name = shown(moment.trace.states.models[passes[0]["model"]]["name"])[:20]
    work = f"{amount(sum(each['flops'] for each in passes), 'FLOPs')}"
    return folded([f"before it, {name} drafted in {counted(len(passes), 'pass', 'passes')}: {work}"], moment.width)


@dataclass(frozen=True)
class Part:
    """An array that a pass computes: its shape, its FLOPs in all layers, and the weights that it takes."""

    name: str
    shape: str
    flops: float
    weights: str = ""


def parts_of(config: Line, rows: list[Line]) -> list[Part]:
    """Return the arrays from embedding to logits. FLOPs are those that `estimate.work` counts."""
    tokens, logits = (sum(row[name] for row in rows) for name in ("count", "logits"))
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    heads, kv_heads, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    batch = [Tokens(row["count"], row["first"]) for row in rows]
    pairs = sum(visible_pairs(each, window) for each in batch for window in config["sliding_windows"])
    keys = [f"{heads} × {row['count']} × {row['first'] + row['count']}" for row in rows]
    scores = keys[0] if len(keys) == 1 else "one each"

    def product(name: str, shape: str, rows: int, matrix: tuple[int, int], times: int = layers) -> Part:
        return Part(name, shape, 2 * rows * matrix[0] * matrix[1] * times, f"{matrix[0]:,} × {matrix[1]:,}")

    return [
        Part("embedding", f"{tokens} × {hidden}", 0, "looked up"),
        product("queries", f"{tokens} × {heads} × {size}", tokens, (hidden, heads * size)),
        product("keys and values", f"{tokens} × 2 × {kv_heads} × {size}", tokens, (hidden, 2 * kv_heads * size)),
        Part("scores and mix", scores, 4 * heads * size * pairs),
        product("attention output", f"{tokens} × {hidden}", tokens, (heads * size, hidden)),
        product("gate and up", f"{tokens} × {2 * inner:,}", tokens, (hidden, 2 * inner)),
        product("down", f"{tokens} × {hidden}", tokens, (inner, hidden)),
        product("logits", f"{logits} × {config['vocab_size']:,}", logits, (hidden, config["vocab_size"]), 1),
    ]


def _arrays(moment: Moment, passed: Line) -> list[Text]:
    """Return a row for each array: its shape, the shape of its weights, and its FLOPs in all layers as a bar."""
    config = moment.trace.states.models[0]["config"]
    parts = parts_of(config, passed["rows"])
    weights, flops = WEIGHTS if moment.width >= WIDE else 0, FLOPS if moment.width >= WIDE else 0
    length = moment.width - NAME - SHAPE - weights - flops
    most = max(part.flops for part in parts) or 1
    heads = ("array", NAME), ("shape", SHAPE), ("weights", weights), ("FLOPs", flops + length)
    lines = [columns(*((text, width, "dim") for text, width in heads))]
    for part in parts:
        cells = (part.name, NAME, ""), (part.shape, SHAPE, ""), (part.weights, weights, "dim")
        number, picture = amount(part.flops, "").strip(), bar(part.flops / most, length)
        lines.append(columns(*cells, (number, flops, ""), (picture, length, "blue")))
    layers = counted(config["num_hidden_layers"], "layer")
    return [*lines, *prose(f"queries to down: in each of {layers}; FLOPs of all", moment.width, style="dim")]
