"""The roofline as a drawing: what a machine can reach at each intensity, and where a workload lies on it."""

from collections.abc import Mapping
from pathlib import Path

from minillm.estimate.hardware import Machine
from minillm.estimate.roofline import attainable_flops_per_s, ridge_flops_per_byte
from minillm.estimate.units import TERA, Number
from minillm.support.install_hint import install_hint


def save_roofline(file: Path, machine: Machine, points: Mapping[str, Number]) -> None:
    """Draw a machine's roofline as an SVG.

    Args:
        file: path of the SVG.
        machine: its bandwidth and peak give the roofline.
        points: intensities of computations in FLOP/byte, by name.

    Raises:
        ValueError: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError(f"--plot needs matplotlib; install it with: {install_hint('plot')}") from None
    ridge = ridge_flops_per_byte(machine)
    xs = [ridge * 2.0**power for power in range(-12, 7)]
    figure = Figure(figsize=(7, 4.5))
    axes = figure.add_subplot()
    axes.loglog(xs, [attainable_flops_per_s(machine, x) / TERA for x in xs], color="black", label=machine.name)
    axes.axvline(ridge, color="grey", linestyle=":", label=f"ridge, {ridge:.0f} FLOP/byte")
    for marker, (name, intensity) in zip("osD^v", points.items(), strict=False):
        reached = attainable_flops_per_s(machine, intensity) / TERA
        axes.plot([intensity], [reached], marker, label=f"{name}: {intensity:.3g} FLOP/byte")
    axes.set(xlabel="FLOP for each byte read", ylabel="TFLOP/s at most", title=f"Roofline of {machine.name}")
    axes.legend(fontsize=8)
    figure.savefig(file, format="svg", bbox_inches="tight")
