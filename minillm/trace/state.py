"""State: what a run has come to after a step, as a fold of the lines of its trace.

`apply` changes a state by one line: a small function for each kind of line. The page has the same functions in
JavaScript, in the same order; `tests/trace/golden_states.json` holds the two together.

    step       the step
    requests   by number: prompt, tokens, origins (of each token), born (the step of each token), text, status
               (waiting, running, finished, cancelled), phase (of its rows in this step; "" if it has none), table,
               drafts (proposed, and not yet verified), swapped (tokens that were copied out), why (it ended), group
    tables     by number: kind, capacity, request, length (tokens), blocks
    blocks     by number, those that are used or known: refs (tables that have it), known (others may begin with it)
    running, waiting   requests, in order
    ran        requests with rows in this step
    totals     counts of the run so far
"""

from collections.abc import Callable
from typing import Any

Line = dict[str, Any]
State = dict[str, Any]

TOTALS = (
    "passes",
    "draft_passes",
    "flops",
    "weight_bytes",
    "cache_bytes",
    "drafted",
    "accepted",
    "known",
    "preemptions",
    "copies",
    "evictions",
)


def new_state() -> State:
    """Return the state before the first line."""
    state: State = {"step": 0, "requests": {}, "tables": {}, "blocks": {}, "running": [], "waiting": [], "ran": []}
    return state | {"totals": dict.fromkeys(TOTALS, 0)}


def begin_step(state: State, step: int) -> None:
    """Begin a step: no request has rows in it so far."""
    for number in state["ran"]:
        state["requests"][number]["phase"] = ""
    state["step"], state["ran"] = step, []


def apply(state: State, line: Line) -> None:
    """Change the state by one line. Lines of other kinds than `CHANGES` change nothing."""
    if line.get("s", 0) > state["step"]:
        begin_step(state, line["s"])
    if change := CHANGES.get(line["t"]):
        change(state, line)


def _request(state: State, line: Line) -> None:
    if line["id"] in state["requests"]:
        raise KeyError(line["id"])
    state["requests"][line["id"]] = {
        "group": line["group"],
        "prompt": line["prompt"],
        "tokens": [],
        "origins": [],
        "born": [],
        "text": "",
        "status": "waiting",
        "phase": "",
        "table": None,
        "drafts": [],
        "swapped": 0,
        "why": "",
    }
    state["waiting"].append(line["id"])


def _admit(state: State, line: Line) -> None:
    request = state["requests"][line["id"]]
    _drop_table(state, request["table"], line["table"])
    request["status"], request["table"], request["swapped"] = "running", line["table"], 0
    if line["table"] is not None:
        table = _table(state, line["table"])
        table["kind"], table["capacity"], table["request"] = line["kind"], line["capacity"], line["id"]
        table["length"] = line["known"] + line["restored"]
    _remove(state["waiting"], line["id"])
    state["running"].append(line["id"])
    state["totals"]["known"] += line["known"]


def _preempt(state: State, line: Line) -> None:
    request = state["requests"][line["id"]]
    request["status"], request["swapped"] = "waiting", line["swapped"]
    _remove(state["running"], line["id"])
    state["waiting"].insert(0, line["id"])
    state["totals"]["preemptions"] += 1


def _finish(state: State, line: Line) -> None:
    request = state["requests"][line["id"]]
    queue = state["running"] if line["id"] in state["running"] else state["waiting"]
    _remove(queue, line["id"])
    request["status"] = "cancelled" if line["why"] == "cancelled" else "finished"
    request["why"], request["drafts"] = line["why"], []
    if request["table"] is not None and state["tables"][request["table"]]["kind"] == "paged":
        _drop_table(state, request["table"], None)
        request["table"] = None


def _remove(queue: list[int], request: int) -> None:
    if request not in queue:
        raise KeyError(request)
    queue.remove(request)


def _pass(state: State, line: Line) -> None:
    totals = state["totals"]
    for name in ("flops", "weight_bytes", "cache_bytes"):
        totals[name] += line[name]
    if line["model"] > 0:
        totals["draft_passes"] += 1
        return
    totals["passes"] += 1
    for row in line["rows"]:
        _run_row(state, row)


def _run_row(state: State, row: Line) -> None:
    if row["id"] is None:
        return
    request = state["requests"][row["id"]]
    request["phase"] = row["phase"]
    state["ran"].append(row["id"])
    if request["table"] is not None:
        state["tables"][request["table"]]["length"] = row["first"] + row["count"]


def _block(state: State, line: Line) -> None:
    BLOCK_CHANGES[line["do"]](state, line)


def _take(state: State, line: Line) -> None:
    _table(state, line["table"])["blocks"] += line["blocks"]
    for number in line["blocks"]:
        _block_of(state, number)["refs"] += 1


def _copy(state: State, line: Line) -> None:
    blocks = _table(state, line["table"])["blocks"]
    if line["from"] not in blocks or len(line["blocks"]) != 1:
        raise KeyError(line["from"])
    [new] = line["blocks"]
    blocks[blocks.index(line["from"])] = new
    _block_of(state, new)["refs"] += 1
    _drop_reference(state, line["from"])
    state["totals"]["copies"] += 1


def _release(state: State, line: Line) -> None:
    table = _table(state, line["table"])
    kept = max(0, len(table["blocks"]) - len(line["blocks"]))
    if table["blocks"][kept:] != line["blocks"]:
        raise ValueError(f"table {line['table']} does not end with the blocks that it releases")
    del table["blocks"][kept:]
    for number in line["blocks"]:
        _drop_reference(state, number)
    if not table["blocks"]:
        table["length"] = 0


def _publish(state: State, line: Line) -> None:
    for number in line["blocks"]:
        _block_of(state, number)["known"] = True


def _unpublish(state: State, line: Line) -> None:
    for number in line["blocks"]:
        _block_of(state, number)["known"] = False
        _drop_block_if_free(state, number)
    state["totals"]["evictions"] += len(line["blocks"]) if line["do"] == "evict" else 0


def _choice(state: State, line: Line) -> None:
    request = state["requests"][line["id"]]
    request["tokens"].append(line["token"])
    request["origins"].append(line["origin"])
    request["born"].append(line["s"])
    request["text"] += line["text"]


def _draft(state: State, line: Line) -> None:
    state["requests"][line["id"]]["drafts"] = line["tokens"]
    state["totals"]["drafted"] += len(line["tokens"])


def _verdict(state: State, line: Line) -> None:
    request = state["requests"][line["id"]]
    request["drafts"] = []
    state["totals"]["accepted"] += sum(judged["accepted"] for judged in line["tokens"])
    if request["table"] is not None:  # what was rejected leaves the cache, and the last token was never in it
        state["tables"][request["table"]]["length"] = len(request["prompt"]) + len(request["tokens"]) - 1


def _table(state: State, number: int) -> Line:
    new: Line = {"kind": "paged", "capacity": None, "request": None, "length": 0, "blocks": []}
    table: Line = state["tables"].setdefault(number, new)
    return table


def _drop_table(state: State, old: int | None, new: int | None) -> None:
    """Drop the table that a request no longer has."""
    if old is not None and old != new:
        del state["tables"][old]


def _block_of(state: State, number: int) -> Line:
    block: Line = state["blocks"].setdefault(number, {"refs": 0, "known": False})
    return block


def _drop_reference(state: State, number: int) -> None:
    state["blocks"][number]["refs"] -= 1
    _drop_block_if_free(state, number)


def _drop_block_if_free(state: State, number: int) -> None:
    block = state["blocks"][number]
    if block["refs"] == 0 and not block["known"]:
        del state["blocks"][number]


Change = Callable[[State, Line], None]
BLOCK_CHANGES: dict[str, Change] = {
    "take": _take,
    "hit": _take,
    "share": _take,
    "copy": _copy,
    "release": _release,
    "publish": _publish,
    "unpublish": _unpublish,
    "evict": _unpublish,
}
CHANGES: dict[str, Change] = {
    "request": _request,
    "admit": _admit,
    "preempt": _preempt,
    "finish": _finish,
    "pass": _pass,
    "block": _block,
    "choice": _choice,
    "draft": _draft,
    "verdict": _verdict,
}
