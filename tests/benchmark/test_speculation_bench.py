"""`minillm bench --speculative`: every task and draft is measured, and the formula gets what was measured."""

import json
from types import SimpleNamespace

import pytest
from known_seconds import KnownSeconds
from model_folder import TEXT_CONFIG, save_model_folder
from random_models import random_model

from minillm.benchmark import speculation
from minillm.benchmark.speculation import interpolated, predicted_speedup
from minillm.cli.main import run
from minillm.estimate.speculation import speedup
from minillm.speculative.drafters import PromptLookup
from minillm.speculative.rounds import SpeculationCounts

CASE = {
    "task", "drafter", "times_plain", "same_tokens", "new_tokens", "rounds", "proposed", "accepted",
    "tokens_per_round", "acceptance", "draft_cost", "predicted_times_plain", "best_fixed_k", "best_fixed_times_plain",
}  # fmt: skip


def test_a_fixed_length_is_the_formula():
    verify = interpolated({1: 1.0, 2: 1.5, 4: 2.1})
    assert (verify(1), verify(2), verify(3), verify(4)) == pytest.approx((1.0, 1.5, 1.8, 2.1))
    assert predicted_speedup({3: 10}, 0.7, 0.1, verify) == pytest.approx(speedup(0.7, 3, 0.1, verify))
    assert predicted_speedup({0: 10}, 0.7, 0.1, verify) == pytest.approx(1)
    between = predicted_speedup({0: 10, 3: 10}, 0.9, 0.0, verify)
    assert 1 < between < speedup(0.9, 3, 0.0, verify)


def test_a_guess_costs_a_step_of_the_draft_in_steps_of_the_model(monkeypatch):
    model, draft = (random_model(TEXT_CONFIG, seed)[0] for seed in (0, 1))
    clock = KnownSeconds()
    monkeypatch.setattr(speculation, "CONTEXT", 8)
    monkeypatch.setattr(speculation, "seconds", clock.seconds)
    monkeypatch.setattr(speculation, "decode_step", clock.takes({id(model): 4.0, id(draft): 1.0}))
    assert speculation.draft_cost(model, draft, 1) == 0.25


def test_a_case_is_made_of_seconds_and_of_judged_guesses(monkeypatch):
    """Plain decoding takes 2, 4 and 9 seconds; of 10 guesses 6 are accepted, 2 rejected, and 2 stood behind those."""

    def outputs(*times):
        return iter([SimpleNamespace(tokens=[1, 2, 3], timings=SimpleNamespace(decode_s=time)) for time in times])

    plain, speculative = outputs(2.0, 4.0, 9.0), outputs(1.0, 1.0, 3.0)

    class KnownGeneration(list):
        def __init__(self, *_):
            self.output, self.speculation = next(speculative), SimpleNamespace(counts=SpeculationCounts(4, 10, 6, 2))

    monkeypatch.setattr(speculation, "generate", lambda *_: next(plain))
    monkeypatch.setattr(speculation, "SpeculativeGeneration", KnownGeneration)
    monkeypatch.setattr(speculation.Task, "prompt", lambda *_: [1])
    model, task = random_model(TEXT_CONFIG, 0)[0], speculation.TASKS[0]
    case = speculation._case(model, PromptLookup(), task, 3, 3, 0.0, {1: 1.0, 16: 2.0})
    assert case["times_plain"] == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert case["acceptance"] == 0.75


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model with a context in which every prompt has room."""
    return str(save_model_folder(tmp_path_factory.mktemp("long"), context=2000))


def bench(folder, *arguments):
    return run(["bench", "--speculative", "--model", folder, "--new-tokens", "6", "--rounds", "1", *arguments])


def test_json(folder, capsys):
    assert bench(folder, "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert [case["drafter"] for case in record["cases"]].count("lookup") == 4
    assert len(record["cases"]) == 8 and record["verify_cost"]["1"] == 1
    for case in record["cases"]:
        assert case.keys() == CASE
        assert case["new_tokens"] == 6 and case["rounds"] <= 5 and case["accepted"] <= case["proposed"]
        assert case["tokens_per_round"] * case["rounds"] == pytest.approx(5)


def test_table(folder, capsys):
    assert bench(folder) == 0
    shown = capsys.readouterr().out
    assert "draft: lookup" in shown and "copying code" in shown
    assert shown.endswith("same: whether the text is that of plain decoding\n")
    assert max(map(len, shown.splitlines())) <= 80
