"""Tokenizers that ask for time or memory: each is refused in one line, soon, and the next one works."""

import base64
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest
import tokenizers
from tiny_folder import write_folder, write_json
from tiny_tokenizer import SPECIAL, definition, normalizers, replace, with_added, with_model

from minillm.text import tokenizer_sandbox
from minillm.text.child_process import ChildProcess
from minillm.text.tokenizer import Tokenizer

AB = definition()["model"]["vocab"]["ab"]
TESTS = Path(__file__).parents[1]


@pytest.fixture
def quick(monkeypatch):
    """Limits that are reached soon, and that are enough for tokenizers of tests."""
    monkeypatch.setattr(tokenizer_sandbox, "SECONDS", 1)
    monkeypatch.setattr(tokenizer_sandbox, "MEMORY_BYTES", 100_000_000)


def in_own_process(code: str, *arguments: object) -> subprocess.CompletedProcess:
    """The result of a program that can import minillm and the helpers of tests."""
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    environment = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, env=environment, timeout=120, capture_output=True, text=True)


def used(values: dict, text: str) -> str:
    """Load, encode and decode. Return "" if all of it works, else the one line of the refusal."""
    try:
        tokenizer = Tokenizer(json.dumps(values).encode())
        tokenizer.decode(tokenizer.encode(text))
        tokenizer.decode(tokenizer.encode_with_special(text))
        tokenizer.decode(range(tokenizer.vocab_size))
    except ValueError as problem:
        message = str(problem)
        assert message.startswith("tokenizer.json: not usable as a tokenizer: ") and "\n" not in message
        return message
    return ""


def split(pattern: str) -> dict:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def pretokenizers(*steps: dict) -> dict:
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": list(steps)}}


def decoders(*steps: dict) -> dict:
    return {"decoder": {"type": "Sequence", "decoders": list(steps)}}


def template(*parts: str, ids: int = 1) -> dict:
    """Return a post-processor whose special token stands for `ids` ids."""
    kinds = [{"Sequence" if part == "A" else "SpecialToken": {"id": part, "type_id": 0}} for part in parts]
    special = {SPECIAL[0]: {"id": SPECIAL[0], "ids": [0] * ids, "tokens": ["a"] * ids}}
    return {"type": "TemplateProcessing", "single": kinds, "pair": kinds, "special_tokens": special}


def unigram(*vocabulary: tuple[str, float]) -> dict:
    model = {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], *vocabulary], "byte_fallback": False}
    return {"model": model, "added_tokens": [], "pre_tokenizer": None}


def unfolding(form: str, letter: str) -> dict:
    """Return 31 pairs of steps: each makes a ligature of a letter, and 18 letters of the ligature."""
    return normalizers(*[replace("a", "ﷺ"), {"type": form}], *[replace(letter, "ﷺ"), {"type": form}] * 30)


DOUBLE = replace("a", "aa")
BYTE_LEVEL = definition()["pre_tokenizer"]
METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
CHINESE = {"type": "BertNormalizer", "clean_text": False, "handle_chinese_chars": True, "strip_accents": None,
           "lowercase": False}  # fmt: skip
CTC = {"type": "CTC", "pad_token": "p", "word_delimiter_token": "", "cleanup": True}
TABLE = base64.b64encode(bytes(4) + b"x" * 300).decode()
HOSTILE = "a" * 2_000 + " 的" * 200
BOMBS = {
    "letters that double and double": (normalizers(*[DOUBLE] * 40), "a"),
    "letters in letters": (normalizers(*[replace("a", "a" * 2000)] * 99), "a"),
    "by a pattern": (normalizers(*[replace("a", "a" * 2000) | {"pattern": {"Regex": "."}}] * 5), "a"),
    "between any two letters": (normalizers(*[replace("", "a") | {"pattern": {"Regex": ""}}] * 40), "a"),
    "unfolded by NFKD": (unfolding("NFKD", "ل"), "a"),
    "unfolded by NFKC": (unfolding("NFKC", "ل"), "a"),
    "unfolded by NFD": (normalizers(*[replace("a", "ΐ"), {"type": "NFD"}, replace("\u0308", "aaaaaaaaa")] * 12), "a"),
    "unfolded by Lowercase": (
        normalizers(*[replace("a", "İİİİ"), {"type": "Lowercase"}, replace("\u0307", "aaaa")] * 12), "a"),
    "before each text": (normalizers(*[{"type": "Prepend", "prepend": "a" * 100_000}] * 50), "a"),
    "by a table": (normalizers(*[{"type": "Precompiled", "precompiled_charsmap": TABLE}] * 20), "a"),
    "a table of four gigabytes": (normalizers({"type": "Precompiled", "precompiled_charsmap": "/////w=="}), "a"),
    "bytes of bytes of bytes": (pretokenizers(*[BYTE_LEVEL] * 40), "é"),
    "before each piece": (pretokenizers(*[METASPACE, split("")] * 40), "aaa"),
    "after each word": (with_model(end_of_word_suffix="x" * 5_000_000), "a"),
    "within each word": (with_model(continuing_subword_prefix="x" * 5_000_000), "aaaa"),
    "on the way out": (decoders(*[DOUBLE] * 40), "a"),
    "between letters on the way out": (decoders(*[{"type": "BPEDecoder", "suffix": ""}] * 40), "a"),
    "between them another way": (decoders(*[CTC] * 40), "a"),
    "a pattern on the way out": (decoders(*[replace("", "") | {"pattern": {"Regex": "(?:(?:.|.)+)+,"}}]), HOSTILE),
    "a text 20,000 times": ({"post_processor": template(*["A"] * 20_000)}, "a"),
    "20,000 ids for one special token": ({"post_processor": template("A", SPECIAL[0], ids=20_000)}, "a"),
    "exponential time": (pretokenizers(split(r"(?:(?:.|.){22}[^\s\S]|.)")), HOSTILE),
    "the same in a normalizer": (normalizers(replace("", "") | {"pattern": {"Regex": "(?:(?:.|.){22}[^\\s\\S]|.)"}}),
                                 HOSTILE),
    "the same where a letter is": (pretokenizers(split(r"的(?:(?:.|.){30})[^\s\S]|.")), HOSTILE + "a" * 50),
    "time that grows with the cube": (pretokenizers(split(r"a*a*a*b")), HOSTILE),
    "a pattern of gigabytes": (pretokenizers(split(r"(?:(?:(?:\p{L}{1000}){1000}){1000})")), HOSTILE),
    "patterns of gigabytes": (pretokenizers(*[split(r"\p{L}" * 3000)] * 10), HOSTILE),
    "nested in depth": (pretokenizers(split("(?:" * 100_000 + "a" + ")" * 100_000)), HOSTILE),
    "added tokens that are long books": (
        {"added_tokens": [definition()["added_tokens"][0] | {"content": "ab" * 5_000_000}]}, "a"),
    "added tokens that grow": (
        normalizers(*[DOUBLE] * 40)
        | {"added_tokens": [definition()["added_tokens"][0] | {"content": "a", "normalized": True}]}, "a"),
    "long words of an Unigram model": (unigram(("a" * 50_000, -1.0)), "a" * 100_000),
    "long words of a WordPiece model": (
        {"model": {"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##",
                   "max_input_chars_per_word": 10**9, "vocab": {"a": 0}}, "added_tokens": [], "pre_tokenizer": None},
        "b" * 30_000),
}  # fmt: skip


AT_ONCE = ["unfolded by NFKD", "exponential time", "a table of four gigabytes", "nested in depth"]  # in plain pytest


@pytest.mark.parametrize("case", [pytest.param(n, marks=[] if n in AT_ONCE else pytest.mark.slow) for n in BOMBS])
def test_a_tokenizer_that_asks_for_time_or_memory_is_refused(case, quick):
    """Most are refused. Where the library is quick after all, it may answer."""
    changes, text = BOMBS[case]
    used(definition() | changes, text)
    assert used(definition(), "abc") == ""


def test_the_line_says_which_limit_was_reached(quick):
    assert "needs more than 100 MB of memory" in used(definition() | BOMBS["unfolded by NFKD"][0], "a")
    tokenizer = Tokenizer(json.dumps(definition() | BOMBS["exponential time"][0]).encode())
    with pytest.raises(ValueError, match="needs more than 1 second of processor time"):
        tokenizer.encode(HOSTILE)
    assert tokenizer.decode(tokenizer.encode("ab")) == "ab"  # read again, by another process


def test_more_tokenizers_than_the_process_keeps():
    """The first makes room, and is read again when it is used again."""
    words = [f"word{number}" for number in range(7)]
    readers = [Tokenizer(json.dumps(definition() | with_added(word)).encode()) for word in words]
    for _ in range(2):
        for word, tokenizer in zip(words, readers, strict=True):
            assert [len(tokenizer.encode(other)) == 1 for other in words] == [other == word for other in words]


def test_ctrl_c_is_heard_while_a_text_is_encoded():
    def interrupt(*_):
        raise KeyboardInterrupt

    tokenizer = Tokenizer(json.dumps(definition() | BOMBS["exponential time"][0]).encode())
    ids, began = tokenizer.encode("ab"), monotonic()
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            tokenizer.encode(HOSTILE)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert monotonic() - began < 60  # seconds; it would encode for 2 minutes
    assert tokenizer.encode("ab") == ids


def test_a_channel_that_an_interrupt_left_closed_is_replaced():
    tokenizer = Tokenizer(json.dumps(definition()).encode())
    ids = tokenizer.encode("ab")
    tokenizer_sandbox.PROCESS._channel.close()
    assert tokenizer.encode("ab") == ids


def killed_while_it_answers(monkeypatch, times: int) -> Tokenizer:
    """Return a tokenizer whose process gets a signal after each of the next requests, before it answers them."""
    tokenizer, runs, left = Tokenizer(json.dumps(definition()).encode()), ChildProcess._runs, [times]

    def kill(process: ChildProcess) -> bool:
        if runs(process) and left[0]:
            left[0] -= 1
            os.kill(process._process.pid, signal.SIGKILL)
            return True
        if left[0] and left[0] < times:
            process._start()
            return kill(process)
        return runs(process)

    monkeypatch.setattr(ChildProcess, "_runs", kill)
    return tokenizer


def test_a_request_during_which_the_process_is_killed_is_repeated(monkeypatch):
    assert killed_while_it_answers(monkeypatch, 1).encode("ab") == [AB]


def test_a_process_that_is_killed_twice_is_not_the_fault_of_the_tokenizer(monkeypatch):
    tokenizer = killed_while_it_answers(monkeypatch, 2)
    with pytest.raises(OSError, match=r"^the child process that .* need was killed \(signal 9\)$"):
        tokenizer.encode("ab")
    assert tokenizer.encode("ab") == [AB]


def test_an_installed_module_of_the_same_name_is_not_taken_for_ours(tmp_path):
    (tmp_path / "encoder.py").write_text("raise SystemExit('not ours')")
    (tmp_path / "other_library").mkdir()
    (tmp_path / "other_library" / "__init__.py").write_text("")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
from minillm.text import tokenizer_sandbox
tokenizer_sandbox.PROCESS._packages = ("other_library", "tokenizers")
from tiny_tokenizer import tiny_tokenizer
print(tiny_tokenizer().encode("ab"))
"""
    done = in_own_process(code)
    assert (done.stdout, done.stderr) == (f"[{AB}]\n", "")


EXHAUSTED = """
import resource, sys
from minillm.cli.main import run
from minillm.text.child_process import ChildProcess
launch = ChildProcess._launch
def exhausted(process):
    resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))
    launch(process)
ChildProcess._launch = exhausted
sys.exit(run(["generate", "--model", sys.argv[1], "ab"]))
"""


def test_a_process_without_free_files_is_not_the_fault_of_the_tokenizer(tmp_path):
    done = in_own_process(EXHAUSTED, write_folder(tmp_path))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "need cannot be started: Too many open files" in done.stderr


@pytest.mark.parametrize("problem", [BlockingIOError(11, "No more processes"), RuntimeError("No more processes")])
def test_a_machine_without_processes_or_threads_is_not_the_fault_of_the_tokenizer(problem, monkeypatch):
    def fail(*_, **__):
        raise problem

    tokenizer_sandbox.PROCESS.close()
    monkeypatch.setattr(subprocess, "Popen", fail)
    with pytest.raises(OSError, match=r"^the child process that .* need cannot be started: No more processes$"):
        Tokenizer(json.dumps(definition()).encode())


UNUSUAL_DECODERS = {
    "none": {"decoder": None}, "a pattern": decoders(BYTE_LEVEL, replace("", "") | {"pattern": {"Regex": "b+"}}),
    "growth": decoders(BYTE_LEVEL, replace("a", "xyz")),
    "of words": {"decoder": {"type": "WordPiece", "prefix": "b", "cleanup": True}},
    "at the end": decoders(BYTE_LEVEL, {"type": "Strip", "content": "a", "start": 0, "stop": 1}),
    "many steps": decoders(*[BYTE_LEVEL] * 11),
}  # fmt: skip


@pytest.mark.parametrize("case", UNUSUAL_DECODERS)
def test_an_unusual_decoder_decodes_as_the_library_does(case):
    text = json.dumps(definition() | UNUSUAL_DECODERS[case])
    tokenizer, library = Tokenizer(text.encode()), tokenizers.Tokenizer.from_str(text)
    for ids in ([0, 70, 71, 1], tokenizer.encode("ab bab aa é")):  # the library fails if it strips no text
        for skip in (True, False):
            assert tokenizer.decode(ids, skip) == library.decode(ids, skip)


def random_pattern(chance: random.Random, depth: int = 3) -> str:
    """Return a pattern in which repeats and alternatives are nested at random."""
    if not depth:
        return chance.choice([".", "a", r"\s", r"[^\s\S]", r"\p{L}", "(?=a).", "(?!b).", "的"])
    inner = [random_pattern(chance, depth - 1) for _ in range(chance.randrange(1, 4))]
    joined = chance.choice(["", "|"]).join(inner)
    return f"(?:{joined})" + chance.choice(["", "*", "+", "?", "{2,9}", "{30}", "*?"])


def random_steps(chance: random.Random) -> dict:
    """Return the changes of a definition: steps drawn at random, in any number and order."""
    regex = {"Regex": random_pattern(chance)}
    letters = "a" * chance.choice([1, 100, 10_000])
    before = [DOUBLE, replace("a", letters), replace("", letters) | {"pattern": regex}, CHINESE,
              {"type": chance.choice(["NFKD", "NFKC", "NFD", "NFC", "Lowercase", "StripAccents", "Nmt"])},
              {"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Prepend", "prepend": letters},
              replace(chance.choice("aeل "), chance.choice(["ﷺ", "ΐ", "İ", letters]))]  # fmt: skip
    cut = [BYTE_LEVEL, METASPACE, split(regex["Regex"]), {"type": "Digits", "individual_digits": True},
           {"type": "Punctuation", "behavior": "Isolated"},
           {"type": "FixedLength", "length": chance.choice([1, 10**9])},
           {"type": "CharDelimiterSplit", "delimiter": "a"}, {"type": "UnicodeScripts"}]  # fmt: skip
    out = [BYTE_LEVEL, DOUBLE, CTC, {"type": "BPEDecoder", "suffix": chance.choice(["", "a"])}, {"type": "Fuse"},
           {"type": "Strip", "content": "a", "start": 10**9, "stop": chance.choice([0, 10**9])},
           {"type": "ByteFallback"}, replace("", letters) | {"pattern": regex}, METASPACE]  # fmt: skip

    def some(steps: list[dict]) -> list[dict]:
        return [chance.choice(steps) for _ in range(chance.choice([1, 2, 4, 40]))]

    added = [definition()["added_tokens"][0] | {"content": letters, "normalized": chance.random() < 0.5,
             "single_word": chance.random() < 0.5, "lstrip": chance.random() < 0.5}]  # fmt: skip
    around = template(*["A", SPECIAL[0]] * chance.choice([1, 1000]), ids=chance.choice([1, 1000]))
    changes = normalizers(*some(before)) | pretokenizers(*some(cut)) | decoders(*some(out))
    changes |= {"post_processor": around, "added_tokens": added}
    return {name: changes[name] for name in changes if chance.random() < 0.6}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_a_random_tokenizer_takes_little_time_and_memory(seed, quick):
    chance = random.Random(seed)
    changes, text = random_steps(chance), "".join(chance.choices(["a", " ", "的", "ﷺ", "b\n", "é"], k=2_000))
    used(definition() | changes, chance.choice([text, "a" * 5_000, "a的" * 2_500]))
    assert used(definition(), "abc") == ""


UNDER_A_LIMIT = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000,) * 2)
import minillm
try:
    minillm.generate(minillm.load(sys.argv[1]), "hello", 3)
except ValueError as problem:
    print(problem)
"""


@pytest.mark.parametrize("form", ["NFKD", pytest.param("NFKC", marks=pytest.mark.slow)])
def test_a_process_with_four_gigabytes_survives_a_folder_with_a_bomb(form, tmp_path):
    folder = write_folder(tmp_path)
    write_json(folder / "tokenizer.json", definition() | unfolding(form, "ل"))
    done = in_own_process(UNDER_A_LIMIT, folder)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert done.stdout.startswith("tokenizer.json: not usable as a tokenizer: it needs more than 1000 MB of memory")
