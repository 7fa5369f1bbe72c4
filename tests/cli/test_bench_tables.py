"""The tables of `minillm bench`: every number of a record in its place and in its unit."""

from minillm.cli.bench_speculation import print_speculation
from minillm.cli.bench_tables import print_record


def spread(median, low=None, high=None):
    return {"median": float(median), "min": float(low or median), "max": float(high or median)}


def engine(import_s, load_s, memory):
    return {"import_s": spread(import_s), "load_s": spread(load_s), "peak_memory_bytes": memory}


RECORD = {
    "model": "m",
    "dtype": "float32",
    "weights": "float32",
    "kv_cache": "float32",
    "backend": "numpy",
    "threads": 3,
    "machine": {"processor": "CPU", "cores": 4, "date": "2026-01-02"},
    "bandwidth_bytes_per_s": spread(8e9, 7.5e9, 9e9),
    "matmul_flops_per_s": spread(150e9, 140e9, 160e9),
    "phases": [
        {
            "phase": "decode @8",
            "tokens_per_s": {"minillm": spread(20, 10, 30), "peer": spread(5, 4, 6)},
            "share_of_roofline": spread(0.25),
            "times_peer": {"peer": spread(4, 2, 7)},
        }
    ],
    "engines": {"minillm": engine(0.1, 0.2, 100 * 2**20), "peer": engine(3, 4, 200 * 2**20)},
    "beyond_products_us_per_layer": spread(12, 11, 13),
    "same_tokens": {"peer": {"compared": 6, "first_difference": None}},
    "scaling": [
        {
            "variable": "tokens", "title": "seconds", "points": [1, 2], "measured": [2.0, 5.0], "roofline": [1.0, 4.0],
            "exponent": 1.32, "expected_exponent": 2.0,
        },
        {
            "variable": "batch", "title": "tokens per second", "points": [1], "measured": [3.0], "roofline": [4.0],
            "exponent": None, "expected_exponent": None,
        },
    ],
    "batching": {
        "decode": [
            {
                "sequences": 8,
                "plain_tokens_per_s": spread(200, 100, 300),
                "engine_times_plain": spread(0.9),
                "paged_times_as_long": spread(1.1),
                "fragmented_times_as_long": spread(1.3),
            }
        ],
        "mixed": {"times_sooner": spread(2, 1, 3), "continuous_steps": 50, "static_steps": 99},
        "queue": {"share_outside_forward": spread(0.123)},
    },
    "exact": {"prefill_times_as_long": spread(1.5), "decode_times_as_long": spread(2.5)},
}  # fmt: skip


def lines(capsys):
    """What was printed, with one space where there are several."""
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_every_number_of_a_record_stands_in_its_place(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_record(RECORD)
    assert [line for line in lines(capsys) if line and "percentage of" not in line] == [
        "m, float32, numpy backend, 3 threads",
        "CPU, 4 cores, 2026-01-02",
        "memory 8.00 [7.50..9.00] GB/s, matrices 150 [140..160] GFLOP/s",
        "tokens/s minillm peer",
        "decode @8 20.0 [10.0..30.0] 5.00 [4.00..6.00]",
        "import, s 0.10 [0.10..0.10] 3.00 [3.00..3.00]",
        "load, s 0.20 [0.20..0.20] 4.00 [4.00..4.00]",
        "memory, MiB 100 200",
        "minillm of the limit times peer",
        "decode @8 25% 4.00 [2.00..7.00]",
        "A decode step takes 12.0 [11.0..13.0] microseconds a layer beyond its matrix products.",
        "Compared 6 greedy tokens: all are the same as peer's.",
        "tokens seconds at the limits share",
        "1 2 1 50%",
        "2 5 4 80%",
        "grows with the 1.32th power; at the limits 2.00",
        "batch tokens per second at the limits share",
        "1 3 4 75%",
        "decode, sequences loop, tokens/s engine step paged fragmented",
        "8 200 [100..300] 90% 110% 130%",
        "64 requests, of which every eighth asks for ten times as many tokens, finish 2.00 [1.00..3.00] "
        "times as fast with continuous batching (50 steps) as with static batching (99).",
        "1,000 queued requests spend 12.3% of the time outside forward passes.",
        "the exact backend takes 1.50 times as long at prefill, 2.50 at decode",
    ]


def test_every_number_of_speculation_stands_in_its_place(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    case = {
        "task": "a story", "drafter": "lookup", "times_plain": spread(2, 1, 3), "predicted_times_plain": 1.75,
        "acceptance": 0.6, "tokens_per_round": 2.4, "rounds": 11, "proposed": 13, "accepted": 12, "draft_cost": 0.25,
        "same_tokens": True,
    }  # fmt: skip
    print_speculation({"model": "m", "verify_cost": {"1": 1.0, "2": 1.5}, "cases": [case]})
    assert lines(capsys)[:5] == [
        "m: a pass of n rows in decode steps: 1: 1.00 2: 1.50",
        "",
        "draft: lookup, a draft token costs 0.25 steps",
        "task times plain formula a per round rounds proposed accepted same",
        "a story 2.00 [1.00..3.00] 1.75 0.60 2.40 11 13 12 yes",
    ]
