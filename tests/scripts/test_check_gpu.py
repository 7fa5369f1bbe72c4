"""scripts/check_gpu.py, as far as it goes without a GPU: all of it on a device that is none, and what may lack."""

import json
import sys

import check_gpu
import numpy as np
import pytest
from fake_device import FakeDevice

from minillm.backends import get_backend
from minillm.backends.cupy import CuPy

pytestmark = pytest.mark.slow


def backend(name):
    return CuPy(FakeDevice()) if name == "cupy" else get_backend(name)


@pytest.fixture
def small(monkeypatch):
    """Tiny shapes, on a device that is none; the tests that it runs in processes of their own have run here already."""
    monkeypatch.setattr(check_gpu, "get_backend", backend)
    monkeypatch.setattr("minillm.loading.load.get_backend", backend)
    monkeypatch.setattr(check_gpu, "describe", lambda: {"device": "none", "cupy": "none", "python": "any"})
    monkeypatch.setattr(check_gpu, "milliseconds", lambda work, rounds=2: [work() for _ in range(rounds)] and 1.0)
    for name, number in {"CONTEXT": 20, "PREFILL_TOKENS": 40, "NEW_TOKENS": 4, "COPIED": 1000, "PRODUCT": 64}.items():
        monkeypatch.setattr(check_gpu, name, number)
    monkeypatch.setattr(check_gpu, "SHAPES", {"tiny": check_gpu.shape(2, 64, 96, 2, 1, 50)})
    monkeypatch.setattr(check_gpu, "SPEEDS", [("tiny", "float32"), ("tiny", "bfloat16")])
    monkeypatch.setattr(check_gpu, "run_tests", None)
    ran = {"ok": True, "said": ["12 passed"]}
    monkeypatch.setattr(check_gpu, "CHECKS", check_gpu.CHECKS | {"properties": lambda: ran})
    monkeypatch.setattr(check_gpu, "LAST", {"transformers as an oracle": lambda: ran})


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["check_gpu.py", *map(str, arguments)])
    return check_gpu.main()


def test_one_json_and_one_table(small, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MINILLM_CACHE", str(tmp_path / "none"))
    assert run(monkeypatch, "--out", tmp_path / "out.json") == 0
    record, table = json.loads((tmp_path / "out.json").read_text()), capsys.readouterr().out
    assert list(record["checks"]) == [
        "specification",
        "greedy text of story",
        "properties",
        "transformers as an oracle",
    ]
    assert "greedy text of smollm2: smollm2 is not in the cache" in record["left_out"]
    assert all(name in table for name in (*record["checks"], *record["left_out"]))
    assert sorted(record["limits"]) == ["bfloat16 flops_per_s", "bytes_per_s", "float16 flops_per_s",
                                        "float32 flops_per_s"]  # fmt: skip
    rows = [row for row in record["speeds"] if "transformers" not in row["what"]]
    assert {row["what"] for row in rows if "32 x" in row["what"]} == {
        "decode, 32 x contiguous", "decode, 32 x paged", "attention, 32 x contiguous", "attention, 32 x paged",
    }  # fmt: skip
    assert len(rows) == 2 * 13 and all(row["ms"] > 0 and row["share"] > 0 for row in rows)


def test_what_fails_is_written_down_and_the_rest_follows(small, monkeypatch, tmp_path, capsys):
    def fails():
        raise RuntimeError("a kernel does not compile")

    def full(dtype):
        raise MemoryError("8 MB more")

    def lacks():
        check_gpu.need("json", "nothing_like_it")

    monkeypatch.setattr(check_gpu, "CHECKS", {"specification": fails, "greedy text of story": lacks})
    monkeypatch.setattr(check_gpu, "LIMITS", {"bytes_per_s": lambda: full("float32")})
    assert run(monkeypatch, "--out", tmp_path / "out.json") == 1
    record = json.loads((tmp_path / "out.json").read_text())
    assert record["checks"]["specification"]["said"][-1] == "RuntimeError: a kernel does not compile\n"
    assert "bytes_per_s: 8 MB more" in record["left_out"]
    assert "greedy text of story: not installed: nothing_like_it" in record["left_out"]
    assert {row["share"] for row in record["speeds"]} == {None}
    assert "FAILED specification" in capsys.readouterr().out


def test_nothing_begins_late_and_every_part_says_so(small, monkeypatch, capsys):
    monkeypatch.setattr(check_gpu, "LAST_START_S", -1)
    assert run(monkeypatch) == 0
    assert capsys.readouterr().out.count(": time was up") == 4 + 4 + 2 + 1 + 1


def test_random_weights_are_those_that_were_sent_over_and_over():
    device = FakeDevice()
    weights = check_gpu.random_weights(device, 3, 2**19)
    assert (device.sent, device.fetched) == (1, 0)
    rows = device.to_host(weights)
    assert np.array_equal(rows[0], rows[2]) and 0.019 < rows.std() < 0.021


def test_a_random_model_is_one_of_its_shape(small):
    """Nothing but a million numbers and a norm's ones goes to the device for each matrix."""
    model = check_gpu.random_model("tiny", "bfloat16")
    assert (model.head.shape, model.head.dtype) == ((50, 64), np.uint16)
    layer = model.layer_weights[0]
    assert [matrix.shape for matrix in (layer.qkv, layer.output, layer.gate_up, layer.down)] == [
        (256, 64), (64, 128), (192, 64), (64, 96),
    ]  # fmt: skip
    assert model.ops.device.sent == 1 + 1 + 2 * 4


@pytest.mark.parametrize("name", [*check_gpu.PROPERTIES, check_gpu.ORACLE])
def test_the_tests_that_it_runs_are_there(name):
    file, _, test = name.partition("::")
    found = (check_gpu.ROOT / file).read_text()
    assert not test or f"def {test.partition('[')[0]}(" in found
    assert "cupy" in found or "EVERY_BACKEND" in found or "engine_adapter" in found


def test_without_cupy_it_says_so_in_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert run(monkeypatch) == 2
    assert capsys.readouterr().err.startswith("check_gpu: backend cupy needs CuPy")


def test_a_place_that_cannot_be_written_is_found_first(small, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(check_gpu, "check", None)
    assert run(monkeypatch, "--out", tmp_path / "missing" / "out.json") == 2
    error = capsys.readouterr().err
    assert error.startswith("check_gpu: ") and error.count("\n") == 1 and "missing" in error


@pytest.mark.parametrize("body, ok, said", [
    ("import warnings; warnings.warn('of CuPy'); assert os.environ['MINILLM_GPU'] == '1'", True, "1 passed"),
    ("assert 2 == 3", False, "1 failed"),
])  # fmt: skip
def test_tests_run_in_a_process_of_their_own(tmp_path, body, ok, said):
    """A warning is no error there."""
    (tmp_path / "test_it.py").write_text(f"import os\n\ndef test_it():\n    {body}\n")
    found = check_gpu.run_tests((str(tmp_path / "test_it.py"),))
    assert found["ok"] is ok and said in found["said"][-1]
