"""What goes wrong with a first adapter, and bugs that a first run must find: each was seen in a blind trial.

Bugs drawn by lot were planted into twelve engines. Then adapters were written with docs/verify-your-engine.md alone.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from minillm.classroom.exercises import bughunt
from minillm.verification.engine_under_test import OUT_OF_MEMORY
from minillm.verification.failure_file import write_failure
from minillm.verification.properties import PROPERTIES
from minillm.verification.report import report_lines
from minillm.verification.sampling_mistakes import mistake_of
from minillm.verification.search import LEFT_BY_OTHERS, search
from minillm.verification.symptoms import BETWEEN, MODEL_ALONE

OWN = """
import numpy as np
VOCAB_SIZE = 5
TABLE = np.random.default_rng(0).normal(size=(5, 5))
def logits_of(tokens): return TABLE[tokens].sum(axis=0) + TABLE[tokens[-1]]
"""
CACHE = (
    OWN
    + """
def new_cache(): return []
def prefill(tokens, cache):
    cache.extend(tokens)
    return logits_of(cache)
def decode(token, cache): return prefill([token], cache)
"""
)


def judged(loaded, name):
    return search(name, PROPERTIES[name], loaded, [])


def exit_status_of(folder, loaded, result):
    file = write_failure(folder, folder / "my_engine.py", loaded.adapter, result, set())
    return subprocess.run([sys.executable, file], capture_output=True, timeout=60).returncode


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CACHE + "OPTIONS = {'stop': [None, b'end']}", "OPTIONS is .*; expected .*: numbers, texts, None, or lists"),
        (CACHE + "OPTIONS = {'stop': [None, [b'end']]}", "OPTIONS is "),
        (CACHE.replace("VOCAB_SIZE = 5", ""), "VOCAB_SIZE is missing; expected the number of token ids"),
        (OWN + "def decode(token, cache): return 0", "new_cache is missing; expected new_cache and prefill, or one of"),
    ],
)
def test_what_is_missing_is_told(load, text, told):
    with pytest.raises(ValueError, match=told):
        load(text)


def test_a_sampler_alone_is_an_engine(load):
    loaded = load("def sample(logits, options, draw): raise NotImplementedError")
    assert judged(loaded, "sampling_has_its_distribution").verdict == "refused"
    assert judged(loaded, "prefill_is_naive").summary == "no new_cache, prefill"


def test_an_exception_names_the_file_that_raised_it(load, tmp_path):
    (tmp_path / "the_model_itself.py").write_text("def forward(tokens):\n    return 1 / 0\n")
    text = CACHE.replace(
        "return logits_of(cache)", "import the_model_itself\n    return the_model_itself.forward(cache)"
    )
    assert "(the_model_itself.py, line 2)" in judged(load(text), "prefill_is_naive").summary


@pytest.mark.parametrize("right, constant", [("config.rms_norm_eps", "1e-5"), ("config.rope.rope_theta", "10_000.0")])
def test_a_constant_that_is_usual_is_not_the_models(load, right, constant):
    text = Path(__file__).with_name("complete_engine.py").read_text()
    text = text.replace(f"self.{right}", constant).replace(right, constant)
    assert judged(load(text), "prefill_is_naive").verdict == "wrong"


def test_two_mistakes_are_not_taken_for_one(load):
    text = CACHE.replace("prefill([token], cache)", "prefill([0], cache)") + "def truncate(cache, length): pass\n"
    loaded = load(text)
    first = judged(loaded, "cached_decoding_is_naive_decoding")
    name = "truncated_tokens_were_never_there"
    second = search(name, PROPERTIES[name], loaded, [first])
    assert (first.verdict, second.verdict, second.same_as) == ("wrong", "wrong", "")


def test_logits_of_all_tokens_are_told_apart(load):
    text = CACHE.replace("return logits_of(cache)", "return [logits_of(cache)]")
    assert judged(load(text), "prefill_is_naive").summary == (
        "returned logits of shape [1, 5]; expected [5]: only those after the last token"
    )


def test_a_killed_process_is_explained(load):
    text = CACHE.replace("return logits_of(cache)", "import os; os.kill(os.getpid(), 9)")
    result = judged(load(text, apart=True), "prefill_is_naive")
    assert (result.verdict, OUT_OF_MEMORY in result.report()) == ("crashed", True)


MADE = bughunt.right_text("engine")
HEADS = "k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)"


def test_a_model_that_is_wrong_for_one_token_has_a_shorter_list_of_suspects(load):
    assert MADE.count(HEADS) == 1
    text = MADE.replace(HEADS, "k, v = np.tile(k, (1, group, 1)), np.tile(v, (1, group, 1))")
    result = judged(load(text), "prefill_is_naive")
    assert (result.meaning, len(result.step.pairs)) == (MODEL_ALONE, 1)


def test_an_engine_in_float16_is_told_to_say_so(load):
    """Its model is wrong everywhere, by about as much as rounding explains."""
    text = Path(__file__).with_name("complete_engine.py").read_text().replace('DTYPE = "float64"', "")
    result = judged(load(text.replace("astype(DTYPE)", "astype('float16')")), "prefill_is_naive")
    assert 'write DTYPE = "float16"' in result.meaning.splitlines()[0]


def test_what_many_properties_lack_is_one_line(load):
    loaded = load(ANSWERS.replace("EOS", "None"))
    names = [
        name for name, tried in PROPERTIES.items() if name == "options_change_no_answer" or "prefill" in tried.needs
    ]
    lines = list(report_lines([judged(loaded, name) for name in names]))
    assert len(lines) == 2
    assert lines[0].startswith("passed      options_change_no_answer ")
    assert lines[1].split() == f"not tested no new_cache, prefill: {len(names) - 1} properties".split()


EDITS = """
def remove(cache, begin, end): raise NotImplementedError
def shift(cache, begin, by): pass
"""


@pytest.mark.parametrize(
    "name",
    ["later_tokens_keep_their_positions", "shifted_tokens_have_other_positions", "edits_in_a_row_add_up",
     "a_cache_without_its_beginning_moves_forward"],
)  # fmt: skip
def test_edits_that_need_one_layer_are_not_said_to_be_refused(load, name):
    result = judged(load(CACHE + EDITS), name)
    assert (result.verdict, result.summary) == ("not tested", "no make_engine")


def test_what_the_expected_logits_need_is_told(load):
    loaded = load(OWN + "def generate(prompts, options): return []")
    assert judged(loaded, "plain_answers_are_greedy").summary == "no prefill"


POOL = (
    OWN
    + """
POOL, FREE = {}, list(range(20))
class Cache:
    def __init__(self): self.slots = []
def new_cache(): return Cache()
def prefill(tokens, cache):
    for token in tokens:
        if not FREE: raise MemoryError("the pool is full")
        cache.slots.append(FREE.pop())
        POOL[cache.slots[-1]] = token
    return logits_of([POOL[slot] for slot in cache.slots])
"""
)
RELEASE = "def release(cache): FREE.extend(cache.slots); cache.slots = []\n"


def test_caches_are_released_after_their_example(load):
    loaded = load((POOL + RELEASE).replace("20", "200"))
    assert judged(loaded, "prefill_is_naive").verdict == "passed"
    assert judged(loaded, "released_caches_leave_nothing_behind").verdict == "passed"
    assert judged(loaded, "any_schedule").verdict == "passed"


def test_a_full_pool_is_said_to_come_from_other_examples(load):
    result = judged(load(POOL.replace("20", "100"), apart=True), "prefill_is_naive")
    assert (result.verdict, result.meaning) == ("wrong", LEFT_BY_OTHERS)


def test_a_release_that_is_not_shown_is_suspected(load):
    all_gone = "\nCACHES = []\ndef new_cache():\n    CACHES.append([])\n    return CACHES[-1]\n"
    empties = all_gone + "def release(cache):\n    for other in CACHES: other.clear()\n"
    result = judged(load(CACHE + empties), "cached_decoding_is_naive_decoding")
    assert (result.verdict, result.meaning) == ("wrong", BETWEEN)


ANSWERS = (
    OWN
    + """
OPTIONS = {"eos": [None, EOS]}
def generate(prompts, options): return [one(prompt, options) for prompt in prompts]
def one(prompt, options):
    tokens, numbers = [], []
    while len(tokens) < options["max_new_tokens"] and options["eos"] not in tokens:
        logits = logits_of(prompt + tokens)
        tokens.append(int(logits[:4].argmax()))
        numbers.append(float(logits[tokens[-1]] - np.log(np.exp(logits).sum())))
    return tokens, numbers, None
"""
)
UNSEEN = "no answer ended with an eos of OPTIONS"


@pytest.mark.parametrize(("eos", "told"), [("4", True), ("[0, 1, 2, 3]", False), ("None", False)])
def test_an_end_token_that_never_came_is_told(load, eos, told):
    text = ANSWERS.replace("EOS", eos).replace('options["eos"] not in', "not set(np.ravel(options['eos'])) & set(") + ""
    text = text.replace("& set( tokens:", "& set(tokens):")
    result = judged(load(text), "options_change_no_answer")
    assert result.verdict == "passed"
    assert (UNSEEN in result.summary) == told


def test_an_answer_is_compared_with_its_own_continuation(load, tmp_path):
    name, right = "an_answer_goes_on_from_its_own_tokens", ANSWERS.replace("EOS", "None")
    assert judged(load(right), name).verdict == "passed"
    later = right.replace("np.exp(logits).sum()", "np.exp(logits * (1 + (len(tokens) > 2) / 9)).sum()")
    loaded = load(later)
    result = judged(loaded, name)
    assert "has the log-probability" in result.summary
    assert exit_status_of(tmp_path, loaded, result) == 1
    (tmp_path / "my_engine.py").write_text(right)
    assert exit_status_of(tmp_path, loaded, result) == 0


def test_what_a_batch_leaves_in_its_caches_is_tried(load):
    text = CACHE + (
        "def batch(pairs):\n"
        "    rows = [prefill(*pair) for pair in pairs]\n"
        "    if len({len(tokens) for tokens, _ in pairs}) > 1: pairs[0][1].insert(0, 1)\n"
        "    return rows\n"
    )
    result = judged(load(text), "a_batch_is_its_sequences_one_by_one")
    assert result.verdict == "wrong"
    assert "look at what batch leaves in the cache" in result.meaning


def test_a_second_pass_can_be_longer_than_the_first(load):
    text = CACHE.replace("    cache.extend", "    if cache and len(tokens) > 6: cache.pop()\n    cache.extend")
    assert judged(load(text), "chunked_prefill_is_whole_prefill").verdict == "wrong"


def test_a_shift_of_all_tokens_is_judged_without_one_layer(load, tmp_path):
    name = "shifts_that_cancel_change_nothing"
    right = CACHE + "def shift(cache, begin, by): pass\n"
    assert judged(load(right), name).verdict == "passed"
    loaded = load(right.replace("by): pass", "by): cache[:1] = [(cache[0] + by) % 5]"))
    result = judged(loaded, name)
    assert "look at what shift leaves in the cache" in result.meaning
    assert exit_status_of(tmp_path, loaded, result) == 1
    (tmp_path / "my_engine.py").write_text(right)
    assert exit_status_of(tmp_path, loaded, result) == 0


@pytest.mark.parametrize(
    ("found", "options", "told"),
    [
        ([0.6225, 0.3775, 0], {"temperature": 0.5, "top_p": 0.5}, ""),
        (
            [0.7311, 0.2689, 0],
            {"temperature": 0.5, "top_p": 0.6},
            "another order: top_p, then temperature; expected temp",
        ),
        ([1, 0, 0], {"top_p": 0.7}, "The token that crosses top_p is left out"),
        ([0.6225, 0.3775, 0], {"min_p": 0.25}, "min_p is compared with the probability"),
        ([0.5065, 0.3072, 0.1863], {"top_k": 2}, "the distribution without top_k"),
    ],
)
def test_the_mistake_of_a_sampler_is_named(found, options, told):
    logits = [0.5, 0.0, -0.5]
    meaning = mistake_of(found, logits, options)
    assert told in meaning if told else meaning == ""
