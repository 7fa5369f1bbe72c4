"""Settings of the whole test run: short shape errors, no deadline, since the machine may be busy, and one BLAS thread.

Checking shapes takes several times as long as computing with tiny arrays. So only the first calls of a test are checked
(shape_checker.py), and a property's examples are not all checked: the first few are, of any other every fifth, and all
from the first that fails on.

Every test has a time limit: pytest-timeout prints all stacks of one that hangs, and the run goes on with the next.

Tests run in as many processes as there are cores, mostly on tiny models, where more threads would be in each other's
way; those that are about threads say so themselves.
"""

import os
import signal
import sys
from functools import wraps
from importlib.machinery import PathFinder
from importlib.util import find_spec

import jaxtyping
import pytest
from hypothesis import settings
from hypothesis.errors import UnsatisfiedAssumption
from shape_checker import check_shapes
from threadpoolctl import threadpool_limits

from minillm.support.cache_folder import cache_folder


class KernelFinder(PathFinder):
    """Imports the kernels as they are: numba could not compile functions that the shape checker has wrapped."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return super().find_spec(name, path, target) if name.startswith("minillm.backends.compiled.") else None


sys.meta_path.insert(0, KernelFinder)

LIMIT_S, LONG_LIMIT_S = 300, 3600  # tests take seconds, but a machine may be ten times busier than it should be
LONG_FOLDERS = {"oracles", "notebooks", "gpu"}

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for child processes
os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder() / "compiled"))  # tests may set another MINILLM_CACHE
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of them would compile minillm again
threadpool_limits(int(os.environ["OPENBLAS_NUM_THREADS"]))  # NumPy has been imported by a plugin
jaxtyping.config.update("jaxtyping_remove_typechecker_stack", True)
# A job in the background of a script ignores Ctrl-C, and one of nohup a hang-up, but tests send both.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
settings.register_profile("minillm", deadline=None, max_examples=25)
settings.load_profile("minillm")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items):
    """Set the time limit of each test. An ini option would break the runs of those who lack the plugin.

    Mark the tests of the compiled backend, which are skipped without numba.
    """
    for item in items:
        if "compiled" in item.path.parts:
            item.add_marker("compiled")
        if item.get_closest_marker("compiled") and not find_spec("numba"):
            item.add_marker(pytest.mark.skip(reason="needs numba"))
        is_long = item.get_closest_marker("slow") or LONG_FOLDERS & set(item.path.parts)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONG_LIMIT_S if is_long else LIMIT_S))


def pytest_runtest_setup():
    """Before each test: check its first calls."""
    check_shapes()


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
        check_shapes(count <= 5 or count % 5 == 0 or failed)
        try:
            return test(*args, **kwargs)
        except UnsatisfiedAssumption:
            raise
        except Exception:  # the example is tried again, and has to fail again
            failed = True
            raise
        finally:
            check_shapes()

    run.checks_some = True
    return run
