"""Experiment: what one engine, healthy or patched, answers, and whether the property holds. Runs in a child process.

The search of Hypothesis is deterministic, so the smallest counterexample is the same in every run.
"""

from typing import Any

from hypothesis import strategies as st

import minillm
from minillm.support.printable import safe
from minillm.verification.properties import NEEDS, run_property
from minillm.zoo import request_properties, sampling_properties, text_properties, weight_properties
from minillm.zoo.bug import Bug, find_bug
from minillm.zoo.own_engine import own_engines

MODEL, PROMPT, NEW_TOKENS = "story", "The capital of France is", 16
EXAMPLES = 250  # of a property of the zoo, which are quick
OWN = (request_properties, sampling_properties, text_properties, weight_properties)


def run(number: int) -> dict[str, Any]:
    """Return the lines that the engine answers (`answer`), and the smallest counterexample or None (`failure`)."""
    bug = find_bug(number)
    return {"answer": answer_of(bug), "failure": counterexample(bug.caught_by)}


def answer_of(bug: Bug) -> list[str]:
    """Return what the bundled model answers. A patched engine may raise any exception: it is the answer then."""
    try:
        model = minillm.load(MODEL, "plain")
        return bug.answer(model) if bug.answer else greedy(model)
    except Exception as problem:
        return [f"{type(problem).__name__}: {problem}"]


def greedy(model: minillm.Model) -> list[str]:
    """Return a prompt and its greedy continuation, as one line."""
    return [repr(PROMPT + minillm.generate(model, PROMPT, NEW_TOKENS).text)]


def counterexample(name: str) -> str | None:
    """Search for a counterexample to the property with this name. Return the text of the smallest, or None."""
    try:
        known = {holds.__name__: holds for holds in NEEDS}
        if name in known:
            run_property(known[name], own_engines())
        else:
            holds = next(getattr(module, name) for module in OWN if hasattr(module, name))
            run_property(lambda _, data: holds(data), st.none(), EXAMPLES)  # type: ignore[arg-type]
    except AssertionError as problem:
        return safe(str(problem) or "an assertion of the engine failed")
    except Exception as problem:
        return safe(f"{type(problem).__name__}: {problem}")
    return None
