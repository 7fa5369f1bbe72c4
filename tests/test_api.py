"""The public Python API: the list of its names, and an example in the docstring of each that runs."""

import doctest
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import minillm

NAMES = """
    BlockPool Conversation Draft Drafter Engine Generation KVCache Model ModelConfig NewToken Output PagedKVCache
    PromptLookup Request Sampling Score SpeculativeOutput StaticBatching Step Timings attention_weights decode_step
    forward forward_batch generate load naive_decode prefill reference score skip_layers speculative_generate stream
    trace
""".split()


def test_the_names_are_these():
    """A name that goes is a breaking change; a new one is added here and to the changelog."""
    assert minillm.__all__ == sorted(minillm.__all__) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_a_short_example_that_runs(name):
    [test] = doctest.DocTestFinder(recurse=False).find(getattr(minillm, name), name, globs={"minillm": minillm})
    assert 2 <= len(test.examples) <= 5
    assert any(example.want for example in test.examples), "an example shows a result"
    report = []
    result = doctest.DocTestRunner(verbose=False, optionflags=doctest.IGNORE_EXCEPTION_DETAIL).run(
        test, out=report.append
    )
    assert result.failed == 0, "".join(report)


def run(program):
    """In a process of its own: the test run checks shapes, which takes most of the time, and shows in help()."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def test_the_quick_start_runs():
    lines = minillm.__doc__.splitlines()
    code = [line.removeprefix("    ") for line in lines if line.startswith("    ")]
    assert 10 <= len(code) <= 16
    out = run("\n".join([*code, "print()", "print(out.text, requests[0].finished)"]))
    assert out.splitlines()[-1] == " Paris. True"


def test_reprs_are_short():
    model = minillm.load("story")
    engine = minillm.Engine(model)
    request = engine.submit("Once upon a time", 2)
    cache = minillm.KVCache(model, 8)
    paged = minillm.PagedKVCache(engine.pool)
    for shown in (model, engine, engine.pool, request, cache, paged, model.tokenizer):
        assert len(repr(shown)) < 120 and " object at 0x" not in repr(shown)


def test_help_shows_shapes():
    out = run("import minillm; help(minillm.decode_step); help(minillm.forward_batch)")
    assert '-> Float[Array, "vocab"]' in out and '-> Float[Array, "rows vocab"]' in out and "Any" not in out


def test_the_version_is_that_of_the_distribution():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "minillm/__init__.py"
    assert minillm.__version__.count(".") == 2
