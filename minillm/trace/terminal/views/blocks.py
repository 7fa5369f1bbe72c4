"""A pool of blocks, the tables that hold them, and what a step did with them."""

from rich.text import Text

from minillm.support.wording import counted
from minillm.trace.state import Line
from minillm.trace.terminal.amounts import amount
from minillm.trace.terminal.characters import cut
from minillm.trace.terminal.layout import folded, prose, styled
from minillm.trace.terminal.moment import Moment, token_bytes
from minillm.trace.words import letter

FEW = 24  # free blocks are drawn one by one in a pool of no more; else neighbours are drawn as one
MOST = 64  # blocks that are drawn
CELL = 15  # columns of a block, at least
SLOTS = 16  # of a block that are drawn; larger ones are drawn to scale
BADGES = {
    "take": "taken",
    "hit": "prefix hit",
    "share": "shared",
    "copy": "copy of",
    "release": "released",
    "publish": "full",
    "unpublish": "unpublished",
    "evict": "evicted",
}


def pool_lines(moment: Moment, pool: Line) -> list[Text]:
    """Return the blocks of a pool, the block tables, and what their signs mean."""
    cells = [_block(moment, pool, first, last) for first, last in _runs(moment, pool)]
    return [*_facts(moment, pool), *_wall(cells, moment.width), *_tables(moment, pool), *_legend(moment)]


def _facts(moment: Moment, pool: Line) -> list[Text]:
    blocks = [moment.state["blocks"][number] for number in _numbers(moment, pool)]
    used = sum(block["refs"] > 0 for block in blocks)
    known = len(blocks) - used
    saved = sum(block["refs"] for block in blocks) - used
    facts = [f"{used} of {counted(pool['blocks'], 'block')} in use"]
    facts += [f"{amount(used * pool['bytes'], 'B')} of {amount(pool['blocks'] * pool['bytes'], 'B')}"]
    facts += [f"{known} cached, {pool['blocks'] - used - known} free", f"{counted(pool['size'], 'slot')} a block"]
    facts += [f"sharing saves {counted(saved, 'block')}"] if saved else []
    return folded(facts, moment.width, style="bold")


def _numbers(moment: Moment, pool: Line) -> list[int]:
    """Return the blocks of a pool that are in use or cached, in order."""
    return sorted(number for number in moment.state["blocks"] if _is_of(pool, number))


def _is_of(pool: Line, block: int) -> bool:
    return bool(pool["first"] <= block < pool["first"] + pool["blocks"])


def _runs(moment: Moment, pool: Line) -> list[tuple[int, int]]:
    """Return what is drawn, from the first to the last block of each: free neighbours in a large pool are one."""
    end = pool["first"] + pool["blocks"]
    if pool["blocks"] <= FEW:
        return [(number, number) for number in range(pool["first"], end)]
    runs, next_one = list[tuple[int, int]](), pool["first"]
    for number in [*_numbers(moment, pool)[:MOST], end]:
        runs += [(next_one, number - 1)] if number > next_one else []
        runs += [(number, number)] if number < end else []
        next_one = number + 1
    return runs


def _holders(moment: Moment, number: int) -> list[tuple[int, int, Line]]:
    """Return who has a block: requests, with the block's place in their table."""
    tables = [table for table in moment.state["tables"].values() if table["request"] is not None]
    return [(table["request"], table["blocks"].index(number), table) for table in tables if number in table["blocks"]]


def _block(moment: Moment, pool: Line, first: int, last: int) -> tuple[Text, Text, Text]:
    """Return a block in three lines: its number and who has it, its slots, and what this step did with it."""
    if first < last:
        return Text(f"{first} to {last}", "dim"), Text(f"[ {last - first + 1} free ]", "dim"), Text("")
    block, holders = moment.state["blocks"].get(first), _holders(moment, first)
    few = holders[:3] if len(holders) < 4 else holders[:2]
    letters = ",".join(letter(request) for request, _, _ in few) + ("…" if len(holders) > 3 else "")
    refs = f" ×{block['refs']}" if block and block["refs"] > 1 else ""
    who = "free" if block is None else "cached" if block["refs"] == 0 else f"{letters}{refs}"
    head = styled(f"{first} ", "bold") + Text(who + (" ◆" if block and block["known"] and block["refs"] else ""))
    return head, Text("[") + _slots(moment, pool, block, holders) + Text("]"), Text(_done(moment, first), "yellow")


def _slots(moment: Moment, pool: Line, block: Line | None, holders: list[tuple[int, int, Line]]) -> Text:
    """Return a sign for each slot: of the request that has it, or of a token that was written in this step."""
    shown = min(pool["size"], SLOTS)
    if block is None:
        return Text(" " * shown)
    if not holders:
        return Text(("=" if block["known"] else " ") * shown, "dim")
    request, place, table = holders[0]
    row = moment.row(request)
    slots = Text()
    for sign in range(shown):
        position = place * pool["size"] + sign * pool["size"] // shown
        fresh = row is not None and position >= row["first"]
        full = position < table["length"]
        text = "·" if not full else "█" if fresh else "*" if block["refs"] > 1 else letter(request)[-1]
        slots.append(text, "dim" if not full else "green" if fresh else "")
    return slots


def _done(moment: Moment, number: int) -> str:
    """Return the last two things that this step did with a block."""
    lines = [line for line in moment.of("block") if number in line["blocks"]]
    badges = [f"copy of {line['from']}" if line["do"] == "copy" else BADGES[line["do"]] for line in lines]
    return ", ".join([*dict.fromkeys(badges)][-2:])


def _wall(cells: list[tuple[Text, Text, Text]], width: int) -> list[Text]:
    """Return the blocks next to each other, as many in a row as fit."""
    size = max(CELL, max(cell[1].cell_len for cell in cells) + 1)
    a_row = max(1, width // size)
    lines = list[Text]()
    for begin in range(0, len(cells), a_row):
        for part in range(3):
            line = Text()
            for cell in cells[begin : begin + a_row]:
                piece = cell[part].copy()
                piece.truncate(size - 1, overflow="ellipsis", pad=True)
                line.append_text(piece).append(" ")
            if line.plain.strip() or len(cells) <= FEW:  # few blocks stay where they are from step to step
                lines.append(line)
    return lines


def _tables(moment: Moment, pool: Line) -> list[Text]:
    """Return the block table of each request that runs, and what those have that wait."""
    lines = [line for number in moment.state["requests"] for line in _table(moment, number, pool)]
    return (
        [Text("block tables", "dim"), *lines]
        if lines
        else prose("No request is running: all blocks went back.", moment.width)
    )


def _table(moment: Moment, number: int, pool: Line) -> list[Text]:
    request, name = moment.state["requests"][number], styled(f"{letter(number):<3}", "bold")
    table = moment.state["tables"].get(request["table"])
    if request["status"] == "waiting":
        return prose(f"{name.plain}{_waits(moment, request)}", moment.width, style="dim")
    if request["status"] != "running" or not table or not all(_is_of(pool, block) for block in table["blocks"]):
        return []
    entries = [_entry(table, block, place, pool) for place, block in enumerate(table["blocks"])]
    length = f"  {counted(table['length'], 'token')}"
    return [name + Text(cut(" ".join(entries), moment.width - 3 - len(length))) + Text(length, "dim")]


def _entry(table: Line, block: int, place: int, pool: Line) -> str:
    filled = max(0, min(pool["size"], table["length"] - place * pool["size"]))
    return str(block) if filled == pool["size"] else f"{block}({filled}/{pool['size']})"


def _waits(moment: Moment, request: Line) -> str:
    if not request["swapped"]:
        return "waits, without blocks"
    size = amount(token_bytes(moment.trace) * request["swapped"], "B")
    return f"swapped out: {counted(request['swapped'], 'token')} ({size}) in ordinary memory"


def _legend(moment: Moment) -> list[Text]:
    items = ["█ written in this step", "* shared", "· empty", "= cached, in no table", "◆ full: a prompt can share it"]
    return folded(items, moment.width)
