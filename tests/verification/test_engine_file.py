"""The equivalence properties on other people's engines: a right one passes, each planted bug is found and shrunk."""

from pathlib import Path

import pytest
from hypothesis.errors import Flaky

from minillm.classroom.exercises import bughunt
from minillm.verification import findings as findings_module
from minillm.verification.engine_file import load_engine
from minillm.verification.properties import NEEDS, run_property, run_schedules

BY_NAME = {holds.__name__: (holds, needs) for holds, needs in NEEDS.items()}
ENGINE_BUGS = [n for n, bug in enumerate(bughunt.all_bugs(), start=1) if bug.kind == "engine"]
FOUND_BY = {  # the first property that each planted bug breaks, in the order of bugs.py
    1: "cached_decoding_is_naive_decoding", 2: "prefill_is_naive", 3: "prefill_is_naive", 4: "prefill_is_naive",
    5: "truncated_tokens_were_never_there", 6: "truncated_tokens_were_never_there", 7: "forks_are_independent",
    8: "a_batch_is_its_sequences_one_by_one", 9: "prefill_is_naive", 10: "prefill_is_naive",
    11: "cached_decoding_is_naive_decoding",
}  # fmt: skip


@pytest.fixture(autouse=True)
def closed(monkeypatch):
    """Every engine is unloaded after its test."""
    loaded, load = [], load_engine
    monkeypatch.setitem(globals(), "load_engine", lambda file: loaded.append(load(file)) or loaded[-1])
    yield
    for one in loaded:
        one.close()


def engine_file(tmp_path: Path, text: str) -> Path:
    (tmp_path / "engine.py").write_text(text)
    return tmp_path / "engine.py"


def broken_by(text, tmp_path, examples=15):
    """The first property that does not hold, and what is said of it."""
    engines, has, *_ = load_engine(engine_file(tmp_path, text))
    for holds, needs in NEEDS.items():
        try:
            if all(has(name) for name in needs):
                run_property(holds, engines, examples)
        except AssertionError as problem:
            return holds.__name__, str(problem)
    return "", ""


def searched(text, tmp_path, name, examples):
    """The engines of this text, and what is found in a search with one property that holds."""
    engines, _, findings, *_ = load_engine(engine_file(tmp_path, text))
    run_property(BY_NAME[name][0], engines, examples)
    return engines, findings


def test_a_right_engine_passes(tmp_path):
    assert broken_by(bughunt.right_text("engine"), tmp_path, examples=5) == ("", "")
    engines, *_ = load_engine(tmp_path / "engine.py")
    run_schedules(engines, examples=4)


@pytest.mark.parametrize("number", [number for number in ENGINE_BUGS if number != 8])  # which has a test of its own
def test_every_planted_bug_is_found(tmp_path, number):
    name, told = broken_by(bughunt.planted(bughunt.find_bug(number)), tmp_path)
    assert name == FOUND_BY[number]
    assert told.startswith("a model with ")
    assert "a = new_cache()" in told
    assert len(told.splitlines()) <= 7  # shrunk: the model, a few calls, what is wrong


def test_the_smallest_schedule_is_shown(tmp_path):
    name, told = broken_by(bughunt.planted(bughunt.find_bug(8)), tmp_path)
    assert name == FOUND_BY[8]
    lines = told.splitlines()
    assert lines[0] == "a model with num_hidden_layers=1, heads=1, kv_heads=1, head_dim=4, vocab_size=11:"
    assert lines[1:4] == ["    a = new_cache()", "    b = new_cache()", "    batch([([0], a), ([1], b)])"]
    assert lines[4].startswith("the last logits are not the reference's for the tokens [1]: at id ")


@pytest.mark.slow
def test_any_schedule_finds_it_too(tmp_path):
    engines, *_ = load_engine(engine_file(tmp_path, bughunt.planted(bughunt.find_bug(6))))
    with pytest.raises(AssertionError, match="truncate"):
        run_schedules(engines, examples=15)


OWN = """
import numpy as np
VOCAB_SIZE = 5
TABLE = np.random.default_rng(0).normal(size=(5, 5))
def new_cache(): return []
def prefill(tokens, cache):
    cache.extend(tokens)
    return TABLE[cache].sum(axis=0)
"""


def test_an_engine_with_weights_of_its_own_is_compared_with_itself(tmp_path):
    assert broken_by(OWN, tmp_path) == ("", "")
    name, told = broken_by(OWN.replace("TABLE[cache]", "TABLE[tokens]"), tmp_path)
    assert name == "chunked_prefill_is_whole_prefill"
    calls = ["compared with itself:", "    a = new_cache()", "    prefill([0], a)", "    prefill([0], a)"]
    assert told.splitlines()[:-2] == calls
    assert "not one prefill's" in told


def test_an_engine_of_a_named_model_is_compared_with_the_reference(tmp_path):
    text = """
import minillm
MODEL = "story-draft"
model = minillm.load(MODEL)
def new_cache(): return minillm.KVCache(model, 64)
def prefill(tokens, cache): return minillm.prefill(model, tokens, cache)
"""
    engines, *_ = load_engine(engine_file(tmp_path, text))
    holds, _ = BY_NAME["prefill_is_naive"]
    run_property(holds, engines, 2)
    wrong = text + "    # an afterthought\n"
    engines, *_ = load_engine(engine_file(tmp_path, wrong.replace("cache)\n", "cache) * 1.01\n")))
    with pytest.raises(AssertionError, match=r"^story-draft:\n    a = new_cache\(\)\n    prefill\(\[0\], a\)"):
        run_property(holds, engines, 2)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (OWN.replace("return TABLE[cache].sum(axis=0)", "return TABLE[cache]"), "logits of shape [1, 5]; expected [5]"),
        (OWN.replace("return TABLE", "return 'logits' or TABLE"), "returned str; expected logits [vocab]"),
        (OWN + "def batch(pairs): return [prefill(*pair) for pair in pairs][:1]", "batch returned 1 row for 2"),
        (OWN + "def batch(pairs): return 5", "batch returned 0 rows for 1"),
        (OWN + "def decode(token, cache): raise SystemExit(0)", "SystemExit: 0"),
        (OWN + "def decode(token, cache): return cache[99]", "IndexError: list index out of range"),
        (OWN.replace("TABLE[cache]", "float('nan') * TABLE[cache]"), "at id 0 got nan"),
    ],
)
def test_what_is_no_logits_is_told(tmp_path, text, told):
    assert told in broken_by(text, tmp_path)[1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_the_kind", "does not load: ModuleNotFoundError"),
        ("def (", "does not load: SyntaxError"),
        ("x = 1", "expected make_engine(config, weights), or the functions and a VOCAB_SIZE"),
        ("VOCAB_SIZE = 3\ndef new_cache(): pass", "prefill is missing"),
        ("def make_engine(config, weights): return 3", "new_cache is missing"),
        ("def make_engine(config, weights): raise RuntimeError('no\\nway')", "does not load: RuntimeError: no way"),
        (
            "VOCAB_SIZE = 0\ndef new_cache(): pass\ndef prefill(tokens, cache): pass",
            "VOCAB_SIZE is 0; expected the number",
        ),
        ("def new_cache(): pass\ndef prefill(tokens, cache): pass", "VOCAB_SIZE is missing; expected the number"),
    ],
)
def test_a_file_that_is_no_engine_is_one_line(tmp_path, text, message):
    with pytest.raises(ValueError) as problem:
        load_engine(engine_file(tmp_path, text))
    assert message in str(problem.value)


@pytest.mark.parametrize(("text", "wrong"), [("REFERENCE = 5", "5"), ("REFERENCE = 'other'", "'other'")])
def test_a_reference_that_does_not_exist_is_one_line(tmp_path, text, wrong):
    with pytest.raises(ValueError, match=f"REFERENCE is {wrong}; expected 'self', or no REFERENCE"):
        load_engine(engine_file(tmp_path, f"{OWN}\n{text}\n"))


def test_an_adapter_may_call_its_own_model_model(tmp_path):
    assert broken_by(OWN + "MODEL = TABLE\n", tmp_path, 3) == ("", "")


def test_a_made_engine_can_be_compared_with_itself(tmp_path):
    coarse = bughunt.right_text("engine") + "\nright = make_engine\n" + COARSE
    assert broken_by(coarse, tmp_path, 3)[0] == "prefill_is_naive"  # far from the reference
    assert broken_by(coarse + "REFERENCE = 'self'\n", tmp_path, 3) == ("", "")


COARSE = """
def make_engine(config, weights):
    return right(config, {name: array.round(1) for name, array in weights.items()})
"""


def test_a_refused_call_is_counted_and_is_not_a_failure(tmp_path):
    text = OWN + (
        "def truncate(cache, length):\n"
        "    if len(cache) > 2: raise NotImplementedError('the window is recorded')\n"
        "    del cache[length:]\n"
    )
    engines, findings = searched(text, tmp_path, "truncated_tokens_were_never_there", 30)
    run_schedules(engines, examples=5)
    assert findings.refused > 5
    assert findings.refusal.startswith("truncate(")
    assert findings.refusal.endswith(": the window is recorded")
    wrong = text.replace("del cache[length:]", "pass")
    assert broken_by(wrong, tmp_path, 30)[0] == "truncated_tokens_were_never_there"


REFUSING = OWN + "def truncate(cache, length):\n    raise NotImplementedError('never')\n"


def test_a_schedule_goes_on_without_a_refused_call(tmp_path):
    engines, _, findings, *_ = load_engine(engine_file(tmp_path, REFUSING))
    run_schedules(engines, examples=15)
    assert findings.refused > 2
    wrong = REFUSING.replace("raise", "del cache[length:]; raise")
    engines, *_ = load_engine(engine_file(tmp_path, wrong))
    with pytest.raises(AssertionError, match="prefill") as failed:
        run_schedules(engines, examples=30)
    assert "truncate(" not in str(failed.value)


def test_how_close_a_passing_engine_was_is_known(tmp_path):
    near = OWN + (
        "from itertools import count\n"
        "calls = count()\n"
        "def decode(token, cache): return prefill([token], cache) * (1 + 2e-5 * (next(calls) % 2))\n"
    )
    _, findings = searched(near, tmp_path, "cached_decoding_is_naive_decoding", 5)
    assert 1.9e-5 < findings.largest_difference < 2.1e-5
    assert findings.summary() == "2.0e-05 of 1e-04"


def test_shrinking_ends_when_its_time_is_over(tmp_path, monkeypatch):
    """The example found first is kept, though Hypothesis sees it no more."""
    monkeypatch.setattr(findings_module, "SHRINK_SECONDS", 0.0)
    engines, _, findings, *_ = load_engine(engine_file(tmp_path, OWN.replace("TABLE[cache]", "TABLE[tokens]")))
    for search in (
        lambda: run_property(BY_NAME["chunked_prefill_is_whole_prefill"][0], engines),
        lambda: run_schedules(engines),
    ):
        findings.clear()
        with pytest.raises((AssertionError, Flaky)):
            search()
        assert findings.smallest is not None
        assert findings.smallest.text.startswith("compared with itself:\n")
        assert "not one prefill's" in findings.smallest.text


def test_an_exception_in_the_engines_own_reference_is_reported(tmp_path):
    text = OWN.replace("    cache.extend", "    if len(tokens) > 3: raise KeyError('long')\n    cache.extend")
    _, told = broken_by(text + "def decode(token, cache): return prefill([token], cache)\n", tmp_path)
    assert "KeyError" in told
