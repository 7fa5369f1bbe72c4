"""The roofline: whether arithmetic or memory limits a pass, on two machines."""

import math

from rich.text import Text

from minillm.estimate.hardware import Machine, find_gpu
from minillm.estimate.roofline import attainable_flops_per_s, ridge_flops_per_byte
from minillm.estimate.units import GB, TERA
from minillm.support.wording import rounded
from minillm.trace.state import Line
from minillm.trace.terminal.amounts import percent
from minillm.trace.terminal.moment import Moment

LAPTOP = Machine("a laptop", 16 * GB, "DDR5", 50 * GB, 0.2 * TERA)  # 8 cores in float32
LEAST, MOST = 0.1, 10_000.0  # FLOPs a byte: the ends of the axis
HIGH = 6  # rows of the plot: each is a quarter of the one above
LEFT = 6  # columns of the numbers


def roofline(moment: Moment, passed: Line) -> list[Text]:
    """Return the roofs of two machines, and where the pass is under them."""
    intensity = passed["flops"] / max(1, passed["weight_bytes"] + passed["cache_bytes"])
    machines = {"L": LAPTOP, "H": find_gpu("h100")}
    length = min(moment.width - LEFT - 1, 60)
    grid = [[" "] * length for _ in range(HIGH)]
    for sign, machine in machines.items():
        for column in range(length):
            grid[_row(machine, _intensity_at(column, length))][column] = sign.lower()
    here = _column(intensity, length)
    for machine in machines.values():
        grid[_row(machine, intensity)][here] = "●"
    lines = [Text(f"{percent(4.0**-row):>{LEFT - 1}} {''.join(cells)}") for row, cells in enumerate(grid)]
    axis = "".join(f"{rounded(10.0**power):<{length // 5}}" for power in range(-1, 4))
    said = [
        _verdict(name, machine, intensity)
        for name, machine in zip(("l: a laptop", "h: an H100"), machines.values(), strict=True)
    ]
    return [Text("Share of the arithmetic, over FLOPs a byte", "dim"), *lines, Text(f"{'':{LEFT}}{axis}", "dim"), *said]


def _intensity_at(column: int, length: int) -> float:
    return LEAST * (MOST / LEAST) ** (column / (length - 1))


def _column(intensity: float, length: int) -> int:
    share = math.log(max(intensity, LEAST) / LEAST) / math.log(MOST / LEAST)
    return min(length - 1, round(share * (length - 1)))


def _row(machine: Machine, intensity: float) -> int:
    share = attainable_flops_per_s(machine, intensity) / machine.flops_per_s
    return min(HIGH - 1, round(math.log(share, 0.25)) if share > 0 else HIGH - 1)


def _verdict(name: str, machine: Machine, intensity: float) -> Text:
    limit = "memory" if intensity < ridge_flops_per_byte(machine) else "arithmetic"
    share = attainable_flops_per_s(machine, intensity) / machine.flops_per_s
    return Text(f"{name}: {limit} is the limit, at most {percent(share)} of its arithmetic is used")
