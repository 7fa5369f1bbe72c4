"""scripts/engines.py: the page is what the stored results give, and a matrix has what failed."""

import engines
from engines_page import page

RIGHT = {"property": "prefill_is_naive", "verdict": "passed", "largest_difference": 3e-7}
WRONG = {
    "property": "forks_are_independent", "verdict": "wrong", "calls": ["a = new_cache()", "b = fork(a)"],
    "what": "the logits differ\nby 1", "model": "a model:",
}  # fmt: skip
REFUSED = {"property": "prefill_is_naive", "verdict": "refused"}


def row(engine, *results, examples=None):
    return {"adapter": "mine", "engine": engine, "examples": examples, "results": list(results)}


def rows(*several):
    return {(one["adapter"], one["engine"]): one for one in several}


def test_the_page_is_written_from_the_stored_results():
    assert engines.PAGE.read_text(encoding="utf-8") == page(engines.stored())


def test_a_matrix_has_engines_and_properties():
    text = page(rows(row("one", RIGHT, WRONG), row("two", RIGHT, {**WRONG, "same_as": "prefill_is_naive"})))
    assert "| engine | 1 | 5 | largest | examples |" in text
    assert "| `one` | . | **F** | 3e-07 | 60 |" in text
    assert text.count("forks_are_independent is wrong") == 1
    assert "a model:\na = new_cache()\nb = fork(a)\n# the logits differ\n" in text


def test_of_many_engines_only_those_that_fail_have_a_line():
    many = [row(f"e{number}", RIGHT, examples=10) for number in range(10)]
    text = page(rows(*many, row("bad", WRONG, examples=10), row("huge", REFUSED, examples=10)))
    assert "## mine: 12 engines" in text
    assert "| `bad` | **F** |" in text
    assert "Without a failure in 10 examples of each property: e0, e1, e2" in text
    assert "`huge`" not in text
    assert "The other one refused every call." in text


def test_a_stored_engine_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "RESULTS", tmp_path / "engine-matrix.jsonl")
    monkeypatch.setattr(engines, "PAGE", tmp_path / "engine-matrix.md")
    file = tmp_path / "mine.py"
    file.write_text("VOCAB_SIZE = 5\ndef new_cache(): return []\ndef prefill(tokens, cache): return [0.0] * 5\n")
    monkeypatch.chdir(tmp_path)
    engines.run("mine.py", None, 2, again=False)
    engines.store({key: {**one, "examples": 99} for key, one in engines.stored().items()})
    engines.run("mine.py", None, 2, again=False)
    assert [(key, one["examples"]) for key, one in engines.stored().items()] == [(("mine.py", "mine"), 99)]
    engines.run("mine.py", ["another"], 2, again=True)
    assert engines.stored()["mine.py", "mine"]["examples"] == 99
    engines.run("mine.py", None, 2, again=True)
    assert engines.stored()["mine.py", "mine"]["results"][0]["verdict"] == "passed"
    assert "| `mine` | . |" in (tmp_path / "engine-matrix.md").read_text()
