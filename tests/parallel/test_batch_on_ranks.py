"""`mpiexec -n 4 minillm batch`: the file of one rank to the byte, after any kill; faults are one line."""

import json
import os
import re
import signal
import time

import pytest
from model_folder import save_model_folder
from mpiexec import run, run_script, start
from safetensors.numpy import load_file, save_file

WARM = {"temperature": 1, "ignore_eos": True}
LINES = [{"prompt": "ab" * (1 + n % 3), "max_new_tokens": 1 + n * 7 % 23, "seed": n, **WARM} for n in range(12)]
# It tells its process id before it runs the command.
TELLS_PID = """
import os, sys
from minillm.cli.main import run
from minillm.parallel.ranks import world
os.makedirs(sys.argv[1], exist_ok=True)
with open(f"{sys.argv[1]}/{world().rank}", "w") as file:
    file.write(str(os.getpid()))
sys.exit(run(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return str(save_model_folder(tmp_path_factory.mktemp("tiny"), context=20_000))


@pytest.fixture
def batch(folder, tmp_path):
    """The command for these lines."""

    def command(lines, out, *options):
        prompts = tmp_path / "prompts.jsonl"
        prompts.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return ["batch", str(prompts), "--out", str(tmp_path / out), "--model", folder, *options]

    return command


def test_the_file_is_that_of_one_rank_to_the_byte(batch, tmp_path):
    lines = [*LINES, "bad", {"prompt": "a", "max_new_tokens": 2, "logprobs": 2}, {"prompt": "b" * 30_000}]
    for ranks in (1, 2, 4):
        done = run(ranks, "-m", "minillm", *batch(lines, f"{ranks}.jsonl", "--backend", "exact"))
        assert done.returncode == 2 and done.stdout.startswith("13 answers written to ")
        assert [line.split(": ")[1].split()[-1] for line in done.stderr.splitlines()] == ["13", "15"]
    one, two, four = ((tmp_path / f"{ranks}.jsonl").read_bytes() for ranks in (1, 2, 4))
    assert one == two == four
    assert [json.loads(line)["line"] for line in one.splitlines()] == [*range(1, 13), 14]


def test_compiled_writes_the_file_of_one_rank_too_and_json_counts_the_work_of_all_ranks(batch, tmp_path):
    one, three = (
        run(ranks, "-m", "minillm", *batch(LINES, f"{ranks}.jsonl", "--backend", "compiled", "--json"))
        for ranks in (1, 3)
    )
    assert (tmp_path / "3.jsonl").read_bytes() == (tmp_path / "1.jsonl").read_bytes()
    told = json.loads(three.stdout)
    new_tokens = sum(line["max_new_tokens"] for line in LINES)
    assert (told["answered"], told["new_tokens"], three.stderr) == (12, new_tokens, "")
    assert told["steps"] > json.loads(one.stdout)["steps"]  # each of two ranks has a batch of its own


@pytest.mark.parametrize("killed", ["rank 0", "rank 2", "all"])
def test_after_a_kill_the_same_command_goes_on_where_it_was(batch, tmp_path, killed):
    """No answer is lost or made twice. The last lines are so long that the kill comes before their end."""
    lines = [*LINES, *({"prompt": "a", "max_new_tokens": 250, "seed": n, **WARM} for n in range(2))]
    command, out, pids = batch(lines, "out.jsonl", "--backend", "exact"), tmp_path / "out.jsonl", tmp_path / "pids"
    with start(3, "-c", TELLS_PID, str(pids), *command) as process:
        until = time.monotonic() + 60
        while not out.exists() or out.read_bytes().count(b"\n") < 3:
            assert process.poll() is None and time.monotonic() < until
            time.sleep(0.01)
        numbers = [int((pids / str(rank)).read_text()) for rank in range(3)]
        for number in numbers if killed == "all" else [numbers[int(killed[-1])]]:
            os.kill(number, signal.SIGKILL)
        process.communicate(timeout=30)
    assert process.returncode == signal.SIGKILL
    before = [json.loads(line) for line in out.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    assert 3 <= len(before) < len(lines)
    done = run(3, "-m", "minillm", *command)
    assert done.returncode == 0, done.stderr
    assert f"; {len(before)} already there" in done.stdout
    after = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [answer["line"] for answer in after] == list(range(1, len(lines) + 1))
    assert all(answer in after for answer in before)


FULL = """
import resource, sys
from minillm.cli.main import run
from minillm.parallel.ranks import world
if world().rank == 0:
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))
sys.exit(run(sys.argv[1:]))
"""


def test_a_full_disk_ends_all_with_one_line(batch, tmp_path):
    command = batch(LINES, "out.jsonl")
    done = run_script(3, FULL, *command)
    says = f"minillm: rank 0 of 3: {tmp_path}/out.jsonl: File too large; free some space, run the same command again\n"
    assert done.stderr == says and done.returncode == 2
    assert run(3, "-m", "minillm", *command).returncode == 0


@pytest.mark.parametrize(
    ("lines", "options", "says"),
    [
        ([], [], r"rank 0 of 3: .*prompts.jsonl has no lines; expected at least one prompt"),
        (LINES, ["--compare"], "rank 0 of 3: --compare measures schedules on one process; start it without mpiexec"),
        (LINES, ["--model", "nosuch"], "rank 1 of 3: no model 'nosuch'"),
    ],
)
def test_faults_are_one_line(batch, lines, options, says):
    done = run(3, "-m", "minillm", *batch(lines, "out.jsonl", *options))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and re.match(f"minillm: {says}", done.stderr)


OTHER_FILES = """
import sys
from minillm import loading
from minillm.cli.main import run
from minillm.parallel import load as parallel
from minillm.parallel.ranks import world
open_checkpoint = loading.open_checkpoint
loading.open_checkpoint = lambda name: open_checkpoint(sys.argv[1] if world().rank == 2 else name)
parallel.open_checkpoint = loading.open_checkpoint
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ([], "the model's files on rank 2 are not those on rank 1"),
        (["--tensor-parallel"], "the hash of the model's files is '[0-9a-f]+' on rank 0, '[0-9a-f]+' on rank 2"),
        (["--pipeline-parallel"], "the hash of the model's files is '[0-9a-f]+' on rank 0, '[0-9a-f]+' on rank 2"),
    ],
)
def test_ranks_with_other_files_under_the_same_name_are_refused(batch, tmp_path, option, says):
    """One number of one matrix differs."""
    other = save_model_folder(tmp_path / "other", context=20_000)
    tensors = load_file(other / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][-1, -1] += 1
    save_file(tensors, other / "model.safetensors")
    done = run_script(3, OTHER_FILES, str(other), *batch(LINES, "out.jsonl", *option))
    assert done.returncode == 2 and re.fullmatch(f"minillm: the ranks disagree: {says}\n", done.stderr)
