"""The smallest failing example as a file to run, to debug and to keep: the calls, without Hypothesis.

python minillm_failure_1.py        exit status 1 while the bug is there
"""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from minillm.config import ModelConfig
from minillm.support.printable import one_line
from minillm.verification.adapter import Adapter
from minillm.verification.calls import Call
from minillm.verification.edited_cache import is_plain
from minillm.verification.engine_under_test import UNNAMED
from minillm.verification.failure import HUNG, WRONG, Failure
from minillm.verification.models import CONFIGS
from minillm.verification.search import Result, place

CHECKS = {  # by the property, or else by the function
    "plain_answers_are_greedy": "check_greedy", "tied_tokens_are_kept_by_number": "check_ties",
    "an_answer_goes_on_from_its_own_tokens": "check_rest",
    "generate": "check_answers", "stream": "check_stream", "sample": "check_distribution",
}  # fmt: skip
FIRST_LINE = "# A failing example of pytest --minillm-engine."


def write_failure(
    folder: Path, file: Path, adapter: Adapter, result: Result, taken: set[Path], worker: str = ""
) -> Path:
    """Write the example into a new file, or over that of an earlier run. Return it.

    Args:
        folder: for the new file.
        file: the file with the engine.
        adapter: what it says of the engine.
        result: the failure.
        taken: the files of this run. The new one is added.
        worker: the process of pytest-xdist that runs the property. Each one has files of its own.

    Raises:
        OSError: if the file cannot be written.
    """
    assert result.failure is not None
    begin = "_".join(filter(None, ["minillm_failure", worker]))
    paths = (folder / f"{begin}_{number}.py" for number in count(1))
    path = next(path for path in paths if path not in taken and _is_free(path))
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
    yield f"# {result.name} fails on {adapter.name}: {one_line(failure.what.splitlines()[0])}"
    if step is not None:
        yield f"# {place(step)}"
    yield from (f"# {line}" for line in result.meaning.splitlines())
    if failure.verdict == HUNG:
        yield "import signal"
    if is_answer(failure):
        return (yield from _check(file, adapter, result))
    yield "import importlib, sys" if step is None else "import importlib, sys, numpy as np"
    yield from _engine_lines(file, adapter, result)
    yield from _time_limit(failure, adapter)
    yield from map(statement, failure.calls[:-1])
    last = statement(failure.calls[-1]) if failure.calls else ""
    if step is not None:
        yield from _comparison(adapter, result, last)
    elif failure.kind or failure.verdict != WRONG:
        yield f"{last}  # {one_line(failure.kind) or 'a crash or a hang'}"
    else:
        yield from _shape(failure, adapter, last)


def _shape(failure: Failure, adapter: Adapter, last: str) -> Iterator[str]:
    """Yield the lines that compare the shape of the last result: its numbers are right, or differ from run to run."""
    call = failure.calls[-1]
    size = failure.config.vocab_size if failure.config is not None else adapter.vocab_size
    shape = [len(call.arguments[0]), size] if call.returns == "rows" else [size]
    yield "import numpy as np"
    yield f"got = list(np.asarray({last}, float).shape)"
    yield f'print(f"got the shape {{got}}, expected {shape}")'
    yield f"sys.exit(got != {shape})"


def is_answer(failure: Failure) -> bool:
    """Return whether a result of generate, stream or sample is wrong. The check of the property judges it.

    A check also gives `sample` its argument `draw`.
    """
    last = failure.calls[-1].name if failure.calls else ""
    return last == "sample" or (last in CHECKS and failure.verdict == WRONG and not failure.kind)


def _check(file: Path, adapter: Adapter, result: Result) -> Iterator[str]:
    """Yield the lines that call the check of a property."""
    failure = result.failure
    assert failure is not None
    [*earlier, last] = failure.calls
    check = CHECKS.get(result.name) or CHECKS[last.name]
    if check == "check_rest" and not earlier:  # the longer answer alone is wrong
        check = CHECKS[last.name]
    yield from _config_lines(failure.config)
    yield "from minillm.verification.engine_file import engine_of"
    yield f"from minillm.verification.{'sampling' if last.name == 'sample' else 'generation'}_properties import {check}"
    config = f", {_shown(failure.config)}" if failure.config is not None else ""
    yield from _time_limit(failure, adapter)
    yield f"with engine_of({str(file.absolute())!r}, {adapter.name!r}{config}) as engine:"
    yield from (f"    {line}" for line in _checked(check, earlier, last))
    yield 'print("as expected")'


def _checked(check: str, earlier: list[Call], last: Call) -> Iterator[str]:
    if last.name == "sample":
        yield f"{check}(engine, {last.arguments[0]}, {last.arguments[1]})"
    elif check == "check_rest":
        [[prompt], options], [[longer], _] = earlier[-1].arguments, last.arguments
        yield f"check_rest(engine, {prompt}, {options['max_new_tokens']}, {len(longer) - len(prompt)})"
    else:
        prompts, options = last.arguments
        yield from map(statement, _before_the_check(earlier, prompts if last.name == "generate" else [prompts]))
        limit = options["max_new_tokens"]
        others = {name: value for name, value in options.items() if name != "max_new_tokens"}
        arguments = f"{prompts[0]}, {limit}" if check == "check_greedy" else f"{prompts}, {limit}, {others}"
        yield f"{check}(engine, {arguments})"


def _before_the_check(calls: list[Call], prompts: list[list[int]]) -> list[Call]:
    """Return the calls without the plain answers at the end, which the check asks for again."""
    alone = [[prompt] for prompt in prompts]
    count = len(alone)
    return calls[:-count] if [call.arguments[0] for call in calls[-count:]] == alone else calls


def _time_limit(failure: Failure, adapter: Adapter) -> Iterator[str]:
    if failure.verdict == HUNG:
        yield f"signal.alarm({max(1, round(adapter.call_seconds))})  # ends this process while the bug is there"


def _config_lines(config: ModelConfig | None, *also: str) -> Iterator[str]:
    """Yield the lines that import what a configuration needs, and further names of the module of models."""
    names = [*["CONFIGS"] * (config in CONFIGS), *also]
    if config is not None and names:
        yield f"from minillm.verification.models import {', '.join(names)}"
    if config is not None and config not in CONFIGS:
        yield "from minillm.config import ModelConfig, RopeParameters"


def _shown(config: ModelConfig) -> str:
    return f"CONFIGS[{CONFIGS.index(config)}]" if config in CONFIGS else repr(config)


def _engine_lines(file: Path, adapter: Adapter, result: Result) -> Iterator[str]:
    config = result.failure.config if result.failure is not None else None
    yield from _config_lines(config, "random_weights")
    yield f"sys.path.insert(0, {str(file.absolute().parent)!r})"
    yield f"engine = importlib.import_module({file.stem!r})"
    if adapter.listed:
        yield f"engine = dict(engine.engines())[{adapter.name!r}]"
    if config is not None:
        yield f"config = {_shown(config)}"
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
