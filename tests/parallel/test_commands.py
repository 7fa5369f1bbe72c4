"""Commands on several ranks: `mpiexec -n 2 minillm ... --tensor-parallel`."""

import json
import os
import subprocess
import sys

import pytest
from model_folder import save_model_folder
from mpiexec import MPIEXEC, environment, run

COMMAND = ("-c", "from _minillm_command import main; main()")
HASH = "5957289063390916a9623aa09b3745b012e4c46a8e60f6303d5ba319d03a9aa2"  # docs/exactness.md


def minillm(ranks, *arguments, **options):
    done = run(ranks, *COMMAND, *arguments, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_one_hash_on_any_number_of_ranks(ranks):
    assert minillm(ranks, "exactness", "--hash-only", "--tensor-parallel") == (0, f"{HASH}\n", "")


def test_generate_with_a_prompt_from_standard_input(tmp_path):
    (tmp_path / "prompt").write_text("The capital of France is")
    with (tmp_path / "prompt").open() as prompt:
        code, out, err = minillm(2, "generate", "-", "--json", "--tensor-parallel", "--speculative", stdin=prompt)
    record = json.loads(out)
    assert (code, record["text"], record["tokens"], err) == (0, " Paris.", [379, 1910, 14, 0], "")


def test_batch_writes_the_answers_of_one_rank(tmp_path):
    """The same fingerprints too: one rank resumes what two ranks began."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(f'{{"prompt": "{text} is"}}\n' for text in ("The sky", "One and one", "", "A cat")))
    answers = []
    for ranks, more in ((2, ["--tensor-parallel"]), (1, [])):
        out = tmp_path / f"{ranks}.jsonl"
        options = ("--out", str(out), "--backend", "exact", "--max-new-tokens", "8", *more)
        code, printed, err = minillm(ranks, "batch", str(prompts), *options)
        assert (code, "4 answers written" in printed, err) == (0, True, "")
        answers.append(sorted(out.read_text().splitlines()))
    assert answers[0] == answers[1]


def test_more_ranks_than_heads():
    code, out, err = minillm(5, "generate", "x", "--model", "story-draft", "--tensor-parallel")
    assert (code, out) == (2, "")
    assert err == "minillm: 5 ranks cannot share the model's 4 query heads; use at most 4 ranks\n"


@pytest.mark.parametrize(
    ("ranks", "arguments", "says"),
    [
        (2, ["generate", "x"], "mpiexec started 2 processes of minillm generate: add --tensor-parallel"),
        (2, ["models"], "mpiexec started 2 processes of minillm models: it runs in one; leave out mpiexec"),
        (2, ["generate", "x", "--tensor-parallel", "--with", "."], "--with runs your functions in one process"),
        (2, ["generate", "x", "--tensor-parallel", "--model", "none"], "minillm: no model 'none'"),
        (2, ["generate", "x", "--tensor-parallel", "--backend", "cupy"], "cupy"),
        (1, ["generate", "x", "--tensor-parallel"], "mpiexec -n 2 minillm generate ... --tensor-parallel"),
    ],
)
def test_what_does_not_go_together_is_one_line(ranks, arguments, says):
    code, out, err = minillm(ranks, *arguments)
    assert (code, out, err.count("\n"), says in err) == (2, "", 1, True), (code, out, err)


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        (["generate", "x"], ["generate", "x", "--raw"], "argument raw is False on rank 0, True on rank 1"),
        (["generate", "x"], ["batch", "x"], "argument command is 'generate' on rank 0, 'batch' on rank 1"),
        (
            ["generate", f"{'a' * 100}b"],
            ["generate", f"{'a' * 100}c"],
            f"argument prompt is ...{'a' * 20}b' on rank 0, ...{'a' * 20}c' on rank 1",
        ),
    ],
)
def test_ranks_with_different_arguments_are_refused(one, other, says):
    """`mpiexec -n 1 A : -n 1 B` starts different programs."""
    one, other = ([sys.executable, *COMMAND, *arguments, "--tensor-parallel"] for arguments in (one, other))
    command = [str(MPIEXEC), "-n", "1", *one, ":", "-n", "1", *other]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"minillm: the ranks disagree: {says}\n")


def test_chat_reads_the_keyboard_on_rank_0(tmp_path):
    """story has no chat template: rank 0 says so, once."""
    code, out, err = minillm(2, "chat", "--model", "story", "--tensor-parallel")
    assert (code, out) == (2, "")
    assert err == "minillm: rank 0 of 2: story has no chat template; use `minillm generate --model story`\n"


def in_one_process(*arguments, **options):
    command = [sys.executable, *COMMAND, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, **options).stdout


def test_chat_answers_as_in_one_process(tmp_path):
    folder = str(save_model_folder(tmp_path / "tiny"))
    command = ("chat", "--model", folder, "--backend", "exact", "--max-new-tokens", "6", "--json")
    (tmp_path / "input").write_text("hello\nabc\n")
    with (tmp_path / "input").open() as file:
        code, out, err = minillm(2, *command, "--tensor-parallel", stdin=file)
    with (tmp_path / "input").open() as file:
        expected = json.loads(in_one_process(*command, stdin=file))
    assert (code, json.loads(out), err, len(expected["messages"])) == (0, expected, "", 4)


def test_exactness_compares_the_schedules_on_two_ranks(tmp_path):
    folder = str(save_model_folder(tmp_path / "tiny"))
    command = ("exactness", "--model", folder, "--prompt", "abcab", "--max-new-tokens", "4", "--json")
    code, out, err = minillm(2, *command, "--tensor-parallel")
    assert (code, json.loads(out), err) == (0, json.loads(in_one_process(*command)), "")


@pytest.mark.parametrize("command", [["generate", "a", "--tensor-parallel"], ["batch", os.devnull, "--out", "x"]])
def test_the_launcher_of_another_mpi_is_refused(command):
    """It tells two processes their places, and mpi4py, which knows nothing of it, finds one."""
    place = {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2"}
    done = subprocess.run(
        [sys.executable, "-m", "minillm", *command], env=environment() | place, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "it is another MPI's mpiexec" in done.stderr and len(done.stderr.splitlines()) == 1
