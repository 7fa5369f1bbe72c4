"""Pictures of plain characters for the terminal: they also work in a pipe, over ssh, in a notebook and with `NO_COLOR`.

Each function returns text of at most 80 columns. The lesson prints it.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from minillm.arrays import Array, Float
from minillm.kv_cache.paged import BlockPool, PagedKVCache
from minillm.support.terminal import can_print, terminal_width
from minillm.support.wording import rounded

BAR = 40  # columns of the longest bar
LABEL = 12  # columns of a label


def heatmap(values: Float[Array, "rows columns"], rows: Sequence[str]) -> str:
    """Draw a matrix in shades, from blank for 0 to full for its largest value. Rows and columns are numbered.

    Args:
        values: values of at least 0, in at most 20 columns.
        rows: a label for each row.
    """
    shades, largest = _shades(), float(values.max()) or 1.0
    columns = range(values.shape[1])
    fits = LABEL + 5 + 3 * len(columns) <= terminal_width()
    width = LABEL if fits else min(LABEL, max(len(label) for label in rows))
    lines = [" " * (width + 5) + "".join(f"{number:>3}" for number in columns)]
    for number, (label, row) in enumerate(zip(rows, values, strict=True)):
        steps = np.ceil(row / largest * (len(shades) - 1) - 0.05).astype(int)  # below 1/20 of a shade: blank
        cells = "".join(" " + shades[max(step, 0)] * 2 for step in steps)
        lines.append(f"{_fit(label, width)} {number:>3} {cells.rstrip()}")
    return "\n".join(lines)


def bars(values: Mapping[str, float | int], unit: str = "") -> str:
    """Draw a bar for each value, followed by the value. The longest has `BAR` columns, if the terminal is wide enough.

    A label has at most a third of the terminal.
    """
    largest = max(values.values()) or 1.0
    numbers = {label: f"{_number(value)}{unit}" for label, value in values.items()}
    width = min(max(map(len, values)), 26, terminal_width() // 3)
    longest = max(1, min(BAR, terminal_width() - width - max(map(len, numbers.values())) - len(" | ")))
    block = _shades()[-1]
    lines = []
    for label, value in values.items():
        length = round(value / largest * longest) or (1 if value else 0)
        lines.append(f"{_fit(label, width)} |{block * length} {numbers[label]}")
    return "\n".join(lines)


def timeline(rows: Mapping[str, str], per_step: str = "step") -> str:
    """Draw a line for each row, with one character per step. A ruler above counts the steps in tens."""
    steps = max(len(row) for row in rows.values())
    ruler = "".join(f"{step:<10}" for step in range(0, steps, 10))[:steps].rstrip()
    lines = [f"{_fit(per_step)} {ruler}"]
    return "\n".join(lines + [f"{_fit(label)} {row}".rstrip() for label, row in rows.items()])


def block_map(pool: BlockPool, caches: Mapping[str, PagedKVCache]) -> str:
    """Draw every block of a pool as `[AAA.]`: one character per slot, the letter of the sequence that uses it.

    A used slot of a shared block is `*`, an empty slot is `.`, and a free block is blank.

        a block of A with an empty slot   [AAA.]
        a block of A and B, shared        [***.]
        a free block                      [    ]
    """
    blocks = [" " * pool.block_size] * pool.num_blocks
    for letter, cache in caches.items():
        for number, block in enumerate(cache.table):
            filled = min(pool.block_size, max(0, cache.length - number * pool.block_size))
            shared = pool.reference_counts[block] > 1
            blocks[block] = ("*" if shared else letter[0]) * filled + "." * (pool.block_size - filled)
    shown = [f"{number:>2}[{block}]" for number, block in enumerate(blocks)]
    a_line = max(1, 78 // (pool.block_size + 5))
    return "\n".join(" ".join(shown[first : first + a_line]) for first in range(0, len(shown), a_line))


def dial(hands: Mapping[str, float]) -> str:
    """Draw a clock of 11 lines. Each hand is drawn with the letter of its name.

    Args:
        hands: angles in radians, counter-clockwise from the right, where a clock has 3.
    """
    grid = [[" "] * 21 for _ in range(11)]

    def put(sign: str, angle: float, radius: float) -> None:
        grid[round(5 - radius * math.sin(angle))][round(10 + 2 * radius * math.cos(angle))] = sign

    for hour in range(24):
        put(".", hour * math.pi / 12, 5)
    for name, angle in hands.items():
        for radius in range(1, 6):
            put(name[0], angle, radius)
    return "\n".join("".join(row).rstrip() for row in grid)


def roofline(flops_per_s: float, bytes_per_s: float, intensities: Mapping[str, float]) -> str:
    """Draw the roofline on logarithmic axes: one row per halving of the peak, five columns per doubling.

    Args:
        flops_per_s, bytes_per_s: the peak FLOP/s and the memory bandwidth of the machine.
        intensities: the intensity in FLOP/byte of up to eight kinds of work. They are marked with A, B, ... and listed
            below the plot. The axis goes from 1/2 to 4,096. Values outside are drawn at its ends.
    """
    reached = [min(flops_per_s, 2 ** (column / 5 - 1) * bytes_per_s) for column in range(66)]
    roof = [round(math.log2(flops_per_s / rate)) for rate in reached]  # the row of each column; 0 is the peak
    grid = [["." if row == top else " " for top in roof] for row in range(max(roof) + 1)]
    legend = []
    for letter, (name, intensity) in zip("ABCDEFGH", intensities.items(), strict=False):
        column = min(max(round(5 * (math.log2(intensity) + 1)), 0), len(roof) - 1)
        grid[roof[column]][column] = letter
        share = min(1, intensity * bytes_per_s / flops_per_s)
        legend.append(f"{letter} {name}: {_number(intensity)} FLOP/byte, {share:.1%} of the peak")
    lines = [f"{rounded(flops_per_s / 2**row / 1e12):>8} {''.join(cells)}".rstrip() for row, cells in enumerate(grid)]
    scale = "".join(f"{2**power:<20g}" for power in range(-1, 12, 4)).rstrip()
    return "\n".join([" TFLOP/s, over FLOP/byte", *lines, f"{'':9}{scale}", *legend])


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Draw a table. The first column is aligned to the left, the others to the right."""
    cells = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(heads))]
    lines = []
    for row in cells:
        first, *others = (text.rjust(width) for text, width in zip(row, widths, strict=True))
        lines.append("  ".join([first.strip().ljust(widths[0]), *others]).rstrip())
    return "\n".join(lines)


def _shades() -> str:
    """Return five characters from blank to full: block characters if the output's encoding has them, else ASCII."""
    blocks = " ░▒▓█"
    return blocks if can_print(blocks) else " .+*#"


def _fit(label: str, width: int = LABEL) -> str:
    return f"{label if len(label) <= width else label[: width - 1] + '~':<{width}}"


def _number(value: float | int) -> str:
    return f"{value:,}" if isinstance(value, int) else rounded(value) if abs(value) < 1000 else f"{value:,.0f}"
