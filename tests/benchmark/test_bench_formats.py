"""`minillm bench` with several formats of the weights: what is compared with what. Nothing here depends on speed."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest
from model_folder import TEXT_CONFIG
from random_models import random_model

import minillm
from minillm.benchmark import engine_minillm, engines, small_model, verification
from minillm.benchmark import run as run_module
from minillm.benchmark.engines import Launch, launch_minillm, launch_peers
from minillm.benchmark.format_record import best_of_peers, join_formats
from minillm.benchmark.plot import phases_svg
from minillm.cli.bench_formats import print_formats
from minillm.cli.main import run
from minillm.loading.gguf.file import read_gguf

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
IGNORE_EOS = minillm.Sampling(ignore_eos=True)
BENCH = ("--context", "16,24", "--new-tokens", "2", "--rounds", "1", "--batch", "2", "--threads", "1")


def silent(step, done, total):
    """Reports nothing."""


def rate(median):
    return {"median": median, "min": median - 1, "max": median + 1}


def record_of(rates, limit=100.0):
    """A record of one format with one phase: tokens/s by engine, and tokens/s at the machine's limits."""
    phase = {
        "phase": "decode @128, batch 32",
        "tokens_per_s": {name: rate(median) for name, median in rates.items()},
        "roofline_tokens_per_s": rate(limit),
    }
    engine = {"version": "1", "import_s": rate(2.0), "load_s": rate(3.0), "peak_memory_bytes": 2**30}
    return {
        "machine": {"processor": "CPU", "cores": 2, "date": "2026-01-01"},
        "bandwidth_bytes_per_s": rate(2e10),
        "matmul_flops_per_s": rate(2e11),
        "phases": [phase],
        "engines": dict.fromkeys(rates, engine),
        "beyond_products_us_per_layer": rate(9.0),
        "same_tokens": {name: {"compared": 3, "first_difference": None} for name in rates if name != "minillm"},
    }


def full_record():
    """What a run of two formats returns, in known numbers."""
    joined = join_formats({
        "float32": record_of({"minillm": 60.0, "llama.cpp": 50.0, "transformers": 20.0}),
        "int8": record_of({"minillm": 180.0, "llama.cpp": 120.0}, limit=200.0),
    })  # fmt: skip
    compared = {"step_s": {"compiled": rate(0.002), "numpy": rate(0.008)}, "time_over_numpy": 0.25}
    return joined | {
        "model": "m", "backend": "compiled", "dtype": "float32", "kv_cache": "float32", "threads": 2,
        "verification": {"float32": {"4": 1.5, "16": 3.25}, "int8": {"4": 1.25, "16": 2.5}},
        "small_model": {"model": "story", "one_sequence": compared, "under_load": compared},
    }  # fmt: skip


def test_a_format_is_compared_with_the_same_format_with_the_peers_best_and_with_our_float32():
    joined = full_record()
    first, second = (one["phases"][0]["of_medians"] for one in joined["formats"].values())
    assert first["times_peer"] == {"llama.cpp": 60 / 50, "transformers": 3.0}
    assert first["times_best_of_peer"] == {"llama.cpp": 0.5, "transformers": 3.0}
    assert (first["times_float32"], first["share_of_limit"]) == (1.0, 0.6)
    assert second["times_peer"] == {"llama.cpp": 1.5}
    assert second["times_best_of_peer"] == {"llama.cpp": 1.5, "transformers": 9.0}
    assert (second["times_float32"], second["share_of_limit"]) == (3.0, 0.9)
    assert "machine" in joined and "machine" not in joined["formats"]["int8"]


def test_the_best_of_a_peer_is_among_float32_and_int8():
    rates = {"float32": 50.0, "bfloat16": 300.0, "int8": 40.0, "int4": 400.0}
    records = {weights: record_of({"minillm": 1.0, "peer": one}) for weights, one in rates.items()}
    assert best_of_peers({weights: one["phases"][0] for weights, one in records.items()}) == {"peer": 50.0}


def test_without_float32_nothing_is_compared_with_it():
    joined = join_formats({weights: record_of({"minillm": 1.0}) for weights in ("int8", "int4")})
    assert all(one["phases"][0]["of_medians"]["times_float32"] is None for one in joined["formats"].values())


@pytest.mark.parametrize("columns", [40, 80])
def test_the_tables_fit_and_have_a_row_for_each_format(capsys, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_formats(full_record())
    out = capsys.readouterr().out
    assert all(len(line) <= columns for line in out.splitlines()) and "…" not in out
    text = " ".join(out.split())
    if columns == 80:
        for part in ("int8 180 120 - 1.50 1.50 - 9.00 3.00 90%", "int8 1.25 2.50", "float32 llama.cpp 2.00 3.00 1024"):
            assert part in text
    assert "one sequence: compiled 2.0 ms, numpy 8.0 ms; 0.25 of NumPy's time." in text
    assert "int8: Compared 3 greedy tokens: all are the same as llama.cpp's." in text


def test_the_plot_has_a_group_of_bars_for_each_format():
    drawing = ElementTree.fromstring(phases_svg(full_record()))
    svg = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in drawing.iter(f"{svg}text")]
    assert "decode @128, batch 32, int8" in texts and "m, float32, int8: share of the machine's limit" in texts
    bars = [float(bar.get("width")) for bar in drawing.iter(f"{svg}rect") if bar.get("height") == "16"]
    assert bars == pytest.approx([240.0, 200.0, 80.0, 360.0, 240.0])  # of 400 pixels; no bar of transformers in int8


def test_llama_cpp_is_given_a_file_in_the_same_format_and_transformers_only_float32(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", pytest)  # anything that is found
    monkeypatch.setitem(sys.modules, "transformers", pytest)
    with launch_peers(["transformers", "llama.cpp"], folder, 2, silent, "bfloat16") as [launch]:
        assert launch.name == "llama.cpp"
        kinds = {
            tensor.format for tensor in read_gguf(Path(launch.command[3])).tensors.values() if len(tensor.shape) == 2
        }
        assert kinds == {"bfloat16"}
    with launch_peers(["transformers", "llama.cpp"], folder, 2, silent) as launches:
        assert [launch.name for launch in launches] == ["transformers", "llama.cpp"]


def test_our_engine_loads_the_format_that_its_command_names(folder, monkeypatch):
    launch, loaded = launch_minillm(folder, "numpy", weights="int8"), []
    monkeypatch.setattr(engine_minillm, "load_model", lambda *given: loaded.append(minillm.load(*given)) or loaded[0])
    answer = engine_minillm.load(*launch.command[3:])
    answered = answer({"prompt": [3, 1, 4], "new_tokens": 4, "sequences": 1})
    [model] = loaded
    assert model.weights == "int8"
    assert answered["tokens"] == minillm.naive_decode(model, [3, 1, 4], 5)
    assert launch.loads == f"minillm.load({folder!r}, 'numpy', 'float32', 'int8')"


def test_our_engine_has_the_cache_that_its_command_names(folder):
    """Which tokens a cache in int8 leads to, and what else is timed over it."""
    launch = launch_minillm(folder, "numpy", weights="int8", cache_dtype="int8")
    answer = engine_minillm.load(*launch.command[3:])
    caches, kind = [], engine_minillm.KVCache

    def recorded(*given):
        caches.append(kind(*given))
        return caches[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_minillm, "KVCache", recorded)
        answered = answer({"prompt": [3, 1, 4], "new_tokens": 4, "sequences": 2})
        answer({"task": "beyond products", "prompt": [3, 1, 4], "new_tokens": 1})
        answer({"task": "verification", "prompt": [3, 1, 4], "rows": [1, 2], "new_tokens": 1})
    assert [cache.memory.stored_as for cache in caches] == ["int8"] * 4
    expected = minillm.generate(minillm.load(folder, weights="int8"), [3, 1, 4], 5, IGNORE_EOS, cache_dtype="int8")
    assert answered["tokens"] == expected.tokens


def test_a_pass_is_timed_for_each_number_of_rows_over_the_same_context(monkeypatch):
    """A pass of n rows is said to take n + 1 seconds."""
    model, passes = random_model(TEXT_CONFIG, 0)[0], []

    def forward_batch(model, batch, logit_rows):
        [(tokens, cache)] = batch
        passes.append((len(tokens), cache.length, logit_rows))
        cache.length += len(tokens)

    monkeypatch.setattr(engine_minillm, "forward_batch", forward_batch)
    monkeypatch.setattr(engine_minillm, "seconds", lambda action: (action(), 1.0 + passes[-1][0])[1])
    assert engine_minillm.verification_s(model, [5, 6, 7], [1, 4], 3) == {"1": 2.0, "4": 5.0}
    assert passes == [(1, 3, [1]), (4, 3, [4])] * 3


class Known:
    """An engine whose answers are known."""

    def __init__(self, figures):
        self.rounds = iter(figures)

    def figures(self, request, *names):
        assert (request["rows"], names) == ([1, 4, 8, 16], ("1", "4", "8", "16"))
        return next(self.rounds)


def test_verification_is_a_ratio_of_medians():
    known = {"int8": Known([[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 5.0, 9.0], [9.0, 9.0, 8.0, 6.0]])}
    found = verification.measure_verification(known, [1, 2], 3, silent)
    assert found == {"int8": {"4": 1.0, "8": 2.5, "16": 3.0}}


@pytest.fixture
def small_stand_ins(monkeypatch):
    """The small model's engines are stand-ins that decode 10 steps a second."""

    def launch(model, backend, *others):
        return Launch("minillm", (sys.executable, STAND_IN, "works"), "import time", "time.sleep(0)")

    monkeypatch.setattr(small_model, "launch_minillm", launch)


def test_the_small_model_is_measured_alone_and_under_load(monkeypatch, small_stand_ins):
    states = []

    @contextmanager
    def busy(count):
        states.append(count)
        yield
        states.append("quiet")

    monkeypatch.setattr(small_model, "busy_processes", busy)
    found = small_model.measure_small_model("compiled", 1, 4, 2, silent)
    assert states == [2, "quiet"] and found["model"] == "story"
    for key in ("one_sequence", "under_load"):
        assert list(found[key]["step_s"]) == ["compiled", "numpy"]
        assert found[key]["step_s"]["numpy"]["median"] == pytest.approx(0.1) and found[key]["time_over_numpy"] == 1.0


def test_numpy_is_not_compared_with_itself():
    assert small_model.measure_small_model("numpy", 1, 4, 2, silent) is None


def test_busy_processes_run_until_the_end_even_if_something_fails(monkeypatch):
    started = []

    class Watched(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Watched)
    with pytest.raises(ZeroDivisionError), small_model.busy_processes(2):
        assert [process.poll() for process in started] == [None, None]
        raise ZeroDivisionError
    assert [process.poll() for process in started] == [-9, -9]


@pytest.fixture
def with_peers(monkeypatch):
    """Stand-ins instead of llama.cpp, in every format."""

    @contextmanager
    def launch_peers(names, model, threads, report, weights):
        yield [Launch(name, (sys.executable, STAND_IN, "works"), "import time", "time.sleep(0)") for name in names]

    monkeypatch.setattr(run_module, "launch_peers", launch_peers)
    monkeypatch.setattr(engines, "check_installed", lambda name: None)


@pytest.mark.slow
def test_bench_with_formats_prints_json(folder, capsys, with_peers):
    arguments = ["--weights", "float32,int8,int8", "--against", "llama.cpp", "--json"]
    assert run(["bench", "--model", folder, *arguments, *BENCH]) == 0
    record = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert list(record["formats"]) == list(record["verification"]) == ["float32", "int8"]
    assert record["small_model"] is None
    for one in record["formats"].values():
        assert list(one["engines"]) == ["minillm", "llama.cpp"]
        assert [phase["phase"] for phase in one["phases"]] == [
            "prefill 24", "decode @16", "decode @24", "decode @16, batch 2",
        ]  # fmt: skip
    limits = [one["phases"][1]["roofline_tokens_per_s"]["median"] for one in record["formats"].values()]
    assert limits[1] > limits[0]  # fewer bytes


@pytest.mark.slow
def test_one_format_has_the_usual_table(folder, capsys, with_peers):
    assert run(["bench", "--model", folder, "--weights", "int8", "--against", "llama.cpp", *BENCH]) == 0
    out = capsys.readouterr().out
    assert ", int8, numpy backend, 1 thread" in out.replace("\n", " ") and "times llama.cpp" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--weights", "int8,int3"], "the numpy backend: --weights is 'int3'; expected one of float32, bfloat16"),
        (["--weights", "stored"], "--weights is 'stored'; expected one of float32, bfloat16, int8, int4"),
        (["--weights", ""], "--weights is ''; expected one of float32"),
        (["--weights", "int8", "--against", "transformers"], "transformers is measured in float32; add that to --wei"),
        (["--weights", "int8", "--scaling"], "--scaling is measured in float32 only; leave out --weights"),
        (["--weights", "float32,int8", "--exact"], "--exact is measured in float32 only"),
    ],
)
def test_wrong_formats_are_one_line(folder, capsys, monkeypatch, arguments, expected):
    monkeypatch.setattr(engines, "check_installed", lambda name: None)
    assert run(["bench", "--model", folder, *BENCH, *arguments]) == 2
    printed = capsys.readouterr()
    assert expected in printed.err and printed.err.count("\n") == 1 and printed.out == ""
