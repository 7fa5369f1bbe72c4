"""Commands on several processes: `mpiexec -n 2 minillm generate ... --tensor-parallel`.

Rank 0 runs the command: it alone reads the keyboard and files, and prints. The other ranks load their share of the
model, and compute their part of every forward pass.
"""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

# The number of this process and of all, as launchers tell it: MPICH's and Intel's, Open MPI's, PMIx's.
PLACES = (("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
SIMPLE = "--tensor-parallel"


def add_parallel_option(parser: Any) -> None:
    """Add --tensor-parallel."""
    parser.add_argument(
        SIMPLE,
        action="store_true",
        help="cut the model over the processes of `mpiexec -n N minillm ...` (see docs/parallel.md)",
    )


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
    """Refuse a command that would run once in each process, and --tensor-parallel in one process.

    Raises:
        ValueError: mpiexec and the options do not go together.
    """
    size, asked = place()[1], getattr(options, "tensor_parallel", None)
    command = f"minillm {options.command}"
    if size > 1 and not asked:
        way = f"add {SIMPLE}" if asked is not None else "it runs in one; leave out mpiexec"
        raise ValueError(f"mpiexec started {size} processes of {command}: {way}")
    if asked and size == 1:
        raise ValueError(f"{SIMPLE} cuts the model over several processes: mpiexec -n 2 {command} ... {SIMPLE}")
    if asked and getattr(options, "with_", None):
        raise ValueError(f"--with runs your functions in one process; leave out {SIMPLE}")


def begin_together(options: argparse.Namespace) -> None:
    """Make ranks of the processes, and let all but rank 0 follow it: they do not return."""
    if getattr(options, "tensor_parallel", False):
        from minillm.parallel.ranks import world

        ranks = world()
        ranks.agree({"the command": " ".join(sys.argv[1:])})
        if ranks.rank:
            load_model(options)


def load_model(options: argparse.Namespace) -> Any:
    """Load the model of the options, or this rank's share of it."""
    from minillm.parallel.load import load

    comm = None
    if getattr(options, "tensor_parallel", False):
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    return load(options.model, options.backend, options.dtype, options.weights, comm=comm)
