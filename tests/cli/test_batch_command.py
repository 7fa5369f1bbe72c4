"""`minillm batch`: a file of prompts in, a file of answers out, through interrupts and invalid lines."""

import json
import signal
import time

import pytest

PROMPTS = [
    {"prompt": "hello", "max_new_tokens": 7, "id": "first"},
    {"prompt": "abc", "temperature": 1.0, "seed": 4, "ignore_eos": True},
    {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hello"}], "max_new_tokens": 3},
    {"prompt": "abcabc", "temperature": 1.0, "seed": 5, "top_k": 5, "stop": ["q", "z"], "max_new_tokens": 12},
    {"prompt": "hello", "max_new_tokens": 7},
]
DEFAULTS = ("--max-new-tokens", 8)


@pytest.fixture
def files(tmp_path):
    """The file of prompts, and where the answers go."""
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(prompt) + "\n" for prompt in PROMPTS))
    return tmp_path / "prompts.jsonl", tmp_path / "answers.jsonl"


@pytest.fixture
def batch(call, model_folder, files):
    def run(*arguments, model=model_folder):
        return call("batch", files[0], "--out", files[1], "--model", model, *DEFAULTS, *arguments)

    return run


def answers(path):
    """By line; each is there once."""
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({answer["line"] for answer in found}) == len(found)
    return {answer["line"]: answer for answer in found}


def test_each_answer_is_what_generate_gives(batch, call, model_folder, files):
    result = batch()
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(f"5 answers written to {files[1]}; 0 already there\n")
    found = answers(files[1])
    for number in (1, 2, 4):
        line = PROMPTS[number - 1]
        options = [part for name in ("max_new_tokens", "temperature", "seed", "top_k") if name in line
                   for part in (f"--{name.replace('_', '-')}", line[name])]  # fmt: skip
        options += [part for stop in line.get("stop", []) for part in ("--stop", stop)]
        options += ["--ignore-eos"] * line.get("ignore_eos", False)
        alone = json.loads(call("generate", line["prompt"], "--model", model_folder, "--json", *DEFAULTS, *options).out)
        shared = ("prompt", "prompt_tokens", "tokens", "text", "finish_reason", "model")
        assert {key: found[number][key] for key in shared} == {key: alone[key] for key in shared}
    assert (found[1]["id"], found[2]["id"]) == ("first", None)
    assert found[3]["prompt"] == PROMPTS[2]["messages"] and len(found[3]["tokens"]) == 3
    assert found[5]["tokens"] == found[1]["tokens"]


def test_lines_of_openai_are_answered_by_the_model_of_the_command(batch, call, model_folder, files):
    """Content in parts, another model's name, null, log-probabilities; --raw texts by token ids."""
    parts = [{"type": "text", "text": "hello"}]
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": parts}], "max_tokens": 3, "temperature": None}
    lines = [
        {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": body | {"logprobs": True}},
        {"prompt": "hello", "max_tokens": 3, "logprobs": 2},
        {"prompt": "", "max_tokens": 3},
    ]
    files[0].write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = batch()
    assert result.err.splitlines() == [
        f"minillm: warning: lines ask for gpt-4o; all are answered by {model_folder}",
        f"minillm: {files[0]} line 3: the prompt is empty, and the tokenizer has no BOS to begin with; "
        "expected some text",
    ]
    found = answers(files[1])
    assert found[1]["id"] == "a" and found[1]["tokens"] == found[2]["tokens"]
    assert [len(found[number]["logprobs"][0]["best"]) for number in (1, 2)] == [0, 2]
    alone = call("generate", "hello", "--model", model_folder, "--json", "--max-new-tokens", 3, "--logprobs", 2)
    assert found[2]["logprobs"] == json.loads(alone.out)["logprobs"]
    assert batch().out.startswith("0 answers written")


def test_raw_leaves_the_template_out(batch, files):
    batch("--raw")
    assert answers(files[1])[1]["prompt_tokens"] == len("hello")


def test_the_same_command_again_changes_nothing(batch, files):
    batch()
    before = files[1].read_bytes()
    result = batch("--json")
    assert files[1].read_bytes() == before
    assert (json.loads(result.out)["answered"], json.loads(result.out)["answered_before"]) == (0, 5)


def test_from_any_torn_file_it_goes_on_to_the_same_answers(batch, files):
    batch()
    whole = files[1].read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    for cut in (5, ends[0] - 1, ends[2] + 40):  # all others: see test_answers
        files[1].write_bytes(whole[:cut])
        assert batch().code == 0
        assert sorted(files[1].read_bytes().splitlines()) == sorted(whole.splitlines())


def test_lines_added_later_are_answered_later(batch, files):
    batch()
    with files[0].open("a") as file:
        file.write('{"prompt": "more"}')
    assert "1 answer written" in batch().out
    assert answers(files[1])[6]["prompt"] == "more"


def wait_for_answers(child, path, count):
    until = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < until and child.poll() is None
        time.sleep(0.01)


@pytest.fixture
def long_batch(spawn, endless_model_folder, tmp_path):
    """A batch of 30 answers, one after another finished, stopped by a signal when a few are there."""
    prompts, out = tmp_path / "long.jsonl", tmp_path / "out.jsonl"
    lines = [{"prompt": f"prompt {n}", "max_new_tokens": 4 * n, "temperature": 1, "seed": n} for n in range(1, 31)]
    prompts.write_text("\n".join(map(json.dumps, lines)))
    command = ("batch", prompts, "--out", out, "--model", endless_model_folder, "--ignore-eos")

    def stop(sent, count):
        child = spawn(*command)
        wait_for_answers(child, out, count)
        child.send_signal(sent)
        said = child.communicate(timeout=60)
        return child.returncode, *said

    return command, out, stop


KILLS = ((2, signal.SIGKILL), (3, signal.SIGTERM), (5, signal.SIGHUP), (6, signal.SIGINT))


@pytest.mark.parametrize("kills", [KILLS[:1], pytest.param(KILLS, marks=pytest.mark.slow)], ids=["once", "four times"])
def test_killed_it_loses_and_repeats_nothing(long_batch, finish, kills):
    command, out, stop = long_batch
    for count, sent in kills:
        assert stop(sent, count)[0] in (-sent, 128 + sent)
    before = [line for line in out.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    assert kills[-1][0] <= len(before) < 30
    assert finish(*command).code == 0
    after = out.read_bytes().splitlines(keepends=True)
    assert after[: len(before)] == before
    resumed = answers(out)
    assert sorted(resumed) == list(range(1, 31))
    out.unlink()
    assert finish(*command).code == 0
    assert answers(out) == resumed


def test_ctrl_c_leaves_whole_lines_and_says_how_to_go_on(long_batch):
    _, out, stop = long_batch
    code, said, complained = stop(signal.SIGINT, 3)
    there = len(answers(out))
    assert out.read_bytes().endswith(b"\n") and 3 <= there < 30
    assert (code, said) == (130, b"")
    assert complained.decode() == f"minillm: {there} of 30 answers are written; run it again to resume\n"


@pytest.mark.parametrize(
    ("extra", "prompts", "expected"),
    [
        (["--seed", "3"], PROMPTS, "for another version or setting; pass another --out"),
        (["--raw"], PROMPTS, "for another version or setting; pass another --out"),
        (["--dtype", "float64"], PROMPTS, "for another version or setting; pass another --out"),
        (["--weights", "stored"], PROMPTS, "for another version or setting; pass another --out"),
        ([], [{"prompt": "other"}, *PROMPTS[1:]], "answers line 1 for another prompt"),
        ([], PROMPTS[:2], "where no prompt is now"),
    ],
)
def test_answers_of_another_run_are_not_mixed_up_with_these(batch, files, extra, prompts, expected):
    batch()
    before = files[1].read_bytes()
    files[0].write_text("\n".join(map(json.dumps, prompts)))
    result = batch(*extra)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err and result.err.count("\n") == 1
    assert files[1].read_bytes() == before


def test_answers_of_another_model_are_not_mixed_up_with_these(batch, files, raw_model_folder):
    batch()
    result = batch(model=raw_model_folder)
    assert result.code == 2 and "for another model; pass another --out" in result.err


def test_bad_lines_are_told_by_number_and_the_others_answered(finish, model_folder, tmp_path):
    bad = ["hello", '{"prompt": "\udcff"}', '{"prompt": "a", "ignore_eos": 1}', '{"prompt": "a", "temperature": "hot"}',
           '{"prompt": "\\ud800"}',
           json.dumps({"prompt": "b" * 200}), '{"prompt": "a", "top_k": true}']  # fmt: skip
    lines = ['{"prompt": "ok"}', *bad, "", '{"prompt": "ok"}']
    out = tmp_path / "out.jsonl"
    command = ("batch", "-", "--out", out, "--model", model_folder, "--max-new-tokens", 2)
    result = finish(*command, input="\n".join(lines).encode(errors="surrogateescape"))
    assert result.code == 2
    assert result.out.startswith("2 answers written") and result.out.endswith("7 lines could not be answered\n")
    said = result.err.splitlines()
    reasons = [
        "not valid JSON: ",
        "expected text in UTF-8",
        "ignore_eos is 1",
        "temperature is 'hot'",
        "top_k is True",
        "half a surrogate",
        "context of 128",
    ]
    for reason, number in zip(reasons, (2, 3, 4, 5, 8, 6, 7), strict=True):
        assert any(line.startswith(f"minillm: standard input line {number}: ") and reason in line for line in said)
    assert len(said) == 7 and sorted(answers(out)) == [1, 10]
    assert "minillm: standard input line 3: expected text in UTF-8" in said
    assert "the line:" not in result.err
    lines[1] = '{"prompt": "mended"}'
    assert finish(*command, input="\n".join(lines).encode(errors="surrogateescape")).out.startswith("1 answer written")
    assert sorted(answers(out)) == [1, 2, 10]


def test_of_very_many_bad_lines_the_first_are_told(batch, files):
    files[0].write_text("no\n" * 1000 + '{"prompt": "ok"}')
    result = batch("--json")
    assert result.err.count("\n") == 21 and "more lines cannot be answered" in result.err
    assert len(json.loads(result.out)["bad_lines"]) == 1000


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["p"], "expected --out FILE for the answers, or --compare"),
        (["p", "--out", "p"], "is the file of prompts; expected another"),
        (["p", "--out", "o", "--compare"], "leave out --out"),
        (["p", "--out", "o", "--max-new-tokens", "0"], "--max-new-tokens is 0; expected"),
        (["p", "--compare", "--batch-size", "0"], "--batch-size is 0; expected"),
        (["p", "--out", "o", "--batch-size", "4"], "--batch-size belongs to --compare; leave it out"),
        (["nothing", "--out", "o"], "minillm: there is no file nothing\n"),
        (["empty", "--out", "o"], "empty has no lines; expected at least one prompt"),
        (["p", "--out", "nowhere/o"], "--out: there is no folder "),
        (["p", "--out", "o", "--top-p", "2"], "top_p is 2.0; expected"),
    ],
)
def test_wrong_use_is_one_line(call, model_folder, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p").write_text('{"prompt": "a"}\n')
    (tmp_path / "empty").write_text("\n")
    result = call("batch", *arguments, "--model", model_folder)
    assert (result.code, result.out) == (2, "")
    assert expected in result.err and result.err.count("\n") == 1
    assert (tmp_path / "p").read_text() == '{"prompt": "a"}\n'


@pytest.fixture
def compare(call, model_folder, files):
    return lambda *extra: call("batch", files[0], "--compare", "--model", model_folder, *DEFAULTS, *extra)


def test_compare_as_json(compare):
    found = json.loads(compare("--json", "--batch-size", 2).out, parse_constant=pytest.fail)
    assert (found["requests"], found["same_tokens"], found["batch_size"]) == (5, True, 2)
    naive, static, continuous = (found[name] for name in ("naive", "static", "continuous"))
    assert naive["steps"] == naive["new_tokens"] == static["new_tokens"] == continuous["new_tokens"]
    assert naive["steps"] > static["steps"] > continuous["steps"]
    assert continuous["mean_latency_steps"] < static["mean_latency_steps"] < naive["mean_latency_steps"]
    assert naive["block_utilisation"] is None
    assert 0 < static["block_utilisation"] < 1 and 0 < continuous["block_utilisation"] < 1
    for run in (naive, static, continuous):
        assert 0 < run["mean_latency_s"] <= run["p95_latency_s"] <= run["seconds"]
        assert run["tokens_per_s"] == pytest.approx(run["new_tokens"] / run["seconds"])


def test_compare_as_a_table(compare, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    out = compare().out
    assert all(len(line) <= 80 for line in out.splitlines())
    for part in ("5 requests", "naive", "static", "continuous", "steps", "wall time", "tokens/s", "mean latency",
                 "95th percentile", "block utilisation", "All three give the same tokens"):  # fmt: skip
        assert part in out


def test_compare_tells_bad_lines_and_compares_the_others(compare, files):
    with files[0].open("a") as file:
        file.write("no\n" + json.dumps({"prompt": "b" * 200}) + "\n")
    result = compare("--json")
    assert result.code == 2 and json.loads(result.out)["requests"] == 5
    assert "line 6: " in result.err and "line 7: " in result.err


def test_what_it_tells_of_a_run_counts_tokens_and_not_answers(batch, files):
    told = json.loads(batch("--json").out)
    assert (told["answered"], told["answered_before"], told["bad_lines"]) == (5, 0, [])
    assert told["new_tokens"] == sum(len(answer["tokens"]) for answer in answers(files[1]).values()) > 5
    assert told["tokens_per_s"] == pytest.approx(told["new_tokens"] / told["seconds"])
    assert batch().out == f"0 answers written to {files[1]}; 5 already there\n"
