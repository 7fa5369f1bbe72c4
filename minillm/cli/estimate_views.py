"""Three views of `minillm estimate`: one workload on one GPU, on many GPUs, or for many batch sizes."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from minillm.cli.estimate_options import (
    asked,
    batch_from,
    batches_from,
    config_from,
    doubts,
    price_from,
    serving_from,
    weights_on_disk,
    workload_from,
)
from minillm.cli.printing import print_json, seconds_text, show
from minillm.config import ModelConfig
from minillm.estimate.batching import knee
from minillm.estimate.hardware import Machine, find_gpu, gpu_table
from minillm.estimate.report import Report, Workload, make_report, mean_context, rate_text, works
from minillm.estimate.serving import Serving, decode_time
from minillm.support.terminal import terminal_width
from minillm.support.wording import counted, rounded

BAR = 60  # columns of the bar, where the terminal has as many
FILLS = "█▓▒░▪"


def one(options: argparse.Namespace) -> None:
    """Print memory, time and cost of one workload on one GPU, and draw its roofline if asked for."""
    config, workload = config_from(options.model), workload_from(options, batch_from(options.batch))
    machine = machine_from(options, config)
    serving, price = serving_from(options, machine, config), price_from(options)
    report = make_report(serving, workload, price)
    said = asked(options, machine.name, "rps", "price")
    record = said | {"gpu": machine.name, "batch": workload.batch} | report.record
    if options.plot:
        from minillm.estimate.roofline_plot import save_roofline

        prefill, decode = works(serving, workload)
        points = {f"prefill, {workload.batch} · {counted(workload.prompt, 'token')}": prefill.intensity,
                  f"decode, batch {workload.batch}": decode.intensity}  # fmt: skip
        save_roofline(Path(options.plot), machine, points)
    if machine.name == "this-machine":
        record |= _measured(options, serving, workload)
    if options.json:
        print_json(record | ({"explained": [asdict(line) for line in report.lines]} if options.explain else {}))
        return
    show(f"{options.model} on {serving.gpus} x {machine.name}: {_requests(workload)}, "
         f"{counted(workload.output, 'new token')} each", "")  # fmt: skip
    _show_lines(report, options.explain)
    show("", *bar_lines(report.parts_s))
    if "measured_tpot_s" in record:
        measured, predicted = record["measured_tpot_s"], record["predicted_tpot_s"]
        show("", f"A decode step of one request, measured on the {record['measured_backend']} backend: "
             f"{seconds_text(measured)}; predicted {seconds_text(predicted)}: "
             f"{predicted / measured - 1:+.0%}.")  # fmt: skip
    elif serving.mfu == serving.mbu == 1 and not machine.overhead_s_per_layer:
        show("", "Lower bounds at the datasheet's peak; --mfu and --mbu lower it.")
    _show_doubts(options, config, workload)


def _show_doubts(options: argparse.Namespace, config: ModelConfig, workload: Workload) -> None:
    """Print the limits that the workload exceeds. The last token of an answer is never fed back: it does not count."""
    for line in doubts(options, config, workload.prompt + workload.output - 1):
        show(line)


def _measured(options: argparse.Namespace, serving: Serving, workload: Workload) -> dict[str, Any]:
    """Return the measured and the predicted time of a decode step; nothing for a model without weights on disk.

    Weights in fewer bits are measured on the fastest backend: `numpy` would read them, and write them as floats too.
    """
    from minillm.benchmark.fastest import fastest_backend
    from minillm.benchmark.this_machine import measure_decode
    from minillm.loading.load import load

    if not weights_on_disk(options.model):
        return {}
    context = min(round(mean_context(workload)), serving.config.max_position_embeddings)
    weights = options.weights or "float32"
    backend = "numpy" if weights == "float32" else fastest_backend()
    model = load(options.model, backend, weights=weights, layers=options.layers)
    measured = measure_decode(model, context, "int8" if options.kv_cache == "int8" else None)
    predicted = decode_time(serving, context)
    return {"measured_backend": model.ops.name, "measured_tpot_s": measured, "predicted_tpot_s": predicted.seconds}


def machine_from(options: argparse.Namespace, config: ModelConfig) -> Machine:
    """Return a GPU of the table, or this machine, measured now."""
    if options.gpu != "this-machine":
        return find_gpu("a100" if options.gpu is None else options.gpu)
    from minillm.benchmark.this_machine import measure_machine

    return measure_machine(config)


def _requests(workload: Workload) -> str:
    return f"{counted(workload.batch, 'request')} of {counted(workload.prompt, 'token')}"


def _show_lines(report: Report, explain: bool) -> None:
    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for _ in range(3):
        table.add_column(overflow="fold")
    group = ""
    for line in report.lines:
        table.add_row(line.group if line.group != group else "", line.label, line.value)
        if explain:
            table.add_row("", "", f"= {line.formula}")
            table.add_row("", "", f"= {line.numbers}")
        group = line.group
    show(table)


def bar_lines(parts_s: Mapping[str, int | float]) -> list[str]:
    """Return a bar of the parts of a request's time, and a legend line for each part."""
    total = sum(parts_s.values())
    ends, bar, reached, width = 0.0, "", 0, min(BAR, terminal_width())
    for fill, seconds in zip(FILLS, parts_s.values(), strict=False):
        ends += seconds / total * width
        bar, reached = bar + fill * (round(ends) - reached), round(ends)
    legend = [f"{fill} {name} {seconds_text(seconds)} ({seconds / total:.0%})"
              for fill, (name, seconds) in zip(FILLS, parts_s.items(), strict=False)]  # fmt: skip
    return ["Where a request's time goes:", bar, *legend]


def compare(options: argparse.Namespace) -> None:
    """Print the GPUs by latency and by cost."""
    config, workload = config_from(options.model), workload_from(options, batch_from(options.batch))
    names = list(gpu_table()) if options.gpus == "all" else [name.strip() for name in options.gpus.split(",")]
    rows = []
    for name in names:
        serving = serving_from(options, find_gpu(name), config)
        rows.append({"gpu": serving.machine.name, **make_report(serving, workload, price_from(options)).record})
    rows.sort(key=lambda row: (not row["fits"], row["total_s"]))
    by_cost = sorted((row for row in rows if "dollars_per_million_tokens" in row and row["fits"]),
                     key=lambda row: row["dollars_per_million_tokens"])  # fmt: skip
    if options.json:
        said = asked(options, names[0], "price") | {"batch": workload.batch}
        print_json(said | {"by_latency": rows, "by_cost": [row["gpu"] for row in by_cost]})
        return
    show(f"{options.model}: {_requests(workload)}, {counted(workload.output, 'new token')} each; "
         "the fastest first", "", _comparison(rows), "")  # fmt: skip
    cheapest = ", ".join(f"{row['gpu']} ${rounded(row['dollars_per_million_tokens'])}" for row in by_cost)
    show(f"By cost of a million output tokens: {cheapest or 'no GPU that fits has a price; pass --price'}.")
    _show_doubts(options, config, workload)


def _comparison(rows: Sequence[Mapping[str, Any]]) -> Table:
    gap = 2 if terminal_width() >= 80 else 1
    table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False)
    table.add_column("GPU", no_wrap=True)
    for heading in ("first token", "per token", "request", "tokens/s", "$ per M"):
        table.add_column(heading, justify="right", overflow="fold")
    if not all(row["fits"] for row in rows):
        table.add_column("", justify="right", overflow="fold")
    for row in rows:
        cost = row.get("dollars_per_million_tokens")
        cells = [
            row["gpu"], seconds_text(row["ttft_s"]), seconds_text(row["tpot_s"]), seconds_text(row["total_s"]),
            rate_text(row["tokens_per_s"]), "" if cost is None else rounded(cost),
        ]  # fmt: skip
        table.add_row(*cells, *([] if row["fits"] else [_needs(row["gpus_needed"])]))
    return table


def _needs(gpus: int | None, unit: str = "") -> str:
    return f"needs {gpus}{unit}" if gpus else "too large"


def sweep(options: argparse.Namespace) -> None:
    """Print throughput and time per token for many batch sizes, and the knee of the throughput."""
    config, batches = config_from(options.model), batches_from("1..256" if options.batch is None else options.batch)
    serving = serving_from(options, machine_from(options, config), config)
    workloads = [workload_from(options, batch) for batch in batches]
    rows = [{"batch": load.batch, **make_report(serving, load, price_from(options)).record} for load in workloads]
    bend = knee(serving, mean_context(workloads[0]), batches[-1])
    if options.json:
        said = asked(options, serving.machine.name) | {"gpu": serving.machine.name}
        print_json(said | {"knee": bend, "points": rows})
        return
    most = max(row["decode_tokens_per_s"] for row in rows)
    longest = min(30, max(4, terminal_width() - 50))  # columns of a bar: what the numbers leave
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("batch", "tokens/s", "per token", "", ""):
        table.add_column(heading, justify="right" if heading else "left", overflow="fold")
    for row in rows:
        bar = "█" * max(1, round(longest * row["decode_tokens_per_s"] / most))
        note = "" if row["fits"] else _needs(row["gpus_needed"], " GPUs")
        table.add_row(str(row["batch"]), rate_text(row["decode_tokens_per_s"]), seconds_text(row["tpot_s"]), bar, note)
    found = f"The knee is at batch {bend}" if bend else f"There is no knee up to batch {batches[-1]}"
    less = "from there on" if bend else "it is where"
    show(f"{options.model} on {serving.gpus} x {serving.machine.name}: decode at {mean_context(workloads[0]):g} tokens",
         "", table, "", f"{found}: {less} twice the batch gives less than 1.5 times the throughput.")  # fmt: skip
    _show_doubts(options, config, workloads[0])
