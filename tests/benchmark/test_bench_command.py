"""`minillm bench` as a user calls it. Nothing here depends on speed."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from known_seconds import KnownSeconds
from model_folder import TEXT_CONFIG
from random_models import random_model

from minillm.benchmark import engines
from minillm.benchmark import exact_cost as exact_cost_module
from minillm.benchmark import run as run_module
from minillm.benchmark.engines import Launch
from minillm.benchmark.plot import phases_svg
from minillm.benchmark.record import make_record
from minillm.cli import bench
from minillm.cli.main import run

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
BENCH = ("--context", "16,24", "--new-tokens", "2", "--rounds", "1", "--batch", "2", "--threads", "1")


@pytest.fixture
def with_stand_ins(monkeypatch):
    """The peers are stand-ins: the second chooses another last token than the first."""

    @contextmanager
    def launch_peers(names, model, threads, report, weights):
        behaviours = ["works", "chooses otherwise"]
        yield [
            Launch(name, (sys.executable, STAND_IN, behaviour), "import time", "time.sleep(0)")
            for name, behaviour in zip(names, behaviours, strict=False)
        ]

    monkeypatch.setattr(run_module, "launch_peers", launch_peers)
    monkeypatch.setattr(engines, "check_installed", lambda name: None)


def test_bench_prints_json(folder, capsys):
    assert run(["bench", "--model", folder, "--json", *BENCH]) == 0
    printed = capsys.readouterr()
    record = json.loads(printed.out, parse_constant=pytest.fail)
    assert printed.err == ""
    assert (record["model"], record["threads"], record["dtype"], record["scaling"]) == (folder, 1, "float32", [])
    assert list(record["engines"]) == ["minillm"]
    assert record["kv_cache"] == "float32"


@pytest.mark.slow
def test_caches_in_int8_are_in_the_record_and_in_its_limit(folder, capsys, monkeypatch):
    made = []
    monkeypatch.setattr(run_module, "make_record", lambda *given: made.append(given) or make_record(*given))
    assert run(["bench", "--model", folder, "--kv-cache", "int8", *BENCH]) == 0
    assert "float32, caches in int8, numpy backend" in " ".join(capsys.readouterr().out.split())
    assert made[0][-1] == 1 + 4 / TEXT_CONFIG.head_dim  # bytes of a number: its own, and its share of a scale
    assert run(["bench", "--model", folder, "--kv-cache", "int8", "--json", *BENCH]) == 0
    assert json.loads(capsys.readouterr().out)["kv_cache"] == "int8"


@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 80])
def test_the_tables_fit(folder, capsys, columns, monkeypatch, with_stand_ins):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(["bench", "--model", folder, "--against", "transformers,llama.cpp", *BENCH]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= columns for line in out.splitlines()) and "…" not in out
    for part in ("prefill 24", "decode @16, batch 2", "import, s", "memory, MiB", "of the limit", "times llama.cpp"):
        assert columns == 40 or part in out
        assert all(word in out for word in part.split())  # in a narrow column, one below another
    assert "Greedy tokens differ from transformers's first" in " ".join(out.split())


@pytest.mark.slow
def test_scaling_is_printed_with_its_exponents(folder, capsys):
    assert run(["bench", "--model", folder, "--scaling", *BENCH]) == 0
    out = capsys.readouterr().out
    assert out.count("th power; at the limits") == 5
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.slow
def test_the_plot_is_a_drawing_with_a_bar_for_each_engine_and_phase(folder, tmp_path, with_stand_ins):
    file = tmp_path / "speed.svg"
    peers = ("--against", "transformers,llama.cpp")
    assert run(["bench", "--model", folder, "--plot", str(file), "--json", *peers, *BENCH]) == 0
    drawing = ElementTree.parse(file).getroot()
    svg = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in drawing.iter(f"{svg}text")]
    for part in ("prefill 24", "decode @16", "decode @24", "decode @16, batch 2", "minillm", "llama.cpp", "100%"):
        assert part in texts
    bars = [float(bar.get("width")) for bar in drawing.iter(f"{svg}rect") if bar.get("height") == "16"]
    assert len(bars) == 3 * 4 and min(bars) >= 0


def test_a_bar_is_the_median_and_its_line_the_extremes():
    rates, limit = {"median": 50.0, "min": 10.0, "max": 80.0}, {"median": 100.0, "min": 90.0, "max": 160.0}
    phase = {"phase": "decode @8", "roofline_tokens_per_s": limit, "tokens_per_s": {"minillm": rates}}
    machine = {"processor": "CPU", "date": "2026-01-01"}
    record = {"model": "m", "dtype": "float32", "threads": 1, "machine": machine, "engines": {"minillm": {}}}
    drawing = phases_svg(record | {"phases": [phase]})
    assert '<rect x="230" y="79" width="200.0"' in drawing  # half of 400 pixels
    assert '<path d="M270.0 87.0H550.0"' in drawing
    assert "50.0 tokens/s</text>" in drawing


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--context", "120", "--new-tokens", "9"], "make 129 tokens; the model's context holds 128"),
        (["--context", "8,,9"], "--context is '8,,9'; expected integers separated by commas"),
        (["--batch", "0"], "--batch is 0; expected an integer from 1 to 1024"),
        (["--rounds", "0"], "--rounds is 0; expected an integer from 1 to 1000"),
        (["--threads", "0"], "--threads is 0; expected an integer from 1 to 4096"),
        (["--against", "vllm"], "no engine 'vllm' to measure against; expected transformers, llama.cpp"),
        (["--backend", "cuda"], "backend is 'cuda'; expected one of numpy, plain, exact"),
        (["--dtype", "int8"], "dtype is 'int8'; expected one of float32, float64"),
        (["--plot", "speed.png"], "--plot is 'speed.png'; expected a name that ends in .svg"),
        (["--plot", "/nowhere/speed.svg"], "--plot: there is no folder /nowhere"),
        (["--model", "nothing"], "no model 'nothing'"),
        (["--kv-cache", "int4"], "--kv-cache is 'int4'; expected int8, or leave it out"),
        (["--kv-cache", "int8", "--scaling"], "--scaling is measured in float32 only; leave out --kv-cache,"),
        (
            ["--kv-cache", "int8", "--weights", "int8", "--exact"],
            "--exact is measured in float32 only; leave out --w",
        ),
    ],
)
def test_wrong_use_is_one_line(folder, capsys, arguments, expected):
    assert run(["bench", "--model", folder, *BENCH, *arguments]) == 2
    printed = capsys.readouterr()
    assert expected in printed.err and printed.err.count("\n") == 1 and printed.out == ""


OTHERS = [
    "--threads 1", "--against transformers", "--plot x.svg", "--exact", "--batch 4", "--context 64", "--batching",
    "--scaling", "--kv-cache int8",
]  # fmt: skip


@pytest.mark.parametrize("more", OTHERS)
def test_speculation_is_measured_by_itself(folder, capsys, more):
    assert run(["bench", "--model", folder, "--speculative", *more.split()]) == 2
    assert f"--speculative measures only that; leave out {more.split()[0]}," in capsys.readouterr().err


@pytest.mark.slow
def test_what_exactness_costs(folder, capsys):
    assert run(["bench", "--model", folder, "--json", "--exact", *BENCH]) == 0
    costs = json.loads(capsys.readouterr().out)["exact"]
    assert list(costs) == ["prefill_times_as_long", "decode_times_as_long"]
    for cost in costs.values():
        assert 0 < cost["min"] <= cost["median"] <= cost["max"]
    assert run(["bench", "--model", folder, "--exact", *BENCH]) == 0
    assert "the exact backend takes" in capsys.readouterr().out


def test_exactness_costs_seconds_of_the_exact_backend_over_those_of_the_other(monkeypatch):
    model, exact = (random_model(TEXT_CONFIG, 0, backend)[0] for backend in ("numpy", "exact"))
    clock = KnownSeconds()
    monkeypatch.setattr(exact_cost_module, "seconds", clock.seconds)
    monkeypatch.setattr(exact_cost_module, "prefill", clock.takes({id(model): 2.0, id(exact): 6.0}))
    monkeypatch.setattr(exact_cost_module, "decode_step", clock.takes({id(model): 1.0, id(exact): 5.0}))
    costs = exact_cost_module.exact_cost(model, exact, 16, 3, 1)
    assert [cost["median"] for cost in costs.values()] == [3.0, 5.0]


def test_the_exact_backend_is_held_against_the_chosen_one(folder, monkeypatch):
    plan = SimpleNamespace(model=folder, backend="plain", dtype="float32", contexts=[16, 24], new_tokens=2, rounds=3)
    monkeypatch.setattr(exact_cost_module, "exact_cost", lambda *arguments: {"arguments": arguments})
    model, exact, *others = bench._exact_cost(plan)["arguments"]
    assert (model.ops.name, exact.ops.name) == ("plain", "exact") and others == [24, 2, 3]


def test_exactness_beside_itself_is_refused(folder, capsys):
    assert run(["bench", "--model", folder, "--exact", "--backend", "exact"]) == 2
    assert "expected --backend numpy, plain or compiled" in capsys.readouterr().err
