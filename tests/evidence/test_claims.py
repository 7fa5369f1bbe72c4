"""Every claim of the ledger: its verdict and figure, that its inputs matter, and that other inputs change verdicts."""

import ast
from importlib import import_module
from types import SimpleNamespace

import pytest
from pinned_claims import PINNED

from minillm.classroom.player.lessons import all_lessons
from minillm.decode import decode_step as DECODE_STEP
from minillm.evidence.claims import Verdict, all_claims, find_claim
from minillm.evidence.claims.ledger import digits, gb, ms
from minillm.evidence.claims.timed import EXPERIMENTS, timings
from minillm.evidence.quantization import Accuracy
from minillm.prefill import prefill as PREFILL
from minillm.transformer import forward_batch as FORWARD_BATCH

pytestmark = pytest.mark.slow
CLAIMS = {claim.id: claim for claim in all_claims()}
# Inputs with which a claim would stand otherwise, and how.
OTHERWISE = [
    ("training-tokens", {"claimed_low": 1e12, "claimed_high": 18e12}, "true"),
    ("training-tokens", {"claimed_low": 3e13, "claimed_high": 4e13}, "false"),
    ("training-epochs", {"corpus_tokens": 5e11}, "true"),
    ("training-weeks", {"gpus": 64, "more_gpus": 128}, "true"),
    ("training-weeks", {"gpus": 5000, "more_gpus": 10000}, "false"),
    ("training-cost", {"hours": 50_000}, "false"),
    ("forward-100", {"tokens": 50_000}, "false"),
    ("inference-dwarfs", {"served_tokens": 1e14}, "true"),
    ("chat-50-cents", {"new_tokens": 1000}, "false"),
    ("chat-daily", {"users": 100}, "true"),
    ("annual-exceeds", {"dollars_per_day": 500}, "true"),
    ("five-years", {"dollars_per_day": 500}, "false"),
    ("margin-10", {"cost_share_of_revenue": 1}, "true"),
    ("prefill-8-vs-1", {"tokens": 1000}, "false"),
    ("prefill-7b", {"low_ms": 1, "high_ms": 2}, "false"),
    ("prefill-70b", {"tokens": 50_000}, "false"),
    ("prefill-io-bound", {"tokens": 100}, "true"),
    ("gpt41-price", {"dollars_out": 10}, "false"),
    ("input-cheaper", {"batch": 500, "prompt": 50}, "false"),
    ("dims-4096-32", {"layers": 28}, "false"),
    ("decode-7b", {"low_s": 20, "high_s": 30}, "false"),
    ("decode-70b", {"low_s": 4, "high_s": 5}, "true"),
    ("decode-bw-bound", {"batch": 400, "context": 10}, "false"),
    ("bigger-slower", {"large": "smollm2-135m"}, "false"),
    ("breakdown-5s", {"claimed_ms": 5000}, "true"),
    ("prefill-2pct", {"prompt": 8000}, "false"),
    ("decode-50ms", {"claimed_ms": 10}, "true"),
    ("no-cache-seconds", {"context": 20_000}, "true"),
    ("kv-formula", {"model": "llama-3-8b"}, "false"),
    ("kv-token-7b", {"layers": 80}, "false"),
    ("kv-batch-10", {"sequences": 11}, "false"),
    ("kv-70b-larger", {"small": "mistral-7b"}, "true"),
    ("batch-kv-slows", {"context": 10}, "false"),
    ("single-underuses", {"batch": 200}, "false"),
    ("a100-100tps", {"model": "llama-2-13b"}, "false"),
    ("a100-batch-10", {"context": 5000}, "false"),
    ("batch-hundreds", {"context": 5000}, "false"),
    ("longer-unaffected", {"context": 4000, "batch": 20}, "false"),
    ("attention-counts", {"long": 501}, "false"),
    ("decode-not-attention", {"tokens_in_flight": 30_000}, "false"),
    ("bandwidth-limits", {"batch": 1000}, "false"),
    ("bandwidth-limits", {"prompt": 100}, "true"),
    ("h100-vs-cores", {"fewer": "l40s", "more": "h100-sxm"}, "false"),
    ("spec-confidence", {"q": 0.5}, "true"),
    ("spec-1-plus-k", {"acceptance": 1}, "true"),
    ("spec-20-40", {"draft_cost": 0.02, "k": 0}, "imprecise"),
    ("weights-7b", {"bytes_each": 4}, "false"),
    ("weights-70b-200b", {"bytes_each": 1}, "false"),
    ("h100-70b", {"parameters": 30e9}, "true"),
    ("h200-200b", {"parameters": 50e9}, "true"),
    ("a100-hbm2", {"claimed": "HBM2e"}, "true"),
    ("l40s-7b-13b", {"model": "llama-2-70b"}, "false"),
    ("h100-3000", {"claimed": 100}, "true"),
    ("h100-3000", {"claimed": 1e7}, "false"),
    ("l40s-latency", {"other": "t4"}, "true"),
    ("t4-200", {"low": 2000}, "false"),
    ("l40s-per-dollar", {"sxm_dollars": 5}, "true"),
    ("l40s-per-dollar", {"l40s_dollars": 2}, "false"),
    ("runpod-prices", {"a100": 2}, "false"),
    ("a100-cost", {"claimed": 0.0000826}, "true"),
    ("h100-cost", {"claimed": 0.0000553}, "true"),
    ("seq-x-100", {"context": 100}, "true"),
    ("h100-cheaper", {"h100_rate": 5000}, "false"),
    ("rtt-local", {"measured_ms": 2}, "true"),
    ("rtt-regional", {"km": 1000}, "true"),
    ("rtt-cross", {"low_ms": 500}, "false"),
    ("rtt-sluggish", {"rtt_ms": 300}, "true"),
    ("queue-dominates", {"rho": 0.9}, "true"),
    ("autoscaling", {"rate": 199.9}, "false"),
    ("prefill-50-h100", {"claimed_ms": 4}, "true"),
    ("decode-10ms", {"ms_per_token": 50}, "false"),
    ("total-2150", {"network_ms": 500}, "false"),
    ("decode-dominates", {"prompt": 8000, "new_tokens": 10}, "false"),
    ("amortised-55", {"years": 4}, "false"),
    ("calls-10k", {"dollars_per_call": 0.02}, "false"),
    ("first-day", {"daily": 10}, "false"),
    ("first-month", {"daily": 100}, "false"),
    ("one-pct-table", {"dollars_per_call": 0.001}, "true"),
    ("quant-2-4x", {"low": 1.4}, "true"),
    ("quant-14-35", {"bytes_each": 1}, "false"),
    ("quant-loss", {"bits": 2}, "false"),
    ("distill", {"small": 2e9}, "true"),
    ("paged", {"reserved": 500}, "false"),
    ("sharding", {"measured_speedup": 0.9}, "true"),
    ("faq-70b", {"low": 20}, "false"),
    ("faq-cpu", {"bandwidth_gb_per_s": 2}, "true"),
    ("faq-gpus-necessary", {"cpu_tokens_per_s": 1}, "true"),
    ("faq-both", {"batch": 200}, "true"),
    ("queue-110", {"rate": 50}, "false"),
    ("cheaper-per-example", {"batch": 300, "dramatic": 2}, "true"),
    ("chat-yearly", {"dollars_per_day": 60}, "false"),
    ("token-ids", {"claimed": "1 1724 338 278 7483 310 3444 29973"}, "true"),
    ("prefill-size-scaling", {"tokens": 500_000}, "true"),
    ("prefill-doubling", {"tokens": 1}, "false"),
    ("decode-formula", {"batch": 400}, "false"),
    ("no-cache-on", {"context": 1}, "false"),
    ("kv-20gb", {"gigabytes": 20_000}, "false"),
    ("attention-n2", {"tokens": 1}, "true"),
    ("attention-25x", {"tokens": 1}, "false"),
    ("cache-saves-attention", {"context": 501_000}, "true"),
    ("spec-example", {"correction": "is"}, "true"),
    ("l40s-1000", {"claimed": 1}, "true"),
    ("bills-inference", {"tuning_dollars": 1000}, "false"),
    ("quant-sizes", {"int8": 2}, "false"),
    ("quant-compute", {"int8_arithmetic": 1}, "true"),
    ("quant-compute", {"weight_bytes": 2}, "false"),
    ("lazy-loading", {"gigabytes": 0}, "false"),
    ("faq-batch-cost", {"dollars_per_hour": 0}, "false"),
    ("source-title", {"claimed": "FlashAttention-2"}, "true"),
]


@pytest.fixture(scope="module")
def findings():
    return {id: claim.judge() for id, claim in CLAIMS.items()}


def test_all_claims_are_there():
    assert list(CLAIMS) == list(PINNED) and len(CLAIMS) == 125
    counts = {verdict.value: sum(v == verdict.value for v, _ in PINNED.values()) for verdict in Verdict}
    assert counts["true"] < 40 and counts["not checkable"] == 2


@pytest.mark.parametrize("id", PINNED)
def test_verdict_and_figure(findings, id):
    found = findings[id]
    assert (found.verdict.value, found.figure) == PINNED[id]
    assert found.working and all(found.working) and "\n" not in "".join(found.working)
    assert found.verdict in (Verdict.TRUE, Verdict.UNCHECKABLE) or found.note  # what it would have to say


@pytest.mark.parametrize(("id", "inputs", "verdict"), OTHERWISE, ids=[f"{id}-{v}" for id, _, v in OTHERWISE])
def test_other_inputs_give_another_verdict(id, inputs, verdict):
    settings = {name: str(value) for name, value in inputs.items()}
    found, standing = CLAIMS[id].judge(settings), CLAIMS[id].judge()
    assert found.verdict.value == verdict
    if found.verdict is not standing.verdict:  # the note is about the claim as it stands, and says so
        assert found.note.startswith(f"with these inputs; as the article has it, {standing.verdict.value}")
        assert standing.note in found.note


def test_every_verdict_can_be_another(findings):
    """By other inputs, or because the engine is run; but for what nobody can check."""
    constant = {id for id, claim in CLAIMS.items() if not claim.runs} - {id for id, _, _ in OTHERWISE}
    assert {findings[id].verdict for id in constant} == {Verdict.UNCHECKABLE}


LOST = Accuracy(perplexity=2.0, kl_divergence=0.5, agreement=0.7)
# A claim that is run, a function of the engine, and what it is replaced with.
PLANTED = [
    ("prefill-together", "minillm.prefill.prefill", lambda m, t, c, chunk=None: PREFILL(m, t, c) + (chunk or 0)),
    ("kv-what", "minillm.decode.decode_step", lambda m, t, c: DECODE_STEP(m, t, c) + 1),
    ("no-parallelism", "minillm.decode.decode_step", lambda m, t, c: DECODE_STEP(m, t, c) + 1),
    ("prefill-output", "minillm.prefill.prefill", lambda m, t, c: PREFILL(m, t, c)[:5]),
    ("spec-verify", "minillm.transformer.forward_batch", lambda m, b, r: FORWARD_BATCH(m, b)),
    ("spec-rule", "minillm.speculative.rounds.accept_or_correct", lambda token, p, q, g: token),
    ("spec-1-plus-k", "minillm.speculative.rounds.accept_or_correct", lambda token, p, q, g: token),
    ("sharding", "minillm.parallel.pipeline.bubble", lambda done: 0.0),
    ("lazy-loading", "minillm.generation.generate", lambda m, t, n: SimpleNamespace(tokens=[m.streamed])),
    (
        "quant-loss",
        "minillm.evidence.claims.losses.losses",
        lambda model, tokens: dict.fromkeys(("int8", "int4"), LOST),
    ),
]


@pytest.mark.parametrize(("id", "name", "broken"), PLANTED, ids=[id for id, _, _ in PLANTED])
def test_a_broken_engine_shows_in_the_verdict(findings, monkeypatch, id, name, broken):
    module, _, function = name.rpartition(".")
    monkeypatch.setattr(import_module(module), function, broken)  # a name like minillm.prefill is a function, too
    assert CLAIMS[id].judge().verdict is not findings[id].verdict


@pytest.mark.parametrize("id", [id for id, claim in CLAIMS.items() if not claim.runs])
def test_every_input_matters(findings, id):
    """Whatever can be set shows in the finding; what a claim asserts shows in the verdict, see OTHERWISE."""
    claim = CLAIMS[id]
    for name, value in claim.inputs.items():
        if not name.startswith(("claimed", "low", "high")):
            others = [value * 2, value * 1000, 0, 1] if not isinstance(value, str) else ["llama-3-8b", "t4", "else"]
            assert any(_judged(claim, name, other) != findings[id] for other in others), name


def _judged(claim, name, value):
    try:
        return claim.judge({name: str(value)})
    except ValueError:
        return claim.judge()  # not this one


TO_RUN = set(  # the claims that ask for an experiment
    "three-steps stop-conditions forward-only prefill-together prefill-output prefill-8-vs-1 prefill-formula "
    "pass-per-token no-parallelism recompute-longer small-fraction kv-what kv-from-embeddings kv-new-o1 kv-token-7b "
    "batch-more-cores static-tail spec-verify spec-rule spec-1-plus-k queue-110 quant-compute quant-loss short-prompts "
    "lazy-loading sharding faq-cache faq-both".split()
)


def test_every_experiment_is_run():
    assert TO_RUN <= {id for id, claim in CLAIMS.items() if claim.runs or id in EXPERIMENTS}


@pytest.mark.parametrize("id", EXPERIMENTS)
def test_what_is_timed_says_what_was_run(id):
    """Times are shown, whatever they are: no verdict and no test rests on them."""
    lines = timings(id)
    assert lines and all("\n" not in line for line in lines)
    assert "story" in lines[0] and any("tokens" in line and any(map(str.isdigit, line)) for line in lines)


def test_where_a_calculation_by_hand_was_mistaken_the_claim_says_so(findings):
    corrected = {id: claim.corrects for id, claim in CLAIMS.items() if claim.corrects}
    assert set(corrected) == {
        "prefill-io-bound", "prefill-doubling", "decode-7b", "decode-bw-bound", "prefill-2pct", "h200-200b",
        "seq-x-100", "decode-dominates",
    }  # fmt: skip
    for id, right in (("prefill-io-bound", "157"), ("decode-7b", "32%"), ("h200-200b", "4"), ("seq-x-100", "386")):
        shown = findings[id].figure + findings[id].note
        assert right in corrected[id] and right in shown


def test_the_documentation_says_what_is_checked():
    for claim in CLAIMS.values():
        assert claim.meaning.endswith(".") and len(claim.meaning) < 160


@pytest.mark.parametrize(
    ("id", "settings", "message"),
    [
        (
            "kv-token-7b",
            {"depth": "3"},
            "kv-token-7b has no input 'depth'; it has layers, kv_heads, head_dim, bytes_each",
        ),
        ("kv-token-7b", {"layers": "many"}, "layers is 'many'; expected an integer"),
        ("kv-token-7b", {"layers": "-1"}, "layers is '-1'; expected a number from 0 to 1e+06"),
        ("weights-7b", {"parameters": "nan"}, "parameters is 'nan'; expected a number from 0"),
        ("no-cache-on", {"new_tokens": "9" * 30}, "expected a number from 0 to 1e+06"),
        ("no-cache-seconds", {"mfu": "1e18"}, "no-cache-seconds: these inputs allow no figure"),
        ("weights-7b", {"claimed_gb": "0"}, "weights-7b: these inputs allow no figure"),
        ("kv-batch-10", {"model": "gpt-5"}, "no model 'gpt-5' in the table; known are llama-2-7b"),
        ("l40s-latency", {"gpu": "tpu"}, "no GPU 'tpu'; known are t4"),
        ("faq-pricing", {"x": "1"}, "faq-pricing has no input 'x'; it has none"),
        ("autoscaling", {"rate": "500"}, "utilisation is 2.5: the queue has no steady state"),
    ],
)
def test_a_wrong_input_is_one_line(id, settings, message):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as refused:
        CLAIMS[id].judge(settings)
    assert message in str(refused.value)


def test_an_unknown_claim_names_the_closest():
    with pytest.raises(ValueError, match=r"no claim 'kv-tokens'; .* lists all 125; did you mean kv-token-7b\?"):
        find_claim("kv-tokens")


def test_numbers_as_people_write_them():
    assert [digits(x) for x in (0, 0.0648, 6.4799, 648, 6480.4, 1e6)] == [
        "0",
        "0.0648",
        "6.48",
        "648",
        "6,480",
        "1,000,000",
    ]
    assert (ms(0.00648), gb(13.214e9)) == ("6.48 ms", "13.2 GB")


def lesson_verdicts():
    """What each lesson says of each claim: (lesson, claim, verdict)."""
    for lesson in all_lessons():
        code = "\n".join(cell.source for cell in lesson.cells if cell.kind == "code")
        for call in ast.walk(ast.parse(code)):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "claim":
                yield lesson.number, call.args[0].value, call.args[2].value


def test_lessons_judge_as_the_ledger_does():
    other = [
        (number, name) for number, name, verdict in lesson_verdicts() if PINNED.get(name, (verdict,))[0] != verdict
    ]
    assert not other


def test_the_ledger_has_every_claim_that_a_lesson_judges():
    judged = {name for _, name, _ in lesson_verdicts()}
    assert judged - set(CLAIMS) == {"paged-tradeoff"}  # needs software, which is not a figure
