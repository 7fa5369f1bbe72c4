"""scripts/check_gpu.py, as far as it goes without a GPU: what it times runs, and without a device it says so."""

import sys

import check_gpu
import pytest
from fake_device import FakeDevice

from minillm.backends.cupy import CuPy


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
def test_everything_that_is_timed_runs(monkeypatch, stored):
    monkeypatch.setattr(check_gpu, "get_backend", lambda name: CuPy(FakeDevice()))
    monkeypatch.setattr(check_gpu, "milliseconds", lambda work, rounds=2: [work() for _ in range(rounds)] and 1.0)
    monkeypatch.setattr(check_gpu, "CONTEXT", 20)
    monkeypatch.setattr(check_gpu, "PREFILL_TOKENS", 40)
    monkeypatch.setitem(check_gpu.SHAPES, "tiny", check_gpu.shape(2, 64, 96, 2, 1, 50))
    limits = {"bytes_per_s": 1e9, "flops_per_s": {stored: check_gpu.flops_per_s(stored, 64)}}
    rows = check_gpu.speeds("tiny", stored, limits)
    assert [row["what"] for row in rows if "32 x" in row["what"]] == [
        "decode, 32 x contiguous", "decode, 32 x paged", "attention, 32 x contiguous", "attention, 32 x paged",
    ]  # fmt: skip
    assert all(row["ms"] > 0 and row["share"] > 0 for row in rows)


def test_without_cupy_it_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(sys, "argv", ["check_gpu.py"])
    assert check_gpu.main() == 2
    assert capsys.readouterr().err.startswith("check_gpu: backend cupy needs CuPy")
