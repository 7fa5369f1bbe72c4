# %% [markdown]
# # Latency and queues
#
# Somebody presses Enter. What do they wait for? For the network, for those
# who came before them (the **queue**), for the prompt (prefill), and for the
# answer (decode). Two numbers say how it feels. The time to first token,
# **TTFT**, is network, queue and prefill together. The time per output token
# after it, **TPOT**, is decode's.
#
# First the article's example, as the data sheet's bound (lesson 10), with a
# network of 100 ms and nobody else there.
#
# The article's section is "Latency Analysis".

# %%
import os

# Before NumPy is imported: threads of a busy machine wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from time import perf_counter

import numpy as np

import minillm
from minillm.batching.virtual_engine import (
    VirtualEngine,
    VirtualStaticBatching,
)
from minillm.benchmark.this_machine import measure_decode, measure_machine
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars, table, timeline
from minillm.classroom.questions import predict
from minillm.estimate.arrivals import Arrival, poisson_times_s
from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import FORMATS
from minillm.estimate.models import find_model
from minillm.estimate.queueing import (
    md1_wait_s,
    mm1_wait_s,
    mmc_wait_s,
    overload_wait_s,
    simulate_queue,
)
from minillm.estimate.serving import (
    Serving,
    decode_time,
    most_sequences,
    network_floor_s,
    prefill_time,
    request_latency,
)
from minillm.estimate.virtual_clock import simulate_serving, step_seconds
from minillm.estimate.work import prefill_work

seven = find_model("llama-2-7b")
on_h100 = Serving(seven, find_gpu("h100"))
ask = request_latency(on_h100, prompt=50, new_tokens=200, network_s=0.1)
parts = {"network": ask.network_s, "prefill": ask.prefill_s}
parts["decode"] = ask.decode_s
print("7B on an H100, 50 tokens in, 200 out, at best:")
print(bars({name: 1e3 * seconds for name, seconds in parts.items()}, " ms"))
print(f"TTFT {1e3 * ask.ttft_s:.0f} ms, in all {1e3 * ask.total_s:.0f} ms")

# %%
steps = round(ask.decode_s / decode_time(on_h100, 150).seconds)
predict(
    "The answer has 200 tokens. How many decode steps does it take?",
    answer=steps,
    mistakes={200: "Who gives the first token?"},
    why="Prefill gives the first token. So TPOT is the time after it, "
    "divided by one less than the tokens: "
    f"{1e3 * ask.decode_s / steps:.2f} ms here.",
)
assert steps == 199

# %% [markdown]
# ## The network
#
# Nothing is faster than light, and in glass fibre it makes 200,000 km a
# second. Nobody can sell you less.

# %%
predict(
    "London and New York are 5,600 km apart. How many ms does a question "
    "and the first word of its answer take at least, on their way?",
    answer=1e3 * network_floor_s(5600),
    within=0.02,
    mistakes={500 * network_floor_s(5600): "There, and back."},
    why="2 · 5,600 / 200,000 s. Then the tokens follow each other: a "
    "stream pays it once, not once for each token.",
)

# %% [markdown]
# ## Your own machine
#
# From here to `story` there is no network. As in lesson 10 we measure the
# machine, not the request, and predict the request from that.

# %%
story = minillm.load("story")
mine = measure_machine(story.config)
here = Serving(
    story.config, mine, weights=FORMATS["float32"], cache_bytes=4
)
ids = story.tokenizer.encode(
    "Once upon a time there was a little girl. " * 6
)
new, forever = 40, minillm.Sampling(ignore_eos=True)
expected = request_latency(here, len(ids), new)
minillm.generate(story, ids, 2)  # once before, to wake everything up
run = minillm.generate(story, ids, new, forever).timings
shares = {
    "the prompt": run.ttft_s,
    "the answer": run.decode_s,
}
predict(
    f"A prompt of {len(ids)} tokens, an answer of {new}. Which takes longer, "
    "on your machine?",
    answer=max(shares, key=lambda part: shares[part]),
    choices=list(shares),
    why=f"The prompt is one pass, the other tokens of the answer are "
    f"{new - 1}. Now: {1e3 * run.ttft_s:.1f} and "
    f"{1e3 * run.decode_s:.1f} ms.",
)

# %%
times = []
for _ in range(5):
    started = perf_counter()
    minillm.prefill(story, ids, minillm.KVCache(story, len(ids)))
    times.append(perf_counter() - started)
step = measure_decode(story, len(ids) + new // 2)
tpot = expected.decode_s / (new - 1)
rows = [
    ["TTFT", *(expected.ttft_s, min(times), run.ttft_s)],
    ["TPOT", *(tpot, step, run.tpot_s)],
]
rows = [
    [name, *(f"{1e3 * s:.2f}" for s in seconds)] for name, *seconds in rows
]
print(table(["ms", "predicted", "the pass", "in generate"], rows))
flops = prefill_work(story.config, len(ids)).flops
reached = flops / min(times) / mine.flops_per_s
print(f"The prompt's pass reached {reached:.0%} of the peak arithmetic.")

# %% [markdown]
# Two things are left out. `generate` chooses a token and turns it into text,
# which shows in a model as small as this. And small products are slower than
# the large one that the peak was measured with. What real work reaches of the
# peak has a name, **MFU** (model FLOPs utilisation): half of it is good, on
# GPUs as well.
#
# ## The queue
#
# A server that is busy lets others wait. To see how long, nobody has to wait:
# in a simulation the clock is **virtual** and jumps from one event to the
# next. Here six requests take 4 seconds each. A row is a request, a column a
# second: `.` is waiting, `#` is being served.

# %%
came = np.array([0.0, 1.0, 2.0, 3.0, 15.0, 16.0])
took = np.full(6, 4.0)


def picture(queue):
    """Every request's seconds: before it, waiting, served."""
    rows = {}
    for number in range(len(came)):
        before, wait = int(came[number]), int(queue.waits_s[number])
        rows[f"request {number}"] = " " * before + "." * wait + "####"
    return timeline(rows, "second")


one, two = simulate_queue(came, took), simulate_queue(came, took, 2)
print("one server")
print(picture(one))
print("two servers")
print(picture(two))
waits = [one.waits_s.mean(), two.waits_s.mean()]
print(f"mean wait {waits[0]:.1f} s with one, {waits[1]:.1f} s with two")
assert waits[1] < waits[0] / 2

# %%
crowd, alone = 5, run.ttft_s + run.decode_s
predict(
    f"On your machine: {crowd} people ask the same question at the same "
    f"moment. Alone it took {1e3 * alone:.0f} ms; one is served after the "
    "other. How many ms does the last one wait before it is their turn?",
    answer=(crowd - 1) * alone * 1e3,
    within=0.05,
    mistakes={crowd * alone * 1e3: "That is when their answer is there."},
)
started, begins = perf_counter(), []
for _ in range(crowd):
    begins.append(perf_counter() - started)
    minillm.generate(story, ids, new, forever)
print(f"Measured now: {1e3 * begins[-1]:.0f} ms.")

# %% [markdown]
# ## Chance makes queues
#
# Requests do not come at equal distances. Suppose they come at random, as
# many people do who do not know of each other, and that service times vary,
# too. What counts is the **utilisation**: the share of time in which the
# server is busy. The simulation serves 100,000 requests of 1 second on
# average; the formula is M/M/1's: mean wait = S · u / (1 - u).

# %%
dice = np.random.default_rng(0)
rows, simulated = [], {}
for busy in (0.3, 0.5, 0.7, 0.8, 0.9):
    at = poisson_times_s(busy, 100_000, dice)
    queue = simulate_queue(at, dice.exponential(1.0, len(at)))
    simulated[f"{busy:.0%} busy"] = float(queue.waits_s.mean())
    formula = mm1_wait_s(busy, 1.0)
    late = np.percentile(queue.waits_s, 95)
    wait = queue.waits_s.mean()
    rows.append(
        [f"{busy:.0%}", f"{wait:.2f}", f"{formula:.2f}", f"{late:.1f}"]
    )
    assert abs(wait / formula - 1) < 0.15
print(bars(simulated, " s"))
print(
    table(["busy", "mean wait, s", "formula", "19 of 20 wait less"], rows)
)

# %%
predict(
    "A server is busy half of the time, and requests wait a second on "
    "average. Now so many come that it is busy 90% of the time. How many "
    "seconds do they wait? (wait = S · u / (1 - u), the same S.)",
    answer=mm1_wait_s(0.9, 1) / mm1_wait_s(0.5, 1),
    within=0.02,
    mistakes={1.8: "It does not grow as the load does: look at 1 - u."},
    why="0.9 / 0.1 against 0.5 / 0.5. That is why nobody who promises low "
    "latency runs a server at its limit. At 100% there is no answer at all.",
)

# %%
predict(
    "The article has 110 requests a second come to a server that can do "
    '100, which "builds a 1-second queue". It goes on for a minute. Who '
    "comes at its end: how many seconds do they wait?",
    answer=overload_wait_s(110, 100, 60),
    within=0.02,
    mistakes={
        1.0: "That is after 10 seconds. And then?",
        0.1: "Each second adds so much.",
    },
    why="Each second 10 more come than are served: after 60 seconds 600 "
    "wait, and 100 are served in a second. With random arrivals, simulated:",
)
at = poisson_times_s(110, 6600, np.random.default_rng(0))
flood = simulate_queue(at, np.full(len(at), 0.01))
shown = {}
for second in (10, 20, 30, 40, 50, 60):
    near = abs(at - second) < 0.5
    shown[f"after {second} s"] = float(flood.waits_s[near].mean())
print(bars(shown, " s"))
relief = simulate_queue(at, np.full(len(at), 0.01), 2).waits_s.mean()
print(f"With a second server the mean wait is {1e3 * relief:.1f} ms.")
assert shown["after 60 s"] > 4 * shown["after 10 s"] and relief < 0.01

# %% [markdown]
# ## A real scheduler, on the virtual clock
#
# A server of language models is not a queue of one at a time: requests share
# passes (lesson 7). So we let minillm's own scheduler decide, and the
# roofline say how long each pass takes. 8 requests come each second, 500
# tokens in, 10 to 300 out; 7B on an A100.

# %%
on_a100, dice = Serving(seven, find_gpu("a100")), np.random.default_rng(0)
times = poisson_times_s(8, 60, dice)
arrivals = [
    Arrival(float(at), 500, int(dice.integers(10, 300))) for at in times
]
blocks = most_sequences(on_a100, 16)  # of 16 tokens, that fit
servers = {
    "static batches": VirtualStaticBatching(32),
    "continuous": VirtualEngine(blocks, 16, 4096),
    "in chunks": VirtualEngine(blocks, 16, 256),
}
runs, rows = {}, []
for name, server in servers.items():
    served = simulate_serving([server], arrivals, step_seconds(on_a100))
    runs[name] = served
    ttft = 1e3 * np.percentile(served.ttft_s, [50, 95])
    pause = 1e3 * served.longest_gap_s
    there = served.mean_number
    rows.append(
        [name, *(f"{n:,.0f}" for n in (*ttft, pause)), f"{there:.1f}"]
    )
heads = ["", "TTFT, ms", "19 of 20", "longest pause, ms", "people there"]
print(table(heads, rows))
last = runs["continuous"]
rate = len(arrivals) / last.span_s
little = rate * last.latency_s.mean()
print(
    f"{rate:.2f} a second · {last.latency_s.mean():.2f} s each = {little:.1f}"
)
assert runs["in chunks"].longest_gap_s < last.longest_gap_s / 2
assert np.median(runs["static batches"].ttft_s) > 10 * np.median(
    last.ttft_s
)
assert abs(little - last.mean_number) < 1e-6 * little

# %% [markdown]
# In a static batch one waits for a whole batch to end. Continuous batching
# lets requests in at every pass; but somebody else's long prompt makes a
# pause in the middle of your answer, and **chunked prefill** (lesson 4)
# shortens it. The last line is **Little's law**: those who are there, on
# average, are the rate times the time each stays. It holds for every queue.
#
# `minillm estimate serve --rps 110 --output 4` plays this with other numbers.
#
# ## The article's claims

# %%
near, far = (seconds * 200_000 / 2 for seconds in (0.05, 0.2))
grid = np.arange(0.01, 1, 0.001)
random, fixed = (
    float(next(u for u in grid if wait(float(u), 1) > 1))
    for wait in (mm1_wait_s, md1_wait_s)
)
at_best = 1e3 * decode_time(on_h100, 1).seconds
fifty = prefill_time(on_h100, 50)
turned = request_latency(on_h100, 8000, 10)
total = 50 + 200 * 10 + 100
claim(
    "rtt-local",
    "Local API (same datacenter): 1-5ms",
    "imprecise",
    f"the way of 1 km takes {1e6 * network_floor_s(1):.0f} µs, switches a "
    "little more: below 1 ms.",
)
claim(
    "rtt-regional",
    "Regional API (same region, different datacenter): 5-20ms",
    "imprecise",
    f"100 km take {1e3 * network_floor_s(100):.0f} ms there and back; 1 to 3 "
    "are usual.",
)
claim(
    "rtt-cross",
    "Cross-region API: 50-200ms",
    "true if",
    f"it is {near:,.0f} to {far:,.0f} km away.",
)
claim(
    "rtt-sluggish",
    "A chatbot with 100ms network latency feels sluggish",
    "imprecise",
    f"it comes once, before the first token: {100 / total:.1%} of the "
    "article's own request.",
)
claim(
    "queue-110",
    "processing 100 requests per second, receiving 110 requests per second, "
    "builds a 1-second queue",
    "false",
    f"it is {shown['after 10 s']:.1f} s after 10 seconds, "
    f"{shown['after 60 s']:.1f} s after 60, and never stops.",
)
claim(
    "queue-dominates",
    "Queue time dominates user-perceived latency more than computation time",
    "true if",
    f"the server is busy: more than {random:.0%} of the time if service "
    f"times vary as in M/M/1, {fixed:.0%} if they are all alike.",
)
claim(
    "autoscaling",
    "additional GPUs reduce queue depth",
    "true",
    f"with two, the 110 a second wait {1e3 * mmc_wait_s(110, 0.01, 2):.1f} "
    "ms on average.",
)
claim(
    "prefill-50-h100",
    "a 50-token query ... Prefill: ~50ms (on H100)",
    "imprecise",
    f"reading the weights takes {1e3 * fifty.memory_s:.1f} ms, arithmetic "
    f"{1e3 * fifty.compute_s:.1f}: the rest would be overhead.",
)
claim(
    "decode-10ms",
    "Decode: ~2 seconds (200 tokens × 10ms/token)",
    "true if",
    f"it reaches {at_best / 10:.0%} of the bandwidth: at all of it, "
    f"{at_best:.1f} ms a token.",
)
claim(
    "total-2150",
    "Total: ~2.15 seconds",
    "true",
    f"50 + 200 · 10 + 100 = {total:,} ms.",
)
claim(
    "decode-dominates",
    "The decode phase dominates",
    "true if",
    "the answer is long. With 8,000 tokens in and 10 out it is "
    f"{turned.decode_s / turned.total_s:.0%}.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: why a server that is busy 90% of the time makes
#   people wait, and why one that is asked for more than it can do has no
#   queue of a certain length.
# - Read `minillm/estimate/queueing.py`: the formulas, and a queue in a few
#   lines. Then `minillm/estimate/virtual_clock.py`.
# - Write it yourself: the exercises `streaming_latency`, `queue_waits`.
# - Next: lesson 12, what all this costs.
#
# Sources: Little, Operations Research 9(3), 1961. Agrawal et al.,
# Sarathi-Serve, 2403.02310. Yu et al., Orca, OSDI 2022. Chowdhery et al.,
# PaLM, 2204.02311 (MFU). M/M/1, M/D/1 and Erlang C are in any textbook of
# queueing theory.
