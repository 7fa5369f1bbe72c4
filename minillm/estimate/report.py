"""Report: every estimate of one workload, each figure with its formula and the numbers put in.

A workload is `batch` equal requests that arrive together: one pass prefills their prompts, then all decode in step.
Times are those of `serving`: lower bounds, unless it has an MFU and an MBU below 1. With several GPUs, memory, time and
work are those of the GPU with the largest share, and the work of all GPUs is counted as if each had that share.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minillm.estimate.cost import dollars_per_million_tokens
from minillm.estimate.parameters import layers_parameters, matrix_parameters, parameters
from minillm.estimate.queueing import mmc_wait_s, utilisation
from minillm.estimate.roofline import Time, ridge_flops_per_byte
from minillm.estimate.serving import (
    MOST_GPUS,
    Serving,
    decode_all_s,
    decode_time,
    fewest_gpus,
    most_sequences,
    prefill_time,
)
from minillm.estimate.streaming import IN_MEMORY
from minillm.estimate.units import GB, GIB, Number
from minillm.estimate.work import Tokens, Work, decode_work, forward_work
from minillm.support.wording import counted, rounded

COST_FORMULA = "GPUs · $/h / 3600 / (tokens/s) · 1e6"


@dataclass(frozen=True)
class Workload:
    """`batch` requests of `prompt` tokens, each of which gets `output` tokens; `rps` requests arrive each second."""

    prompt: int = 500
    output: int = 100
    batch: int = 1
    rps: Number | None = None


@dataclass(frozen=True)
class Line:
    """One figure.

    Attributes:
        group: "memory", "prefill", "decode", "request", "cost" or "queue".
        label: name of the figure.
        value: the figure with its unit, as text.
        formula: in words.
        numbers: the formula with its numbers put in.
    """

    group: str
    label: str
    value: str
    formula: str
    numbers: str


@dataclass(frozen=True)
class Report:
    """All estimates of a workload.

    Attributes:
        record: every figure as a number, by name with its unit.
        lines: the figures to show.
        parts_s: the time of a request by cause, in seconds.
    """

    record: dict[str, Any]
    lines: Sequence[Line]
    parts_s: dict[str, Number]


def make_report(serving: Serving, workload: Workload, dollars_per_hour: Number | None = None) -> Report:
    """Compute all figures; the cost is known only with a price, the queue only with arrivals.

    Args:
        serving: the model and where it runs.
        workload: the requests.
        dollars_per_hour: price of one GPU; by default the table's price, if it has one.
    """
    price = serving.machine.dollars_per_hour if dollars_per_hour is None else dollars_per_hour
    lines, record = _memory(serving, workload)
    prefill, decode = _times(serving, workload)
    more, figures = _phases(serving, workload, prefill, decode)
    lines, record = lines + more, record | figures
    lines.append(_no_price(serving) if price is None else _cost(record, price, serving.gpus))
    if workload.rps is not None:
        lines.append(_queue(record, workload))
    return Report(record, lines, _parts(serving, workload, prefill, decode))


def mean_context(workload: Workload) -> Number:
    """Return the context of a decode step in tokens, averaged over the steps of an answer."""
    return workload.prompt + max(workload.output - 1, 1) / 2 + 0.5


def _times(serving: Serving, workload: Workload) -> tuple[Time, Time]:
    prefill = prefill_time(serving, workload.prompt, workload.batch)
    return prefill, decode_time(serving, mean_context(workload), workload.batch)


def _memory(serving: Serving, workload: Workload) -> tuple[list[Line], dict[str, Any]]:
    memory = serving.machine.memory_bytes
    tokens = workload.prompt + workload.output - 1  # the last token is never fed back
    each, weights, share = serving.cache_bytes_per_token, serving.weights_bytes, serving.share
    cache, on_one = workload.batch * tokens * each, workload.batch * tokens * share.cache_bytes_per_token
    needed, most = fewest_gpus(serving, workload.batch, tokens), most_sequences(serving, tokens)
    sequences = f"{most:,} sequence{'s' * (most != 1)} of {_tokens(tokens)}"
    of_one = " of one GPU" if serving.gpus > 1 else ""
    lines = [
        *_weights(serving),
        Line("memory", "KV cache", _bytes(cache), "batch · tokens · 2 · layers · KV heads · head_dim · bytes",
             f"{workload.batch} · {tokens} · {each:,.0f} B"),
        Line("memory", f"on {serving.gpus} {serving.machine.name}", _fits(most >= workload.batch, needed, serving),
             f"(weights + cache){of_one} / (GPU memory · usable share)",
             f"{(share.weights_bytes + on_one) / GB:.2f} GB / ({memory / GB:.0f} GB · {serving.usable:g})"),
        Line("memory", "largest batch", sequences, f"(usable memory - weights) / (tokens · B){of_one}",
             f"({memory * serving.usable / GB:.1f} - {share.weights_bytes / GB:.2f}) GB / "
             f"({tokens} · {share.cache_bytes_per_token:,.0f} B)"),
    ]  # fmt: skip
    record = {"weights_bytes": weights, "kv_cache_bytes": cache, "kv_cache_bytes_per_token": each,
              "gpu_weights_bytes": share.weights_bytes, "gpu_kv_cache_bytes": on_one,
              "fits": most >= workload.batch, "gpus_needed": needed, "largest_batch": most}  # fmt: skip
    if serving.streamed is not None:
        record |= {"file_bytes": serving.streamed.file_bytes, "file_s": serving.streamed.seconds}
    return lines, record


def _weights(serving: Serving) -> list[Line]:
    streamed, each = serving.streamed, f"{serving.weights.bytes_each:g} B"
    if streamed is None:
        numbers = f"{parameters(serving.config):,} · {each}"
        return [Line("memory", "weights", _bytes(serving.weights_bytes), "parameters · bytes each", numbers)]
    in_memory = counted(min(IN_MEMORY, serving.config.num_hidden_layers), "layer")
    formula = f"head + {in_memory} and the final norm"
    return [
        Line("memory", "weights", _bytes(streamed.memory_bytes), formula,
             f"{_bytes(streamed.head_bytes)} + {_bytes(streamed.layers_bytes)}"),
        Line("memory", "in the file", f"layers of {_bytes(streamed.file_bytes)}, {_seconds(streamed.seconds)} a pass",
             "bytes of the layers / bandwidth of the file", f"{streamed.file_bytes:.4g} / {streamed.bytes_per_s:.3g}"),
    ]  # fmt: skip


def _fits(fits: bool, needed: int | None, serving: Serving) -> str:
    if fits or serving.streamed is not None:
        return "fits" if fits else "does not fit, even streamed"
    return f"does not fit: it takes {needed or f'more than {MOST_GPUS:,}, since KV heads are not divided'}"


def _phases(serving: Serving, load: Workload, prefill: Time, decode: Time) -> tuple[list[Line], dict[str, Any]]:
    config, machine = serving.config, serving.machine
    context, decode_s = mean_context(load), decode_all_s(serving, load.prompt, load.output, load.batch)
    total_s = prefill.seconds + decode_s
    first, step = works(serving, load)
    rate = load.batch / decode.seconds
    formula = "max(FLOP / FLOP/s, bytes / (bytes/s)" + (", layers / bandwidth of the file)" if decode.file_s else ")")
    lines = [
        Line("prefill", "time to first token", f"{_seconds(prefill.seconds)}, {prefill.bound} bound",
             formula, _numbers(first, serving, prefill)),
        Line("decode", f"a step at {context:g} tokens", f"{_seconds(decode.seconds)}, {decode.bound} bound",
             formula, _numbers(step, serving, decode)),
        Line("decode", "throughput", f"{rate_text(rate)} tokens/s, {rate_text(rate / load.batch, 1)} for each",
             "batch / step", f"{load.batch} / {_seconds(decode.seconds)}"),
        Line("decode", "intensity",
             f"{rounded(step.intensity)} FLOP/byte; ridge {rounded(ridge_flops_per_byte(machine))}",
             "FLOP / bytes", f"{step.flops:.4g} / {step.bytes:.4g}"),
        Line("request", "latency", f"{_seconds(total_s)}: {_tokens(load.output)}",
             "prefill + (output - 1) steps", f"{_seconds(prefill.seconds)} + {_seconds(decode_s)}"),
    ]  # fmt: skip
    record = {
        "parameters": parameters(config), "matrix_parameters": matrix_parameters(config),
        "layers_parameters": layers_parameters(config), "prefill_flops": first.flops, "prefill_bytes": first.bytes,
        "decode_flops": step.flops, "decode_bytes": step.bytes, "decode_intensity_flops_per_byte": step.intensity,
        "ridge_flops_per_byte": ridge_flops_per_byte(machine), "ttft_s": prefill.seconds, "tpot_s": decode.seconds,
        "prefill_bound": prefill.bound, "decode_bound": decode.bound, "decode_s": decode_s, "total_s": total_s,
        "decode_tokens_per_s": rate, "tokens_per_s": load.batch * load.output / total_s,
    }  # fmt: skip
    return lines, record


def works(serving: Serving, workload: Workload) -> tuple[Work, Work]:
    """Return the work of the prefill of all prompts, and of one mean decode step: of all GPUs together."""
    config, weights, cache = serving.share.config, serving.weights.bytes_each, serving.cache_bytes
    prompts = forward_work(config, [Tokens(workload.prompt)] * workload.batch, weights, cache)
    step = decode_work(config, mean_context(workload), workload.batch, weights, cache)
    return prompts * serving.gpus, step * serving.gpus


def _cost(record: dict[str, Any], price: Number, gpus: int) -> Line:
    dollars = dollars_per_million_tokens(price * gpus, record["tokens_per_s"])
    record["dollars_per_million_tokens"] = dollars
    return Line(
        "cost", "a million output tokens", f"${rounded(dollars)} at ${price:g} an hour for each GPU",
        COST_FORMULA, f"{gpus} · {price:g} / 3600 / {record['tokens_per_s']:,.1f} · 1e6",
    )  # fmt: skip


def _no_price(serving: Serving) -> Line:
    value = f"no price of {serving.machine.name} is known; pass --price"
    return Line("cost", "a million output tokens", value, COST_FORMULA, "unknown without a price")


def _queue(record: dict[str, Any], workload: Workload) -> Line:
    """Estimate the wait; each sequence of the batch is a server that one request occupies for its whole latency."""
    assert workload.rps is not None
    total_s, capacity = record["total_s"], workload.batch / record["total_s"]
    rho = utilisation(workload.rps, total_s, workload.batch)
    record |= {"capacity_requests_per_s": capacity, "utilisation": rho, "queue_s": None}
    if rho >= 1:
        grows = workload.rps - capacity
        served = f"{rounded(capacity)} requests/s can be served"
        value = f"no steady state: {served}, the queue grows by {rounded(grows)} per second"
        return Line("queue", "wait", value, "arrivals - batch / latency", f"{workload.rps:g} - {rounded(capacity)}")
    record["queue_s"] = mmc_wait_s(workload.rps, total_s, workload.batch)
    return Line(
        "queue", "wait", f"{_seconds(record['queue_s'])} on average, {rho:.0%} busy",
        "Erlang C / (batch / latency - arrivals)",
        f"M/M/{workload.batch}: {rounded(capacity)} requests/s can be served, {workload.rps:g} arrive",
    )  # fmt: skip


def _parts(serving: Serving, workload: Workload, prefill: Time, decode: Time) -> dict[str, Number]:
    """Return the seconds by cause; decode is arithmetic if that is its bound, else weights and cache by their bytes."""
    steps, (_, work) = max(workload.output - 1, 0), works(serving, workload)
    shares = {"decode: weights": work.weight_bytes / work.bytes, "decode: KV cache": work.cache_bytes / work.bytes}
    if decode.compute_s > decode.memory_s:
        shares = {"decode: arithmetic": 1.0}
    parts = {"prefill": prefill.seconds}
    if decode.bound == "file":
        return parts | ({"decode: reading the file": steps * decode.file_s} if steps else {})
    parts |= {name: steps * share * max(decode.compute_s, decode.memory_s) for name, share in shares.items()}
    parts |= {"decode: overhead": steps * decode.overhead_s, "decode: communication": steps * decode.communication_s}
    return {name: seconds for name, seconds in parts.items() if seconds}


def _numbers(work: Work, serving: Serving, time: Time) -> str:
    gpus = f"{serving.gpus} · " if serving.gpus > 1 else ""
    flops, bandwidth = serving.machine.flops_per_s * serving.mfu, serving.machine.bandwidth_bytes_per_s * serving.mbu
    text = (
        f"max({work.flops:.3g} / ({gpus}{flops:.3g}) = {_seconds(time.compute_s)}, "
        f"{work.bytes:.3g} / ({gpus}{bandwidth:.3g}) = {_seconds(time.memory_s)})"
    )
    text += f" + {_seconds(time.overhead_s)} overhead" if time.overhead_s else ""
    text += f" + {_seconds(time.communication_s)} communication" if time.communication_s else ""
    return f"max({text}, {_seconds(time.file_s)} for the file)" if time.file_s else text


def rate_text(per_s: Number, decimals: int = 0) -> str:
    """Return a rate with this number of decimals; below 1 with three digits, because streamed layers are slow."""
    return f"{per_s:,.{decimals}f}" if per_s >= 1 else rounded(per_s)


def _tokens(count: int) -> str:
    return f"{count} token{'s' * (count != 1)}"


def _bytes(count: Number) -> str:
    if count < GB:
        return f"{count / 1000**2:,.1f} MB ({count / 1024**2:,.1f} MiB)"
    return f"{count / GB:,.2f} GB ({count / GIB:,.2f} GiB)"


def _seconds(seconds: Number) -> str:
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{rounded(seconds * 1000)} ms"
