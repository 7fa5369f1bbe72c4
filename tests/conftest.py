"""Settings of the whole test run: short shape errors, no deadline, since the machine may be busy, and one BLAS thread.

Checking shapes takes several times as long as computing with tiny arrays. So a property's examples are not all checked:
the first few are, of any other every fifth, and all from the first that fails on.

Tests run in as many processes as there are cores, mostly on tiny models, where more threads would be in each other's
way; those that are about threads say so themselves.
"""

import os
from functools import wraps

import jaxtyping
from hypothesis import settings
from hypothesis.errors import UnsatisfiedAssumption
from threadpoolctl import threadpool_limits

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for child processes
threadpool_limits(int(os.environ["OPENBLAS_NUM_THREADS"]))  # NumPy has been imported by a plugin
jaxtyping.config.update("jaxtyping_remove_typechecker_stack", True)
settings.register_profile("minillm", deadline=None, max_examples=25)
settings.load_profile("minillm")


def pytest_itemcollected(item):
    """Before a property test runs: its inner test, which Hypothesis calls for each example, checks shapes of some."""
    handle = getattr(getattr(item, "obj", None), "hypothesis", None)
    if handle and not hasattr(handle.inner_test, "checks_some"):
        handle.inner_test = checking_some(handle.inner_test)


def checking_some(test):
    """The test of one example, with the shape checker at work in the first five, every fifth, and after a failure."""
    count, failed = 0, False

    @wraps(test)
    def run(*args, **kwargs):
        nonlocal count, failed
        count += 1
        jaxtyping.config.update("jaxtyping_disable", not (count <= 5 or count % 5 == 0 or failed))
        try:
            return test(*args, **kwargs)
        except UnsatisfiedAssumption:
            raise
        except Exception:  # the example is tried again, and has to fail again
            failed = True
            raise
        finally:
            jaxtyping.config.update("jaxtyping_disable", False)

    run.checks_some = True
    return run
