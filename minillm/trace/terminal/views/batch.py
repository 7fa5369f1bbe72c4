"""The batch: a row for each request, a column for each step up to this one, and how much of its budget a step used."""

from rich.text import Text

from minillm.support.wording import counted
from minillm.trace.state import Line, State, apply
from minillm.trace.terminal.amounts import bar
from minillm.trace.terminal.characters import fitted
from minillm.trace.terminal.layout import folded, styled
from minillm.trace.terminal.moment import Moment
from minillm.trace.words import letter

SIGNS = {  # of what a request does in a step: the sign, its words, and its style
    "waiting": (".", "waits", "dim"),
    "prefill": ("P", "prefill", "blue"),
    "chunk": ("C", "chunk of a prompt", "blue"),
    "decode": ("D", "decode", "green"),
    "verify": ("V", "verify draft tokens", "magenta"),
    "recompute": ("R", "recompute", "yellow"),
    "naive": ("N", "the whole sequence", "yellow"),
    "idle": ("-", "runs, but not in this step", "dim"),
    "preempted": ("X", "preempted", "red"),
    "done": ("■", "done", ""),
    "cancelled": ("□", "cancelled", ""),
}
LEAST_LABEL, MOST_LABEL = 12, 40  # columns of a request's letter and prompt
PARTS = ("prefill", "decode", "draft")  # of a step's budget


def draw(moment: Moment) -> list[Text]:
    """Return the queues, the table of requests and steps, the budget, and a legend."""
    requests, label = moment.state["requests"], _label(moment)
    if not requests:
        return [Text("No request so far.")]
    history = _history(moment, max(0, moment.step - (moment.width - label) // 2))
    size = 1 + max(len(cell) for cells in history.values() for cell, _ in cells.values())
    steps = [*history][-((moment.width - label) // size) :]
    rows = [_row(moment, number, [history[step].get(number, ("", "")) for step in steps], size) for number in requests]
    signs = {sign for step in steps for cell, _ in history[step].values() for sign in cell}
    words = [f"{sign} {meaning}" for sign, meaning, _ in SIGNS.values() if sign in signs]
    return [*_queues(moment), _ruler(steps, size, label), *rows, *_budget(moment), *folded(words, moment.width)]


def _label(moment: Moment) -> int:
    return min(MOST_LABEL, max(LEAST_LABEL, moment.width // 5))


def _queues(moment: Moment) -> list[Text]:
    parts = [f"{name}: {' '.join(map(letter, moment.state[name])) or 'none'}" for name in ("running", "waiting")]
    return folded(parts, moment.width, style="bold")


def _ruler(steps: list[int], size: int, label: int) -> Text:
    """Return the numbers of the steps: of every second or fifth one, if they need more columns than a cell has."""
    apart = next(n for n in (1, 2, 5, 10, 20, 50, 10**9) if n * size > len(str(steps[-1])))
    last = max(0, len(steps) * size - max(size, len(str(steps[-1]))))  # where the number of this step begins
    ruler = ""
    for place, step in enumerate(steps[:-1]):
        if step % apart == 0 and place * size + len(str(step)) < last:
            ruler = f"{ruler:<{place * size}}{step}"
    return styled(f"{fitted('step', label)}{ruler:<{last}}", "dim") + Text(str(steps[-1]), "bold")


def _row(moment: Moment, number: int, cells: list[tuple[str, str]], size: int) -> Text:
    prompt = "".join(moment.token(token) for token in moment.state["requests"][number]["prompt"][:12])
    row = styled(fitted(letter(number), 3), "bold") + Text(fitted(prompt, _label(moment) - 4) + " ", "dim")
    for cell, style in cells:
        row.append(f"{cell:<{size}}", style)
    return row


def _history(moment: Moment, first: int) -> dict[int, dict[int, tuple[str, str]]]:
    """Return for each step from `first` to this one what each request did: its sign, with tokens, and a style."""
    trace = moment.trace
    state = trace.state(first)
    history = {first: _column(trace.states.steps[first], state)}
    for step in range(first + 1, moment.step + 1):
        for line in trace.states.steps[step]:
            apply(state, line)
        history[step] = _column(trace.states.steps[step], state)
    return history


def _column(lines: list[Line], state: State) -> dict[int, tuple[str, str]]:
    """Return what each request did in a step, given its lines and the state after it."""
    passes = [line for line in lines if line["t"] == "pass" and line["model"] == 0]
    rows = {row["id"]: row for line in passes for row in line["rows"]}
    of = {kind: {line["id"] for line in lines if line["t"] == kind} for kind in ("finish", "preempt")}
    return {
        number: _cell(request, rows.get(number), number in of["finish"], number in of["preempt"])
        for number, request in state["requests"].items()
    }


def _cell(request: Line, row: Line | None, ended: bool, preempted: bool) -> tuple[str, str]:
    """Return the sign of a request in a step: its rows count most, then preemption and end, then its status."""
    end = "cancelled" if request["status"] == "cancelled" else "done"
    if row:
        sign, _, style = SIGNS[row["phase"]]
        tokens = str(row["count"]) if row["count"] > 1 else ""
        return sign + tokens + (SIGNS[end][0] if ended else ""), style
    kind = (
        "preempted" if preempted else end if ended else {"running": "idle", "waiting": "waiting"}.get(request["status"])
    )
    return (SIGNS[kind][0], SIGNS[kind][2]) if kind else ("", "")


def _budget(moment: Moment) -> list[Text]:
    """Return how much of the budget the tokens of this step took."""
    steps = moment.of("step")
    if not steps:
        return []
    step, label = steps[-1], _label(moment)
    used = sum(step[name] for name in PARTS)
    kinds = " + ".join(f"{step[name]} {name}" for name in PARTS if step[name])
    said = f" {used} of {counted(step['budget'], 'token')}"
    length = max(5, min(32, moment.width - label - len(said)))
    filled = bar(used / max(step["budget"], used, 1), length)
    line = styled(fitted("budget", label), "dim") + Text(filled, "blue") + Text("·" * (length - len(filled)), "dim")
    return [line + Text(said), *([Text(" " * label + kinds, "dim")] if kinds else [])]
