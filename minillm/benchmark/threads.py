"""How many threads every engine gets: the libraries read it from the environment when they are imported."""

import os

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def default_threads() -> int:
    """What the environment says already, else one for each processor that this process may use."""
    said = (os.environ.get(name, "") for name in VARIABLES)
    numbers = [int(text) for text in said if text.isdecimal() and int(text)]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return numbers[0] if numbers else usable


def environment_for(threads: int) -> dict[str, str]:
    """This process's environment, with the number of threads for every library."""
    return os.environ | dict.fromkeys(VARIABLES, str(threads))
