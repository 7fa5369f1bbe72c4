"""`minillm quantize`: both of its forms, as a user calls them."""

import json
import signal
import time
from xml.etree import ElementTree

import pytest
from model_folder import CONTEXT, TEXT_CONFIG

import minillm
from minillm.benchmark import fastest
from minillm.benchmark import formats as formats_module
from minillm.loading.gguf.header import read_header


@pytest.fixture
def one_round(monkeypatch):
    monkeypatch.setattr(formats_module, "ROUNDS", 1)


def spread(median):
    return {"median": median, "min": median / 2, "max": median * 2}


def row(weights, size, rate, perplexity, divergence, agreement):
    return {
        "weights": weights, "resident_bytes": size, "tokens_per_s": spread(rate), "perplexity": perplexity,
        "kl_divergence": divergence, "agreement": agreement,
    }  # fmt: skip


RECORD = {
    "model": "m", "backend": "numpy", "tokens": 9999, "vocab_size": 49152, "window": 512,
    "formats": [
        row("float32", 13.5e9, 45.02, 28.8224, 0.0, 1.0), row("bfloat16", 270.1e6, 109.4, 28.8185, 5.6e-5, 0.998),
        row("int4", 84.04e6, 232.7, 30.3282, 0.06144, 0.8418),
    ],
}  # fmt: skip


@pytest.fixture
def measured(monkeypatch):
    """What is measured is RECORD, and the arguments with which it was asked for."""
    asked = []
    monkeypatch.setattr(
        "minillm.evidence.format_comparison.compare_formats", lambda *given: asked.append(given) or dict(RECORD)
    )
    return asked


def test_formats_are_measured_and_compared(call, model_folder, one_round, tmp_path):
    (tmp_path / "text.txt").write_text("abc " * 100)
    result = call("quantize", "compare", "--model", model_folder, "--backend", "numpy", "--formats", "int4,int4",
                  "--text", tmp_path / "text.txt", "--tokens", 150, "--json")  # fmt: skip
    record = json.loads(result.out, parse_constant=pytest.fail)
    assert (result.code, result.err) == (0, "")
    assert (record["tokens"], record["window"], record["vocab_size"]) == (150, CONTEXT, TEXT_CONFIG.vocab_size)
    full, rounded = record["formats"]
    assert (full["weights"], full["kl_divergence"], full["agreement"]) == ("float32", 0, 1)
    assert rounded["weights"] == "int4" and rounded["kl_divergence"] > 0 and rounded["tokens_per_s"]["median"] > 0


@pytest.mark.parametrize("columns", [20, 40, 54, 55, 80])
def test_the_table_fits_and_no_number_is_broken(call, measured, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = call("quantize", "compare").out
    assert all(len(line.rstrip()) <= columns for line in out.splitlines()) and "…" not in out
    cells = {"13500.0", "45.0", "28.82", "0.00000", "100.0%", "84.0", "232.7", "30.33", "0.06144", "84.2%"}
    assert cells <= set(out.split())
    assert out.count("weights ") == (1 if columns >= 55 else 3)  # the table, or a block for each format
    assert "--text" not in out and "no loss" not in out


def test_a_format_that_is_the_files_own_loses_nothing_and_the_table_says_why(call, measured, monkeypatch):
    stored = row("int4", 84e6, 200, 28.8224, 1e-12, 1.0)
    monkeypatch.setitem(RECORD, "formats", [*RECORD["formats"][:2], stored])
    out = " ".join(call("quantize", "compare").out.split())
    assert "int4: no loss, because the file itself stores these numbers" in out


def test_a_text_that_is_too_strange_for_the_model_is_mentioned(call, measured, monkeypatch):
    monkeypatch.setitem(RECORD, "vocab_size", 20)
    assert "compare on another one with --text" in " ".join(call("quantize", "compare").out.split())


def test_by_default_the_fastest_backend_and_all_its_formats_are_compared(call, measured, monkeypatch):
    monkeypatch.setattr("minillm.benchmark.fastest.fastest_backend", lambda: "plain")
    call("quantize", "compare")
    call("quantize", "compare", "--model", "x", "--backend", "exact", "--formats", "stored", "--tokens", 7)
    every = ["float32", "bfloat16", "int8", "int4"]
    assert [given[:5] for given in measured] == [
        ("story", "plain", every, 10_000, None),
        ("x", "exact", ["float32", "stored"], 7, None),
    ]


@pytest.mark.parametrize(("installed", "expected"), [(False, "numpy"), (True, "compiled")])
def test_compiled_loops_are_the_fastest_where_they_are_installed(monkeypatch, installed, expected):
    monkeypatch.setattr(fastest, "find_spec", lambda name: (name == "numba" and installed) or None)
    assert fastest.fastest_backend() == expected


@pytest.mark.slow
def test_the_plot_shows_every_format(call, measured, tmp_path):
    assert call("quantize", "compare", "--plot", tmp_path / "x.svg").code == 0
    drawn = (tmp_path / "x.svg").read_text()
    assert ElementTree.fromstring(drawn).tag.endswith("svg")
    for weights in ("float32", "bfloat16", "int4"):
        assert f"<!-- {weights} -->" in drawn


def test_a_plot_without_matplotlib_is_refused_before_the_work(call, measured, monkeypatch, tmp_path):
    monkeypatch.setattr("minillm.evidence.format_plot.find_spec", lambda name: None)
    result = call("quantize", "compare", "--plot", tmp_path / "x.svg")
    assert result.code == 2 and "--plot needs matplotlib; install it with" in result.err and not measured


@pytest.mark.parametrize("weights", ["float32", "int8"])
def test_a_model_is_written_and_loaded(call, weights, tmp_path):
    out = tmp_path / "story.gguf"
    result = call("quantize", "story-draft", "--weights", weights, "--out", out)
    assert (result.code, result.err) == (0, "")
    assert f"weights in {weights}" in result.out and 'weights="stored"' in result.out
    original, read = minillm.load("story-draft", weights=weights), minillm.load(out, weights="stored")
    prompt = "Once upon a time"
    assert minillm.generate(read, prompt, 8).tokens == minillm.generate(original, prompt, 8).tokens
    assert [file.name for file in tmp_path.iterdir()] == ["story.gguf"]


def test_a_file_that_exists_is_replaced_only_with_force(call, model_folder, tmp_path):
    out = tmp_path / "x.gguf"
    out.write_text("mine")
    arguments = ("quantize", model_folder, "--weights", "bfloat16", "--out", out)
    result = call(*arguments)
    assert result.code == 2 and result.err == (
        f"minillm: --out: {out} exists; choose another name, or replace it with --force\n"
    )
    assert out.read_text() == "mine"
    record = json.loads(call(*arguments, "--force", "--json").out)
    assert record == {"model": model_folder, "weights": "bfloat16", "file": str(out), "bytes": out.stat().st_size}
    assert read_header(out).metadata["general.architecture"] == "llama"


def test_a_folder_is_not_replaced(call, model_folder, tmp_path):
    folder = tmp_path / "folder.gguf"
    folder.mkdir()
    result = call("quantize", model_folder, "--weights", "int8", "--out", folder, "--force")
    assert (result.code, result.err) == (2, f"minillm: --out: {folder} exists; choose another name\n")
    assert list(tmp_path.iterdir()) == [folder]


def test_a_warning_is_one_line(finish, model_folder, tmp_path):
    """The rows of the tiny model are shorter than a block."""
    result = finish("quantize", model_folder, "--weights", "int8", "--out", tmp_path / "x.gguf")
    assert result.code == 0
    assert result.err.startswith("minillm: warning: ") and result.err.count("\n") == 1 and "stay float32" in result.err


REFUSED = {
    "no format": (["story", "--out", "x.gguf"], "expected --weights: float32, bfloat16, int8 or int4, as in: minillm"),
    "no file": (["story", "--weights", "int8"], "expected --out FILE.gguf, as in: minillm quantize story --weights"),
    "an unknown format": (
        ["story", "--weights", "int3", "--out", "x.gguf"],
        "--weights is 'int3'; expected one of",
    ),
    "no folder": (["story", "--weights", "int8", "--out", "/nowhere/x.gguf"], "--out: there is no folder /nowhere"),
    "a folder": (["story", "--weights", "int8", "--out", "/", "--force"], "--out is '/'; expected a name that ends in"),
    "a device": (["story", "--weights", "int8", "--out", "/dev/null", "--force"], "--out is '/dev/null'; expected a"),
    "no name": (["story", "--weights", "int8", "--out", ""], "--out is ''; expected a name that ends in .gguf"),
    "no model": (["no-such", "--weights", "int8", "--out", "x.gguf"], "no model 'no-such'"),
    "options of compare": (["story", "--tokens", "5"], "--tokens belongs to `minillm quantize compare`"),
    "options of NAME": (["compare", "--out", "x"], "--out belongs to `minillm quantize NAME`"),
    "an unknown backend": (["compare", "--backend", "tpu"], "backend is 'tpu'; expected one of"),
    "a format that no backend has": (["compare", "--formats", "int3"], "--formats is 'int3'; expected one of float32,"),
    "no tokens": (["compare", "--tokens", "1"], "--tokens is 1; expected an integer from 2"),
    "a plot of another kind": (["compare", "--plot", "x.png"], "expected a name that ends in .svg"),
    "no text": (["compare", "--text", "/nowhere.txt"], "/nowhere.txt: No such file"),
    "nothing": ([], "the following arguments are required: compare|NAME"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED)
def test_misuse_is_one_line(call, arguments, message):
    result = call("quantize", *arguments)
    assert (result.code, result.out) == (2, "") and message in result.err and result.err.count("\n") == 1


def test_a_text_without_tokens_is_refused(call, model_folder, tmp_path):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "latin.txt").write_bytes(b"\xe9")
    for name, message in (("empty", "the text has 0 tokens; expected at least 2"), ("latin", "expected text in UTF-8")):
        result = call("quantize", "compare", "--model", model_folder, "--text", tmp_path / f"{name}.txt")
        assert result.code == 2 and message in result.err


@pytest.mark.slow
def test_ctrl_c_ends_it_quietly(spawn):
    """While it measures in other processes, of which it has started at least one."""
    child = spawn("quantize", "compare", "--backend", "plain")
    time.sleep(4)
    child.send_signal(signal.SIGINT)
    assert (*child.communicate(timeout=60), child.returncode) == (b"", b"\n", 130)
