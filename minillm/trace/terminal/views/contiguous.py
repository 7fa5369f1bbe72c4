"""A contiguous cache: how full it is, and a grid of layers and tokens with the new columns lit."""

from rich.text import Text

from minillm.support.wording import counted
from minillm.trace.state import Line
from minillm.trace.terminal.amounts import amount
from minillm.trace.terminal.characters import cut
from minillm.trace.terminal.layout import folded, styled
from minillm.trace.terminal.moment import Moment, sequence_of, token_bytes
from minillm.trace.words import letter

LAYERS = 8  # rows of the grid; a deeper model shows its first and last
LABEL = 10  # columns of a layer's name
SIGNS = {"new": ("█", "green"), "old": ("▒", ""), "cut": ("x", "red"), "empty": ("·", "dim")}
WORDS = {
    "new": "written in this step",
    "old": "written before, only read",
    "cut": "a rejected draft token: written, then cut off",
    "empty": "reserved, empty",
}


def contiguous_lines(moment: Moment, table: Line) -> list[Text]:
    """Return the cache of one request."""
    request = moment.state["requests"][table["request"]]
    row = moment.row(table["request"])
    ran = row["first"] + row["count"] if row else table["length"]  # more than the length: draft tokens were cut off
    fresh = row["first"] if row else table["length"]
    kinds = [_kind(slot, table["length"], fresh, ran) for slot in range(table["capacity"])]
    bytes_each = token_bytes(moment.trace)
    size = f"{amount(table['length'] * bytes_each, 'B')} of {amount(table['capacity'] * bytes_each, 'B')}"
    head = [f"{letter(table['request'])}  {table['length']} of {counted(table['capacity'], 'slot')} in use"]
    head += [f"{size}, {amount(bytes_each, 'B')} a token"] if bytes_each else []
    seen = [f"{SIGNS[kind][0]} {words}" for kind, words in WORDS.items() if kind in kinds]
    newest = [moment.token(token) for token in sequence_of(request)[fresh : table["length"]]]
    words = Text(f"{'new':<{LABEL}}{cut(' '.join(newest), moment.width - LABEL)}", "green")
    grid = [*_grid(moment, kinds), *([words] if newest else [])]
    return [*folded(head, moment.width, style="bold"), *grid, *folded(seen, moment.width)]


def _kind(slot: int, length: int, fresh: int, ran: int) -> str:
    if slot >= max(length, ran):
        return "empty"
    return "cut" if slot >= length else "new" if slot >= fresh else "old"


def _grid(moment: Moment, kinds: list[str]) -> list[Text]:
    """Return a row for each layer and a column for each slot: the last ones, if not all fit."""
    each = 2 if LABEL + 2 * len(kinds) <= moment.width else 1
    room = (moment.width - LABEL) // each
    full = len(kinds) - next((place for place, kind in enumerate(reversed(kinds)) if kind != "empty"), len(kinds))
    first = max(0, min(len(kinds) - room, full - room * 3 // 4))
    cells = Text()
    for kind in kinds[first : first + room]:
        sign, style = SIGNS[kind]
        cells.append(sign * each, style)
    numbers = range(-(-first // 10) * 10, min(first + room, len(kinds)), 10)
    ruler = " " * (-first % 10 * each) + "".join(f"{slot:<{10 * each}}" for slot in numbers)
    head = Text(f"{'slot':<{LABEL}}{ruler}"[: moment.width], "dim")
    return [head, *(styled(f"{name:<{LABEL}}", "dim") + cells for name in _layers(moment))]


def _layers(moment: Moment) -> list[str]:
    """Return the names of the layers that are drawn."""
    count = moment.trace.states.models[0]["config"]["num_hidden_layers"] if moment.trace.states.models else 1
    if count <= LAYERS:
        return [f"layer {layer}" for layer in range(count)]
    return ["layer 0", "layer 1", f"… {count - 4} more", f"layer {count - 2}", f"layer {count - 1}"]
