"""The drawing of a roofline: each point lies on it, and is named."""

import pytest

from minillm.estimate.hardware import find_gpu
from minillm.estimate.roofline_plot import save_roofline


@pytest.fixture
def figure(monkeypatch, tmp_path):
    """Draw, and give what was drawn."""
    module = pytest.importorskip("matplotlib.figure")
    drawn = []
    monkeypatch.setattr(module.Figure, "savefig", lambda self, *_, **__: drawn.append(self))

    def draw(machine, points):
        save_roofline(tmp_path / "x.svg", machine, points)
        return drawn[-1]

    return draw


def test_points_lie_below_the_ridge_on_the_slope_and_beyond_it_at_the_peak(figure):
    [axes] = figure(find_gpu("a100"), {"decode": 10.0, "prefill": 500.0}).axes
    _, ridge, decode, prefill = axes.lines
    assert decode.get_xydata().tolist() == [[10.0, pytest.approx(10 * 2.039)]]  # TFLOP/s
    assert prefill.get_xydata().tolist() == [[500.0, 312.0]]
    assert ridge.get_xdata()[0] == pytest.approx(312 / 2.039)


def test_the_words_of_the_drawing(tmp_path):
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"svg.fonttype": "none"}):  # text as text, not as outlines
        save_roofline(tmp_path / "x.svg", find_gpu("t4"), {"decode, batch 1": 1.0, "prefill": 321.4})
    svg = (tmp_path / "x.svg").read_text(encoding="utf-8")
    for text in ("Roofline of t4", "ridge, 203 FLOP/byte", "decode, batch 1: 1 FLOP/byte", "prefill: 321 FLOP/byte",
                 "FLOP for each byte read", "TFLOP/s at most"):  # fmt: skip
        assert f">{text}</text>" in svg
