"""`minillm exactness`: the hash, the table, one line for a mistake."""

import json
import re

import pytest
from test_misuse import assert_refused

import minillm
from minillm.backends import NAMES
from minillm.evidence.exactness import SCHEDULES, logits_hash

SHORT = ("--prompt", "abc abc", "--max-new-tokens", 3)


def test_hash_only_is_the_hash_of_the_naive_logits(call, model_folder):
    result = call("exactness", "--model", model_folder, "--hash-only", "--prompt", "abc abc")
    model = minillm.load(model_folder, "exact")
    expected = logits_hash(minillm.forward(model, model.tokenizer.encode("abc abc")))
    assert (result.code, result.out, result.err) == (0, f"{expected}\n", "")


def test_json_has_every_schedule_of_every_backend(call, model_folder):
    record = json.loads(call("exactness", "--model", model_folder, "--json", *SHORT).out)
    assert (record["model"], record["prompt"], record["new_tokens"]) == (model_folder, "abc abc", 3)
    assert [(c["backend"], c["schedule"]) for c in record["comparisons"]] == [(b, s) for b in NAMES for s in SCHEDULES]
    for comparison in record["comparisons"]:
        exact = comparison["backend"] == "exact"
        assert comparison["dtype"] == ("float64" if exact else "float32")
        assert len(comparison["tokens"]) == 3
        assert comparison["first_difference"] is None
        assert comparison["largest_difference"] < 1e-3 and (comparison["largest_difference"] == 0 or not exact)


@pytest.mark.parametrize("columns", [40, 80])
def test_the_table_fits(call, model_folder, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    result = call("exactness", "--model", model_folder, *SHORT)
    assert result.code == 0 and result.err == ""
    assert all(len(line) <= columns for line in result.out.splitlines())
    words = " ".join(result.out.split())
    for part in ("alone", "cached", "chunked", "batched", *NAMES, "A float32 sum rounds"):
        assert part in words
    assert columns == 40 or ("0, bit for bit" in words and re.search("^[0-9a-f]{64}$", result.out, re.MULTILINE))


def test_a_text_that_differs_is_shown_from_its_first_token_on(call, model_folder, monkeypatch):
    """No float32 model can be relied on to differ, so a schedule is made to: it takes the least probable token."""
    alone = SCHEDULES["alone"]
    monkeypatch.setitem(SCHEDULES, "cached", lambda *arguments: -alone(*arguments))
    result = call("exactness", "--model", model_folder, *SHORT)
    assert result.out.count("differ from token 1 on: '") == len(NAMES)


def test_a_prompt_of_nearly_the_whole_context_leaves_room_for_a_few(call, model_folder):
    record = json.loads(call("exactness", "--model", model_folder, "--json", "--prompt", "a" * 125).out)
    assert (record["prompt_tokens"], record["new_tokens"]) == (125, 3)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--prompt", ""], "the prompt is empty"),
        (["--prompt", "a" * 128], "the prompt fills the model's context"),
        (["--prompt", "a" * 129], "more than the model's context of 128"),
        (["--max-new-tokens", "0", "--prompt", "a"], "--max-new-tokens is 0; expected"),
        (["--max-new-tokens", "128", "--prompt", "a"], "from 1 to 127"),
        (["--max-new-tokens", "many"], "invalid int value: 'many'"),
        (["--hash-only", "--json"], "--hash-only prints the hash alone; leave out --json"),
        (["--backend", "plain"], "unrecognized arguments: --backend plain"),
        ([], "177 tokens are more than the model's context of 128"),
    ],
)
def test_mistakes_are_one_line(call, model_folder, arguments, expected):
    assert_refused(call("exactness", "--model", model_folder, *arguments), expected)


def test_a_model_without_tokenizer_is_one_line(call, model_folder, tmp_path):
    import shutil

    for name in ("config.json", "model.safetensors"):
        shutil.copy(f"{model_folder}/{name}", tmp_path)
    assert_refused(call("exactness", "--model", tmp_path), "no tokenizer.json")
