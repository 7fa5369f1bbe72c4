"""`minillm bench --batching`: what is measured is what it says; nothing here depends on speed."""

import json

import pytest
from model_folder import TEXT_CONFIG
from random_models import random_model

from minillm.benchmark import batching, batching_record
from minillm.cli.main import run

MODEL, _ = random_model(TEXT_CONFIG, 0)
PROMPTS = [[number, 2, 3, 4, 5] for number in range(3)]
BENCH = ("--context", "16", "--new-tokens", "2", "--rounds", "1", "--batch", "2", "--threads", "1")


@pytest.mark.slow
def test_neighbours_are_one_piece_and_fragments_are_single_blocks():
    whole, fragments = (batching._paged(MODEL, 4, 3, fragmented) for fragmented in (False, True))
    for caches, expected in ((whole, 1), (fragments, 4)):
        assert sorted(block for cache in caches for block in cache.table) == list(range(12))
        for cache in caches:
            assert len(cache.segments(0, 64)) == expected


@pytest.mark.slow
def test_all_four_ways_make_the_same_steps(monkeypatch):
    """The loops' tokens are those that the engine gives."""
    loops, engines = [], []

    class WatchedLoop(batching.PlainLoop):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            loops.append(self)

    def watched_engine(*arguments, whole=batching._engine_in_decode):
        engine = whole(*arguments)
        engines.append(list(engine.scheduler.running))
        return engine

    monkeypatch.setattr(batching, "PlainLoop", WatchedLoop)
    monkeypatch.setattr(batching, "_engine_in_decode", watched_engine)
    found = batching.decode_steps(MODEL, PROMPTS, 4)
    assert list(found) == ["plain", "paged", "fragmented", "engine"] and min(found.values()) > 0
    assert [len(request.tokens) for request in engines[0]] == [5] * 3
    assert [loop.tokens for loop in loops] == [[request.tokens[-1] for request in engines[0]]] * 3


@pytest.mark.slow
def test_the_mixed_load_takes_fewer_steps_when_it_is_continuous(monkeypatch):
    monkeypatch.setattr(batching, "MIXED_REQUESTS", 24)
    found = batching.mixed_load(MODEL)
    assert found["continuous_steps"] * 1.8 < found["static_steps"]


@pytest.mark.slow
def test_the_queue_is_answered_and_its_forward_passes_are_timed(monkeypatch):
    monkeypatch.setattr(batching, "QUEUED_REQUESTS", 20)
    found = batching.queued_requests(MODEL)
    assert 0 < found["outside_forward_s"] < found["total_s"]


@pytest.fixture
def small_loads(monkeypatch):
    """The loads run in another process, which a test cannot make smaller; here they run in this one."""
    from minillm.benchmark.engine_batching import load

    class Here:
        def __init__(self, name, command, threads, timeout):
            assert (name, threads) == ("minillm", 1)
            self.answer = load(*command[3:])

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def figures(self, request, *names):
            answer = self.answer(request)
            return [answer[name] for name in names]

    monkeypatch.setattr(batching_record, "EngineProcess", Here)
    monkeypatch.setattr(batching, "QUEUED_REQUESTS", 10)
    monkeypatch.setattr(batching, "MIXED_REQUESTS", 12)
    monkeypatch.setattr(batching, "STATIC_BATCH", 3)


def test_a_record_of_known_seconds():
    """Two rounds of a batch of 6: a step of the loop, with pages, with fragments, and of the engine."""
    record = batching_record._decode_record(6, [(1.0, 2.0, 4.0, 3.0), (2.0, 2.0, 3.0, 4.0)])
    assert record == {
        "sequences": 6,
        "plain_tokens_per_s": {"median": 4.5, "min": 3.0, "max": 6.0},
        "engine_tokens_per_s": {"median": 1.75, "min": 1.5, "max": 2.0},
        "engine_times_plain": {"median": pytest.approx(5 / 12), "min": 1 / 3, "max": 0.5},
        "paged_times_as_long": {"median": 1.5, "min": 1.0, "max": 2.0},
        "fragmented_times_as_long": {"median": 2.75, "min": 1.5, "max": 4.0},
    }


def test_the_prompts_are_different_and_of_one_length():
    assert batching_record._rotated([7, 8, 9], 3) == [[7, 8, 9], [8, 9, 7], [9, 7, 8]]


@pytest.mark.slow
def test_bench_prints_batching(folder, capsys, small_loads):
    assert run(["bench", "--model", folder, "--batching", "--json", *BENCH]) == 0
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)["batching"]
    assert [row["sequences"] for row in found["decode"]] == [2]
    assert found["decode"][0].keys() == {
        "sequences", "plain_tokens_per_s", "engine_tokens_per_s", "engine_times_plain", "paged_times_as_long",
        "fragmented_times_as_long",
    }  # fmt: skip
    assert found["mixed"]["static_steps"] > found["mixed"]["continuous_steps"] > 0
    assert 0 < found["queue"]["share_outside_forward"]["median"] < 1


@pytest.mark.slow
def test_bench_shows_batching(folder, capsys, small_loads):
    assert run(["bench", "--model", folder, "--batching", *BENCH]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for part in (
        "loop, tokens/s",
        "step paged",
        "fragmented",
        "all blocks are neighbours",
        "times as fast with continuous",
        "outside forward passes",
    ):
        assert part in out


@pytest.mark.slow
def test_a_measurement_is_asked_of_the_process_by_its_name(folder):
    from minillm.benchmark.engine_batching import load

    answer = load(folder, "numpy", "float32")
    assert answer({"task": "decode", "prompts": PROMPTS, "new_tokens": 1}).keys() == {
        "plain", "paged", "fragmented", "engine",
    }  # fmt: skip
    with pytest.raises(KeyError):
        answer({"task": "nothing"})
