"""A model whose layers are on several ranks gives what it gives on one rank: in Python and on the command line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from model_folder import save_model_folder
from mpiexec import MPIEXEC, ROOT, run, run_script
from test_commands import HASH

HERE = Path(__file__).parent
STORY = ("--model", "story", "--backend", "exact")


@pytest.mark.parametrize("ranks", [2, 3])
def test_random_models_and_schedules(ranks):
    """Random architectures, caches and engines: paged, prefix-shared, preempted, swapped, speculative, cancelled."""
    done = run(ranks, str(HERE / "schedules.py"), "15", "pipeline", timeout=100)
    assert (done.returncode, done.stdout) == (0, "all equal\n"), done.stderr


COUNTS = """
import numpy as np, minillm
from minillm.estimate.sharding import pipeline_bubble, pipeline_bytes_sent, pipeline_messages_sent
from minillm.parallel import load as parallel
from minillm.parallel.pipeline import bubble
from minillm.parallel.ranks import world

ranks, name = world(), "story"
try:
    parallel.load_stage(ranks, name, "numpy", "float32", "float32", micro_batches=5 + ranks.rank)
    raise AssertionError("the ranks would cut a pass into different micro-batches")
except ValueError as problem:
    assert str(problem) == "the ranks disagree: micro_batches is 5 on rank 0, 6 on rank 1", problem
model = parallel.load_stage(ranks, name, "numpy", "float32", "float32", micro_batches=5)
stage = model.ops.stage
if ranks.rank:
    parallel.follow(model)
else:
    cache = minillm.KVCache(model, 100)
    minillm.prefill(model, range(5, 65), cache)
    minillm.decode_step(model, 5, cache)
    parallel.end(model)
sent, size = ranks.sent["send"], ranks.size
prefill, decode = (60, 1, size, ranks.rank), (1, 1, size, ranks.rank)
assert sent.bytes == sum(pipeline_bytes_sent(model.ops.config, *p, bytes_each=4) for p in (prefill, decode)), sent
assert sent.messages == pipeline_messages_sent(*prefill[1:], 5) + pipeline_messages_sent(*decode[1:]), sent
records = ranks.gather(list(stage.done))
assert abs(bubble([record[:5] for record in records]) - pipeline_bubble(size, 5)) < 1e-12
assert abs(bubble([record[5:] for record in records]) - pipeline_bubble(size, 1)) < 1e-12
if ranks.rank == 0:
    of_a_layer = 2 * model.config.num_key_value_heads * model.config.head_dim * 4 * 100
    assert cache.nbytes == len(stage.layers) * of_a_layer, cache
"""


@pytest.mark.parametrize("ranks", [2, 3])
def test_what_is_sent_and_the_bubble_are_those_of_the_formulas(ranks):
    done = run_script(ranks, COUNTS)
    assert done.returncode == 0, done.stderr


WHO_WORKED_WHEN = """
import time
import minillm
from minillm.estimate.sharding import pipeline_bubble
from minillm.parallel import load as parallel
from minillm.parallel import pipeline
from minillm.parallel.ranks import world

ranks, worked, run_layers = world(), [], pipeline.run_layers

def slow(*arguments):
    began = time.monotonic()  # one clock for all processes of a machine
    x = run_layers(*arguments)
    time.sleep(0.1)  # takes no processor, so that three stages can work at a time on one
    worked.append((began, time.monotonic()))
    return x

pipeline.run_layers = slow
model = parallel.load_stage(ranks, "story", "numpy", "float32", "float32", micro_batches=5)
if ranks.rank:
    parallel.follow(model)
else:
    minillm.prefill(model, range(5, 65), minillm.KVCache(model, 100))
    parallel.end(model)
all_worked = [times for each in ranks.gather(worked) for times in each]
begin, end = min(began for began, _ in all_worked), max(ended for _, ended in all_worked)
idle = 1 - sum(ended - began for began, ended in all_worked) / (ranks.size * (end - begin))
expected = pipeline_bubble(ranks.size, 5)
assert abs(idle - expected) < 0.15 and len(all_worked) == 5 * ranks.size, (idle, expected)  # one after another: 0.67
"""


def test_the_bubble_by_the_clock():
    """With stages that take equally long, three of them: 2/7 of the time is idle."""
    done = run_script(3, WHO_WORKED_WHEN)
    assert done.returncode == 0, done.stderr


def minillm(ranks, *arguments, **options):
    """The command on several ranks, or without mpiexec."""
    if ranks > 1:
        return run(ranks, "-m", "minillm", *arguments, "--pipeline-parallel", **options)
    return subprocess.run(
        [sys.executable, "-m", "minillm", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60, **options
    )


def test_generate_prints_the_same_tokens_and_logprobs():
    command = ("generate", "The capital of France is", "--json", "--logprobs", "3", *STORY)
    one, three = (json.loads(minillm(ranks, *command).stdout) for ranks in (1, 3))
    same = ("tokens", "text", "logprobs", "finish_reason")
    assert {key: one[key] for key in same} == {key: three[key] for key in same}


def test_the_hash_of_the_readme():
    done = minillm(2, "exactness", "--hash-only")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{HASH}\n", "")


def test_a_draft_model_runs_on_rank_0():
    drafts = ("--speculative", "--draft", "story-draft", "--k", "2")
    command = ("generate", "The capital of France is", "--json", *drafts, *STORY)
    one, two = (json.loads(minillm(ranks, *command).stdout) for ranks in (1, 2))
    same = ("tokens", "proposed", "accepted", "rounds")
    assert [one[key] for key in same] == [two[key] for key in same] and two["accepted"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("k", ["2", "auto"])
def test_a_model_without_half_its_layers_is_refused_as_draft(k):
    done = minillm(2, "generate", "x", "--speculative", "--draft", "skip", "--k", k, "--model", "story")
    says = "a pipeline runs all layers of its model; pass another draft model, or PromptLookup()"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"minillm: rank 0 of 2: {says}\n")


def test_batch_writes_the_same_file_and_resumes_that_of_one_process(tmp_path):
    prompts, files = tmp_path / "prompts.jsonl", [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    lines = [{"prompt": "Once upon a time", "max_new_tokens": n, "temperature": 1, "seed": n} for n in (9, 2, 5)]
    prompts.write_text("\n".join(map(json.dumps, lines)))
    for ranks, file in enumerate(files, 1):
        done = minillm(ranks, "batch", str(prompts), "--out", str(file), *STORY)
        assert done.returncode == 0, done.stderr
    assert files[0].read_bytes() == files[1].read_bytes()
    assert minillm(2, "batch", str(prompts), "--out", str(files[0]), *STORY).stdout.endswith("; 3 already there\n")


def test_chat_answers_lines_of_standard_input(tmp_path):
    folder = str(save_model_folder(tmp_path / "tiny"))
    command = ("chat", "--model", folder, "--backend", "exact", "--max-new-tokens", "6", "--json")
    (tmp_path / "input").write_text("hello\nabc\n")
    said = []
    for ranks in (1, 2):
        with (tmp_path / "input").open() as file:
            said.append(json.loads(minillm(ranks, *command, stdin=file).stdout))
    assert said[0] == said[1] and len(said[0]["messages"]) == 4


def test_more_stages_than_layers_are_refused_with_one_line(tmp_path):
    folder = str(save_model_folder(tmp_path / "tiny"))
    done = minillm(3, "generate", "hello", "--model", folder)
    assert (done.returncode, done.stdout) == (2, "")
    says = "a pipeline of 3 stages, but the model has 2 layers; start fewer ranks"
    assert done.stderr == f"minillm: {says}\n"


def test_both_ways_at_once_are_refused():
    done = run(2, "-m", "minillm", "generate", "hello", "--pipeline-parallel", "--tensor-parallel")
    assert "not allowed with argument" in done.stderr


def test_one_process_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "minillm", "generate", "a", "--pipeline-parallel"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2 and MPIEXEC.name in done.stderr and "--pipeline-parallel" in done.stderr
