"""The cache: contiguous ones that fill up, or pools of blocks with the tables that hold them."""

from rich.text import Text

from minillm.trace.terminal.layout import prose
from minillm.trace.terminal.moment import Moment
from minillm.trace.terminal.views.blocks import pool_lines
from minillm.trace.terminal.views.contiguous import contiguous_lines


def draw(moment: Moment) -> list[Text]:
    """Return all caches that exist."""
    pools = [line for lines in moment.trace.states.steps[: moment.step + 1] for line in lines if line["t"] == "pool"]
    tables = [table for table in moment.state["tables"].values() if table["kind"] == "contiguous"]
    lines = [line for table in tables[-2:] for line in contiguous_lines(moment, table)]
    lines += [line for pool in pools for line in pool_lines(moment, pool)]
    return lines or prose(_nothing(moment), moment.width)


def _nothing(moment: Moment) -> str:
    if any(request["phase"] == "naive" for request in moment.state["requests"].values()):
        return "This run has no cache: every step runs the whole sequence again."
    return "No cache is in use." if moment.step else "No cache so far: the first pass makes one."
