"""The page of a comparison: that of a trace of A, with a view of the difference and a sentence on each step.

The trace is of A's schedule on minillm's own engine. So the other views show its passes and caches, also if A is an
engine in a file or a commit. Without minillm's model there are no steps: then the difference is the only view.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from minillm.bisection.compare import Question
from minillm.bisection.meaning import STRUCTURAL, meaning
from minillm.bisection.observed import Observed
from minillm.bisection.recorded import HEADER, recorded
from minillm.bisection.report import Report, about_first, pass_name
from minillm.loading.load import load
from minillm.support.wording import counted
from minillm.trace.page import page as page_of
from minillm.trace.reader import Trace
from minillm.trace.states import States


def page(question: Question, report: Report) -> str:
    """Return the page.

    Raises:
        ValueError: it would have more than 2 MB.
    """
    trace = trace_of(question, report)
    return page_of(trace, difference_of(question, report, trace))


def trace_of(question: Question, report: Report) -> Trace:
    """Return the trace of A's schedule; one without lines if minillm cannot run it."""
    if not report.own_model:
        model = load(question.model, question.a.backend, question.dtype, question.weights)
        try:
            return recorded(model, question.a.schedule, report.tokens, report.prompt_tokens)
        except ValueError:  # of an engine in a file, any cache can be copied out
            pass
    return Trace(HEADER, [], States())


def difference_of(question: Question, report: Report, trace: Trace) -> dict[str, Any]:
    """Return what the view of the difference shows, as JSON values. Step n of the page is pass n - 1 of A."""
    found, has_steps = report.found, len(trace.states.steps) > 1
    steps = [{"results": 0, "different": 0, "b": []}, *_steps(report)] if has_steps else []
    others = ["The other views show the passes of A's schedule on minillm's own engine."]
    return {
        "title": f"Two runs of {report.model}, compared",
        "sides": {"a": report.a, "b": report.b},
        "verdict": report.verdict,
        "first": None if found.first is None else _first(report),
        "steps": steps,
        "passes": {"a": _passes(found.a), "b": _passes(found.b)},
        "largest": list(_largest(report)),
        "notes": [*report.all_notes(), *(others if has_steps and question.a.kind != "backend" else [])],
        "sentences": [_beginning(report), *(_sentences(report) if has_steps else [])],
    }


def _first(report: Report) -> dict[str, Any]:
    first = report.found.first
    assert first is not None
    return {
        "step": first.pair.a.step + 1,
        "b": first.pair.b.step,
        "about": list(about_first(report)),
        "meaning": meaning(report.found, report.expected),
    }


def _steps(report: Report) -> Iterator[dict[str, Any]]:
    """Yield for each pass of A how many results were compared and differ, and in which passes of B they are."""
    by_step = defaultdict(list)
    for row in report.found.rows:
        by_step[row.pair.a.step].append(row)
    for step in range(len(report.found.a.passes)):
        rows = by_step[step]
        of_b = sorted({row.pair.b.step for row in rows})
        yield {"results": sum(r.results for r in rows), "different": sum(r.different for r in rows), "b": of_b}


def _passes(observed: Observed) -> list[list[int]]:
    """Return the first position of each pass and its number of tokens, of the sequence of the prompt."""
    spans = ([[first, count] for number, first, count in parts if number == 0] for parts in observed.passes)
    return [span[0] if span else [0, 0] for span in spans]


def _largest(report: Report) -> Iterator[dict[str, Any]]:
    first = report.found.first
    by_operation = sorted(report.found.largest.items(), key=lambda item: item[0].operation)
    for place, largest in by_operation:
        yield {
            "operation": place.name,
            "layer": place.in_layer,
            "relative": f"{largest.relative:.1e}",
            "large": largest.relative > STRUCTURAL,
            "first": first is not None and first.place == place,
        }


def _beginning(report: Report) -> str:
    first = report.found.first
    where = "" if first is None else f" The first difference is in step {first.pair.a.step + 1}."
    return f"Run A and run B have the same {counted(len(report.tokens), 'token')}. They are {report.verdict}.{where}"


def _sentences(report: Report) -> Iterator[str]:
    """Yield what each pass of A ran, and whether its results are B's."""
    first = report.found.first
    for number, step in enumerate(_steps(report)):
        if not report.found.a.passes[number]:
            yield "Wrong tokens run on purpose. Their results are not compared."
            continue
        here = " The first difference is here." if first is not None and first.pair.a.step == number else ""
        equal = f"All {counted(step['results'], 'result')} are equal."
        differ = f"{step['different']} of {counted(step['results'], 'result')} differ from run B.{here}"
        yield f"Run A, {pass_name(report.found.a, number)}. {differ if step['different'] else equal}"
