"""The formats of a model's weights as a drawing: accuracy and speed over memory."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minillm.support.install_hint import install_hint

LEAST = 1e-7  # nats: a KL divergence of 0 is drawn here, because the axis is logarithmic


def check_matplotlib() -> None:
    """Raise ValueError if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise ValueError(f"--plot needs matplotlib; install it with: {install_hint('plot')}")


def save_format_plot(file: Path, record: Mapping[str, Any]) -> None:
    """Draw a record of `compare_formats` as an SVG.

    Raises:
        OSError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4))
    accuracy, speed = figure.subplots(1, 2)
    for row in record["formats"]:
        megabytes, rate = row["resident_bytes"] / 1e6, row["tokens_per_s"]["median"]
        for axes, value in ((accuracy, max(row["kl_divergence"], LEAST)), (speed, rate)):
            axes.plot([megabytes], [value], "o", label=row["weights"])
            axes.annotate(row["weights"], (megabytes, value), xytext=(5, 5), textcoords="offset points", fontsize=8)
    accuracy.set(xlabel="MB", ylabel="KL divergence from float32, nats", yscale="log", title="What is lost")
    speed.set(xlabel="MB", ylabel="tokens/s, decoding", title="What is gained", ylim=(0, None))
    for axes in (accuracy, speed):
        axes.set_xlim(0, None)
        axes.margins(x=0.2)
    figure.suptitle(f"{record['model']}, {record['backend']} backend")
    figure.savefig(file, format="svg", bbox_inches="tight")
