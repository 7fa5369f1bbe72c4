"""What ranks send to each other, and how they end together."""

import signal
import time

import pytest
from mpiexec import run_script

CALLS = """
import numpy as np
from minillm.parallel.ranks import world

ranks = world()
own = np.full((ranks.rank + 1, 2), ranks.rank + 1.0)
np.testing.assert_array_equal(ranks.all_reduce(np.array([1.0, ranks.rank])), [3, 3])
assert ranks.sent["all_reduce"].messages == 4 and ranks.sent["all_reduce"].bytes == 2 * 2 / 3 * 16
np.testing.assert_array_equal(ranks.all_reduce(np.array([1.0, ranks.rank]), "max"), [1, 2])
np.testing.assert_array_equal(np.concatenate(ranks.all_gather(own, [1, 2, 3]))[:, 0], [1, 2, 2, 3, 3, 3])
assert ranks.broadcast({"a": [1, 2]} if ranks.rank == 0 else None) == {"a": [1, 2]}
assert ranks.gather("x" * ranks.rank) == ["", "x", "xx"]
if ranks.rank == 2:
    ranks.send(own, 0)
    ranks.send_value("done", 0, tag=1)
if ranks.rank == 0:
    np.testing.assert_array_equal(ranks.receive(2, (3, 2), float), np.full((3, 2), 3.0))
    assert ranks.receive_value(tag=1) == ("done", 2)
ranks.barrier()
"""

FAULTS = """
import os, signal, sys, time
from minillm.parallel.ranks import world

ranks = world()
ranks.barrier()
if ranks.rank == 1:
    print(time.time(), flush=True)
    {fault}
ranks.all_reduce(ranks.rank * 1.0)
ranks.barrier()
"""


def test_calls():
    done = run_script(3, CALLS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        ("raise ValueError('a\\nb')", 2, "minillm: rank 1 of 3: ValueError: a b"),
        ("os.kill(os.getpid(), signal.SIGINT)", 130, "minillm: rank 1 of 3: interrupted"),
        ("sys.exit(0)", 2, "minillm: rank 1 of 3: has ended, but other ranks have not"),
        ("ranks.fail('stop')", 2, "minillm: rank 1 of 3: stop"),
    ],
)
def test_a_rank_that_fails_ends_all_with_one_line_that_names_it(fault, code, says):
    done = run_script(3, FAULTS.format(fault=fault))
    assert time.time() - float(done.stdout) < 5  # mpiexec prints nothing
    assert (done.returncode, done.stderr.splitlines()[-1]) == (code, says)


def test_a_second_model_is_refused():
    """The other ranks are in the call that loaded the first."""
    twice = (
        "from mpi4py import MPI\nimport minillm\nfor _ in range(2): minillm.load('story-draft', comm=MPI.COMM_WORLD)"
    )
    done = run_script(2, twice)
    assert "these ranks follow the model that they have loaded" in done.stderr
    assert done.returncode != 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("comm=3", "comm is of type int; expected a communicator of mpi4py"),
        ("comm=MPI.COMM_WORLD, layers='streamed'", "layers is 'streamed' (--stream-layers); a model that is cut"),
    ],
)
def test_a_wrong_argument_on_one_rank_ends_all(wrong, says):
    """The other rank waits in its `load`."""
    script = f"""
from mpi4py import MPI
import minillm
if MPI.COMM_WORLD.rank == 1:
    minillm.load("story-draft", {wrong})
minillm.load("story-draft", comm=MPI.COMM_WORLD)
"""
    done = run_script(2, script)
    assert (done.returncode, f"minillm: rank 1 of 2: ValueError: {says}" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_rank_of_a_script_that_is_killed_ends_all(number):
    """mpiexec notices, and says so. The command `minillm` names the rank: test_early_ends.py."""
    done = run_script(3, FAULTS.format(fault=f"os.kill(os.getpid(), {int(number)})"))
    when, banner = done.stdout.split("\n", 1)
    assert time.time() - float(when) < 5
    assert (done.returncode, "BAD TERMINATION" in banner) == (number, True)


def test_ctrl_c_reaches_a_rank_that_waits_for_the_others():
    """MPI's own waiting would hear it only when the message is there."""
    fault = "os.kill(PID, signal.SIGINT); time.sleep(60)"
    script = FAULTS.replace("if ranks.rank == 1", "PID = ranks.gather(os.getpid())[2]\nif ranks.rank == 1")
    done = run_script(3, script.format(fault=fault))
    assert (done.returncode, done.stderr) == (130, "minillm: rank 2 of 3: interrupted\n")
    assert time.time() - float(done.stdout) < 5


def test_ranks_that_disagree_are_refused():
    done = run_script(2, "from minillm.parallel.ranks import world; r = world(); r.agree({'version': r.rank // 1})")
    lines = [line for line in done.stderr.splitlines() if line.startswith("minillm")]
    assert lines == ["minillm: ValueError: the ranks disagree: version is 0 on rank 0, 1 on rank 1"]
    assert done.returncode == 2


def test_without_mpiexec_there_is_one_rank():
    from minillm.parallel.ranks import fail_if_parallel, world

    ranks = world()
    assert (ranks.rank, ranks.size, ranks.broadcast(3), ranks.gather(4)) == (0, 1, 3, [4])
    assert list(ranks.all_reduce([1.0])) == [1.0] and ranks.sent["all_reduce"].calls == 0
    fail_if_parallel("nothing happens")


def test_mpi4py_is_missing(monkeypatch):
    from minillm.parallel.ranks import world

    monkeypatch.setitem(__import__("sys").modules, "mpi4py", None)
    with pytest.raises(OSError, match=r"several processes need mpi4py and MPICH: pip install -e .*\[mpi\]"):
        world()


CAUGHT = """
import sys
from mpi4py import MPI
import minillm
import minillm.transformer as transformer

model = minillm.load("story", comm=MPI.COMM_WORLD, parallel=sys.argv[1])
layer, calls = transformer.transformer_layer, []

def failing(*arguments):
    calls.append(1)
    if len(calls) == int(sys.argv[2]):
        raise MemoryError("no room")
    return layer(*arguments)

transformer.transformer_layer = failing
for _ in range(2):
    try:
        print(minillm.generate(model, "The capital of France is").text)
    except MemoryError:
        print("caught", flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["tensor", "pipeline"])
@pytest.mark.parametrize("layer", [3, 9])
def test_after_a_pass_that_failed_on_rank_0_the_ranks_end(way, layer):
    """The others are in the middle of that pass. They would take the next message for a part of it."""
    done = run_script(2, CAUGHT, way, str(layer), timeout=15)
    says = "minillm: rank 0 of 2: an earlier pass has failed: MemoryError: no room\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "caught\n", says)


TOO_LARGE = """
from mpi4py import MPI
import minillm

model = minillm.load("story", comm=MPI.COMM_WORLD)
try:
    minillm.Engine(model, num_blocks=10**10)
except (ValueError, MemoryError) as problem:
    print(type(problem).__name__)
print(minillm.generate(model, "The capital of France is", max_new_tokens=1).text)
"""


@pytest.mark.slow
def test_memory_that_rank_0_cannot_allocate_is_not_asked_of_the_others():
    done = run_script(2, TOO_LARGE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ValueError\n P\n", "")
