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
from minillm.verification.edited_cache import from_zero, is_plain
from minillm.verification.engine_under_test import UNNAMED
from minillm.verification.failure import WRONG, Failure
from minillm.verification.models import CONFIGS
from minillm.verification.replay import Step
from minillm.verification.search import Result, place

CHECKS = {  # by the property, or else by the function
    "plain_answers_are_greedy": "check_greedy", "tied_tokens_are_kept_by_number": "check_ties",
    "an_answer_goes_on_from_its_own_tokens": "check_rest",
    "generate": "check_answers", "stream": "check_stream", "sample": "check_distribution",
}  # fmt: skip
DISTRIBUTIONS = ("check_distribution", "check_ties")
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
    check = check_of(result)
    yield from _imports(failure.config, check)
    yield f"with engine_of({', '.join(_arguments(file, adapter, failure))}) as engine:"
    calls = _checked(check, failure) if check else _compared(failure, step)
    yield from (f"    {line}" for line in calls)


def _imports(config: ModelConfig | None, check: str) -> Iterator[str]:
    if check:
        yield f"from minillm.verification.{'distributions' if check in DISTRIBUTIONS else 'answers'} import {check}"
    if config is not None and config not in CONFIGS:
        yield "from minillm.config import ModelConfig, RopeParameters"
    elif config is not None:
        yield "from minillm.verification.models import CONFIGS"
    yield "from minillm.verification.one_example import engine_of"


def _arguments(file: Path, adapter: Adapter, failure: Failure) -> Iterator[str]:
    yield repr(str(file.absolute()))
    yield repr(adapter.name)
    if failure.config is not None:
        yield f"CONFIGS[{CONFIGS.index(failure.config)}]" if failure.config in CONFIGS else repr(failure.config)


def _compared(failure: Failure, step: Step | None) -> Iterator[str]:
    """Yield the calls, and the comparison of the last result. The engine itself judges all other results."""
    if step is None:
        return (yield from map(statement, failure.calls))
    yield from map(statement, failure.calls[:-1])
    row, pairs = "", step.pairs if failure.config is not None else from_zero(step.pairs)
    if step.call.name == "batch":
        row = f"[{[cache.name for _, cache in step.call.arguments[0]].index(step.cache)}]"
    yield f"found = {statement(failure.calls[-1])}{row}"
    tokens = [token for token, _ in pairs]
    expected = f"naive({tokens})" if is_plain(pairs) else f"edited({[tuple(pair) for pair in pairs]})"
    yield f"engine.assert_same(found, engine.{expected})"


def check_of(result: Result) -> str:
    """Return the name of the check that judges a result of generate, stream or sample; "" for any other failure.

    A check also gives `sample` its argument `draw`.
    """
    failure = result.failure
    last = failure.calls[-1].name if failure is not None and failure.calls else ""
    if failure is None or not (last == "sample" or (last in CHECKS and failure.verdict == WRONG and not failure.kind)):
        return ""
    check = CHECKS.get(result.name) or CHECKS[last]
    if check == "check_rest" and len(failure.calls) == 1:  # the longer answer alone is wrong
        return CHECKS[last]
    return check


def _checked(check: str, failure: Failure) -> Iterator[str]:
    """Yield the call of a check, and the calls before it."""
    [*earlier, last] = failure.calls
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


def statement(call: Call) -> str:
    """Return the call as a line of Python.

    >>> from minillm.verification.handles import Handle
    >>> statement(Call("fork", (Handle(0, "a"),), "cache", [Handle(1, "b")]))
    'b = engine.fork(a)'
    """
    shown = str(call)
    start = shown.index(f"{call.name}(")
    return (shown[:start] + "engine." + shown[start:]).replace(f" {UNNAMED}", f" engine.{UNNAMED}")
