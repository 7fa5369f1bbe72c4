"""Commands on several processes: `mpiexec -n 2 minillm generate ... --tensor-parallel`, or `--pipeline-parallel`.

Rank 0 runs the command: it alone reads the keyboard and files, and prints. The other ranks load their share of the
model, and compute their part of every forward pass. `batch` without either option gives each rank a whole model, and
other prompts (`batch_on_ranks.py`).
"""

import argparse
import os
import sys
from collections.abc import Mapping
from typing import Any

from minillm.cli.options import layers_from

# The number of this process and of all, as launchers tell it: MPICH's and Intel's, then Open MPI's.
PLACES = (("PMI_RANK", "PMI_SIZE"), ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"))
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
        ranks.agree({"the command": " ".join(sys.argv[1:])})
        if ranks.rank:
            load_model(options)


def load_model(options: argparse.Namespace) -> Any:
    """Load the model of the options, or this rank's share of it."""
    from minillm.parallel.load import load

    way = way_of(options)
    if way is None:
        return load(options.model, options.backend, options.dtype, options.weights, layers_from(options))
    from mpi4py import MPI

    asked = options.model, options.backend, options.dtype, options.weights, layers_from(options)
    return load(*asked, MPI.COMM_WORLD, way)
