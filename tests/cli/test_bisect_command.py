"""`minillm bisect`: exit codes, what it prints, JSON, engines in a file, one line for a mistake, commits (slow)."""

import json
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from test_interrupts import interrupted
from test_misuse import assert_refused

from minillm.backends.exact import Exact

ROOT = Path(__file__).parents[2]
SHORT = ("--tokens", "5,6,7,8,9,10,11", "--max-new-tokens", 3)
ENGINE = """
import numpy as np
from minillm import reference

def make_engine(config, weights):
    class Engine:
        def new_cache(self):
            return []
        def prefill(self, tokens, cache):
            cache.extend(tokens)
            return reference.forward(config, weights, cache)[-1] {wrong}
        def truncate(self, cache, length):
            del cache[length:]
        def fork(self, cache):
            return list(cache)
    return Engine()
"""
OWN = """
VOCAB_SIZE = {size}
def new_cache():
    return []
def prefill(tokens, cache):
    cache.extend(tokens)
    return [{logits} for token in range(VOCAB_SIZE)]
"""


@pytest.fixture
def bisect(call, model_folder):
    return lambda *arguments: call("bisect", *arguments, "--model", model_folder)


@pytest.fixture
def engine(tmp_path):
    def write(name, text):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_equal_runs(bisect):
    result = bisect("chunk 2, block 3 @exact", "@exact", *SHORT)
    assert (result.code, result.err) == (0, "")
    assert result.out.splitlines()[:2] == ["A: chunk 2, block 3 @exact", "B: whole @exact"]
    assert "equal to the bit in all " in result.out and "difference" not in result.out


def test_the_same_run_twice_is_said_to_be_that(bisect):
    said = "A and B are the same, so this shows only whether the run is repeatable."
    assert said in " ".join(bisect("plain", "whole @plain", *SHORT).out.split())
    assert said not in " ".join(bisect("plain", "exact", *SHORT).out.split())


def test_different_runs(bisect):
    result = bisect("plain", "numpy", *SHORT)
    assert (result.code, result.err) == (1, "")
    text = " ".join(result.out.split())
    for part in (
        "layer 0, attention norm, element ",
        "in pass 0 (tokens 0 to 6)",
        "minillm/transformer.py:",
        "in rms_norm: return x / np.sqrt(mean_square + eps) * weight",
        "in Fast.rms_norm: return normed",
        "everything that was computed before it is equal to the bit",
        "Rounding: the difference is ",
        "operation largest relative difference layer position",
    ):
        assert part in text
    assert bisect("plain", "numpy", *SHORT, "--tolerance", "1e-4").code == 0


def test_a_difference_on_the_exact_backend_is_an_error(bisect, monkeypatch):
    monkeypatch.setattr(Exact, "swiglu", lambda self, gate, up: gate * up * (1 + (len(up) == 1)))
    result = bisect("exact", "decode @exact", *SHORT)
    assert result.code == 1 and "this is not rounding but an error in the code" in " ".join(result.out.split())


def test_json_says_the_same(bisect):
    result = bisect("whole, int8 @exact", "exact", *SHORT, "--json")
    record = json.loads(result.out)
    assert (result.code, record["same"], record["kind"], record["tolerance"]) == (1, False, "structural", 0.0)
    assert (record["first"]["layer"], record["first"]["operation"], record["first"]["position"]) == (0, "attention", 0)
    assert record["cache_read"]["name"] == "keys" and "in 8 bits" in record["meaning"]
    assert record["a"]["passes"][0] == [{"sequence": 0, "first": 0, "count": 7}]
    assert len(record["tokens"]) == 9 and record["prompt_tokens"] == 7
    assert set(record["first"]["source"]["a"]) == {"called", "called_text", "computed", "computed_text", "function"}
    same = json.loads(bisect("exact", "exact", *SHORT, "--json").out)
    assert (same["same"], same["first"], same["largest"], same["kind"]) == (True, None, [], "equal")


@pytest.mark.parametrize("columns", [30, 80])
def test_it_fits_the_terminal(bisect, columns, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = bisect("plain", "numpy", *SHORT).out.splitlines()
    assert columns == 30 or max(map(len, lines)) <= 80  # words are not broken: a path may be longer than 30
    assert columns == 80 or sum(len(line) > 40 for line in lines) < 4


def test_tokens_and_an_answer(bisect):
    record = json.loads(bisect("exact", "exact", "--tokens", "5,6, 7", "--answer", "abc", "--json").out)
    assert record["tokens"][:3] == [5, 6, 7] and record["prompt_tokens"] == 3 and record["tokens"][3:]


def test_schedules_are_saved_and_used_again(bisect, tmp_path):
    a, b = tmp_path / "a.json", tmp_path / "b.json"
    assert bisect("prefill 3+4, fork, block 2 @exact", "exact", *SHORT, "--save", a, b).code == 0
    assert_refused(bisect("exact", "exact", *SHORT, "--save", a, b), "a.json exists; add --force to overwrite it")
    again = bisect(f"{a} @exact", f"{b} @exact", *SHORT)
    assert again.code == 0 and again.out.startswith("A: prefill 3+4, fork, block 2 @exact\nB: whole @exact\n")


def page_data(file):
    """What the page of a comparison has as data."""
    [found] = re.findall(r'<script type="application/json" id="trace">(.*?)</script>', file.read_text(), re.DOTALL)
    return json.loads(found)


def test_the_page_is_that_of_a_trace_with_the_difference(bisect, tmp_path):
    file, schedule = tmp_path / "page.html", "chunk 3, guess 1, fork, batch 1, block 2"
    assert bisect(f"{schedule} @plain", "int8 @plain", *SHORT, "--html", file).code == 1
    data = page_data(file)
    difference, passes = data["difference"], [line for line in data["lines"] if line["t"] == "pass"]
    about = dict(difference["first"]["about"])
    assert (
        about["operation"].startswith("layer 0, attention, element ") and "in 8 bits" in difference["first"]["meaning"]
    )
    assert len(difference["steps"]) == len(data["sentences"]) == len(passes) + 1 == 1 + 3 + 1 + 2 + 1
    assert difference["first"]["step"] == 1 and data["sentences"][1].endswith("The first difference is here.")
    assert data["sentences"][4] == "Wrong tokens run on purpose. Their results are not compared."
    assert [step["b"] for step in difference["steps"]] == [[], [0], [0], [0], [], [1], [], [2]]
    assert difference["passes"]["a"] == [[0, 3], [3, 3], [6, 1], [0, 0], [7, 1], [0, 0], [8, 1]]
    record = json.loads(bisect(f"{schedule} @plain", "int8 @plain", *SHORT, "--json").out)
    assert sum(step["results"] for step in difference["steps"]) == record["operations"]
    assert sum(step["different"] for step in difference["steps"]) == record["different"]
    assert [one["first"] for one in difference["largest"]].count(True) == 1
    assert "<title>Two runs of " in file.read_text()


def test_rows_of_the_page_are_what_ran(bisect, tmp_path):
    """Wrong tokens belong to no sequence; a fork is another one, and a sequence that was preempted runs again."""
    schedule = "chunk 3, guess 2, fork, decode 1, preempt, batch 1, block 2"
    assert bisect(f"{schedule} @exact", "exact", *SHORT, "--html", tmp_path / "p.html").code == 0
    rows = [line["rows"] for line in page_data(tmp_path / "p.html")["lines"] if line["t"] == "pass"]
    told = [[(row["id"], row["phase"], row["first"], row["count"]) for row in each] for each in rows]
    assert told == [
        [(0, "prefill", 0, 3), (1, "prefill", 0, 1)],
        [(0, "prefill", 3, 3), (1, "decode", 1, 1)],
        [(0, "prefill", 6, 1), (1, "decode", 2, 1)],
        [(None, "verify", 7, 2)],
        [(2, "decode", 7, 1), (1, "decode", 3, 1)],
        [(None, "decode", 7, 1)],
        [(2, "recompute", 0, 8), (1, "decode", 4, 1)],
        [(2, "decode", 8, 1), (1, "decode", 5, 1)],
    ]


def test_a_page_without_a_difference(bisect, tmp_path):
    file = tmp_path / "page.html"
    assert bisect("exact", "chunk 2 @exact", *SHORT, "--html", file).code == 0
    assert_refused(bisect("plain", "numpy", *SHORT, "--html", file), "page.html exists; add --force to overwrite it")
    assert bisect("naive, batch 2 @exact", "exact", *SHORT, "--html", file, "--force").code == 0
    data = page_data(file)
    assert data["difference"]["first"] is None and data["difference"]["largest"] == []
    assert data["sentences"][1].endswith(" results are equal.")


def test_engines_in_files_have_the_page_of_their_schedule_or_of_the_difference_alone(call, bisect, tmp_path, engine):
    file, minillms = tmp_path / "p.html", engine("right.py", ENGINE.format(wrong=""))
    assert bisect(f"chunk 3 @{minillms}", "exact", *SHORT, "--tolerance", 1, "--html", file).code == 0
    data = page_data(file)
    assert len(data["difference"]["steps"]) == 1 + 3 + 2
    assert data["difference"]["notes"][-1].startswith("The other views show the passes of A's schedule on minillm's")
    own = engine("<b>x.py", OWN.format(size=5, logits="len(cache)"))
    assert call("bisect", f"{own}", f"chunk 1 @{own}", "--tokens", "1", "--html", file, "--force").code == 0
    assert page_data(file)["lines"] == page_data(file)["difference"]["steps"] == []
    assert "<b>" not in file.read_text() and "<b>x.py" in page_data(file)["difference"]["sides"]["a"]


def test_the_report_is_printed_if_the_page_is_too_large(bisect, tmp_path, monkeypatch):
    monkeypatch.setattr("minillm.trace.page.LARGEST_PAGE", 1000)
    result = bisect("exact", "exact", *SHORT, "--html", tmp_path / "p.html")
    assert result.code == 2 and "equal to the bit" in result.out and "2 MB are the most" in result.err


def test_an_engine_in_a_file(bisect, engine):
    right = engine("right.py", ENGINE.format(wrong=""))
    result = bisect(f"chunk 2, truncate 3, fork @{right}", "minillm", *SHORT, "--tolerance", "1e-4")
    assert result.code == 0 and "only the logits of each pass can be compared" in " ".join(result.out.split())
    wrong = engine("wrong.py", ENGINE.format(wrong="+ (len(tokens) == 1 < len(cache))"))
    result = bisect("minillm", wrong, *SHORT, "--tolerance", "1e-4")
    text = " ".join(result.out.split())
    assert result.code == 1 and "position 7, " in text and "Structural: the difference is " in text
    assert "everything that was seen before it is equal within 0.0001" in text


def test_engines_of_one_file_are_named(bisect, engine):
    text = "from types import SimpleNamespace\ndef engines():\n"
    for name, wrong in (("right", 0), ("in prefill", 1)):
        text += f"    yield {name!r}, SimpleNamespace(VOCAB_SIZE=9, new_cache=list, prefill=Prefill({wrong}))\n"
    own = "class Prefill:\n    def __init__(self, wrong):\n        self.wrong = wrong\n"
    own += "    def __call__(self, tokens, cache):\n        cache.extend(tokens)\n"
    own += "        return [sum(cache) == token + self.wrong * (len(tokens) > 1) for token in range(9)]\n"
    file = engine("several.py", own + text)
    short = ("--tokens", "1,2", "--max-new-tokens", 2)
    assert bisect(f"{file}:right", f"chunk 1 @{file}:right", *short).code == 0
    result = bisect(f"{file}:right", f"{file}:in prefill", *short)
    assert result.code == 1 and "several.py:in prefill" in " ".join(result.out.split())
    known = f"expected one of {file}:right, {file}:in prefill"
    assert_refused(bisect(f"{file}:wrong", "plain", *short), f"{file} has no engine 'wrong'; {known}")
    assert_refused(bisect(file, "plain", *short), f"{file} has several engines; {known}")
    lone = engine("lone.py", OWN.format(size=5, logits="1"))
    assert_refused(bisect(f"{lone}:x", "plain", *short), f"{lone} has one engine, without a name; leave out :x")
    broken = engine("broken.py", "def engines():\n    return [1]\n")
    assert_refused(bisect(f"{broken}:x", "plain", *short), "broken.py does not load: TypeError: ")


def test_a_shipped_adapter_is_named_without_a_file(bisect):
    pytest.importorskip("transformers")
    result = bisect("transformers_llama:dynamic", "transformers_llama:static", *SHORT, "--tolerance", 1e-9)
    assert result.code == 0 and result.out.startswith("A: whole @transformers_llama:dynamic\n")


OPERATIONS_OF_CACHES = """
        def copy_prefix(self, cache, length):
            return cache[:length]
        def save(self, cache):
            return tuple(cache)
        def restore(self, state):
            return [*state, *EXTRA]
        def release(self, cache):
            cache[:] = [0, 0, 0]
    return Engine()
"""


def test_an_engine_in_a_file_can_copy_save_and_restore(bisect, engine):
    text = ENGINE.format(wrong="").replace("    return Engine()\n", OPERATIONS_OF_CACHES)
    schedule = "prefill 4, copy 2, swap, decode 3, preempt"
    right = engine("right.py", text.replace("*EXTRA", ""))
    assert bisect(f"{schedule} @{right}", "decode @minillm", *SHORT, "--tolerance", "1e-4").code == 0
    wrong = engine("wrong.py", text.replace("*EXTRA", "state[-1]"))
    assert "position 2, " in bisect(f"{schedule} @{wrong}", f"decode @{right}", *SHORT).out


ROOM = """
VOCAB_SIZE, CACHES = 5, 0
class Cache(list):
    def __init__(self, tokens=()):
        global CACHES
        super().__init__(tokens)
        CACHES += 1
        assert CACHES <= 2, "no room"
    def __del__(self):
        global CACHES
        CACHES -= 1
def new_cache():
    return Cache()
def save(cache):
    return Cache(cache)
restore = save
def prefill(tokens, cache):
    cache.extend(tokens)
    return [float(sum(cache) == token) for token in range(VOCAB_SIZE)]
"""


def test_caches_that_are_free_are_deleted(bisect, engine):
    """An engine without `release` has room for two."""
    room = engine("room.py", ROOM)
    result = bisect(f"prefill 1, swap, decode 1, swap, preempt, swap @{room}", f"naive @{room}", "--tokens", "1,2")
    assert result.code == 0, result.err


def test_two_engines_with_a_vocabulary_of_their_own(bisect, engine):
    one = engine("one.py", OWN.format(size=5, logits="float(sum(cache) == token)"))
    other = engine("other.py", OWN.format(size=5, logits="float(sum(cache) == token + 4 * (len(cache) > 2))"))
    result = bisect(one, f"chunk 1 @{other}", "--tokens", "1,2", "--max-new-tokens", 2)
    assert result.code == 1 and "position 2, token 3" in result.out and "a model of the engine's own" in result.out


def test_nan_on_both_sides_is_equal(bisect, engine):
    one = engine("one.py", OWN.format(size=5, logits="float('nan')"))
    assert bisect(one, f"chunk 1 @{one}", "--tokens", "1,2", "--max-new-tokens", 1).code == 0
    other = engine("other.py", OWN.format(size=5, logits="1.0"))
    record = json.loads(bisect(one, other, "--tokens", "1,2", "--max-new-tokens", 1, "--json").out)
    assert record["first"]["values"] == {"a": "nan", "b": 1.0} and record["first"]["relative"] == "inf"


MISTAKES = {
    "nothing": (["", "numpy"], "'' says nothing; expected a schedule, @ENGINE, or both"),
    "an unknown word": (["chunk 3, blok 4", "numpy"], "'blok' is not a word of a schedule; expected one of whole"),
    "an unknown first word": (["chnk 3", "numpy"], "'chnk' is not a word of a schedule; expected one of whole"),
    "no number": (
        ["chunk x", "numpy"],
        "minillm: 'chunk x' has a wrong number; expected up to 7 digits, such as chunk 5",
    ),
    "a long number": (["batch 999999999", "numpy"], "expected up to 7 digits, such as batch 5, or batch 5 @exact"),
    "no @": (
        ["chunk 3 exact", "numpy"],
        "'chunk 3 exact' has a wrong number; expected up to 7 digits, such as chunk 5, or chunk 5 @exact",
    ),
    "an unknown backend": (["whole @tpu", "numpy"], "'tpu' is not a backend, a schedule or a FILE.py"),
    "a missing file": (["no_such_engine.py", "numpy"], "No such file"),
    "a missing schedule": (["no_such.json", "numpy"], "No such file"),
    "a missing engine": (["no_such_engine.py:static", "numpy"], "No such file"),
    "swap without blocks": (["prefill 2, swap", "numpy"], "prefill 2, swap: swap moves blocks; add block 4"),
    "too many tokens": (["prefill 99", "numpy"], "prefill 99 runs more tokens than there are: 3 tokens of the prompt"),
    "a long prompt": (["plain", "plain", "--tokens", ",".join(["1"] * 127)], "more than the model's context of 128"),
    "a long text": (["plain", "plain", "--prompt", "a" * 200], "more than the model's context of 128"),
    "an empty prompt": (["plain", "plain", "--prompt", ""], "the prompt is empty"),
    "no token": (["plain", "plain", "--tokens", ""], "--tokens is ''; expected token ids such as 5,6,7"),
    "a token too large": (["plain", "plain", "--tokens", "99999"], "expected token ids from 0 to"),
    "two prompts": (["plain", "plain", "--tokens", "1", "--prompt", "a"], "expected one of them"),
    "a negative tolerance": (["plain", "plain", "--tolerance", "-1"], "--tolerance is -1.0; expected a number of"),
    "NaN tolerance": (["plain", "plain", "--tolerance", "nan"], "--tolerance is nan; expected a number"),
    "no new token": (["plain", "plain", "--max-new-tokens", 0], "--max-new-tokens is 0; expected an integer"),
    "no folder": (["plain", "plain", "--save", "no/a.json", "no/b.json"], "--save: there is no folder"),
    "not UTF-8": (["plain", "plain", "--prompt", "\udcff"], "--prompt: expected text in UTF-8"),
}


@pytest.mark.parametrize("arguments, said", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_line(call, model_folder, arguments, said, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    prompt = () if {"--prompt", "--tokens"} & set(map(str, arguments)) else ("--prompt", "abc abc")
    assert_refused(call("bisect", *arguments, *prompt, "--model", model_folder), said)


REFUSES = "def unsupported():\n    raise NotImplementedError('too long')\n"
CRASHES = "import os, signal\ndef crash():\n    os.kill(os.getpid(), signal.SIGSEGV)\n"
HANGS = "import time\nCALL_SECONDS = 0.5\n"
ENGINES = {
    "no function": ("VOCAB_SIZE = 9", "expected make_engine(config, weights), or the functions and a VOCAB_SIZE"),
    "no cache": ("VOCAB_SIZE = 9\ngenerate = print", "new_cache is missing; expected new_cache and prefill"),
    "no vocabulary": ("new_cache = prefill = print", "VOCAB_SIZE is missing; expected the number of token ids"),
    "a slip": ("def new_cache(:", "does not load: SyntaxError"),
    "an exit": ("raise SystemExit(0)", "does not load: SystemExit"),
    "another vocabulary": (OWN.format(size=5, logits="1"), "has a vocabulary of 5 tokens and plain one of"),
    "a failure": (ENGINE.format(wrong="/ 0 + nonsense"), "prefill: NameError: name 'nonsense' is not defined"),
    "one logit": (ENGINE.format(wrong="[:1]"), "returned logits of shape [1, 1]; expected [1, "),
    "a refusal": (OWN.format(size=261, logits="unsupported()") + REFUSES, "prefill: the engine refuses this: too long"),
    "a crash": (OWN.format(size=261, logits="crash()") + CRASHES, "prefill: its process ended with signal SIGSEGV"),
    "an end": (
        OWN.format(size=261, logits="os._exit(0)") + "import os",
        "prefill: its process ended with exit status 0",
    ),
    "a hang": (OWN.format(size=261, logits="time.sleep(60)") + HANGS, "prefill: no result within 0.5 seconds"),
    "a text": (ENGINE.format(wrong="and 'x'").replace("[-1]", "[-1].all()"), "its logits: ValueError"),
}


@pytest.mark.parametrize("text, said", ENGINES.values(), ids=ENGINES)
def test_a_wrong_engine_is_one_line(bisect, engine, text, said):
    assert_refused(bisect(engine("mine.py", text), "plain", *SHORT), said)


@pytest.mark.parametrize(
    "schedule, said",
    [
        ("batch 2", "has no batch"),
        ("block 2", "block is a setting of minillm"),
        ("prefill 2, swap", "has no save"),
        ("prefill 2, copy 1", "has no copy_prefix"),
    ],
)
def test_what_an_engine_in_a_file_cannot_do(bisect, engine, schedule, said):
    assert_refused(bisect(f"{schedule} @{engine('mine.py', ENGINE.format(wrong=''))}", "plain", *SHORT), said)


def test_ctrl_c_ends_it(spawn, engine, tmp_path):
    slow = (
        f"import pathlib, time\nVOCAB_SIZE = 9\nnew_cache = list\nbegun = pathlib.Path({str(tmp_path)!r}) / 'begun'\n"
    )
    slow += "import subprocess\ndef prefill(tokens, cache):\n    started = subprocess.Popen(['sleep', '60'])\n"
    slow += "    begun.with_name('numbers').write_text(f'{os.getpid()} {started.pid}')\n"
    slow += "    begun.touch()\n    time.sleep(60)\nimport os\n"
    child = spawn("bisect", engine("slow.py", slow), str(tmp_path / "slow.py"), "--tokens", "1,2")
    until = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < until and child.poll() is None
        time.sleep(0.05)
    assert interrupted(child) == (130, b"", b"\n")
    numbers = [int(number) for number in (tmp_path / "numbers").read_text().split()]
    while any(is_running(number) for number in numbers):  # the engine's process, and what it has started
        assert time.monotonic() < until
        time.sleep(0.05)


def is_running(number):
    """Whether a process runs; one that has ended and is still listed does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(number)], capture_output=True, text=True).stdout.strip()
    return state != "" and not state.startswith("Z")


@pytest.fixture
def checkout(tmp_path):
    """A repository with two commits of minillm: the second one adds an offset to RoPE in decode."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    for folder in ("minillm", "weights"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "smollm2*"))
    git = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q"], check=True)
    ragged = tmp_path / "minillm" / "ragged_batch.py"
    old = "np.arange(c.length, c.length + len(t))"
    assert old in ragged.read_text()
    for change in (lambda text: text, lambda text: text.replace(old, f"{old} + (len(t) == 1)")):
        ragged.write_text(change(ragged.read_text()))
        subprocess.run([*git, "add", "-A"], check=True)
        subprocess.run([*git, "commit", "-qm", "a change"], check=True)
    return tmp_path


@pytest.mark.slow
def test_two_commits(call, checkout, monkeypatch):
    monkeypatch.chdir(checkout / "minillm")
    result = call("bisect", "HEAD~1", "HEAD", "--backend", "exact", "--prompt", "The sky is", "--json")
    record = json.loads(result.out)
    first = record["first"]
    assert (result.code, first["layer"], first["operation"]) == (1, 0, "rotated query")
    assert first["position"] == record["prompt_tokens"]
    assert first["source"]["a"]["called"].startswith("minillm/transformer.py:")
    assert call("bisect", "chunk 2 @HEAD~1", "prefill 3, block 2 @HEAD~1", "--backend", "exact").code == 0
    assert_refused(call("bisect", "prefill 99 @HEAD", "HEAD"), "prefill 99 runs more tokens than there are")
    assert_refused(call("bisect", "no-such-commit", "HEAD"), "this repository has no such commit")
    (checkout / "minillm" / "transformer.py").write_text("import no_such_module\n")
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "-qam", "broken"], check=True)
    assert_refused(call("bisect", "HEAD", "HEAD~1"), "No module named 'no_such_module'; it is broken, or older")


def test_a_commit_outside_a_checkout(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert_refused(call("bisect", "HEAD~3", "HEAD"), "for a commit, be in a git checkout of minillm")
