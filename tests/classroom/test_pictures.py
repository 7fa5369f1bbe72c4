"""Pictures show what they are given, in any encoding, and no wider than a terminal."""

import io
import sys

import numpy as np
import pytest
from bundled import BUNDLED

import minillm
from minillm.classroom.pictures import bars, block_map, dial, heatmap, roofline, table, timeline


def test_a_heatmap_is_dark_where_values_are_large():
    picture = heatmap(np.array([[1.0, 0.0], [0.25, 0.5]]), ["a", "a long label of 1"]).splitlines()
    assert picture[0].split() == ["0", "1"]
    assert picture[1].endswith("0  ██") and picture[2].endswith("1  ░░ ▒▒")
    assert picture[2].startswith("a long labe~")


@pytest.mark.parametrize(("columns", "width"), [(80, 41), (40, 34)])
def test_a_heatmap_fits_a_narrow_terminal(columns, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert {len(line) for line in heatmap(np.ones((2, 8)), [" cat", " suns"]).splitlines()} == {width}


def test_a_heatmap_of_zeros_is_blank():
    assert "█" not in heatmap(np.zeros((2, 2)), ["a", "b"])


def test_bars_are_as_long_as_values_are_large():
    lines = bars({"whole": 4.0, "half": 2, "nothing": 0, "hardly": 0.001}, unit=" ms").splitlines()
    assert [line.count("█") for line in lines] == [40, 20, 0, 1]
    assert lines[0].startswith("whole   |") and lines[1].endswith("| 2 ms".lstrip("|")) and "0.001 ms" in lines[3]


@pytest.mark.parametrize(("columns", "longest"), [(20, 2), (40, 15), (60, 28), (80, 40), (200, 40)])
def test_bars_fit_the_terminal(columns, longest, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = bars({"a label of more than 26 letters": 12_345.0, "half": 6_172.5}, " ms").splitlines()
    assert [line.count("█") for line in lines] == [longest, round(longest / 2)]
    assert len(lines[0]) <= columns and lines[0].endswith(" 12,345 ms")


def test_a_value_has_no_exponent():
    lines = bars({"a": 999.7, "b": 1e-5, "c": 123456.7}).splitlines()
    assert [line.split()[-1] for line in lines] == ["1,000", "0.00001", "123,457"]


def test_a_timeline_counts_steps_in_tens():
    ruler, first, second = timeline({"one": "x" * 23, "two": "." * 3}).splitlines()
    assert ruler.index("10") - first.index("x") == 10 and ruler.index("20") - first.index("x") == 20
    assert second == "two          ..."


def test_a_block_map_shows_who_holds_what():
    model = minillm.load(BUNDLED[0])
    pool = minillm.BlockPool(model, 4, block_size=2)
    a = minillm.PagedKVCache(pool)
    minillm.prefill(model, [1, 2, 3], a)
    assert block_map(pool, {"A": a}) == " 0[AA]  1[A.]  2[  ]  3[  ]"
    b = a.fork()
    assert block_map(pool, {"A": a, "B": b}) == " 0[**]  1[*.]  2[  ]  3[  ]"
    minillm.decode_step(model, 4, b)
    assert block_map(pool, {"A": a, "B": b}).split()[1] in ("1[A.]", "1[BB]")


def test_a_roofline_rises_to_the_ridge_and_then_is_flat():
    lines = roofline(256e12, 1e12, {"slow": 1.0, "at the ridge": 256.0, "fast": 1000.0}).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["256", "128", "64"]
    flat, rising = lines[1][9:], lines[9][9:]
    assert (flat.index("B"), flat.index("C"), flat[45:55].count("B")) == (45, 55, 1)  # 5 columns a doubling, from 1/2
    assert rising.index("A") == 5 and lines[9].split()[0] == "1"
    assert lines[-3:] == [
        "A slow: 1 FLOP/byte, 0.4% of the peak",
        "B at the ridge: 256 FLOP/byte, 100.0% of the peak",
        "C fast: 1,000 FLOP/byte, 100.0% of the peak",
    ]
    assert max(map(len, lines)) <= 80


def test_work_beyond_the_axes_of_a_roofline_stands_at_their_ends():
    lines = roofline(256e12, 1e12, {"little": 0.01, "much": 1e6}).splitlines()
    assert lines[1].endswith("B") and any(line[9:].startswith("A") for line in lines)


def test_a_table_has_columns():
    assert table(["name", "n"], [["a", "1"], ["bcdef", "1,000"]]) == "name       n\na          1\nbcdef  1,000"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_an_encoding_without_shades_gets_characters_of_growing_ink(encoding, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    picture = heatmap(np.array([[1.0, 0.3]]), ["a"]) + bars({"a": 1.0})
    assert "##" in picture and "++" in picture
    picture.encode(encoding)


def test_the_hands_of_a_dial_point_where_their_angles_say():
    lines = dial({"east": 0.0, "north": np.pi / 2}).splitlines()
    assert len(lines) == 11 and max(map(len, lines)) == 21
    assert [column for column, sign in enumerate(lines[5]) if sign == "e"] == [12, 14, 16, 18, 20]
    assert "".join(line.ljust(21)[10] for line in lines) == "nnnnn     ."
