"""Machines: what a GPU can do according to its datasheet, or what this machine does as measured.

The figures and their sources are in `gpus.toml`.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from minillm.estimate.units import GB, TERA, Number


@dataclass(frozen=True)
class Machine:
    """One GPU, or one computer.

    Attributes:
        name: short name, such as "a100-sxm".
        memory_bytes: capacity of the memory.
        memory_kind: technology of the memory, such as "HBM3".
        bandwidth_bytes_per_s: speed of reading the memory.
        flops_per_s: dense matrix products in float16 (float32 on a measured CPU), without sparsity.
        int8_ops_per_s: the same in 8-bit integers; 0 if unknown.
        link_bytes_per_s: to other GPUs, in one direction; 0 if there are none.
        dollars_per_hour: price; None if the table has none.
        overhead_s_per_layer: measured time of a layer beyond its products; 0 for a datasheet's bound.
        overhead_s_per_step: measured time of a forward pass beyond its layers; 0 for a datasheet's bound.
    """

    name: str
    memory_bytes: Number
    memory_kind: str
    bandwidth_bytes_per_s: Number
    flops_per_s: Number
    int8_ops_per_s: Number = 0.0
    link_bytes_per_s: Number = 0.0
    dollars_per_hour: Number | None = None
    overhead_s_per_layer: Number = 0.0
    overhead_s_per_step: Number = 0.0


@cache
def gpu_table() -> dict[str, Machine]:
    """Return all GPUs of the table by their short names, in the order of the file."""
    return {name: _machine(name, figures) for name, figures in gpu_figures().items()}


@cache
def gpu_figures() -> dict[str, dict[str, Any]]:
    """Return the table as written: for each GPU and figure, the value and its source."""
    file = Path(__file__).with_name("gpus.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def find_gpu(name: str) -> Machine:
    """Return the GPU with this short name; "a100", "h100" and "h200" mean the SXM cards.

    Raises:
        ValueError: the table has no such GPU; the message lists all names.
    """
    table = gpu_table()
    key = name.lower().replace("_", "-").replace(" ", "-")
    key = {"a100": "a100-sxm", "h100": "h100-sxm", "h200": "h200-sxm"}.get(key, key)
    if key not in table:
        raise ValueError(f"no GPU {name[:40]!r}; known are {', '.join(table)}")
    return table[key]


def _machine(name: str, figures: dict[str, Any]) -> Machine:
    value = {key: entry["value"] for key, entry in figures.items()}
    return Machine(
        name=name,
        memory_bytes=value["memory_gb"] * GB,
        memory_kind=value["memory_kind"],
        bandwidth_bytes_per_s=value["bandwidth_gb_per_s"] * GB,
        flops_per_s=value["float16_tflops"] * TERA,
        int8_ops_per_s=value["int8_tops"] * TERA,
        link_bytes_per_s=value["link_gb_per_s"] * GB,
        dollars_per_hour=value.get("dollars_per_hour"),
    )
