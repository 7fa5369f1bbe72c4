"""Print the record of `minillm bench` with several formats of the weights, as tables of at most 80 columns."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table

from minillm.cli.bench_tables import sentences, setting_lines, table_of
from minillm.cli.printing import seconds_text, show

HOW_TO_READ = (
    "All ratios are of medians. times: minillm's tokens/s over the peer's with weights in the same format.",
    "its best: over the peer's best of float32 and int8. float32: over minillm's own float32.",
    "limit: minillm's share of what the machine can do with the bytes of this format.",
)


def print_formats(record: Mapping[str, Any]) -> None:
    """Print a table for each phase, then verification, start and memory, the small model, and the tokens."""
    formats = record["formats"]
    show(*setting_lines(record, ", ".join(formats)), "")
    for table in _phases(formats):
        show(table, "")
    show(*HOW_TO_READ, "", _verification(record["verification"]), "", _start(formats), "")
    if record["small_model"] is not None:
        show(*_small_model(record), "")
    for weights, one in formats.items():
        show(*(f"{weights}: {sentence}" for sentence in sentences(one)))


def _phases(formats: Mapping[str, Any]) -> Iterator[Table]:
    """Yield a table for each phase, with a row for each format."""
    engines = list(dict.fromkeys(name for one in formats.values() for name in one["engines"]))
    peers = engines[1:]
    for number, phase in enumerate(next(iter(formats.values()))["phases"]):
        headings = [heading for peer in peers for heading in (f"times {peer}", "its best")]
        table = table_of(phase["phase"], *engines, *headings, "float32", "limit")
        for weights, one in formats.items():
            table.add_row(weights, *_cells(one["phases"][number], engines))
        yield table


def _cells(phase: Mapping[str, Any], engines: list[str]) -> Iterator[str]:
    ratios = phase["of_medians"]
    for name in engines:
        yield _rate(phase["tokens_per_s"][name]["median"]) if name in phase["tokens_per_s"] else "-"
    for peer in engines[1:]:
        yield _ratio(ratios["times_peer"].get(peer))
        yield _ratio(ratios["times_best_of_peer"].get(peer))
    yield _ratio(ratios["times_float32"])
    yield f"{ratios['share_of_limit']:.0%}"


def _verification(costs: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the cost of a pass by its rows, with a row for each format."""
    table = table_of("pass, in decode steps", *(f"rows: {rows}" for rows in next(iter(costs.values()))))
    for weights, cost in costs.items():
        table.add_row(weights, *map(_ratio, cost.values()))
    return table


def _start(formats: Mapping[str, Any]) -> Table:
    """Return what every engine needs to start, with a row for each format."""
    table = table_of("start", "engine", "import, s", "load, s", "memory, MiB")
    for weights, one in formats.items():
        for name, engine in one["engines"].items():
            times = (f"{engine[key]['median']:.2f}" for key in ("import_s", "load_s"))
            table.add_row(weights, name, *times, f"{engine['peak_memory_bytes'] / 2**20:.0f}")
    return table


def _small_model(record: Mapping[str, Any]) -> Iterator[str]:
    small = record["small_model"]
    for key, title in (
        ("one_sequence", "one sequence"),
        ("under_load", "16 sequences, two other processes busy"),
    ):
        steps = small[key]["step_s"]
        times = ", ".join(f"{name} {seconds_text(one['median'])}" for name, one in steps.items())
        ratio = small[key]["time_over_numpy"]
        yield f"{small['model']}, a decode step of {title}: {times}; {ratio:.2f} of NumPy's time."


def _rate(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 100 else f"{rate:.1f}"


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
