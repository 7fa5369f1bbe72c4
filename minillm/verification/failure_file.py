"""The smallest failing example as a file to run, to debug and to keep: the calls, without Hypothesis.

python minillm_failure_1.py        exit status 1 while the bug is there
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from minillm.support.printable import one_line
from minillm.verification.adapter import Adapter
from minillm.verification.calls import Call
from minillm.verification.edited_cache import is_plain
from minillm.verification.engine_under_test import UNNAMED
from minillm.verification.failure import CRASHED, HUNG
from minillm.verification.models import CONFIGS
from minillm.verification.search import Result

FIRST_LINE = "# A failing example of pytest --minillm-engine."


def write_failure(folder: Path, file: Path, adapter: Adapter, result: Result, taken: set[Path]) -> Path | None:
    """Write the example into a new file, or over that of an earlier run. Return it, or None if it cannot be run.

    Args:
        folder: for the new file.
        file: the file with the engine.
        adapter: what it says of the engine.
        result: the failure.
        taken: the files of this run. The new one is added.

    Raises:
        OSError: if the file cannot be written.
    """
    assert result.failure is not None
    if any(callable(argument) for call in result.failure.calls for argument in call.arguments):
        return None
    names = (folder / f"minillm_failure_{number}.py" for number in count(1))
    path = next(path for path in names if path not in taken and _is_free(path))
    taken.add(path)
    path.write_text("\n".join([*lines(file, adapter, result), ""]))
    return path


def _is_free(path: Path) -> bool:
    """Return whether the path does not exist, or has a failure of an earlier run."""
    return not path.exists() or path.read_text(errors="replace").startswith(FIRST_LINE)


def lines(file: Path, adapter: Adapter, result: Result) -> Iterator[str]:
    """Yield the lines of the file."""
    failure, step = result.failure, result.step
    assert failure is not None
    yield FIRST_LINE
    yield f"# {result.name} fails on {adapter.name}: {one_line(failure.what)}"
    yield from (f"# {line}" for line in result.meaning.splitlines())
    yield "import importlib, sys"
    if failure.verdict == HUNG:
        yield "import signal"
    if step is not None:
        yield "import numpy as np"
    yield from _engine_lines(file, adapter, result)
    if failure.verdict == HUNG:
        yield f"signal.alarm({max(1, round(adapter.call_seconds))})  # ends this process while the bug is there"
    yield from map(statement, failure.calls[:-1])
    last = statement(failure.calls[-1]) if failure.calls else ""
    if step is not None:
        yield from _comparison(adapter, result, last)
    elif failure.verdict in (CRASHED, HUNG) or failure.kind:
        yield f"{last}  # {'an exception, a crash or a hang' if not failure.kind else one_line(failure.kind)}"
    else:
        yield f"print({last})  # see above what is wrong; this file cannot judge it"


def _engine_lines(file: Path, adapter: Adapter, result: Result) -> Iterator[str]:
    config = result.failure.config if result.failure is not None else None
    if config is not None:
        yield "from minillm.verification.models import CONFIGS, random_weights"
        if config not in CONFIGS:
            yield "from minillm.config import ModelConfig, RopeParameters"
    yield f"sys.path.insert(0, {str(file.absolute().parent)!r})"
    yield f"engine = importlib.import_module({file.stem!r})"
    if adapter.listed:
        yield f"engine = dict(engine.engines())[{adapter.name!r}]"
    if config is not None:
        yield f"config = {f'CONFIGS[{CONFIGS.index(config)}]' if config in CONFIGS else repr(config)}"
        yield "engine = engine.make_engine(config, dict(random_weights(config)))"


def _comparison(adapter: Adapter, result: Result, last: str) -> Iterator[str]:
    step = result.step
    assert step is not None
    tokens, row = [token for token, _ in step.pairs], ""
    if step.call.name == "batch":
        row = f"[{[cache.name for _, cache in step.call.arguments[0]].index(step.cache)}]"
    yield f"got = np.asarray({last}{row}, float)"
    if adapter.to_itself:
        yield f"expected = np.asarray(engine.prefill({tokens}, engine.new_cache()), float)"
    elif result.failure is not None and result.failure.config is None:
        yield "from minillm import reference; from minillm.loading import open_checkpoint, build"
        yield f"model = open_checkpoint({adapter.model!r})"
        yield f"expected = reference.forward(model.config, build.weights_by_name(model), {tokens})[-1]"
    elif is_plain(step.pairs):
        yield "from minillm import reference"
        yield f"expected = reference.forward(config, random_weights(config), {tokens})[-1]"
    else:
        yield "from minillm.verification.edited_cache import edited_logits"
        yield f"expected = edited_logits(config, random_weights(config), {[tuple(pair) for pair in step.pairs]})"
    yield "difference = np.abs(got - expected).max() / np.abs(expected).max()"
    yield f'print(f"got      {{got}}\\nexpected {{expected}}\\ndifference {{difference:.1e}} of {adapter.tolerance:g}")'
    yield f"sys.exit(not difference <= {adapter.tolerance:g})"


def statement(call: Call) -> str:
    """Return the call as a line of Python.

    >>> from minillm.verification.handles import Handle
    >>> statement(Call("fork", (Handle(0, "a"),), "cache", [Handle(1, "b")]))
    'b = engine.fork(a)'
    """
    shown = str(call)
    start = shown.index(f"{call.name}(")
    return (shown[:start] + "engine." + shown[start:]).replace(f" {UNNAMED}", f" engine.{UNNAMED}")
