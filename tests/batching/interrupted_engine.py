"""Ctrl-C at many places of an engine's steps: whoever goes on gets what he would have got without it.

Run as a program, which is told the stride from place to place: the shape checker would take most of the time, and has
places of its own. A prime hits other places in every step.
"""

import json
import sys
from collections import Counter
from contextlib import suppress

from interrupts import CtrlC, hear_interrupts
from random_models import random_model
from test_checks import CONFIG

import minillm
from minillm import Engine, PromptLookup, Sampling

MODEL = random_model(CONFIG, 3, "exact")[0]
DRAFTERS = {"none": None, "model": minillm.skip_layers(MODEL, [0]), "lookup": PromptLookup()}


class InterruptedEngine(Engine):
    """Interrupted in what a step does, not where it hands its events over."""

    interrupt = CtrlC()

    def _advance(self):
        with self.interrupt:
            super()._advance()


def run(drafter, interrupt):
    """Samples that share their prompt, and a request for which the pool is too small at first."""
    engine = InterruptedEngine(MODEL, block_size=2, num_blocks=13, preemption="swap", drafter=drafter)
    requests = engine.submit_samples([1, 2, 3], 2, 8, Sampling(1.0, seed=1, logprobs=2, ignore_eos=True))
    requests += [engine.submit([1, 2, 3, 4, 1, 2], 7, Sampling(ignore_eos=True))]
    engine.interrupt = interrupt
    events = []
    while engine.has_work:
        with suppress(KeyboardInterrupt):
            events += engine.step()
    events += engine.step()
    heard = [[event.step.token for event in events if event.request is request] for request in requests]
    outcome = [(request.tokens, request.logprobs, request.finish_reason) for request in requests]
    return outcome, heard, engine.pool.used, engine.statistics.finished


if __name__ == "__main__":
    hear_interrupts()
    places = Counter()
    for name, drafter in DRAFTERS.items():
        never = CtrlC()
        expected = run(drafter, never)
        for number in range(1, never.count, int(sys.argv[1])):
            interrupt = CtrlC(number)
            assert run(drafter, interrupt) == expected, f"drafter {name}, event {number}, in {interrupt.callers}"
            places["forward pass" if "forward_batch" in interrupt.callers else "elsewhere"] += 1
    print(json.dumps(places))
