"""Settings of the whole test run: short shape errors, no deadline, since the machine may be busy, and one BLAS thread.

Tests run in as many processes as there are cores, mostly on tiny models, where more threads would be in each other's
way; those that are about threads say so themselves.
"""

import os

import jaxtyping
from hypothesis import settings
from threadpoolctl import threadpool_limits

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for child processes
threadpool_limits(int(os.environ["OPENBLAS_NUM_THREADS"]))  # NumPy has been imported by a plugin
jaxtyping.config.update("jaxtyping_remove_typechecker_stack", True)
settings.register_profile("minillm", deadline=None, max_examples=25)
settings.load_profile("minillm")
