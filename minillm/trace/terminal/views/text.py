"""The text: the tokens of each request as boxes, with a sign under each that says where it comes from."""

from dataclasses import dataclass

from rich.cells import cell_len as width_of
from rich.text import Text

from minillm.support.wording import counted
from minillm.trace.state import Line
from minillm.trace.terminal.characters import cut
from minillm.trace.terminal.layout import folded, styled
from minillm.trace.terminal.moment import Moment
from minillm.trace.words import letter

KINDS = {  # the sign under a token, its words, and its style
    "prompt": (" ", "prompt", ""),
    "waits": ("·", "prompt, has not run", "dim"),
    "generated": ("─", "generated", "green"),
    "accepted": ("+", "accepted draft token", "green"),
    "corrected": ("!", "correction", "yellow"),
    "bonus": ("*", "bonus token", "cyan"),
    "draft": ("?", "draft token", "magenta"),
    "rejected": ("x", "~~rejected~~ draft token", "red strike"),
    "unused": ("-", "~~not judged~~, after a rejected one", "dim strike"),
}
INDENT = 3
LONGEST = 24  # columns of a token
ROWS = 12  # of boxes, in all requests; longer texts show their ends


@dataclass(frozen=True)
class Piece:
    """A token of a text: what it says, its kind, and whether it is of this step."""

    text: str
    kind: str
    fresh: bool = False


def draw(moment: Moment) -> list[Text]:
    """Return the texts of all requests, and a legend."""
    requests = moment.state["requests"]
    if not requests:
        return [Text("No request so far.")]
    pieces = {number: pieces_of(moment, number) for number in requests}
    most = max(1, ROWS // len(requests))
    lines = [line for number, found in pieces.items() for line in _request(moment, number, found, most)]
    return [*lines, *legend([piece for found in pieces.values() for piece in found], moment.width)]


def newest_row(moment: Moment) -> list[Text]:
    """Return a row of boxes: the end of the text of one request, the chosen one or the first that runs."""
    requests = [*moment.state["requests"]]
    if not requests:
        return []
    chosen = moment.chosen([number for number in requests if moment.row(number)] or requests)
    backwards = _rows(pieces_of(moment, chosen)[::-1], moment.width - INDENT)
    return _boxes(backwards[0][::-1], letter(chosen)) if backwards else []


def pieces_of(moment: Moment, number: int) -> list[Piece]:
    """Return the tokens of a request. Draft tokens that were rejected in this step come before their correction."""
    request = moment.state["requests"][number]
    ran = _tokens_that_ran(moment, request)
    prompt = [Piece(moment.token(x), "prompt" if i < ran else "waits") for i, x in enumerate(request["prompt"])]
    origins = zip(request["tokens"], request["origins"], request["born"], strict=True)
    tokens = [Piece(moment.token(x), origin or "generated", born == moment.step) for x, origin, born in origins]
    place = len(tokens) - (1 if tokens and tokens[-1].kind == "corrected" and tokens[-1].fresh else 0)
    tokens[place:place] = _dropped(moment, number)
    return [*prompt, *tokens, *(Piece(moment.token(token), "draft", True) for token in request["drafts"])]


def _tokens_that_ran(moment: Moment, request: Line) -> int:
    if request["table"] in moment.state["tables"]:
        return int(moment.state["tables"][request["table"]]["length"])
    ran = request["status"] == "finished" or request["phase"] == "naive" or request["tokens"]
    return len(request["prompt"]) if ran else 0


def _dropped(moment: Moment, number: int) -> list[Piece]:
    """Return the draft tokens of this step from the first rejected one on."""
    verdicts = [line for line in moment.of("verdict") if line["id"] == number]
    drafts = [line for line in moment.of("draft") if line["id"] == number]
    if not verdicts or not drafts:
        return []
    judged = verdicts[-1]["tokens"]
    accepted = sum(one["accepted"] for one in judged)
    return [
        Piece(f"~~{moment.token(token)}~~", "rejected" if place < len(judged) else "unused", True)
        for place, token in enumerate(drafts[-1]["tokens"])
        if place >= accepted
    ]


def _request(moment: Moment, number: int, pieces: list[Piece], most: int) -> list[Text]:
    """Return the lines of a request: who it is, and its tokens in rows of boxes."""
    rows = _rows(pieces, moment.width - INDENT)
    left_out = sum(map(len, rows[:-most]))
    does = status(moment.state["requests"][number]) + (f"   … {counted(left_out, 'token')} before" if left_out else "")
    head = styled(f"{letter(number):<{INDENT}}", "bold") + Text(cut(does, moment.width - INDENT), "dim")
    return [head, *(line for row in rows[-most:] for line in _boxes(row))]


def status(request: Line) -> str:
    """Return what a request does in this step, or why it does nothing."""
    if request["status"] == "finished":
        return f"done: {request['why']}"
    if request["status"] == "waiting" and request["swapped"]:
        return "waiting, swapped out"
    return str(request["phase"] or request["status"])


def _rows(pieces: list[Piece], width: int) -> list[list[Piece]]:
    """Return the pieces in rows of at most `width` columns."""
    rows: list[list[Piece]] = [[]]
    used = 1
    for piece in pieces:
        columns = width_of(cut(piece.text, LONGEST)) + 1
        if rows[-1] and used + columns > width:
            rows.append([])
            used = 1
        rows[-1].append(piece)
        used += columns
    return [row for row in rows if row]


def _boxes(pieces: list[Piece], name: str = "") -> list[Text]:
    """Return a row of boxes with a name before it, and the signs under them."""
    boxes, signs = styled(f"{name:<{INDENT}}", "bold"), Text(" " * INDENT)
    before = False
    for piece in pieces:
        sign, _, style = KINDS[piece.kind]
        text = cut(piece.text, LONGEST)
        boxes.append("┃" if before or piece.fresh else "│", "bold" if before or piece.fresh else "dim")
        boxes.append(text, style)
        signs.append(" ").append(sign * width_of(text), style.replace("strike", ""))
        before = piece.fresh
    boxes.append("┃" if before else "│", "bold" if before else "dim")
    return [boxes, signs] if signs.plain.strip() else [boxes]


def legend(pieces: list[Piece], width: int) -> list[Text]:
    """Return what the signs mean that these pieces have."""
    kinds = [kind for kind in KINDS if kind != "prompt" and any(piece.kind == kind for piece in pieces)]
    items = [f"{KINDS[kind][0]} {KINDS[kind][1]}" for kind in kinds]
    items += ["┃ new in this step"] if any(piece.fresh for piece in pieces) else []
    return folded(items, width, INDENT)
