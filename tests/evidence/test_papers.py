"""The papers' figures: ours as pinned, what agrees, and what cannot."""

import json
from pathlib import Path

import pytest
from computed_once import computed_once
from unchecked import run_unchecked

from minillm.evidence.papers import all_figures, find_figure

pytestmark = pytest.mark.slow
PAGE = Path(__file__).parents[2] / "docs" / "papers.md"
OURS = {
    "rope-relative": "equal to 1e-12",
    "rmsnorm-scale": "the same to the bit",
    "swiglu-width": "10,922.7, rounded up 11,008",
    "top-p": "in 100 of 100 distributions",
    "min-p": "in 100 of 100 distributions",
    "fa-flops": "68.7 GFLOP; 32 tiles 1.0312 of it, the engine's 4 tiles 1.25; backward 5 products for 2: 2.5 times",
    "fa-io": "1.34 M against 4.46 M, 3.3 times fewer",
    "mqa-intensity": "cache: twice the context 2.0 times the bytes, one KV head 1/32 of them; weights: twice the batch "
    "0.5 times",
    "gqa-cache": "327,680 against 2,621,440 B, 8 times",
    "invariance-ours": "1 distinct of 1,000 runs on the exact backend, more on the fast one",
    "kv-size": "524,288, 131,072, 327,680, 327,680",
    "vllm-kv-token": "819,200 B = 800 KiB; 1.6 GiB",
    "vllm-slots": "13B 15,728, 66B 9,557, 175B 60,074",
    "vllm-fig3": "A (8, 2, 2038), B (4, 1, 507)",
    "vllm-max-batch": "7, 8.9%",
    "vllm-max-split": "20.5, 13.3, 57.4, 8.9%",
    "vllm-tail-waste": "7.5 slots",
    "vllm-swap": "blocks of 1, 4, 16, 64 tokens: 256, 64, 16, 4 copies; 29.7 MFLOP in each",
    "gqa-shape": "MQA 5.6, 6.5 ms; GQA-8 6.7, 13.9 ms; MHA 10.6, 39.4 ms",
    "radix-starves": "not served in 100 steps; first come, first served: after 2 steps",
    "sarathi-batch": "61; 54 in 90% of the memory",
    "radix-optimal": "every edge once in 20 of 20 trees",
    "orca-steps": "static 100, 100 steps, 45% wasted; iteration-level 100, 10",
    "chunk-rereads": "4 -> 10, 8 -> 36",
    "piggyback-ratio": "42.7, 85.3",
    "lev-table1": "12 of 12 as printed",
    "lev-table4": "9 of 12 rounded, 12 within the inputs' rounding",
    "lev-optimal-g": "c=0.01: 5, 7, 9, 14, 24; c=0.02: 4, 6, 8, 11, 19; c=0.05: 3, 4, 6, 8, 13; "
    "c=0.1: 2, 3, 4, 6, 10; c=0.2: 1, 2, 3, 4, 7",
    "lev-bigram": "1.248",
    "lev-lenience": "3.3, 3.9, 4.9; 2.33, 2.94, 3.45, 4.79",
    "chen-ratio": "1.875, 2.014, 2.461",
    "int8-half-step": "at most 0.50 steps",
    "int4-bits": "0.25; the engine's int8 and int4 take 8.5, 5.0",
    "int4-loss": "KL in bfloat16, int8, int4: 2.9e-05, 0.00022, 0.027 nats",
    "bfloat16-range": "at most 0.991 · 2^-8",
    "roofline-ridges": "153, 295; Llama-2 7B 6.61, 4.02 ms",
    "kaplan-flops": "2N + 2 · 2·L·n·D; at 4,096 tokens 17% of 2N, theirs 8%",
    "pope-table1": "1,333, 333, 666, 167, 42,654, 10,663: 32 and 64 times as long",
    "pope-3tb": "3.04 TB",
    "gpipe-bubble": "42.9%, 15.8%",
    "tp-bytes": "`story` on 2, 3, 4 ranks: 39,936, 53,248, 59,904 B; Llama-2 70B on 8: 4,587,520 B",
    "pk-half": "0.5, 2.0, 4.5; 1, 4, 9; M/D/1 simulated 2.01",
    "erlang-c": "0.7111, 1.778",
    "overload": "1, 6 s",
}
CONTRADICTORY = {"lev-lenience", "chen-ratio"}  # the paper's own figures do not fit together


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    return computed_once(tmp_path_factory, "papers", lambda: run_unchecked("evidence/all_papers.py"))


@pytest.mark.parametrize("id", OURS)
def test_ours(computed, id):
    assert computed["figures"][id]["ours"] == OURS[id]


def test_all_agree_but_where_a_paper_contradicts_itself(computed):
    differ = {id for id, record in computed["figures"].items() if record["agrees"] is False}
    assert differ == CONTRADICTORY
    for id in CONTRADICTORY:
        assert "contradicts itself" in computed["figures"][id]["words"]


EXACT = set(
    "rope-relative rmsnorm-scale swiglu-width top-p min-p online-equals-offline fa-flops fa-io mqa-intensity "
    "gqa-cache invariance-ours kv-size vllm-kv-token vllm-slots vllm-fig3 vllm-max-batch vllm-max-split "
    "vllm-tail-waste int8-half-step int4-bits bfloat16-range radix-optimal orca-steps chunk-rereads piggyback-ratio "
    "sarathi-batch lev-table1 lev-table4 lev-optimal-g lev-bigram lev-lenience lev-lossless chen-ratio pope-table1 "
    "pope-3tb pk-half little erlang-c overload".split()
)
TREND = set(
    "fa-memory gqa-shape vllm-util-max vllm-util-pow2 vllm-util-oracle vllm-util-paged vllm-batch "
    "vllm-parallel vllm-beam vllm-swap radix-starves orca-ratio sarathi-stall lev-alpha lookup-copies "
    "int8-outliers int4-blocks int4-loss".split()
)


def test_no_figure_is_missing():
    """All closed forms and counts that do not need several devices, and all trends."""
    kinds = {figure.id: figure.kind.value for figure in all_figures()}
    assert {id for id in EXACT if kinds.get(id) == "exact"} == EXACT
    assert {id for id, kind in kinds.items() if kind == "trend"} == TREND


def test_words_are_honest(computed):
    """What is simulated on made-up lengths says so, and a quote has nothing of ours beside it."""
    for record in computed["figures"].values():
        if record["kind"] == "quote":
            assert (record["ours"], record["agrees"]) == ("", None) and len(record["words"]) > len("quoted: because")
        assert not record["id"].startswith("vllm-util") or "on synthetic lengths" in record["words"]
        assert record["kind"] == "quote" or record["computes"].endswith(".")


def test_the_page_in_the_repository_is_what_the_command_prints(computed):
    assert computed["page"] == PAGE.read_text(encoding="utf-8")  # minillm papers --markdown > docs/papers.md


def test_every_id_is_there_once():
    ids = [figure.id for figure in all_figures()]
    assert len(ids) == len(set(ids)) > 70


def test_an_unknown_figure_names_the_closest():
    with pytest.raises(ValueError, match=r"no figure 'lev-tabel1'; .*did you mean lev-table1\?"):
        find_figure("lev-tabel1")


def test_the_command(capsys):
    from minillm.cli.main import run

    assert run(["papers", "lev-table1", "--json"]) == 0
    [record] = json.loads(capsys.readouterr().out)["figures"]
    assert (record["agrees"], record["words"], record["kind"]) == (True, "formula reproduced", "exact")
    assert run(["papers", "chen-ratio"]) == 0
    assert "✗ chen-ratio" in capsys.readouterr().out
    for wrong in (["papers", "nothing"], ["papers", "--json", "--markdown"]):
        assert run(wrong) == 2
        assert capsys.readouterr().err.count("\n") == 1
