"""Every schedule of a small scope: three requests of three new tokens each, a pool of four blocks.

All interleavings of arrival, step and cancellation are run, for both kinds of preemption. Most bugs of a scheduler
show in a small scope already (Jackson, Software Abstractions, 2006: the small scope hypothesis), and here nothing is
left to chance. Interleavings that lead to the same state are followed only once: a state is all that the next steps
depend on, and `copy.deepcopy` of the engine is how one state is left in several directions.


Prints what it reached as JSON. A process of its own (see `unchecked`), since the shape checker takes most of the time.
"""

import copy
import dataclasses
import json
import sys
from collections import Counter

from random_models import random_model
from test_checks import CONFIG

import minillm
from minillm import Engine, Sampling

TINY = dataclasses.replace(CONFIG, num_hidden_layers=1, sliding_windows=(None,), num_attention_heads=2)
MODEL, _ = random_model(TINY, 0, "exact")
NEW_TOKENS, BLOCKS, BLOCK_SIZE, BUDGET = 3, 4, 2, 4
PROMPTS = {"a": [1, 2, 3], "b": [1, 2, 3, 4, 5], "c": [1, 2]}  # of 5, 7 and 4 slots: 3, 4 and 2 blocks; one beginning
SAMPLING = Sampling(temperature=1.0, seed=3, logprobs=1, ignore_eos=True)
ALONE = {
    name: minillm.generate(MODEL, prompt, NEW_TOKENS, SAMPLING, use_cache=False) for name, prompt in PROMPTS.items()
}


class World:
    """An engine and the requests that have arrived."""

    def __init__(self, preemption):
        self.engine = Engine(MODEL, BLOCK_SIZE, BLOCKS, BUDGET, preemption)
        self.requests = {}

    def actions(self):
        """Everything that can happen next."""
        arrivals = [("submit", name) for name in PROMPTS if name not in self.requests]
        cancels = [("cancel", name) for name, request in self.requests.items() if not request.finished]
        return arrivals + cancels + [("step", "")] * self.engine.has_work

    def after(self, action):
        """A copy of this world in which it has happened."""
        shared = (MODEL, SAMPLING, self.engine._turn)  # a lock cannot be copied
        world = copy.deepcopy(self, {id(value): value for value in shared})
        kind, name = action
        if kind == "submit":
            world.requests[name] = world.engine.submit(PROMPTS[name], NEW_TOKENS, SAMPLING)
        elif kind == "cancel":
            world.engine.cancel(world.requests[name])
        else:
            world.engine.step()
        return world

    def state(self):
        """All that later steps depend on. Of the tokens their number is enough, since `check` says which they are."""
        names = {id(request): name for name, request in self.requests.items()}
        pool, scheduler = self.engine.pool, self.engine.scheduler
        known = [(block, chain(entry)) for block, entry in sorted(pool.prefixes._by_block.items())]
        return (
            tuple(sorted(self.state_of(name) for name in self.requests)),
            tuple(names[id(request)] for request in [*scheduler.running, *scheduler.waiting]),
            tuple(known),
            tuple(pool._unused),
        )

    def state_of(self, name):
        request = self.requests[name]
        swapped = request.swapped.length if request.swapped else 0
        published = tuple(entry.block for entry in request.cache.prefix)
        return (
            name, request.finish_reason, len(request.tokens), request.cache.length, tuple(request.cache.table),
            published, swapped,
        )  # fmt: skip

    def check(self):
        """Every request has the tokens it would have alone, and every block is accounted for."""
        for name, request in self.requests.items():
            count = len(request.tokens)
            assert request.tokens == ALONE[name].tokens[:count] and request.logprobs == ALONE[name].logprobs[:count]
            assert request.finish_reason in ("", "cancelled") or count == NEW_TOKENS
        running, pool = self.engine.scheduler.running, self.engine.pool
        tables = Counter(block for request in running for block in request.cache.table)
        assert pool.reference_counts == [tables[block] for block in range(BLOCKS)]
        assert sorted([*tables, *pool._unused]) == list(range(BLOCKS))


def chain(entry):
    return (() if entry.parent is None else chain(entry.parent)) + entry.tokens


def explore(world, schedules, reached):
    """How many schedules lead from here to an end; `schedules` holds the answer for every state seen so far."""
    state = world.state()
    if state not in schedules:
        world.check()
        reached.update(what_happened(world))
        after = [world.after(action) for action in world.actions()]
        schedules[state] = sum(explore(later, schedules, reached) for later in after) if after else 1
    return schedules[state]


def what_happened(world):
    """The corners that the scope must reach, or else it proves little."""
    counts = world.engine.statistics
    happened = {
        "preempted": counts.preemptions,
        "prefix hit": counts.prefix_tokens,
        "evicted": world.engine.pool.evictions,
        "waiting": len(world.engine.scheduler.waiting) > 1,
        "ended": not world.actions(),
    }
    assert world.actions() or world.engine.pool.available == BLOCKS
    return [what for what, count in happened.items() if count]


if __name__ == "__main__":
    states, corners = {}, Counter()
    count = explore(World(sys.argv[1]), states, corners)
    print(json.dumps({"schedules": count, "states": len(states), **corners}))
