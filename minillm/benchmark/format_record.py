"""Several formats of the weights in one record: each next to its peers, to their best format, and to our float32.

All ratios here are ratios of medians over the rounds of one run. A ratio below is how many times as fast minillm is.
"""

from collections.abc import Mapping, Sequence
from typing import Any

SHARED = ("machine", "bandwidth_bytes_per_s", "matmul_flops_per_s")  # the same in the record of every format


def join_formats(records: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return one record of several formats; in each, `of_medians` of a phase has its ratios.

    Args:
        records: what `make_record` returns, by format.
    """
    first, *_ = records.values()
    formats = {
        weights: {key: value for key, value in one.items() if key not in SHARED} for weights, one in records.items()
    }
    for number in range(len(first["phases"])):
        _add_ratios({weights: one["phases"][number] for weights, one in formats.items()})
    return {key: first[key] for key in SHARED} | {"formats": formats}


def _add_ratios(phases: Mapping[str, dict[str, Any]]) -> None:
    """Add `of_medians` to one phase of every format."""
    ours, best = _medians(phases, "minillm"), best_of_peers(phases)
    for weights, phase in phases.items():
        peers = [name for name in phase["tokens_per_s"] if name != "minillm"]
        phase["of_medians"] = {
            "times_peer": {peer: ours[weights] / _medians(phases, peer)[weights] for peer in peers},
            "times_best_of_peer": {peer: ours[weights] / rate for peer, rate in best.items()},
            "times_float32": ours[weights] / ours["float32"] if "float32" in ours else None,
            "share_of_limit": ours[weights] / phase["roofline_tokens_per_s"]["median"],
        }


def best_of_peers(phases: Mapping[str, dict[str, Any]], among: Sequence[str] = ("float32", "int8")) -> dict[str, float]:
    """Return the highest tokens/s of each peer in these formats, if it was measured in any of them."""
    peers = {name for phase in phases.values() for name in phase["tokens_per_s"] if name != "minillm"}
    rates = {peer: [rate for weights, rate in _medians(phases, peer).items() if weights in among] for peer in peers}
    return {peer: max(rates[peer]) for peer in sorted(peers) if rates[peer]}


def _medians(phases: Mapping[str, dict[str, Any]], engine: str) -> dict[str, float]:
    """Return the median tokens/s of an engine, by format."""
    rates = {weights: phase["tokens_per_s"] for weights, phase in phases.items()}
    return {weights: rate[engine]["median"] for weights, rate in rates.items() if engine in rate}
