"""`minillm bench`: figures that fit together, and peers of every behaviour. Nothing here depends on speed."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from model_folder import save_model_folder

import minillm
from minillm.benchmark.engine import matrix_parameters, measure, weight_bytes
from minillm.benchmark.peer import Peer, start_peer
from minillm.benchmark.timing import spread
from minillm.cli.main import run

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
PHASES = ("prefill_tokens_per_s", "decode_tokens_per_s", "batched_decode_tokens_per_s")


def peer(behaviour, timeout=20.0):
    return Peer("stand-in", [sys.executable, STAND_IN, behaviour], timeout)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_model_folder(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def report(folder):
    with peer("works") as works:
        return measure(minillm.load(folder), context=20, new_tokens=4, batch=2, rounds=3, peers=[works])


def test_every_figure_has_a_median_between_its_extremes(report):
    for key in (*PHASES, "bandwidth_bytes_per_s", "matmul_flops_per_s"):
        figure = report[key]
        assert 0 < figure["min"] <= figure["median"] <= figure["max"] < math.inf
    assert 0 < report["decode_fraction_of_bandwidth"] < math.inf
    assert 0 < report["prefill_fraction_of_matmul"] < math.inf


def test_the_spread_of_measurements():
    assert spread([3.0, 1.0, 2.0]).record() == {"median": 2.0, "min": 1.0, "max": 3.0}


def test_the_ratio_to_a_peer_is_of_the_medians(report):
    """The stand-in says 1000 tokens/s at prefill and 10 at decode."""
    against = report["against"]["stand-in"]
    assert math.isclose(against["prefill_tokens_per_s"]["median"], 1000)
    assert math.isclose(against["decode_tokens_per_s"]["median"], 10)
    assert math.isclose(against["prefill_ratio"], report["prefill_tokens_per_s"]["median"] / 1000)
    assert math.isclose(against["decode_ratio"], report["decode_tokens_per_s"]["median"] / 10)


def test_the_weights_are_counted_as_they_lie_in_the_file(folder):
    """All but the norms, which are left out."""
    config = minillm.load(folder).config
    file = Path(folder, "model.safetensors").read_bytes()
    header = json.loads(file[8 : 8 + int.from_bytes(file[:8], "little")])
    matrices = [t["shape"] for name, t in header.items() if len(t.get("shape", ())) == 2]
    assert weight_bytes(config) == 4 * sum(int(np.prod(shape)) for shape in matrices)
    assert matrix_parameters(config) * 4 == weight_bytes(config)  # the head is tied to the embedding


def test_memory_is_told_beside_the_weights(report, folder):
    weights = weight_bytes(minillm.load(folder).config)
    assert report["peak_memory_bytes"] > weights
    assert math.isclose(report["peak_memory_over_weights"], report["peak_memory_bytes"] / weights)


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("dies at start", "stand-in ended by itself, with exit code 3"),
        ("prints at start", "stand-in answered b'Loading.*expected one JSON object"),
        ("dies when asked", "stand-in ended by itself, with exit code 4"),
        ("fails", "stand-in failed: RuntimeError: out of memory"),
        ("says nothing", "expected prefill_s and decode_s"),
        ("says NaN", "expected prefill_s and decode_s"),
        ("takes no time", "expected prefill_s and decode_s"),
        ("says a list", "expected one JSON object"),
    ],
)
def test_a_peer_that_misbehaves_is_one_line(behaviour, expected):
    with pytest.raises(ValueError, match=expected) as caught, peer(behaviour) as misbehaving:
        misbehaving.measure(4, 2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("behaviour", ["hangs", "says half a line"])
def test_a_peer_that_hangs_is_given_up(behaviour):
    with pytest.raises(ValueError, match="did not answer within 1 seconds"), peer(behaviour, 1.0) as hanging:
        hanging.measure(4, 2)


def test_a_peer_that_has_ended_between_two_questions():
    with peer("works") as works:
        assert works.measure(500, 5) == (0.5, 0.5)
        works.process.kill()
        works.process.wait()
        with pytest.raises(ValueError, match="ended by itself, with exit code -9"):
            works.measure(4, 2)


def test_no_peer_outlives_its_use():
    with peer("works") as works:
        assert works.process.poll() is None
    assert works.process.poll() == -9


@pytest.mark.parametrize("name", ["transformers", "llama-cpp"])
def test_a_missing_peer_says_what_to_install(name, monkeypatch):
    for library in ("transformers", "llama_cpp"):
        monkeypatch.setitem(sys.modules, library, None)  # how Python says that there is none
    with pytest.raises(ValueError, match=r"pip install 'minillm-numpy\[bench\]'"):
        start_peer(name, "folder", 8)


BENCH = ("--context", "16", "--new-tokens", "2", "--rounds", "1", "--batch", "2")


def test_bench_prints_json(folder, capsys):
    assert run(["bench", "--model", folder, "--json", *BENCH]) == 0
    printed = capsys.readouterr()
    report = json.loads(printed.out, parse_constant=pytest.fail)
    assert printed.err == ""
    assert (report["model"], report["context"], report["batch"], report["against"]) == (folder, 16, 2, {})


@pytest.mark.parametrize("columns", [40, 80])
def test_the_table_fits(folder, capsys, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["bench", "--model", folder, *BENCH]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= columns for line in out.splitlines()) and "…" not in out
    for part in ("median", "prefill", "decode", "batch", "peak memory is"):
        assert part in " ".join(out.split())


def test_a_context_that_does_not_fit_is_one_line(folder, capsys):
    assert run(["bench", "--model", folder, "--context", "120", "--new-tokens", "9"]) == 2
    assert capsys.readouterr().err.endswith("make 129 tokens; the model's context holds 128\n")


def test_what_exactness_costs(folder, capsys):
    assert run(["bench", "--model", folder, "--json", "--exact", *BENCH, "--rounds", "3"]) == 0
    costs = json.loads(capsys.readouterr().out)["exact"]
    assert list(costs) == ["prefill_times_as_long", "decode_times_as_long"]
    for cost in costs.values():
        assert 0 < cost["min"] <= cost["median"] <= cost["max"] < math.inf
    assert run(["bench", "--model", folder, "--exact", *BENCH]) == 0
    assert "exactness takes" in capsys.readouterr().out


def test_exactness_beside_itself_is_refused(folder, capsys):
    assert run(["bench", "--model", folder, "--exact", "--backend", "exact"]) == 2
    assert "expected --backend numpy or plain" in capsys.readouterr().err
