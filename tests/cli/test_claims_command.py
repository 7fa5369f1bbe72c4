"""`minillm claims`: the list, its filters, one claim with other inputs, JSON, and the page in the repository."""

import json
from pathlib import Path

import pytest
from test_misuse import assert_refused

from minillm.evidence.claims import timed

PAGE = Path(__file__).parents[2] / "docs" / "claims.md"


@pytest.mark.slow
def test_the_page_in_the_repository_is_what_the_command_prints(call):
    result = call("claims", "--markdown")
    assert (result.code, result.err) == (0, "")
    assert result.out == PAGE.read_text(encoding="utf-8")  # minillm claims --markdown > docs/claims.md
    assert "125 claims: 30 true, 49 true if, 23 imprecise, 21 false, 2 not checkable." in result.out


def test_one_claim_shows_its_working(call):
    result = call("claims", "kv-token-7b")
    words = " ".join(result.out.split())
    assert result.code == 0
    for part in ("32 × 4096 × 2 × 2 bytes = 524KB", "= 524,288 B", "✓ true", "kv_heads=32", "--set layers=..."):
        assert part in words


def test_other_inputs_change_the_figure_and_the_verdict(call):
    record = json.loads(call("claims", "kv-token-7b", "--set", "layers=80", "--set", "kv_heads = 8", "--json").out)
    assert record["figure"].startswith("327,680 B")
    assert record["verdict"] == "false"
    assert record["inputs"] == {"layers": 80, "kv_heads": 8, "head_dim": 128, "bytes_each": 2}
    assert record["inputs_by_default"] == {"layers": 32, "kv_heads": 32, "head_dim": 128, "bytes_each": 2}


def test_several_claims_are_shown_one_after_another(call):
    several, first, second = (call("claims", *names).out for names in (("kv-token-7b", "quant-sizes"), ("kv-token-7b",),
                                                                       ("quant-sizes",)))  # fmt: skip
    assert several == f"{first}\n{second}"
    record = json.loads(call("claims", "kv-token-7b", "quant-sizes", "--json").out)
    assert [claim["id"] for claim in record["claims"]] == ["kv-token-7b", "quant-sizes"]


def test_the_list_can_be_filtered(call):
    record = json.loads(call("claims", "--section", "cost", "--json").out)
    assert [claim["id"] for claim in record["claims"]] == [
        "bills-inference", "amortised-55", "calls-10k", "first-day", "first-month", "one-pct-table",
    ]  # fmt: skip
    result = call("claims", "--section", "cost", "--verdict", "false")
    assert "✗ one-pct-table" in result.out and "amortised" not in result.out and "\n1 claim: " in result.out


def test_what_is_timed_is_shown_with_the_verdict_and_not_on_the_page(call):
    assert "Timed on this machine, just now; the verdict does not depend on it" in call("claims", "prefill-8-vs-1").out
    assert "8 tokens" in json.loads(call("claims", "prefill-8-vs-1", "--json").out)["timed"][0]
    assert "timed here: story" in call("claims", "--section", "prefill", "--verdict", "true if").out
    assert "one pass: 1 token" not in call("claims", "prefill-8-vs-1", "--markdown").out


def test_times_that_fall_as_the_prompt_grows_give_no_line(call, monkeypatch):
    monkeypatch.setattr(timed, "medians_s", lambda actions: [0.2, 0.1, 0.05, 0.01])
    words = " ".join(call("claims", "prefill-formula").out.split())
    assert "200 ms, 100 ms" in words and "too noisy for a line" in words and "us a token" not in words


def test_what_was_mistaken_by_hand_says_so(call):
    assert "worked out by hand was 387 tokens" in " ".join(call("claims", "seq-x-100").out.split())
    assert "## Corrected" in call("claims", "seq-x-100", "--markdown").out
    assert "## Corrected" not in call("claims", "kv-token-7b", "--markdown").out


@pytest.mark.parametrize("columns", [30, 80])
def test_nothing_is_wider_than_the_terminal(call, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = call("claims", "--section", "cost").out + call("claims", "kv-token-7b").out
    assert all(len(line) <= columns for line in out.splitlines())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["kv-tokens"], "no claim 'kv-tokens'; `minillm claims` lists all 125; did you mean kv-token-7b?"),
        (["kv-token-7b", "--set", "layers"], "--set is 'layers'; expected INPUT=VALUE"),
        (["kv-token-7b", "quant-loss", "--set", "layers=1"], "--set changes the inputs of one claim; name one claim"),
        (["kv-token-7b", "--set", "=3"], "--set is '=3'; expected INPUT=VALUE"),
        (["kv-token-7b", "--set", "depth=3"], "has no input 'depth'"),
        (["kv-token-7b", "--set", "layers=1e5"], "expected an integer"),
        (["kv-token-7b", "--verdict", "true"], "leave them out when you name a claim"),
        (["--set", "layers=80"], "--set needs a claim"),
        (["--verdict", "maybe"], "--verdict is 'maybe'; expected one of false"),
        (["--section", "poetry"], "no section 'poetry'; known are Overview"),
        (["--json", "--markdown"], "argument --markdown: not allowed with argument --json"),
    ],
)
def test_mistakes_are_one_line(call, arguments, expected):
    assert_refused(call("claims", *arguments), expected)


@pytest.mark.parametrize("chosen", [["--section", "cost"], ["--verdict", "true"], ["--section", "cost", "--json"]])
def test_filters_of_the_list_are_refused_with_an_id(call, chosen):
    assert_refused(call("claims", "kv-token-7b", *chosen), "--verdict and --section filter the list; leave them out")
