"""Search: try one property on one engine, and return a verdict with all that a person needs to act on it."""

from contextlib import suppress
from dataclasses import dataclass, replace

from hypothesis.errors import Flaky, Unsatisfiable
from hypothesis.reporting import with_reporter

from minillm.support.wording import counted
from minillm.verification.adapter import REQUIRED
from minillm.verification.engine_file import LoadedEngine
from minillm.verification.failure import CRASHED, HUNG, WRONG, EngineFailed, Failure
from minillm.verification.findings import Findings
from minillm.verification.properties import Property
from minillm.verification.refusals import EveryExampleRefused, Refused
from minillm.verification.replay import Replay, Step, first_difference
from minillm.verification.symptoms import DROPPED, EVERYWHERE, MODEL, MODEL_ALONE, explanation

PASSED, REFUSED, NOT_TESTED = "passed", "refused", "not tested"
INSTEAD = {"naive": "prefill", "edited": "make_engine"}  # the functions that what is missing comes from
LEFT_BY_OTHERS = (
    "The same calls in a new process raise nothing. Do earlier caches take the room? Free them in `release`, or when "
    "Python deletes them. Or the engine keeps something else."
)
NOT_AGAIN = "The same calls give the expected logits now: the engine does not give the same twice, or keeps something."
CHANGED_BY_REFUSAL = "The same calls alone are right. Has a refused call, which is not shown, changed a cache?"


@dataclass(frozen=True)
class Result:
    """The verdict on one property of one engine.

    Attributes:
        engine, name: the engine and the property.
        verdict: PASSED, WRONG, CRASHED, HUNG, REFUSED (every example was) or NOT_TESTED.
        summary: one line: the largest difference, what was refused or is missing, or the same cause as another.
        failure: the smallest failing example.
        step: its first wrong result, if it is one of logits.
        meaning: what the wrong result usually means, or "".
        same_as: the name of an earlier property of this engine that probably failed for the same cause.
        is_smallest: whether the search has tried all smaller examples.
    """

    engine: str
    name: str
    verdict: str
    summary: str
    largest_difference: float = 0.0
    refused: int = 0
    failure: Failure | None = None
    step: Step | None = None
    meaning: str = ""
    same_as: str = ""
    is_smallest: bool = True

    def report(self) -> str:
        """Return what is shown of a failure."""
        assert self.failure is not None
        if self.same_as:
            return f"{self.verdict}: probably the same cause as {self.same_as}"
        where = f" in {self.failure.calls[-1].name}" if self.failure.calls else ""
        so_far = "" if self.is_smallest else " so far"
        lines = [f"{self.verdict}{where}; the smallest failing example{so_far}:", self.failure.text]
        if self.step is not None:
            lines.append(place(self.step))
        return "\n".join([*lines, *filter(None, [self.meaning])])


def search(name: str, tried: Property, loaded: LoadedEngine, known: list[Result]) -> Result:
    """Try a property on an engine.

    Args:
        name: the name of the property.
        tried: the property.
        loaded: the engine.
        known: the earlier results, to recognise a cause.
    """
    engine, findings = loaded.adapter.name, loaded.findings
    if missing := [function for function in tried.needs if not loaded.has(function)]:
        return Result(engine, name, NOT_TESTED, f"no {', '.join(_lacks(missing))}")
    loaded.transport.refresh()
    findings.clear()
    is_smallest = True
    try:
        with with_reporter(lambda _: None):  # the report is ours
            tried.search(loaded.engines)
    except (Unsatisfiable, EveryExampleRefused):
        return _refused(name, loaded)
    except EngineFailed:
        pass
    except Flaky:  # the time for shrinking was over
        is_smallest = False
    if findings.smallest is None and findings.refused and "prefill" in tried.needs and not findings.differences:
        return _refused(name, loaded)
    if findings.smallest is None:
        return Result(engine, name, PASSED, findings.summary(), findings.largest_difference, findings.refused)
    return _failed(name, loaded, known, is_smallest)


def _lacks(missing: list[str]) -> list[str]:
    """Return the functions to write first: without those that are required, the others are not missed."""
    required = [function for function in missing if function in REQUIRED]
    return required or list(dict.fromkeys(INSTEAD.get(function, function) for function in missing))


def _refused(name: str, loaded: LoadedEngine) -> Result:
    summary = f"every example was refused: {loaded.findings.refusal}"
    return Result(loaded.adapter.name, name, REFUSED, summary, refused=loaded.findings.refused)


def so_far(name: str, loaded: LoadedEngine) -> Result | None:
    """Return the failure that an interrupted search has found, if it has."""
    smallest, step, meaning = loaded.findings.smallest, None, ""
    if smallest is None:
        return None
    if smallest.verdict == WRONG and not smallest.kind:
        with suppress(KeyboardInterrupt):  # a second Ctrl-C: the example is shown as it was found
            smallest, step, meaning = explained(smallest, loaded)
    return Result(
        loaded.adapter.name, name, smallest.verdict, "interrupted", failure=smallest, step=step, meaning=meaning,
        is_smallest=False,
    )  # fmt: skip


def _failed(name: str, loaded: LoadedEngine, known: list[Result], is_smallest: bool) -> Result:
    findings = loaded.findings
    assert findings.smallest is not None
    failure, step, meaning = findings.smallest, None, ""
    if failure.verdict in (CRASHED, HUNG):
        failure = confirmed(failure, loaded) or findings.first or failure
    elif not failure.kind:
        failure, step, meaning = explained(failure, loaded)
    result = Result(
        loaded.adapter.name, name, failure.verdict, failure.what.splitlines()[0], findings.largest_difference,
        findings.refused, failure, step, _meaning(meaning, findings.advice()), is_smallest=is_smallest,
    )  # fmt: skip
    for one in known:
        if not one.same_as and one.engine == result.engine and has_same_cause(one, result):
            return replace(result, same_as=one.name)
    if failure.verdict == WRONG and failure.kind:
        loaded.transport.renew()
        return result if confirmed(failure, loaded) else replace(result, meaning=LEFT_BY_OTHERS)
    return result


def _meaning(meaning: str, advice: str) -> str:
    """Return what the failure means. If the model is wrong everywhere, and rounding explains it, say that first."""
    if meaning in ("", MODEL, MODEL_ALONE):
        return "\n".join(filter(None, [advice, meaning]))
    return meaning


def has_same_cause(one: Result, other: Result) -> bool:
    """Return whether the other failure probably has the same cause: it includes the calls, or it has the same meaning.

    If it has, it must also have the kinds of calls of the one: a wrong truncation does not explain a wrong fork.
    """
    if one.failure is None or other.failure is None:
        return False
    if any(sentence in other.meaning and sentence not in one.meaning for sentence in DROPPED):
        return False  # decode, say, may be wrong, and truncate, too
    if any(sentence in one.meaning and sentence in other.meaning for sentence in EVERYWHERE):
        return True
    alike = one.failure.kinds <= other.failure.kinds and one.meaning == other.meaning != ""
    return alike or one.failure.explains(other.failure)


def confirmed(failure: Failure, loaded: LoadedEngine) -> Failure | None:
    """Make the calls again in a new process, with the usual time limit. Return the failure if it is the same."""
    loaded.transport.refresh()
    try:
        replay = Replay(loaded.example(failure.config, Findings(loaded.adapter.tolerance)))
        for call in failure.calls:
            replay.make(call)
    except EngineFailed as problem:
        again = problem.failure
        return again if (again.verdict, again.kind) == (failure.verdict, failure.kind) else None
    except (Refused, KeyError):
        pass
    return None


def explained(failure: Failure, loaded: LoadedEngine) -> tuple[Failure, Step | None, str]:
    """Return the failure up to its first wrong result, this result, and what it usually means."""
    try:
        findings = Findings(loaded.adapter.tolerance)
        step = first_difference(failure.calls, loaded.example(failure.config, findings))
        if step is None:
            has_logits = any(call.returns in ("logits", "rows") for call in failure.calls)
            refused = bool(loaded.findings.refused)
            return failure, None, (CHANGED_BY_REFUSAL if refused else NOT_AGAIN) if has_logits else ""
        meaning = explanation(step, loaded.example(failure.config, findings))
    except (EngineFailed, Refused, KeyError):
        return failure, None, ""
    if len(step.calls) < len(failure.calls):
        what = f"the logits are wrong already after {counted(len(step.calls), 'call')}"
        failure = replace(failure, calls=step.calls, what=what)
    return failure, step, meaning


def place(step: Step) -> str:
    """Return where the first wrong result is."""
    last = step.pairs[-1]
    return (
        f"first difference: call {len(step.calls)}, {step.call}: sequence {step.cache}, "
        f"position {last.position} (token {last.token})"
    )


FAILURES = (WRONG, CRASHED, HUNG)
