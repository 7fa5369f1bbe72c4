"""Commands on several processes: `mpiexec -n 2 minillm generate ... --tensor-parallel`, or `--pipeline-parallel`.

Rank 0 runs the command: it alone reads the keyboard and files, and prints. The other ranks load their share of the
model, and compute their part of every forward pass. `batch` without either option gives each rank a whole model, and
other prompts (`batch_on_ranks.py`).
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from minillm.cli.options import layers_from
from minillm.support.printable import one_line

# The number of this process and of all, as launchers tell it: MPICH's and Intel's, then Open MPI's.
PLACES = (("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
BEGIN_S = 60  # ranks wait this long for the others to begin MPI; SIGALRM ends them, also within MPI
TURN_S = 1.0
BY_COLUMNS, BY_LAYERS = "--tensor-parallel", "--pipeline-parallel"


def add_parallel_option(parser: Any) -> None:
    """Add --tensor-parallel and --pipeline-parallel, which exclude each other."""
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        BY_COLUMNS,
        action="store_true",
        help="cut every layer over the processes of `mpiexec -n N minillm ...` (see docs/parallel.md)",
    )
    ways.add_argument(BY_LAYERS, action="store_true", help="give each of these processes some of the layers")


def way_of(options: argparse.Namespace) -> str | None:
    """Return how the options cut the model, "tensor" or "pipeline"; None if they do not."""
    return next((way for way in ("tensor", "pipeline") if getattr(options, f"{way}_parallel", False)), None)


def place(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return this process's rank and the number of processes, as mpiexec set them: (0, 1) without it."""
    for rank, size in PLACES:
        if environment.get(rank, "").isdecimal() and environment.get(size, "").isdecimal():
            return int(environment[rank]), int(environment[size])
    return 0, 1


def be_quiet_unless_first() -> None:
    """Let rank 0 alone print. The others print one line, if they fail."""
    if place()[0]:
        sys.stdout = sys.stderr = open(os.devnull, "w")


def check_place(options: argparse.Namespace) -> None:
    """Refuse a command that would run once in each process, and a model that is cut over one process.

    Raises:
        ValueError: mpiexec and the options do not go together.
    """
    size, way, command = place()[1], way_of(options), f"minillm {options.command}"
    if size > 1 and way is None and options.command != "batch":
        can = hasattr(options, "tensor_parallel")
        how = f"add {BY_COLUMNS} or {BY_LAYERS}" if can else "it runs in one; leave out mpiexec"
        raise ValueError(f"mpiexec started {size} processes of {command}: {how}")
    if way is None:
        return
    option = f"--{way}-parallel"
    if size == 1:
        raise ValueError(f"{option} cuts the model over several processes: mpiexec -n 2 {command} ... {option}")
    if getattr(options, "with_", None):
        raise ValueError(f"--with runs your functions in one process; leave out {option}")


def begin_mpi() -> None:
    """Begin MPI if mpiexec started several processes. From here on a rank that fails ends all, with one line.

    Without mpi4py it does nothing: the command says so when it needs it.
    """
    if place()[1] > 1:
        from minillm.parallel.ranks import world

        signal.alarm(BEGIN_S + place()[0])  # rank 0 speaks first
        with suppress(OSError):
            world()
        signal.alarm(0)


def end_ranks(problem: str | None, code: int) -> None:
    """End all processes with one line that names this one, if mpiexec started several; else return.

    Args:
        problem: None if it is printed.
        code: the exit status.
    """
    rank, size = place()
    if size == 1:
        return
    ranks = sys.modules.get("minillm.parallel.ranks")
    if ranks is not None:
        ranks.fail_if_parallel(problem, code)
    if rank:  # MPI has not begun: if all fail alike, rank 0 ends all in this time
        time.sleep(TURN_S)
    if problem is not None:
        os.write(2, f"minillm: rank {rank} of {size}: {one_line(problem)}\n".encode())
    os._exit(code)


def check_launcher(ranks: int) -> None:
    """Raise ValueError if mpi4py knows another number of processes than the launcher has told."""
    if ranks != place()[1]:
        raise ValueError(
            f"mpiexec started {place()[1]} processes, of which mpi4py finds {ranks}: it is another MPI's mpiexec; "
            "use the one that the extra `mpi` has installed next to python"
        )


def begin_together(options: argparse.Namespace) -> None:
    """Make ranks of the processes, and let all but rank 0 follow it: they do not return."""
    if way_of(options):
        from minillm.parallel.ranks import world

        ranks = world()
        check_launcher(ranks.size)
        ranks.agree(facts_of(options))
        if ranks.rank:
            load_model(options)


def facts_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return what must be the same on all ranks: the version of minillm, and each argument."""
    arguments = {f"argument {name}": value for name, value in vars(options).items() if name != "run"}
    return {"minillm": sys.modules["minillm"].__version__} | arguments


def load_model(options: argparse.Namespace) -> Any:
    """Load the model of the options, or this rank's share of it."""
    from minillm.parallel.load import load

    way = way_of(options)
    if way is None:
        return load(options.model, options.backend, options.dtype, options.weights, layers_from(options))
    from mpi4py import MPI

    asked = options.model, options.backend, options.dtype, options.weights, layers_from(options)
    return load(*asked, MPI.COMM_WORLD, way)
