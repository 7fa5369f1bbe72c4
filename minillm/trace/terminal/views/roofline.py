"""The roofline: whether arithmetic or memory limits a pass, on two machines.

Below the ridge of a machine, its memory is the limit: the pass is on the slope. A pass of more tokens is to the right.
"""

import math
from dataclasses import replace

from rich.text import Text

from minillm.estimate.hardware import Machine, find_gpu
from minillm.estimate.roofline import attainable_flops_per_s, ridge_flops_per_byte
from minillm.estimate.units import GB, TERA
from minillm.support.wording import rounded
from minillm.trace.state import Line
from minillm.trace.terminal.amounts import percent
from minillm.trace.terminal.layout import prose, styled
from minillm.trace.terminal.moment import Moment

LAPTOP = Machine("a laptop", 16 * GB, "DDR5", 50 * GB, 0.2 * TERA)  # 8 cores, float32
DECADES = range(-1, 5)  # of FLOPs a byte: the axis goes from 0.1 to 10,000
HIGH = 7  # rows of the plot, two for each factor of ten
LEFT, WIDEST = 6, 66  # columns of the numbers, and of the plot
EARLIER = 200  # passes that are drawn, too


def intensity_of(passed: Line) -> float:
    """Return the FLOPs of a pass for each byte that it reads."""
    return float(passed["flops"] / max(1, passed["weight_bytes"] + passed["cache_bytes"]))


def roofline(moment: Moment, passed: Line) -> list[Text]:
    """Return the roofs of two machines, and where this pass and those before it are."""
    length = min(moment.width - LEFT, WIDEST)
    machines = {"l": LAPTOP, "h": replace(find_gpu("h100"), name="an H100")}
    grid = [[(" ", "")] * length for _ in range(HIGH)]
    for sign, machine in machines.items():
        for column in range(length):
            grid[_row(machine, _intensity_at(column, length))][column] = sign, "dim"
        for each in _earlier(moment):
            _mark(grid, machine, each, ("○", ""))
    for machine in machines.values():
        _mark(grid, machine, intensity_of(passed), ("●", "bold green"))
    said = [_verdict(f"{sign}: {machine.name}", machine, intensity_of(passed)) for sign, machine in machines.items()]
    head = prose("part of the machine's arithmetic that can be used, over FLOPs a byte", moment.width, style="dim")
    return [*head, *_plot(grid), _axis(length), *(line for words in said for line in prose(words, moment.width))]


def _earlier(moment: Moment) -> list[float]:
    """Return the intensities of the passes before this step."""
    lines = [line for step in moment.trace.states.steps[: moment.step] for line in step]
    return [intensity_of(line) for line in lines if line["t"] == "pass" and line["model"] == 0][-EARLIER:]


def _mark(grid: list[list[tuple[str, str]]], machine: Machine, intensity: float, sign: tuple[str, str]) -> None:
    grid[_row(machine, intensity)][_column(intensity, len(grid[0]))] = sign


def _plot(grid: list[list[tuple[str, str]]]) -> list[Text]:
    labels = [percent(10.0 ** (-row / 2)) if row % 2 == 0 else "" for row in range(HIGH)]
    return [
        styled(f"{label:>{LEFT - 1}} ", "dim") + Text.assemble(*row) for label, row in zip(labels, grid, strict=True)
    ]


def _axis(length: int) -> Text:
    axis = ""
    for power in DECADES[:-1]:
        axis = f"{axis:<{_column(10.0**power, length)}}{rounded(10.0**power)}"
    return Text(f"{'':{LEFT}}{axis}", "dim")


def _column(intensity: float, length: int) -> int:
    """Return the column of an intensity: the axis is logarithmic."""
    least, most = DECADES[0], DECADES[-1]
    power = math.log10(max(intensity, 10.0**least))
    return min(length - 1, round((power - least) / (most - least) * (length - 1)))


def _intensity_at(column: int, length: int) -> float:
    return float(10 ** (DECADES[0] + (DECADES[-1] - DECADES[0]) * column / (length - 1)))


def _row(machine: Machine, intensity: float) -> int:
    """Return the row of what a machine reaches at an intensity; row 0 is its peak."""
    share = max(attainable_flops_per_s(machine, intensity) / machine.flops_per_s, 1e-9)
    return min(HIGH - 1, round(-2 * math.log10(share)))


def _verdict(name: str, machine: Machine, intensity: float) -> str:
    limit = "memory" if intensity < ridge_flops_per_byte(machine) else "arithmetic"
    share = attainable_flops_per_s(machine, intensity) / machine.flops_per_s
    return f"{name}, {limit} is the limit; {percent(share)} of its arithmetic can be used"
