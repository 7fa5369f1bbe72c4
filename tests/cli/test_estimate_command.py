"""`minillm estimate`: one screen, its formulas, GPUs compared, batch sizes; one line for a mistake."""

import json
import re
import sys

import pytest
from bundled import ROOT
from test_misuse import assert_refused

from minillm.estimate.hardware import gpu_table
from minillm.support.install_hint import install_hint

LLAMA = ("estimate", "--batch", 10, "--gpu", "a100", "--prompt", 500, "--output", 100)


def test_one_screen(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = call(*LLAMA, "--rps", 5, "--price", 1.19)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert len(lines) < 24 and all(len(line) <= 80 for line in lines)
    words = " ".join(result.out.split())
    for part in ("13.48 GB (12.55 GiB)", "3.14 GB", "fits", "186 sequences", "210 ms, compute bound", "memory bound",
                 "$0.328 at $1.19", "50% busy", "prefill 209.7 ms (21%)"):  # fmt: skip
        assert part in words


def test_explain_puts_the_numbers_in(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = call(*LLAMA, "--explain").out
    assert "= batch · tokens · 2 · layers · KV heads · head_dim · bytes" in out
    assert "= 10 · 599 · 524,288 B" in out
    lines = json.loads(call(*LLAMA, "--explain", "--json").out)["explained"]
    assert [line["numbers"] for line in lines if line["label"] == "KV cache"] == ["10 · 599 · 524,288 B"]
    assert "explained" not in json.loads(call(*LLAMA, "--json").out)


def test_a_gpu_without_a_price_says_so_where_the_cost_would_be(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = call(*LLAMA).out
    assert "no price of a100-sxm is known; pass --price" in out and "$" not in out
    assert "dollars_per_million_tokens" not in json.loads(call(*LLAMA, "--json").out)


def test_the_command_of_the_page_shows_a_cost(call):
    page = (ROOT / "docs" / "estimates.md").read_text()
    command = re.search(r"^minillm (estimate --model llama-2-7b .*?)  #", page, re.MULTILINE)
    assert "at $1.19 an hour" in " ".join(call(*command[1].split()).out.split())


def test_json_has_every_figure_with_its_unit(call):
    record = json.loads(call(*LLAMA, "--dtype", "int8", "--tp", 2, "--json").out)
    assert record["weights_bytes"] == 6_738_415_616 and record["tp"] == 2
    assert record["kv_cache_bytes"] == 10 * 599 * 524_288
    assert record["decode_bound"] == "memory" and record["fits"] is True
    assert record["total_s"] == pytest.approx(record["ttft_s"] + record["decode_s"])


def test_more_arrive_than_can_be_served(call):
    assert "no steady state" in call(*LLAMA, "--rps", 110).out


def test_what_does_not_fit_says_how_many_gpus_it_takes(call):
    assert "does not fit: it takes 2" in call("estimate", "--model", "llama-2-70b").out


def test_any_model_that_load_knows_and_a_config_alone(call, model_folder):
    for name in ("story", model_folder, f"{model_folder}/config.json"):
        assert json.loads(call("estimate", "--model", name, "--json").out)["parameters"] > 0


def test_compare_ranks_by_latency_and_by_cost(call):
    record = json.loads(call("estimate", "compare", "--json").out)
    gpus = [row["gpu"] for row in record["by_latency"]]
    assert len(gpus) == 8 and gpus[0] == "b200" and gpus[-1] == "t4"
    assert record["by_cost"][0] == "a100-pcie"
    some = call("estimate", "compare", "--gpus", "t4,h200", "--model", "llama-2-70b")
    assert "needs 11" in some.out and "no GPU that fits has a price" in some.out


@pytest.mark.parametrize("model", ["llama-2-7b", "llama-2-70b"])
def test_compare_breaks_no_name_on_a_narrow_terminal(call, monkeypatch, model):
    monkeypatch.setenv("COLUMNS", "60")
    table = call("estimate", "compare", "--model", model).out.split("By cost")[0]
    assert all(re.search(f"^{name} ", table, re.MULTILINE) for name in gpu_table())
    assert max(map(len, table.splitlines())) <= 60


def test_one_is_no_plural(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    ones = ("--prompt", 1, "--output", 1)
    out = call("estimate", *ones).out + call("estimate", "compare", *ones).out
    assert out.count("1 request of 1 token, 1 new token each") == 2
    assert "sequences of 1 token" in out and ": 1 token " in out and not re.search(r"\b1 (new )?(tokens|ones)", out)


@pytest.mark.parametrize("form", [[], ["compare"], ["sweep"], ["serve", "--rps", 1, "--requests", 1]])
def test_what_the_model_cannot_do_is_estimated_and_said(call, monkeypatch, form):
    monkeypatch.setenv("COLUMNS", "120")
    long, odd = (
        "5,099 tokens are more than the context of llama-2-7b, 4,096.",
        "32 heads cannot be shared evenly by 3 GPUs.",
    )
    out = call("estimate", *form, "--prompt", 5000, "--tp", 3).out
    assert long in out and odd in out
    out = call("estimate", *form, "--prompt", 3997, "--tp", 2).out
    assert "more than the context" not in out and "evenly" not in out


@pytest.mark.parametrize("form", [[], ["compare"], ["sweep"], ["serve", "--rps", 1, "--requests", 1]])
def test_kv_heads_that_cannot_be_divided_are_said(call, monkeypatch, form):
    monkeypatch.setenv("COLUMNS", "120")
    said = "4 KV heads cannot be shared evenly by 7 GPUs. Each holds up to 2: the cache takes 3.5 times its size."
    out = call("estimate", *form, "--model", "qwen2.5-7b", "--output", 2, "--tp", 7).out
    assert said in out and "28 heads" not in out
    assert "evenly" not in call("estimate", *form, "--model", "qwen2.5-7b", "--output", 2, "--tp", 4).out


def test_gpus_beyond_the_kv_heads_hold_no_larger_cache(call):
    """The free memory of 28 GPUs is 28 times as large, but each holds one of the 4 KV heads."""
    few, many = (
        json.loads(call("estimate", "--model", "qwen2.5-7b", "--tp", gpus, "--json").out)["largest_batch"]
        for gpus in (4, 28)
    )
    assert few < many < 1.1 * few


def test_a_batch_that_no_number_of_gpus_holds(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    batch = ("--model", "qwen2.5-7b", "--prompt", 1_000_000, "--batch", 200)
    assert "does not fit: it takes more than 4,096, since KV heads" in " ".join(call("estimate", *batch).out.split())
    assert call("estimate", "compare", *batch).out.count("too large") == 8
    assert "too large" in call("estimate", "sweep", *batch[:-1], "1..200").out
    assert json.loads(call("estimate", *batch, "--json").out)["gpus_needed"] is None


def test_sweep_shows_the_knee(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = call("estimate", "sweep", "--batch", "1..256").out
    assert "The knee is at batch 23" in out and "needs 2 GPUs" in out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "19.8 µs" in call("estimate", "sweep", "--model", "story", "--gpu", "t4").out
    record = json.loads(call("estimate", "sweep", "--batch", "3..20", "--json").out)
    assert [point["batch"] for point in record["points"]] == [3, 6, 12, 20]


def test_a_sweep_that_ends_before_the_knee_shows_none(call):
    assert "There is no knee up to batch 4: it is where twice" in " ".join(
        call("estimate", "sweep", "--batch", "1..4").out.split()
    )
    assert json.loads(call("estimate", "sweep", "--batch", "1..4", "--json").out)["knee"] is None


def test_a_narrow_terminal_takes_room_from_the_bars_and_not_from_the_numbers(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out = call("estimate", "sweep", "--batch", "64..512").out
    assert all(number in out for number in (" 64 ", "4,121", "15.5 ms", "6,490", "████"))
    bars = [line for line in call("estimate").out.splitlines() if line.startswith("█▓")]
    assert [len(bar) for bar in bars] == [40]


def test_a_batch_of_one_is_what_is_asked_for(call):
    record = json.loads(call("estimate", "sweep", "--batch", 1, "--json").out)
    assert [point["batch"] for point in record["points"]] == [1]
    assert "static batches of 1 " in call("estimate", "serve", "--rps", 4, "--requests", 1, "--batch", 1).out


def test_a_static_batch_fits_next_to_the_weights(call):
    assert "static batches of 2 " in call("estimate", "serve", "--rps", 4, "--requests", 3, "--gpu", "t4").out
    refused = call("estimate", "serve", "--rps", 4, "--requests", 3, "--batch", 1000)
    assert_refused(refused, "--batch is 1000; at most 186 sequences of 600 tokens fit next to the weights")


def test_what_is_no_trace_is_one_line(call, tmp_path):
    for content in (b"\xff\xfe\x00", b"\x00" * 1000, b'at_s,prompt,new_tokens\n0,"1' + b"9" * 200_000):
        (tmp_path / "trace.csv").write_bytes(content)
        assert_refused(call("estimate", "serve", "--trace", tmp_path / "trace.csv"), "expected")


def test_the_longest_answer_is_estimated_at_once(call):
    record = json.loads(call("estimate", "--output", 10_000_000, "--json").out)
    assert record["decode_s"] > 1e6 and not record["fits"]


def test_every_form_has_json_and_keeps_to_a_narrow_terminal(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    explained = ["--explain", "--tp", 2, "--rps", 5, "--price", 1, "--dtype", "q4_0", "--mfu", 0.5, "--mbu", 0.8]
    served = ["serve", "--rps", 4, "--requests", 4, "--output", 3, "--target", 1]
    for form in ([], explained, ["compare"], ["sweep"], served):
        out = call("estimate", *form).out
        assert max(map(len, out.splitlines())) <= 40, form
        assert "\x1b" not in out
        assert isinstance(json.loads(call("estimate", *form, "--json").out), dict)


def test_json_says_what_was_estimated(call, tmp_path):
    given = ("--prompt", 20, "--output", 5, "--dtype", "int8", "--tp", 2, "--mfu", 0.5, "--json")
    said = {"model": "llama-2-7b", "prompt": 20, "output": 5, "dtype": "int8", "tp": 2, "mfu": 0.5, "mbu": 1.0}
    served = {"rps": 4.0, "requests": 3, "burst": 1, "trace": None, "replicas": 1, "target": None, "gpu": "a100-sxm"}
    for form, more in (
        (["--batch", 3], {"gpu": "a100-sxm", "batch": 3, "rps": None, "price": None}),
        (["compare", "--batch", 3, "--price", 2], {"batch": 3, "price": 2.0}),
        (["sweep", "--batch", "1..2"], {"gpu": "a100-sxm"}),
        (["serve", "--rps", 4, "--requests", 3], served),
    ):
        record = json.loads(call("estimate", *form, *given).out)
        assert said | more == {name: record[name] for name in said | more}, form
    (tmp_path / "trace.csv").write_text("at_s,prompt,new_tokens\n0,100,5\n0.5,100,5\n")
    record = json.loads(call("estimate", "serve", "--trace", tmp_path / "trace.csv", "--json").out)
    assert (record["requests"], record["prompt"], record["rps"]) == (2, None, None)
    assert record["dtype"] == "float16" and record["trace"].endswith("trace.csv")


def test_plot_without_matplotlib_says_what_to_install(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert_refused(call("estimate", "--plot", tmp_path / "x.svg"), install_hint("plot"))


def test_plot(call, tmp_path):
    pytest.importorskip("matplotlib")
    assert call("estimate", "--plot", tmp_path / "x.svg").code == 0
    assert "<svg" in (tmp_path / "x.svg").read_text()


def test_this_machine_is_measured(call, model_folder):
    record = json.loads(call("estimate", "--gpu", "this-machine", "--model", model_folder, "--prompt", 8, "--json").out)
    assert record["measured_tpot_s"] > 0 and record["predicted_tpot_s"] > 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--batch", "0"], "--batch is 0; expected"),
        (["--batch", "many"], "--batch is 'many'; expected an integer"),
        (["sweep", "--batch", "9..3"], "--batch is '9..3'; expected from..to"),
        (["--prompt", "0"], "--prompt is 0; expected"),
        (["--output", "-3"], "--output is -3; expected"),
        (["--tp", "0"], "--tp is 0; expected"),
        (["--price", "-1"], "--price is -1; expected a number from 0"),
        (["--price", "nan"], "--price is nan; expected a number from 0"),
        (["--rps", "0"], "--rps is 0; expected a number from 1e-06"),
        (["--mfu", "2"], "--mfu is 2; expected a number from 0.001 to 1"),
        (["--gpu", "tpu"], "no GPU 'tpu'; known are t4, l40s"),
        (["compare", "--gpus", "t4,x"], "no GPU 'x'; known are t4, l40s"),
        (["--dtype", "fp3"], "dtype is 'fp3'; expected one of float32"),
        (["--weights", "q4_0"], "weights is 'q4_0'; expected one of float32, bfloat16, int8, int4"),
        (["--weights", "int4", "--dtype", "int4"], "--weights counts scales and --dtype does not; leave out one"),
        (["--model", "gpt-5"], "the table has llama-2-7b, llama-2-13b"),
        (["guess"], "view is 'guess'; expected one of one, compare, sweep"),
        (["--plot", "x.png"], "expected a name that ends in .svg"),
        (["sweep", "--explain"], "--explain belongs to `minillm estimate`; leave it out of 'sweep'"),
        (["--trace", "x.csv"], "--trace belongs to `minillm estimate serve`"),
        (["--gpus", "t4"], "--gpus belongs to `minillm estimate compare`"),
        (["compare", "--gpu", "t4"], "--gpu belongs to `minillm estimate` and `minillm estimate sweep` and"),
        (["compare", "--gpu", "a100"], "leave it out of 'compare'"),
        (["compare", "--rps", "5"], "--rps belongs to `minillm estimate` and `minillm estimate serve`"),
        (["sweep", "--price", "2"], "--price belongs to `minillm estimate` and `minillm estimate compare`"),
        (["--dtype", ""], "dtype is ''; expected one of float32"),
    ],
)
def test_mistakes_are_one_line(call, arguments, expected):
    assert_refused(call("estimate", *arguments), expected)


@pytest.mark.slow
def test_serve_compares_schedules(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    result = call("estimate", "serve", "--rps", 4, "--requests", 40, "--output", 20, "--target", 0.5)
    assert (result.code, result.err) == (0, "")
    for part in ("static batches of 32", "continuous, whole prompts", "Little's law", "1 replica keeps 95%"):
        assert part in " ".join(result.out.split())


@pytest.mark.slow
def test_serve_says_when_nothing_settles(call):
    record = json.loads(call("estimate", "serve", "--rps", 110, "--requests", 120, "--output", 4, "--json").out)
    for run in record["schedules"].values():
        assert run["grows"] and run["mean_number"] == pytest.approx(run["rate_times_latency"])


def test_serve_reads_a_trace(call, tmp_path):
    (tmp_path / "trace.csv").write_text("at_s,prompt,new_tokens\n0,100,5\n0.5,100,5\n")
    record = json.loads(call("estimate", "serve", "--trace", tmp_path / "trace.csv", "--json").out)
    assert all(run["tokens_per_s"] > 0 for run in record["schedules"].values())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "serve needs arrivals; expected --rps R, or --trace FILE"),
        (["--rps", "1", "--requests", "0"], "--requests is 0; expected"),
        (["--rps", "1", "--burst", "0"], "--burst is 0; expected"),
        (["--rps", "1", "--replicas", "0"], "--replicas is 0; expected"),
        (["--rps", "1", "--target", "-1"], "--target is -1; expected a number from"),
        (["--rps", "1", "--model", "llama-2-70b"], "does not fit next to the weights"),
        (["--trace", "/nowhere/trace.csv"], "No such file"),
        (["--trace", "/dev/zero"], "/dev/zero is not a file; expected a CSV file"),
        (["--trace", ""], ". is not a file"),
        (["--trace", "x.csv", "--rps", "5"], "--rps says what the trace says already"),
        (["--trace", "x.csv", "--output", "5"], "--output says what the trace says already"),
        (["--rps", "5", "--price", "3"], "leave it out of 'serve'"),
        (["--rps", "1e9", "--requests", "100000"], "100,000 requests have 50,000,000 tokens of prompts and 10,000,000"),
        (["--plot", "x.svg", "--rps", "1"], "--plot belongs to `minillm estimate`; leave it out of 'serve'"),
    ],
)
def test_serve_mistakes_are_one_line(call, arguments, expected):
    assert_refused(call("estimate", "serve", *arguments), expected)


def test_streamed_layers_are_read_in_every_pass(call):
    streamed = ("estimate", "--gpu", "t4", "--layers", "streamed")
    record = json.loads(call(*streamed, "--disk", 3, "--json").out)
    assert (record["layers"], record["disk"], record["decode_bound"]) == ("streamed", 3, "file")
    assert record["tpot_s"] == record["file_s"] == record["file_bytes"] / 3e9
    assert "4.32 s, file bound" in call(*streamed, "--disk", 3).out
    assert_refused(call(*streamed), "--layers streamed needs --disk")
    assert_refused(call("estimate", "--disk", 3), "--disk belongs to --layers streamed")
    assert_refused(call(*streamed, "--disk", 0), "--disk is 0")
    assert_refused(call(*streamed, "--disk", 3, "--tp", 2), "streamed to one GPU")
    assert_refused(call("estimate", "--layers", "lazy"), "--layers is 'lazy'; expected one of loaded, streamed")
