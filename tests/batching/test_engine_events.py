"""An engine's events say all that its statistics count, and all that its blocks go through: on random schedules."""

import dataclasses
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import models, random_model
from test_checks import CONFIG
from test_engine_schedules import engines, submissions

import minillm
from minillm import Engine, PromptLookup, events
from minillm.batching.statistics import Statistics
from minillm.batching.virtual_engine import VirtualEngine
from minillm.events import listening
from minillm.kv_cache.block_table import BlockTable
from minillm.kv_cache.neighbours import NeighbourAllocator

ACTIONS = "submit", "samples", "step", "step", "cancel"


class Ledger:
    """What the fine events alone say of an engine: the state of its blocks and requests, and the same counts."""

    def __init__(self, engine):
        self.engine, self.counts = engine, Statistics()
        self.tables, self.known = {}, set()  # blocks by table; published blocks
        self.running, self.waiting, self.length = {}, [], Counter()  # tables by request; requests; tokens by table
        self.shared, self.swapped = {}, {}  # tokens of shared blocks by table; tokens by preempted request
        self.rows, self.tokens = (), {}

    def hear(self, event):
        getattr(self, type(event).__name__, lambda event: None)(event)

    def Submitted(self, event):
        self.waiting.append(event.request)
        self.tokens[event.request] = []

    def Admitted(self, event):
        self.waiting.remove(event.request)
        self.running[event.request] = event.cache
        self.length[event.cache] = event.known_tokens + event.restored_tokens
        assert event.known_tokens <= self.shared.pop(event.cache, 0)
        assert event.restored_tokens == max(0, self.swapped.pop(event.request, 0) - event.known_tokens)
        self.counts.prefix_tokens += event.known_tokens

    def Preempted(self, event):
        del self.running[event.request]
        self.waiting.append(event.request)
        self.counts.preemptions += 1
        self.counts.swapped_tokens += event.swapped_tokens
        self.swapped[event.request] = event.swapped_tokens

    def Finished(self, event):
        self.waiting.remove(event.request) if event.request in self.waiting else self.running.pop(event.request)
        name = "cancelled" if event.reason == "cancelled" else "finished"
        setattr(self.counts, name, getattr(self.counts, name) + 1)

    def PassBegun(self, event):
        if event.model is self.engine.model and all(each.cache in self.running.values() for each in event.sequences):
            self.rows = event.sequences

    def StepEnded(self, event):
        counts, size = self.counts, self.engine.pool.block_size
        counts.steps += 1
        for each in self.rows:
            draft = max(0, each.logit_rows - 1)
            own = len(each.tokens) - draft
            counts.draft_tokens += draft
            counts.decode_tokens += own == 1
            counts.prefill_tokens += own if own > 1 else 0
            assert each.first == self.length[each.cache]
            self.length[each.cache] += len(each.tokens)
        assert (event.running, event.waiting) == (len(self.running), len(self.waiting))
        assert sum(len(each.tokens) for each in self.rows) <= event.budget == self.engine.scheduler.max_batch_tokens
        filled = {}
        for table in self.running.values():
            for number, block in enumerate(self.tables[table]):
                filled[block] = max(0, min(size, self.length[table] - number * size))
        counts.used_blocks += len(filled)
        counts.peak_used_blocks = max(counts.peak_used_blocks, len(filled))
        entries = sum(len(self.tables[table]) for table in self.running.values())
        counts.peak_table_blocks = max(counts.peak_table_blocks, entries)
        counts.filled_slots += sum(filled.values())

    def TokenChosen(self, event):
        self.tokens[event.request].append(event.token)
        self.counts.accepted_tokens += event.origin == "accepted"

    def DraftVerified(self, event):  # what was rejected leaves the cache
        table = self.running[event.request]
        self.length[table] -= event.proposed - event.accepted

    def BlocksTaken(self, event):
        assert not self.references().keys() & set(event.blocks) and not self.known & set(event.blocks)
        self.tables.setdefault(event.table, []).extend(event.blocks)

    def BlocksShared(self, event):
        source = self.known if event.source is None else set(self.tables[event.source])
        assert set(event.blocks) <= source and not self.tables.get(event.table)
        self.tables[event.table] = list(event.blocks)
        self.shared[event.table] = len(event.blocks) * self.engine.pool.block_size

    def BlockCopied(self, event):
        table = self.tables[event.table]
        assert self.references()[event.source] > 1 and event.block not in self.references()
        table[table.index(event.source)] = event.block

    def BlocksReleased(self, event):
        kept = len(self.tables[event.table]) - len(event.blocks)
        assert self.tables[event.table][kept:] == list(event.blocks)
        del self.tables[event.table][kept:]

    def BlockPublished(self, event):
        assert event.block in self.tables[event.table]
        self.known.add(event.block)

    def BlockUnpublished(self, event):
        assert self.references()[event.block] == 1
        self.known.remove(event.block)

    def BlockEvicted(self, event):
        assert event.block not in self.references()
        self.known.remove(event.block)

    def references(self):
        return Counter(block for table in self.tables.values() for block in table)

    def check(self):
        """Compare with the engine."""
        engine, pool = self.engine, self.engine.pool
        references = self.references()
        assert pool.reference_counts == [references[block] for block in range(pool.num_blocks)]
        assert self.known == set(pool.prefixes._by_block)
        assert list(self.running) == [request.completion for request in engine.scheduler.running]
        for request in engine.scheduler.running:
            assert self.running[request.completion] is request.cache
            assert self.tables[request.cache] == request.cache.table
            assert self.length[request.cache] == request.cache.length
        assert self.counts == engine.statistics


@settings(max_examples=3)
@given(data=st.data())
def test_the_events_say_what_the_engine_did(data):
    check_schedule(data)


@pytest.mark.slow
@settings(max_examples=100)
@given(data=st.data())
def test_the_events_say_what_the_engine_did_in_many_schedules(data):
    check_schedule(data)


def check_schedule(data):
    model = data.draw(models(backends=("exact",)))
    wanted = data.draw(submissions(model.config.vocab_size))
    drafters = {"least_budget": 4, "drafter": data.draw(st.sampled_from([model, PromptLookup()])), "k": 3}
    engine = data.draw(engines(model, wanted, **data.draw(st.sampled_from([{}, drafters]))))
    ledger, heard, folded, requests = Ledger(engine), [], Statistics(), []
    with listening(lambda event: (heard.append(event), ledger.hear(event))):
        for action in data.draw(st.lists(st.sampled_from(ACTIONS), max_size=20)):
            if action in ("submit", "samples") and wanted:
                prompt, new_tokens, sampling = wanted.pop()
                requests += engine.submit_samples(prompt, 1 + 2 * (action == "samples"), new_tokens, sampling)
            elif action == "cancel" and requests:
                engine.cancel(data.draw(st.sampled_from(requests)))
            elif action == "step":
                engine.step()
            ledger.check()
        engine.run()
        ledger.check()
    for event in heard:
        folded.count(event)
    assert folded == engine.statistics
    assert [ledger.tokens[request.completion] for request in requests] == [request.tokens for request in requests]


def test_the_ledger_sees_every_kind_of_event():
    """So that the property above proves something: a schedule with a shared prompt, copies, preemption and eviction."""
    model, heard = random_model(CONFIG, 0, "exact")[0], []
    engine = Engine(model, block_size=2, num_blocks=12, drafter=PromptLookup(), k=2, preemption="swap")
    ledger = Ledger(engine)
    warm = minillm.Sampling(temperature=1.0, seed=1, ignore_eos=True)
    with listening(lambda event: (heard.append(type(event).__name__), ledger.hear(event))):
        for _ in range(2):
            engine.submit_samples([1, 2, 3, 1, 2, 3], 3, 9, warm)
            engine.run()
        engine.cancel(engine.submit([5, 6, 7, 8, 5, 6]))
        engine.submit([5, 6, 7, 8, 5, 6], 9, warm)
        engine.run()
    ledger.check()
    assert engine.statistics.swapped_tokens
    kinds = {name for name, kind in vars(events).items() if isinstance(kind, type) and issubclass(kind, events.Event)}
    assert kinds - {"Event"} - set(heard) <= {"BlockUnpublished"}


def test_a_static_batch_tells_the_same_of_its_requests():
    batching, heard = minillm.StaticBatching(random_model(CONFIG, 0, "exact")[0], batch_size=2), []
    with listening(heard.append):
        requests = [batching.submit([1, 2, 3], new, minillm.Sampling(ignore_eos=True)) for new in (2, 1)]
        batching.run()
    names = [type(event).__name__ for event in heard]
    passes = ["PassBegun", "PassEnded", "TokenChosen", "TokenChosen", "PassBegun", "PassEnded", "TokenChosen"]
    assert names == [*2 * ["Submitted"], *2 * ["Admitted"], *passes, *2 * ["Finished"]]
    assert [event.request for event in heard[:2]] == [request.completion for request in requests]


def test_a_table_that_writes_into_a_published_block_tells_that_it_is_unknown():
    pool, heard = NeighbourAllocator(num_blocks=3, block_size=2), []
    with listening(heard.append):
        table = BlockTable(pool)
        table.reserve(4)
        table.length = 4
        table.publish([1, 2, 3, 4])
        table.truncate(3)
        table.reserve(1)
        table.free()
    taken, *published, unpublished, released = heard
    assert (taken.table, taken.blocks, released.blocks) == (table, (0, 1), (0, 1))
    assert [event.block for event in published] == [0, 1]
    assert isinstance(unpublished, events.BlockUnpublished) and (unpublished.pool, unpublished.block) == (pool, 1)


def test_a_virtual_engine_counts_what_an_engine_counts():
    model, sampling = random_model(CONFIG, 0, "exact")[0], minillm.Sampling(ignore_eos=True)
    real = Engine(model, block_size=2, num_blocks=9, max_batch_tokens=5)
    virtual = VirtualEngine(9, block_size=2, max_batch_tokens=5)
    for prompt, new_tokens in ([1, 2, 3], 6), ([1, 2, 3, 4], 5), ([4] * 6, 4):
        real.submit(prompt, new_tokens, sampling)
        virtual.submit(prompt, new_tokens)
    while real.has_work:
        real.step(), virtual.step()
    assert real.statistics.preemptions
    assert dataclasses.asdict(virtual.statistics) == dataclasses.asdict(real.statistics)
