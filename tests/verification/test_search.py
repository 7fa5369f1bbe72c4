"""The verdict on a property: the first wrong result, what it usually means, its cause, a file to run, the report."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from minillm.classroom.exercises import bughunt
from minillm.verification import findings as findings_module
from minillm.verification.calls import Call
from minillm.verification.failure_file import write_failure
from minillm.verification.findings import Findings
from minillm.verification.handles import Handle
from minillm.verification.progress import Progress
from minillm.verification.properties import PROPERTIES
from minillm.verification.refusals import MOST_REFUSED
from minillm.verification.replay import Replay, Step
from minillm.verification.report import as_json, fields, report_lines, result_of
from minillm.verification.search import CHANGED_BY_REFUSAL, Result, place, search, so_far
from minillm.verification.symptoms import explanation

ROOT = Path(__file__).parents[2]
RIGHT = bughunt.right_text("engine")
DECODED, CHUNKED = "cached_decoding_is_naive_decoding", "chunked_prefill_is_whole_prefill"
TRUNCATED, FORKS, BATCH = (
    "truncated_tokens_were_never_there", "forks_are_independent", "a_batch_is_its_sequences_one_by_one"
)  # fmt: skip


def planted(right, wrong):
    """The right engine with one wrong line."""
    assert RIGHT.count(right) == 1, right
    return RIGHT.replace(right, wrong)


def judged(loaded, name, known=()):
    return search(name, PROPERTIES[name], loaded, list(known))


ROPE = "(rope(heads, first, config.rope.rope_theta) for heads in (q, k))"
ONE_BATCH = "np.array([self.prefill(tokens, cache) for tokens, cache in sequences])"
MEANINGS = {
    "no RoPE offset": (ROPE, ROPE.replace("first", "0"), DECODED, "begin at 0 again: the RoPE offset is missing"),
    "RoPE offset one too small": (ROPE, ROPE.replace("first", "first - (first > 1)"), DECODED, "1 too early"),
    "RoPE offset one too large": (ROPE, ROPE.replace("first", "first + (first > 0)"), DECODED, "1 too late"),
    "nothing is truncated": ("del rows[length:]", "pass", TRUNCATED, "the dropped tokens still in the cache"),
    "a fork shares its keys and values": ("copy.keys = [list(rows) for rows in cache.keys]\n        copy.values = "
        "[list(rows) for rows in cache.values]", "copy = cache", FORKS, "the caches share memory"),
    "rows are exchanged": (ONE_BATCH, ONE_BATCH + "[::-1]", BATCH, "rows or caches are exchanged"),
    "the last token is missing": ("return x[-1] @", "return x[max(-2, -len(x))] @", "prefill_is_naive", "row n - 2?"),
    "nothing cached is seen": ("attend(q, keys, values, first)", "attend(q, k, v, 0)", DECODED, "the new tokens alone"),
    "a token is overwritten": ("return self.prefill([token], cache)", "n = len(cache.keys[0]); "
        "self.truncate(cache, n - (n > 1)); return self.prefill([token], cache)", DECODED, "overwrite the one before"),
    "a token is not read": ("attend(q, keys, values, first)", "attend(q, *(np.delete(rows, first - 1, 0) "
        "if first > 1 else rows for rows in (keys, values)), first - (first > 1))", DECODED, "it was never written"),
    "a batch is wrong where it is uneven": (ONE_BATCH, f"{ONE_BATCH} * (1 + (len(sequences) > 1))", BATCH,
        "The sequence alone is right: in a batch look at padding"),
    "padding is not a number": (ONE_BATCH, f"{ONE_BATCH} + [0, np.nan][len({{len(t) for t, _ in sequences}}) > 1]",
        BATCH, "NaN in a batch of different lengths"),
    "a second pass is wrong": (ROPE, ROPE.replace("first", "first + 2 * (first > 0)"), FORKS, "Two prefills of these"),
    "a wrong model": ("np.sqrt(q.shape[-1])", "q.shape[-1]", "prefill_is_naive", "look at the model"),
    "a fork is wrong": ("copy = self.new_cache()", "copy = self.new_cache(); cache.keys[0][0] = cache.keys[0][0] * 2",
        FORKS, "look at what fork leaves"),
}  # fmt: skip
SLOW = ("rows are exchanged", "padding is not a number", "RoPE offset one too small")


@pytest.mark.parametrize("mistake", [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW)) for one in MEANINGS])
def test_what_a_wrong_result_means(load, mistake):
    right, wrong, name, meaning = MEANINGS[mistake]
    result = judged(load(planted(right, wrong)), name)
    assert result.verdict == "wrong"
    assert meaning in result.meaning, result.report()
    assert result.step is not None
    assert f"first difference: call {len(result.step.calls)}, " in result.report()


def test_a_right_engine_passes_and_what_is_missing_is_not_tested(load):
    loaded = load(RIGHT)
    result = judged(loaded, TRUNCATED)
    assert (result.verdict, result.summary.endswith(" of 1e-04")) == ("passed", True)
    assert judged(loaded, "a_kept_cache_is_the_only_one").summary == "no keep"
    assert judged(loaded, "a_kept_cache_is_the_only_one").verdict == "not tested"
    assert so_far(TRUNCATED, loaded) is None


@pytest.mark.slow
def test_an_engine_that_refuses_every_example(load):
    loaded = load(planted("for rows in (*cache.keys, *cache.values):", "if True: raise NotImplementedError('never')\n"
                          "        for rows in ():"))  # fmt: skip
    result = judged(loaded, TRUNCATED)
    assert result.verdict == "refused"
    assert result.summary.startswith("every example was refused: truncate(a, ")


def test_the_example_ends_at_its_first_wrong_result_and_the_same_cause_is_told_once(load):
    loaded = load(planted("return x[-1] @", "return 2 * x[-1] @"))
    first = judged(loaded, "prefill_is_naive")
    second = judged(loaded, TRUNCATED, [first])
    assert [call.name for call in second.failure.calls] == ["new_cache", "prefill"]  # before any truncate
    assert second.report() == "wrong: probably the same cause as prefill_is_naive"
    other = judged(load(planted("del rows[length:]", "pass")), TRUNCATED, [first])
    assert not other.same_as


OWN = """
import ctypes, time
import numpy as np
VOCAB_SIZE, CALL_SECONDS = 5, 1.5
TABLE = np.random.default_rng(0).normal(size=(5, 5))
def new_cache(): return []
def prefill(tokens, cache):
    cache.extend(tokens)
    return TABLE[cache].sum(axis=0)
"""


@pytest.mark.parametrize(
    ("body", "verdict", "what"),
    [
        pytest.param(
            "ctypes.string_at(0)",
            "crashed",
            "crashed: the engine's process ended with signal SIGSEGV",
            marks=pytest.mark.slow,
        ),
        pytest.param("__import__('os')._exit(0)", "crashed", "crashed: the engine's process ended with exit status 0"),
        pytest.param("time.sleep(60)", "hung", "hung: no result within 1.5 seconds", marks=pytest.mark.slow),
    ],
)
def test_a_crash_and_a_hang_leave_their_smallest_example(load, tmp_path, monkeypatch, body, verdict, what):
    monkeypatch.setattr(findings_module, "SHRINK_SECONDS", 3.0)
    text = f"{OWN}def decode(token, cache):\n    if len(cache) > 1: {body}\n    return prefill([token], cache)\n"
    loaded = load(text, apart=True)
    result = judged(loaded, DECODED)
    assert (result.verdict, result.failure.what.startswith(what)) == (verdict, True)
    if result.is_smallest:
        assert [str(call) for call in result.failure.calls][1:] in (
            ["prefill([0, 0], a)", "decode(0, a)"], ["prefill([0], a)", "decode(0, a)", "decode(0, a)"],
        )  # fmt: skip
    code, out = run_again(written(tmp_path, loaded, result))
    assert (code, what in out) == (1, True), out
    assert judged(loaded, DECODED, [result]).same_as == DECODED


REFUSES = "raise NotImplementedError('never')"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (f"{OWN}def truncate(cache, length): {REFUSES}\n", TRUNCATED),
        (OWN.replace("def new_cache(): return []", f"def new_cache(): {REFUSES}"), "any_schedule"),
    ],
)
def test_a_search_ends_soon_if_every_example_is_refused(load, text, name):
    loaded = load(text)
    result = judged(loaded, name)
    assert result.verdict == "refused"
    assert result.refused == loaded.findings.examples <= MOST_REFUSED


def test_schedules_in_which_nothing_can_be_compared_are_refused(load):
    assert judged(load(OWN.replace("cache.extend(tokens)", REFUSES)), "any_schedule").verdict == "refused"


def test_a_refused_call_that_changes_the_cache_is_suspected(load):
    result = judged(load(f"{OWN}def truncate(cache, length):\n    del cache[length:]; {REFUSES}\n"), "any_schedule")
    assert result.verdict == "wrong"
    assert result.meaning == CHANGED_BY_REFUSAL


def written(folder, loaded, result, taken=None):
    return write_failure(folder, folder / "my_engine.py", loaded.adapter, result, set() if taken is None else taken)


def run_again(file):
    """Run a file of a failing example where Hypothesis is not installed."""
    (file.parent / "hypothesis.py").write_text("raise ImportError('there is no Hypothesis')\n")
    command = [sys.executable, str(file)]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)})
    return done.returncode, done.stdout + done.stderr


def test_the_file_fails_while_the_bug_is_there(load, tmp_path):
    loaded = load(planted("del rows[length:]", "pass"))
    result = judged(loaded, TRUNCATED)
    file = written(tmp_path, loaded, result)
    lines = file.read_text().splitlines()
    assert len(lines) < 14
    assert [f"# {line}" in lines for line in (place(result.step), result.meaning)] == [True, True], lines
    code, out = run_again(file)
    assert (code, "got " in out, "expected " in out, "the tolerance is 1.0e-04" in out) == (1, True, True, True), out
    (tmp_path / "my_engine.py").write_text(RIGHT)
    assert run_again(file) == (0, "as expected\n")
    (tmp_path / "my_engine.py").write_text(planted("del rows[length:]", "__import__('os')._exit(0)"))
    assert run_again(file)[0] == 1
    (tmp_path / "my_engine.py").write_text("def")
    code, out = run_again(file)
    assert (code, "does not load: SyntaxError" in out, "Traceback" in out) == (1, True, False), out
    (tmp_path / "my_engine.py").write_text(planted("del rows[length:]", "raise NotImplementedError('no')"))
    assert run_again(file) == (0, "refused, not a failure: truncate(a, 1): no\n")


def test_the_file_of_an_exception_and_of_an_engine_compared_with_itself(load, tmp_path):
    loaded = load(OWN.replace("TABLE[cache]", "TABLE[tokens]"))
    code, out = run_again(written(tmp_path, loaded, judged(loaded, CHUNKED)))
    assert (code, "off by " in out) == (1, True), out
    loaded = load(OWN + "def decode(token, cache): return cache[99]\n")
    result = judged(loaded, DECODED)
    assert (result.verdict, result.failure.what) == ("wrong", "IndexError: list index out of range (line 10)")
    code, out = run_again(written(tmp_path, loaded, result))
    assert (code, "IndexError" in out) == (1, True), out


def test_only_files_of_earlier_runs_are_overwritten(load, tmp_path):
    loaded = load(planted("del rows[length:]", "pass"))
    result = judged(loaded, TRUNCATED)
    (tmp_path / "minillm_failure_1.py").write_text("# mine\n")
    taken = set()
    names = [written(tmp_path, loaded, result, taken).name for _ in range(2)]
    assert names == ["minillm_failure_2.py", "minillm_failure_3.py"]
    assert written(tmp_path, loaded, result).name == "minillm_failure_2.py"
    assert (tmp_path / "minillm_failure_1.py").read_text() == "# mine\n"


def test_workers_of_xdist_have_files_of_their_own(load, tmp_path):
    loaded = load(planted("del rows[length:]", "pass"))
    result = judged(loaded, TRUNCATED)
    both = [write_failure(tmp_path, tmp_path / "e.py", loaded.adapter, result, set(), name) for name in ("gw0", "gw1")]
    assert [file.name for file in both] == ["minillm_failure_gw0_1.py", "minillm_failure_gw1_1.py"]


ANSWERS = (
    OWN
    + """
OPTIONS = {"chunk": [None, 1], "eos": [None, 1]}
def decode(token, cache): return prefill([token], cache)
def generate(prompts, options): return [(one(prompt, options, len(prompts)), None, None) for prompt in prompts]
def one(prompt, options, count):
    cache, tokens = [], []
    logits = prefill(prompt, cache)
    while len(tokens) < options["max_new_tokens"] and options["eos"] not in tokens:
        tokens.append(int(logits.argmax()))
        logits = decode(tokens[-1], cache)
    return tokens
def stream(prompt, options): yield from one(prompt, options, 1)
def sample(logits, options, draw):
    weights = np.exp((np.array(logits) - max(logits)) / (options.get("temperature") or 1e-9))
    if set(options) - {"temperature"}: raise NotImplementedError
    return draw(weights / weights.sum()) if options else draw(np.ones(len(logits)) / len(logits))
"""
)
NO_OPTIONS = "draw(np.ones(len(logits)) / len(logits))"
RIGHT_ANSWERS = ANSWERS.replace(NO_OPTIONS, "draw(np.exp(logits) / np.exp(logits).sum())")
ARGMAX = "tokens.append(int(logits.argmax()))"
PLANTED_ANSWERS = {
    "plain_answers_are_greedy": (ARGMAX, ARGMAX.replace("max()", "min()")),
    "options_change_no_answer": (ARGMAX, "tokens.append(int(logits.argmax()) if count < 2 else 0)"),
    "a_stream_is_the_answer": ("yield from one(prompt, options, 1)", "yield from one(prompt[::-1][:1], options, 1)"),
    "sampling_has_its_distribution": ("draw(np.exp(logits) / np.exp(logits).sum())", NO_OPTIONS),
}


SLOW_ANSWERS = ("plain_answers_are_greedy", "a_stream_is_the_answer")


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=[pytest.mark.slow] * (one in SLOW_ANSWERS)) for one in PLANTED_ANSWERS]
)
def test_the_file_of_a_wrong_answer_judges_it(load, tmp_path, name):
    assert RIGHT_ANSWERS.count(PLANTED_ANSWERS[name][0]) == 1
    loaded = load(RIGHT_ANSWERS.replace(*PLANTED_ANSWERS[name]))
    result = judged(loaded, name)
    assert result.verdict == "wrong"
    file = written(tmp_path, loaded, result)
    assert len(file.read_text().splitlines()) < 12
    code, out = run_again(file)
    assert (code, result.failure.what in out, "Traceback" in out) == (1, True, False), out
    (tmp_path / "my_engine.py").write_text(RIGHT_ANSWERS)
    assert run_again(file) == (0, "as expected\n")


def test_what_another_option_would_give_is_said_of_an_ignored_option(load):
    ignored = 'if set(options) - {"temperature"}: raise NotImplementedError'
    result = judged(load(RIGHT_ANSWERS.replace(ignored, "pass").replace("if options else", "if 'temperature' in "
                         "options else")), "sampling_has_its_distribution")  # fmt: skip
    assert "This is the distribution without " in result.failure.what


def test_the_file_of_a_wrong_shape_judges_it(load, tmp_path):
    right = OWN + "def decode(token, cache): return prefill([token], cache)\n"
    loaded = load(right.replace("([token], cache)", "([token], cache)[None]"))
    file = written(tmp_path, loaded, judged(loaded, DECODED))
    code, out = run_again(file)
    assert (code, "returned logits of shape [1, 5]; expected [5]" in out) == (1, True), out
    (tmp_path / "my_engine.py").write_text(right)
    assert run_again(file)[0] == 0


def test_all_edits_of_the_smallest_example_are_named(load):
    loaded = load(OWN + "def fork(cache): return list(cache)\ndef release(cache): pass\n")
    replay = Replay(loaded.example(None, Findings(1e-4)))
    a, b = Handle(0, "a"), Handle(1, "b")
    calls = [Call("fork", (a,), "cache", [b]), Call("release", (a,)), Call("prefill", ([0], b), "logits")]
    right = replay.engine.naive([0])
    step = Step(tuple(calls), "b", [], [0], right + 1, right, {}, None)
    assert "look at what fork and release leave in the cache" in explanation(step, replay.engine)


def test_a_copied_prefix_that_is_the_whole_cache_is_recognised(load):
    loaded = load(OWN + "def copy_prefix(cache, length): return list(cache)\n")
    assert judged(loaded, "a_copied_prefix_is_its_tokens").meaning.startswith(
        "These are the logits with the dropped tokens still in the cache"
    )


SAVING = (
    OWN
    + """
class Cache:
    def __init__(self): self.tokens, self.count = [], 0
def new_cache(): return Cache()
def prefill(tokens, cache):
    cache.tokens[cache.count:] = tokens
    cache.count = len(cache.tokens)
    return TABLE[cache.tokens].sum(axis=0)
def truncate(cache, length): cache.count = length
def save(cache): return list(cache.tokens), cache.count
def restore(state):
    cache = Cache()
    cache.tokens, cache.count = list(state[0]), state[1]
    del cache.tokens[cache.count:]
    return cache
"""
)


@pytest.mark.parametrize(
    "right", ["return list(cache.tokens)", "list(state[0]), state[1]\n    del cache.tokens[cache.count:]"]
)
def test_a_state_that_shares_memory_is_noticed_after_a_truncation(load, right):
    name = "a_restored_cache_is_the_saved_one"
    assert judged(load(SAVING), name).verdict == "passed"
    shared = {"return list(cache.tokens)": "return cache.tokens"}.get(right, "state[0], state[1]")
    assert judged(load(SAVING.replace(right, shared)), name).verdict == "wrong"


def interrupt(loaded):
    """Begin a search, and interrupt it after the first failing example."""

    def interrupted():
        if loaded.findings.smallest is not None:
            raise KeyboardInterrupt

    monkey = pytest.MonkeyPatch()
    monkey.setattr(loaded.findings, "add_example", interrupted)
    with monkey.context(), pytest.raises(KeyboardInterrupt):
        judged(loaded, TRUNCATED)


def test_an_interrupted_search_shows_the_smallest_example_so_far(load, tmp_path):
    loaded = load(planted("del rows[length:]", "pass"))
    interrupt(loaded)
    result = so_far(TRUNCATED, loaded)
    report = result.report()
    assert "the smallest failing example so far:" in report
    assert "first difference: call " in report
    assert "These are the logits with the dropped tokens still in the cache and in its length." in report
    code, out = run_again(written(tmp_path, loaded, result))
    assert (code, "off by " in out) == (1, True), out


def test_a_second_interrupt_leaves_the_example_without_an_explanation(load, monkeypatch):
    loaded = load(planted("del rows[length:]", "pass"))
    interrupt(loaded)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("minillm.verification.search.first_difference", interrupted)
    result = so_far(TRUNCATED, loaded)
    assert (result.failure, result.step) == (loaded.findings.smallest, None)


def test_messages_of_the_engine_cannot_steer_the_terminal(load):
    raising = "raise ValueError('\\x1b[31mred')"
    assert (
        "ValueError: \\x1b[31mred (line" in judged(load(OWN.replace("cache.extend(tokens)", raising)), CHUNKED).report()
    )
    refusing = "raise NotImplementedError('\\x1b[31mred')"
    assert "\\x1b[31mred" in judged(load(OWN.replace("cache.extend(tokens)", refusing)), CHUNKED).summary


def results_of(engines):
    names = list(PROPERTIES)
    some = [
        Result("", names[0], "passed", "3.1e-07 of 1e-04", 3.1e-7), Result("", names[1], "wrong", "at id 0 " * 20),
        Result("", names[2], "crashed", "crashed: the engine's process ended"), Result("", names[3], "hung", "hung"),
        Result("", names[4], "refused", "every example was refused: x", refused=12),
        Result("", names[5], "not tested", "no truncate"), Result("", names[6], "wrong", "", same_as=names[1]),
        Result("", names[7], "passed", "1e-7 of 1e-4; 3 calls refused: truncate(a, 1): " + "window " * 20, refused=3),
    ]  # fmt: skip
    return [replace(one, engine=engine) for engine in engines for one in some]


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_the_report_fits_into_80_columns(count):
    results = results_of([f"engine_{number}_with_a_long_name" for number in range(count)])
    lines = list(report_lines(results))
    assert all(len(line) < 80 for line in lines)
    text = "\n".join(lines)
    verdicts = {1: "WRONG CRASHED HUNG refused no_truncate 3.1e-07 same_cause", 9: "._F_C_H_r_-_F_."}
    for word in verdicts.get(count, "FAILED CRASHED HUNG refused_12 no_truncate ok_3e-07 (same_cause) r3").split():
        assert word.replace("_", " ") in text, text


def test_the_matrix_of_all_properties_fits_into_80_columns():
    engines = [f"engine_{number}_with_a_long_name" for number in range(5)]
    results = [Result(engine, name, "passed", "", 3e-15) for engine in engines for name in PROPERTIES]
    lines = list(report_lines(results))
    assert all(len(line) < 80 for line in lines)
    assert f"{' .' * len(PROPERTIES)}  3.0e-15" in lines[2]


def test_a_tolerance_that_may_hide_a_bug_is_said():
    prefill, truncated = Result("", "prefill_is_naive", "passed", "", 1e-15), Result("", TRUNCATED, "passed", "", 7e-6)
    assert "does the tolerance hide a bug?" in " ".join(report_lines([prefill, truncated]))
    assert "tolerance" not in " ".join(report_lines([prefill, replace(truncated, largest_difference=1e-14)]))


def test_causes_are_those_of_one_engine(load):
    loaded = load(planted("del rows[length:]", "pass"))
    result = judged(loaded, TRUNCATED)
    assert judged(loaded, TRUNCATED, [result]).same_as == TRUNCATED
    assert judged(loaded, TRUNCATED, [replace(result, engine="another")]).same_as == ""


@pytest.mark.parametrize("name", [CHUNKED, "any_schedule"])
def test_a_prompt_that_is_refused_halfway_is_left_out(load, name):
    refusing = "def prefill(tokens, cache):\n    if len(cache) > 1: raise NotImplementedError('one pass')\n"
    result = judged(load(OWN.replace("def prefill(tokens, cache):\n", refusing)), name)
    assert (result.verdict, result.refused > 0) == ("passed", True)


def test_an_engine_that_does_not_give_the_same_twice_is_told_so(load):
    counting = "COUNT = [0]\ndef prefill(tokens, cache):\n    COUNT[0] += 1\n"
    text = OWN.replace("def prefill(tokens, cache):\n", counting).replace(
        "return TABLE", "return (COUNT[0] == 9) + TABLE"
    )
    assert "does not give the same twice" in judged(load(text), CHUNKED).meaning


def test_results_go_through_json():
    [told, *_] = results_of(["one"])
    assert result_of(json.loads(as_json([fields(told)]))[0]) == told


def test_progress_is_shown_in_the_rest_of_the_line():
    shown = []
    findings = Findings(1e-4)
    progress = Progress(findings, shown.append, lambda: 10)
    progress._shown_at = -1e9
    findings.add_example()
    findings.add_example()  # too soon
    progress.end()
    findings.add_example()
    assert shown == ["\0337 1 examp\033[K\0338", "\033[K"]
