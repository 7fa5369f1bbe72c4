"""Every `>>>` example in a docstring of minillm runs, also those of names that minillm does not export."""

import doctest
import importlib
import pkgutil

import numpy as np
import pytest

import minillm

# Not imported here: they end the process, read a pipe, or need a GPU or a server.
APART = {
    "minillm.verification.adapters.openai_server",
    "minillm.__main__", "minillm.classroom.worker.worker_process", "minillm.text.template_process",
    "minillm.text.tokenizer_process",
}  # fmt: skip
EXTRAS = ("numba", "llvmlite", "torch", "llama_cpp")  # without them, modules that need them are left out
NAMES = sorted(found.name for found in pkgutil.walk_packages(minillm.__path__, "minillm.") if found.name not in APART)


def with_examples(name):
    """The docstrings of this module that have an example."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name not in EXTRAS:
            raise
        return []
    names = vars(module) | {"minillm": minillm, "np": np}
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(module, globs=names) if test.examples]


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_module(name):
    runner, said = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS), []
    for test in with_examples(name):
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_there_are_examples_of_names_that_are_not_exported():
    found = {test.name for name in NAMES for test in with_examples(name)}
    assert {"minillm.kv_cache.prefix.PrefixTable", "minillm.kv_cache.block_table.slot_ranges"} <= found
    assert {"minillm.attention.causal_mask", "minillm.speculative.rounds.residual"} <= found
