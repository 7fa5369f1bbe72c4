"""Print the record of `minillm bench` as tables of at most 80 columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from minillm.cli.printing import show
from minillm.support.wording import counted

HOW_TO_READ = (  # below the table of batched decode
    "engine: its tokens/s as a percentage of the loop's.",
    "step paged, fragmented: time of the loop's step with a paged cache, as a percentage of its time with a contiguous "
    "one; paged: all blocks are neighbours, fragmented: no two are.",
)


def print_record(record: Mapping[str, Any]) -> None:
    """Print all tables and sentences of a record of one format."""
    show(
        *setting_lines(record, record["dtype"] if record["weights"] == "float32" else record["weights"]),
        "",
        _rates(record),
        "",
        _comparison(record),
        "",
        *sentences(record),
    )
    for curve in record["scaling"]:
        show("", _curve(curve), *_exponents(curve))
    if "batching" in record:
        show("", _batched_decode(record["batching"]["decode"]), "", *HOW_TO_READ, "", *_loads(record["batching"]))
    if "exact" in record:
        shown = (record["exact"][f"{phase}_times_as_long"]["median"] for phase in ("prefill", "decode"))
        show("the exact backend takes {:.2f} times as long at prefill, {:.2f} at decode".format(*shown))


def setting_lines(record: Mapping[str, Any], numbers: str) -> list[str]:
    """Return what was measured, the machine, and its limits. `numbers`: the dtype or the formats of the weights."""
    machine, bandwidth, matmul = (record[key] for key in ("machine", "bandwidth_bytes_per_s", "matmul_flops_per_s"))
    caches = ", caches in int8" if record["kv_cache"] == "int8" else ""
    return [
        f"{record['model']}, {numbers}{caches}, {record['backend']} backend, {counted(record['threads'], 'thread')}",
        f"{machine['processor']}, {machine['cores']} cores, {machine['date']}",
        f"memory {spread_text(bandwidth, 1e9)} GB/s, matrices {spread_text(matmul, 1e9)} GFLOP/s",
    ]


def spread_text(spread: Mapping[str, float], unit: float = 1.0) -> str:
    """Return the median and the extremes, divided by `unit`: `34.5 [29.3..36.9]`."""
    median, low, high = (spread[key] / unit for key in ("median", "min", "max"))
    digits = 0 if median >= 100 else 1 if median >= 10 else 2
    return f"{median:.{digits}f} [{low:.{digits}f}..{high:.{digits}f}]"


def table_of(*headings: str) -> Table:
    """Return an empty table: the first column to the left, the others to the right."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", overflow="fold")
    return table


def _rates(record: Mapping[str, Any]) -> Table:
    """Return tokens/s of every engine, then its seconds to import and to load, and its peak memory."""
    engines = record["engines"]
    table = table_of("tokens/s", *engines)
    for phase in record["phases"]:
        table.add_row(phase["phase"], *(spread_text(phase["tokens_per_s"][name]) for name in engines))
    for title, key in (("import, s", "import_s"), ("load, s", "load_s")):
        table.add_row(title, *(spread_text(engine[key]) for engine in engines.values()))
    table.add_row("memory, MiB", *(f"{engine['peak_memory_bytes'] / 2**20:.0f}" for engine in engines.values()))
    return table


def _comparison(record: Mapping[str, Any]) -> Table:
    """Return the share of the machine's limit that minillm reaches, and its speed as a multiple of each peer's."""
    peers = list(record["same_tokens"])
    table = table_of("minillm", "of the limit", *(f"times {peer}" for peer in peers))
    for phase in record["phases"]:
        share = f"{phase['share_of_roofline']['median']:.0%}"
        table.add_row(phase["phase"], share, *(spread_text(phase["times_peer"][peer]) for peer in peers))
    return table


def sentences(record: Mapping[str, Any]) -> list[str]:
    """Return what is said of one format below its tables."""
    beyond = spread_text(record["beyond_products_us_per_layer"])
    lines = [f"A decode step takes {beyond} microseconds a layer beyond its matrix products."]
    for peer, comparison in record["same_tokens"].items():
        difference = comparison["first_difference"]
        if difference is None:
            lines.append(f"Compared {counted(comparison['compared'], 'greedy token')}: all are the same as {peer}'s.")
        else:
            lines.append(
                f"Greedy tokens differ from {peer}'s first at token {difference['place']} after a prompt of "
                f"{counted(difference['context'], 'token')}: minillm has {difference['ours']}, "
                f"{peer} has {difference['theirs']}."
            )
    return lines


def _curve(curve: Mapping[str, Any]) -> Table:
    table = table_of(curve["variable"], curve["title"], "at the limits", "share")
    points = zip(curve["points"], curve["measured"], curve["roofline"], strict=True)
    for point, measured, limit in points:
        share = min(measured / limit, limit / measured)  # seconds fall towards the limit, rates rise towards it
        table.add_row(str(point), f"{measured:.4g}", f"{limit:.4g}", f"{share:.0%}")
    return table


def _exponents(curve: Mapping[str, Any]) -> list[str]:
    if curve["exponent"] is None:
        return []
    return [f"grows with the {curve['exponent']:.2f}th power; at the limits {curve['expected_exponent']:.2f}"]


def _batched_decode(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the plain batched loop, compared with the engine and with the two kinds of paged cache."""
    table = table_of("decode, sequences", "loop, tokens/s", "engine", "step paged", "fragmented")
    for row in rows:
        names = "engine_times_plain", "paged_times_as_long", "fragmented_times_as_long"
        shares = (f"{row[name]['median']:.0%}" for name in names)
        table.add_row(str(row["sequences"]), spread_text(row["plain_tokens_per_s"]), *shares)
    return table


def _loads(record: Mapping[str, Any]) -> list[str]:
    mixed, queue = record["mixed"], record["queue"]
    return [
        "64 requests, of which every eighth asks for ten times as many tokens, finish "
        f"{spread_text(mixed['times_sooner'])} times as fast with "
        f"continuous batching ({counted(mixed['continuous_steps'], 'step')}) as with static batching "
        f"({mixed['static_steps']}).",
        f"1,000 queued requests spend {queue['share_outside_forward']['median']:.1%} of the time outside forward "
        "passes.",
    ]
