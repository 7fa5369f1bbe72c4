"""Attention: which earlier tokens each token looked at, in one layer and head, as a matrix of shades."""

from itertools import pairwise, zip_longest

from rich.text import Text

from minillm.arrays import Array, Float
from minillm.support.wording import counted
from minillm.trace.attention import unpacked
from minillm.trace.state import Line
from minillm.trace.terminal.characters import fitted
from minillm.trace.terminal.layout import folded, styled
from minillm.trace.terminal.moment import Moment, sequence_of
from minillm.trace.words import letter

SHADES = ((0.02, "·"), (0.1, "░"), (0.3, "▒"), (0.6, "▓"), (1.01, "█"))  # the weight below which a shade is used
WORD, TALL = 11, 8  # columns of a word at a row, and rows of a word over a column
MOST = 20  # tokens at the rows, the last ones


def draw(moment: Moment) -> list[Text]:
    """Return the matrix of one request, layer and head, for the tokens that have run."""
    lines = [line for line in recorded(moment) if seen_by(moment, line["id"])]
    if not moment.trace.has_attention:
        return [Text("No attention was recorded."), Text("To record it: --detail attention")]
    if not lines:
        return [Text("No token with recorded weights has run.")]
    line = chosen_line(moment, lines)
    seen = min(len(line["scales"]), seen_by(moment, line["id"]))
    tokens = [moment.token(token) for token in sequence_of(moment.state["requests"][line["id"]])[:seen]]
    first = max(0, seen - min(MOST, (moment.width - WORD - 6) // 2))
    weights = unpacked(line)[:seen, :seen]
    return [*_which(moment, lines, line), *_matrix(tokens, weights, first), *_legend(moment, line, first)]


def recorded(moment: Moment) -> list[Line]:
    """Return the lines with weights that the trace has."""
    return [line for line in moment.trace.lines if line["t"] == "attention"]


def seen_by(moment: Moment, request: int) -> int:
    """Return how many tokens of a request have gone through the model; the newest has not."""
    steps = moment.trace.states.steps[: moment.step + 1]
    passes = [line for lines in steps for line in lines if line["t"] == "pass" and line["model"] == 0]
    ran = max(
        (row["first"] + row["count"] for line in passes for row in line["rows"] if row["id"] == request), default=0
    )
    if request not in moment.state["requests"]:
        return 0
    known = moment.state["requests"][request]
    return int(min(ran, len(known["prompt"]) + max(0, len(known["tokens"]) - 1)))


def chosen_line(moment: Moment, lines: list[Line]) -> Line:
    """Return the weights of the request, layer and head that are shown: by default of head 0 of the last layer."""
    for field, wanted, otherwise in (("id", moment.request, 0), ("layer", moment.layer, -1), ("head", moment.head, 0)):
        same = [line for line in lines if line[field] == wanted]
        lines = same or [line for line in lines if line[field] == lines[otherwise][field]]
    return lines[0]


def _which(moment: Moment, lines: list[Line], line: Line) -> list[Text]:
    """Return which weights are shown, and which others there are."""
    shown = f"layer {line['layer']}, head {line['head']}"
    if len(moment.trace.requests) > 1:
        shown = f"request {letter(line['id'])}, {shown}"
    layers, heads = ({each[field] for each in lines if each["id"] == line["id"]} for field in ("layer", "head"))
    others = f"recorded: layers {', '.join(map(str, sorted(layers)))}; {counted(len(heads), 'head')}"
    return folded([shown, others], moment.width, style="")


def _matrix(tokens: list[str], weights: Float[Array, "tokens tokens"], first: int) -> list[Text]:
    """Return the words over the columns, written downwards, and a row of shades for each token."""
    left = " " * (WORD + 5 + 2 * (first > 0))
    heads = [fitted(word, TALL) for word in tokens[first:]]
    over = ["".join(fitted(sign, 2) for sign in signs) for signs in zip_longest(*heads, fillvalue=" ")]
    lines = [Text(left + text, "dim") for text in over if text.strip()]
    for query in range(first, len(tokens)):
        name = styled(f"{fitted(tokens[query], WORD)} {query:>3} ", "bold" if query == len(tokens) - 1 else "")
        cells = ([weights[query, :first].sum()] if first else []) + [*weights[query, first : query + 1]]
        lines.append(name + Text("".join(2 * shade(weight) for weight in cells), "cyan"))
    return lines


def shade(weight: float) -> str:
    """Return the sign of a weight."""
    return next(sign for most, sign in SHADES if weight < most)


def _legend(moment: Moment, line: Line, first: int) -> list[Text]:
    window = moment.trace.states.models[0]["config"]["sliding_windows"][line["layer"]]
    items = [f"· less than {SHADES[0][0]:.0%}"]
    items += [f"{sign} from {low:.0%}" for (low, _), (_, sign) in pairwise(SHADES)]
    items += [f"first column: the {counted(first, 'token')} before"] if first else []
    items += [f"window: {counted(window, 'token')}"] if window else []
    return folded(items, moment.width)
