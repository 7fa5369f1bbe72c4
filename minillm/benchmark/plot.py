"""Each phase against its roofline as an SVG: one bar per engine, as long as its fraction of the machine's limit."""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from minillm.support.wording import counted

COLOURS = ("#0072b2", "#e69f00", "#009e73")  # colour-blind readers can tell them apart (Okabe and Ito)
LEFT, FULL, RIGHT = 230, 400, 170  # pixels: the phases' names, a bar at the limit, room to its right
TOP, BAR, GAP = 78, 18, 16
LARGEST = 1.1  # of the limit: longer bars are cut; small models in the processor's caches exceed the memory's speed


def phases_svg(record: Mapping[str, Any]) -> str:
    """Draw a record of `minillm bench`, of one format of the weights or of several."""
    formats = record.get("formats", {record.get("weights", "float32"): record})
    engines = list(dict.fromkeys(name for one in formats.values() for name in one["engines"]))
    phases = _titled(formats)
    group = BAR * len(engines) + GAP
    bottom = TOP + group * len(phases)
    parts = [
        _text(LEFT, 22, f"{record['model']}, {_numbers(record)}: share of the machine's limit", "bold"),
        *_legend(engines),
        *(_axis(percent, bottom) for percent in (0, 25, 50, 75, 100)),
    ]
    for number, phase in enumerate(phases):
        parts += _phase(phase, engines, TOP + number * group)
    machine = record["machine"]
    threads = counted(record["threads"], "thread")
    caption = f"{machine['processor']}, {threads}, {machine['date']}; medians, the lines are extremes"
    parts.append(_text(LEFT, bottom + 36, caption, fill="#555"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + FULL + RIGHT}" height="{bottom + 50}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _titled(formats: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the phases in order; where there are several formats, every phase has a group of bars for each."""
    if len(formats) == 1:
        return list(next(iter(formats.values()))["phases"])
    by_phase = zip(*(one["phases"] for one in formats.values()), strict=True)
    pairs = ((weights, phase) for group in by_phase for weights, phase in zip(formats, group, strict=True))
    return [phase | {"phase": f"{phase['phase']}, {weights}"} for weights, phase in pairs]


def _numbers(record: Mapping[str, Any]) -> str:
    """Return the formats of the weights; for the usual one, the dtype."""
    formats = list(record.get("formats", [record.get("weights", "float32")]))
    return str(record["dtype"]) if formats == ["float32"] else ", ".join(formats)


def _phase(phase: Mapping[str, Any], engines: Sequence[str], top: int) -> list[str]:
    """Draw the bars of one phase, each with a line from its smallest to its largest rate, and its tokens per second."""
    roofline = phase["roofline_tokens_per_s"]["median"]
    parts = [_text(LEFT - 10, top + BAR * len(engines) / 2 + 5, phase["phase"], "end")]
    for number, name in enumerate(engines):
        if name not in phase["tokens_per_s"]:  # this peer is not measured in every format
            continue
        rate, y = phase["tokens_per_s"][name], top + number * BAR
        low, median, high = (LEFT + FULL * min(rate[key] / roofline, LARGEST) for key in ("min", "median", "max"))
        colour = COLOURS[number % len(COLOURS)]
        parts.append(
            f'<rect x="{LEFT}" y="{y + 1}" width="{median - LEFT:.1f}" height="{BAR - 2}" fill="{colour}"/>'
            f'<path d="M{low:.1f} {y + BAR / 2}H{high:.1f}" stroke="black"/>'
        )
        parts.append(_text(max(median, high) + 6, y + BAR / 2 + 5, _rate_text(rate["median"])))
    return parts


def _legend(engines: Sequence[str]) -> list[str]:
    parts = []
    for number, name in enumerate(engines):
        x = LEFT + 130 * number
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{COLOURS[number % len(COLOURS)]}"/>')
        parts.append(_text(x + 18, 45, name))
    return parts


def _axis(percent: int, bottom: int) -> str:
    x = LEFT + FULL * percent / 100
    strong = percent in (0, 100)
    line = f'<path d="M{x} {TOP - 8}V{bottom}" stroke="{"#333" if strong else "#ccc"}"/>'
    return line + _text(x, bottom + 16, f"{percent}%", "middle", fill="#555")


def _rate_text(rate: float) -> str:
    return f"{rate:,.0f} tokens/s" if rate >= 100 else f"{rate:.1f} tokens/s"


def _text(x: int | float, y: int | float, text: str, style: str = "start", fill: str = "black") -> str:
    weight = ' font-weight="bold"' if style == "bold" else ""
    anchor = "start" if style == "bold" else style
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{weight}>{escape(text)}</text>'
