# %% [markdown]
# # Latency and queues
#
# A user presses Enter. What does the user wait for? For the network, for
# earlier requests (the **queue**), for the prompt (prefill) and for the
# completion (decode). Two numbers describe this latency:
#
# - The time to first token, **TTFT**: network, queue and prefill together.
# - The time per output token after the first one, **TPOT**: decode.
#
# We begin with the article's example. The times are lower bounds from the
# data sheet (lesson 11). The network takes 100 ms, and there are no other
# requests.
#
# The article's section is "Latency Analysis".

# %%
import os

# Before NumPy is imported: several BLAS threads make timings unreliable.
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
from minillm.classroom.frames import line_by_line, step_through
from minillm.classroom.pictures import bars, table, timeline
from minillm.classroom.questions import predict
from minillm.estimate.arrivals import Arrival, poisson_times_s
from minillm.estimate.hardware import find_gpu
from minillm.estimate.memory import FORMATS
from minillm.estimate.models import find_model
from minillm.estimate.queueing import (
    md1_wait_s,
    mm1_wait_s,
    overload_wait_s,
    simulate_queue,
)
from minillm.estimate.serving import (
    Serving,
    decode_time,
    most_sequences,
    network_floor_s,
    request_latency,
)
from minillm.estimate.virtual_clock import simulate_serving, step_seconds
from minillm.estimate.work import prefill_work

seven = find_model("llama-2-7b")
on_h100 = Serving(seven, find_gpu("h100"))
ask = request_latency(on_h100, prompt=50, new_tokens=200, network_s=0.1)
parts = {"network": ask.network_s, "prefill": ask.prefill_s}
parts["decode"] = ask.decode_s
print("7B on an H100, 50 tokens in, 200 tokens out, lower bounds:")
print(bars({name: 1e3 * seconds for name, seconds in parts.items()}, " ms"))
print(f"TTFT {1e3 * ask.ttft_s:.0f} ms, total {1e3 * ask.total_s:.0f} ms")

# %%
steps = round(ask.decode_s / decode_time(on_h100, 150).seconds)
predict(
    "The completion has 200 tokens. How many decode steps does it take?",
    answer=steps,
    mistakes={200: "The first token does not come from a decode step."},
    why="Prefill gives the first token. So TPOT is the time after the first "
    f"token, divided by {steps}. Here it is "
    f"{1e3 * ask.decode_s / steps:.2f} ms.",
    shows="The first token comes from prefill, and each later token takes "
    "one decode step.",
)
assert steps == 199

# %% [markdown]
# ## The network
#
# No signal is faster than light. In glass fibre, light travels 200,000 km per
# second. So the distance gives a lower bound of the network latency.

# %%
predict(
    "London and New York are 5,600 km apart. A prompt travels to the server, "
    "and the first token travels back. How many ms do both ways take at "
    "least?",
    answer=1e3 * network_floor_s(5600),
    within=0.02,
    mistakes={500 * network_floor_s(5600): "That is one way. Count both."},
    why="2 · 5,600 / 200,000 s. The later tokens follow directly. So a "
    "stream pays this latency once, not once per token.",
    shows="Light in a fibre needs 1 ms for 100 km there and back, and no "
    "faster server can change that.",
)

# %% [markdown]
# ## Your own machine
#
# There is no network between you and `story`. As in lesson 11, we measure the
# machine, not the request. From the measurements we predict the request.

# %%
story = minillm.load("story")
mine = measure_machine(story.config)
here = Serving(
    story.config, mine, weights=FORMATS["float32"], cache_bytes=4
)
ids = story.tokenizer.encode(
    "Once upon a time there was a little girl. " * 6
)
new, ignore_eos = 40, minillm.Sampling(ignore_eos=True)
expected = request_latency(here, len(ids), new)
minillm.generate(story, ids, 2)  # warm up before the measurement
run = minillm.generate(story, ids, new, ignore_eos).timings
shares = {
    "the prompt": run.ttft_s,
    "the completion": run.decode_s,
}
predict(
    f"The prompt has {len(ids)} tokens, and the completion has {new}. Which "
    "of them takes longer on your machine?",
    answer=max(shares, key=lambda part: shares[part]),
    choices=list(shares),
    why="The prompt takes one pass. The tokens after the first one take "
    f"{new - 1} passes. Measured: {1e3 * run.ttft_s:.1f} ms for the prompt, "
    f"{1e3 * run.decode_s:.1f} ms for the completion.",
    shows="The prompt takes one pass, and each later token takes a pass of "
    "its own.",
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
print(table(["ms", "predicted", "one pass", "in generate"], rows))
flops = prefill_work(story.config, len(ids)).flops
reached = flops / min(times) / mine.flops_per_s
print(f"Prefill reached {reached:.0%} of the peak FLOP/s.")

# %% [markdown]
# The prediction leaves out two things. First, `generate` also samples a token
# and decodes it to text. In a small model this takes a visible share of the
# time. Second, small matrix products are slower than the large one that was
# used to measure the peak. The share of the peak FLOP/s that real work
# reaches is called **MFU** (model FLOPs utilisation). On GPUs, too, an MFU of
# one half is good.
#
# ## The queue
#
# When a server is busy, new requests wait in the queue. We can simulate the
# waiting times without waiting. The clock of the simulation is **virtual**:
# it jumps from one event to the next. Here six requests take 4 seconds each.
# A row is a request and a column is a second. `.` means that the request
# waits, `#` means that a server works on it. Enter moves the clock by two
# seconds. At which second does one server have the longest queue?

# %%
arrival_s = np.array([0.0, 1.0, 2.0, 3.0, 15.0, 16.0])
service_s = np.full(6, 4.0)


def picture(queue, until):
    """Draw each request: before its arrival, waiting, in service."""
    rows = {}
    for number in range(len(arrival_s)):
        before, wait = int(arrival_s[number]), int(queue.waits_s[number])
        row = " " * before + "." * wait + "####"
        rows[f"request {number}"] = row[:until]
    return timeline({**rows, "the clock": " " * until + "|"}, "second")


one, two = (
    simulate_queue(arrival_s, service_s),
    simulate_queue(arrival_s, service_s, 2),
)
frames = [
    f"one server\n{picture(one, until)}\ntwo servers\n{picture(two, until)}"
    for until in range(2, 26, 2)
]
step_through(frames, printed=[3, -1])
waits = [one.waits_s.mean(), two.waits_s.mean()]
print(f"mean wait: one server {waits[0]:.1f} s, two {waits[1]:.1f} s")
assert waits[1] < waits[0] / 2

# %%
crowd, alone = 5, run.ttft_s + run.decode_s
predict(
    f"On your machine {crowd} users send the same request at the same time. "
    f"One request takes {1e3 * alone:.0f} ms. The requests are served one "
    "after the other. How many ms does the last request wait before its "
    "service begins?",
    answer=(crowd - 1) * alone * 1e3,
    within=0.05,
    mistakes={
        crowd * alone * 1e3: "That is the time until it is finished."
    },
    shows="If requests are served one after the other, the last user waits "
    "for all others.",
)
started, begins = perf_counter(), []
for _ in range(crowd):
    begins.append(perf_counter() - started)
    minillm.generate(story, ids, new, ignore_eos)
print(f"Measured: {1e3 * begins[-1]:.0f} ms.")

# %% [markdown]
# ## Random arrivals make queues
#
# Requests do not arrive at equal intervals. Suppose that they arrive at
# random (a Poisson process) and that service times vary, too. Then the mean
# wait depends on the **utilisation** u: the fraction of time in which the
# server is busy. The simulation serves 100,000 requests with a mean service
# time S of 1 second. We compare it with the formula of the M/M/1 queue:
#
#     mean wait = S · u / (1 - u)
#
# The frames show a minute of it: how many requests wait at each second. Enter
# adds a busier server. Between 50% and 90%, what changes most?

# %%
generator = np.random.default_rng(0)
rows, minute = [], {}
seconds = np.arange(500, 560)
for busy in (0.3, 0.5, 0.7, 0.8, 0.9):
    at = poisson_times_s(busy, 100_000, generator)
    queue = simulate_queue(at, generator.exponential(1.0, len(at)))
    waiting = [
        int(((at <= t) & (at + queue.waits_s > t)).sum()) for t in seconds
    ]
    minute[f"{busy:.0%} busy"] = "".join(
        "." if n == 0 else str(n) if n < 10 else "+" for n in waiting
    )
    formula = mm1_wait_s(busy, 1.0)
    late = np.percentile(queue.waits_s, 95)
    wait = queue.waits_s.mean()
    rows.append(
        [f"{busy:.0%}", f"{wait:.2f}", f"{formula:.2f}", f"{late:.1f}"]
    )
    assert abs(wait / formula - 1) < 0.15
print("requests that wait, second by second; + is more than 9:")
step_through(line_by_line(timeline(minute, "second"), 2), printed=[-1])
print(table(["busy", "mean wait, s", "formula", "95th percentile"], rows))

# %%
predict(
    "A server is busy 50% of the time, and the mean wait is 1 second. Then "
    "more requests arrive, and the server is busy 90% of the time. How many "
    "seconds is the mean wait now? (wait = S · u / (1 - u), S is the same.)",
    answer=mm1_wait_s(0.9, 1) / mm1_wait_s(0.5, 1),
    within=0.02,
    mistakes={1.8: "The wait grows faster than the load: look at 1 - u."},
    why="(0.9 / 0.1) / (0.5 / 0.5). This is why a server with a low latency "
    "must not run at its limit. At 100% the wait has no upper bound.",
    shows="The wait grows much faster than the load, and near 100% it has no "
    "upper bound.",
)

# %%
predict(
    "In the article 110 requests per second arrive at a server that can "
    'serve 100. The article says that this "builds a 1-second queue". '
    "Suppose it continues for a minute. How many seconds does a request wait "
    "that arrives at the end of the minute?",
    answer=overload_wait_s(110, 100, 60),
    within=0.02,
    mistakes={
        1.0: "That is the wait after 10 seconds. The queue keeps growing.",
        0.1: "That is the increase per second.",
    },
    why="Each second 10 more requests arrive than are served. After 60 "
    "seconds 600 requests wait, and 100 are served per second.",
    shows="Under overload a queue grows for as long as the overload lasts.",
)
at = poisson_times_s(110, 6600, np.random.default_rng(0))
overloaded = simulate_queue(at, np.full(len(at), 0.01))
shown = {}
for second in (10, 20, 30, 40, 50, 60):
    near = abs(at - second) < 0.5
    shown[f"after {second} s"] = float(overloaded.waits_s[near].mean())
print("mean wait, with random arrivals that are simulated:")
print(bars(shown, " s"))
two_servers = simulate_queue(at, np.full(len(at), 0.01), 2).waits_s.mean()
print(f"With a second server the mean wait is {1e3 * two_servers:.1f} ms.")
assert shown["after 60 s"] > 4 * shown["after 10 s"] and two_servers < 0.01

# %% [markdown]
# ## A real scheduler on the virtual clock
#
# A server of language models does not serve one request at a time, because
# requests share passes (lesson 8). So here minillm's own scheduler decides
# which requests run in each pass, and the roofline gives the time of each
# pass. 8 requests arrive per second. Each has a prompt of 500 tokens and a
# completion of 10 to 300 tokens. The model is 7B, on an A100.
#
# The table shows the median of the TTFT (p50), its 95th percentile (p95), the
# longest pause inside a completion, and the mean number of requests in the
# system.

# %%
on_a100, generator = (
    Serving(seven, find_gpu("a100")),
    np.random.default_rng(0),
)
times = poisson_times_s(8, 60, generator)
arrivals = [
    Arrival(float(at), 500, int(generator.integers(10, 300)))
    for at in times
]
blocks = most_sequences(on_a100, 16)  # of 16 slots, that fit
servers = {
    "static batches": VirtualStaticBatching(32),
    "continuous": VirtualEngine(blocks, 16, 4096),
    "chunked prefill": VirtualEngine(blocks, 16, 256),
}
runs, rows = {}, []
for name, server in servers.items():
    served = simulate_serving([server], arrivals, step_seconds(on_a100))
    runs[name] = served
    ttft = 1e3 * np.percentile(served.ttft_s, [50, 95])
    pause = 1e3 * served.longest_gap_s
    in_system = served.mean_number
    rows.append(
        [name, *(f"{n:,.0f}" for n in (*ttft, pause)), f"{in_system:.1f}"]
    )
heads = [
    "",
    "TTFT p50, ms",
    "TTFT p95, ms",
    "longest pause, ms",
    "requests",
]
print(table(heads, rows))
last = runs["continuous"]
rate = len(arrivals) / last.span_s
little = rate * last.latency_s.mean()
print(
    f"{rate:.2f} requests/s · {last.latency_s.mean():.2f} s = {little:.1f}"
)
assert runs["chunked prefill"].longest_gap_s < last.longest_gap_s / 2
assert np.median(runs["static batches"].ttft_s) > 10 * np.median(
    last.ttft_s
)
assert abs(little - last.mean_number) < 1e-6 * little

# %% [markdown]
# With static batches a request waits until a whole batch ends. Continuous
# batching admits requests before every pass. But a long prompt of another
# request then makes a pause in the middle of your completion. **Chunked
# prefill** (lesson 5) makes this pause shorter. The last line of the output
# is **Little's law**: the mean number of requests in the system is the
# arrival rate times the mean time that each one stays. It holds for every
# queue.
#
# `minillm estimate serve --rps 110 --output 4` simulates other numbers.
#
# ## The article's claims

# %%
grid = np.arange(0.01, 1, 0.001)
random, fixed = (
    float(next(u for u in grid if wait(float(u), 1) > 1))
    for wait in (mm1_wait_s, md1_wait_s)
)
long_prompt = request_latency(on_h100, 8000, 10)
claim(
    "queue-110",
    "processing 100 requests per second, receiving 110 requests per second, "
    "builds a 1-second queue",
    "false",
    f"the wait is {shown['after 10 s']:.1f} s after 10 seconds and "
    f"{shown['after 60 s']:.1f} s after 60 seconds. It never stops growing.",
)
claim(
    "queue-dominates",
    "Queue time dominates user-perceived latency more than computation time",
    "true if",
    f"the server is busy more than {random:.0%} of the time, with random "
    "service times as in M/M/1. With equal service times it is "
    f"{fixed:.0%}.",
)
claim(
    "decode-dominates",
    "The decode phase dominates",
    "true if",
    "the completion is long. With 8,000 tokens in and 10 out, decode is "
    f"{long_prompt.decode_s / long_prompt.total_s:.0%} of the total.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: why requests wait at a server that is busy 90%
#   of the time. Explain also why the wait at an overloaded server has no
#   fixed length.
# - Read `minillm/estimate/queueing.py`: the formulas, and a queue in a few
#   lines. Then read `minillm/estimate/virtual_clock.py`.
# - Write it yourself: exercises 26 `streaming_latency` and 27 `queue_waits`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 26`.
# - More of the article's claims: `minillm claims --section latency`.
# - Next: lesson 13, what inference costs.
#
# Sources: Little, Operations Research 9(3), 1961. Agrawal et al.,
# Sarathi-Serve, 2403.02310. Yu et al., Orca, OSDI 2022. Chowdhery et al.,
# PaLM, 2204.02311 (MFU). M/M/1, M/D/1 and Erlang C are in any textbook of
# queueing theory.
