# %% [markdown]
# # Cost
#
# A GPU is paid by the hour. An idle hour costs the same as a busy one. So the
# cost of a token is one division:
#
#     dollars per hour / tokens per hour
#
# The price is on the provider's list. Lessons 11 and 12 computed the number
# of tokens.
#
# The article's sections are "Cloud GPU Selection" and "Why Inference Cost
# Dominates".

# %%
import math
import os

# Before NumPy is imported: several BLAS threads make timings unreliable.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from time import perf_counter

import minillm
from minillm.benchmark.this_machine import measure_machine
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through
from minillm.classroom.pictures import bars, table
from minillm.classroom.questions import predict
from minillm.estimate.batching import decode_tokens_per_s
from minillm.estimate.cost import (
    break_even_days,
    dollars_per_million_tokens,
)
from minillm.estimate.hardware import find_gpu, gpu_table
from minillm.estimate.memory import FORMATS
from minillm.estimate.models import find_model
from minillm.estimate.parameters import matrix_parameters
from minillm.estimate.serving import (
    Serving,
    decode_time,
    most_sequences,
    prefill_time,
)

prices = {
    name: gpu.dollars_per_hour
    for name, gpu in gpu_table().items()
    if gpu.dollars_per_hour
}
print("rent in dollars per hour, March 2026:")
print(bars(prices))

# %%
predict(
    "In the article an A100 costs $1.19 per hour and gives 4,000 tokens per "
    "second. What do a million tokens cost, in dollars?",
    answer=dollars_per_million_tokens(1.19, 4000),
    within=0.02,
    mistakes={
        0.12: "That is the article's number. Do the division yourself.",
        dollars_per_million_tokens(1.19, 4000)
        / 1000: "That is the cost of 1,000.",
        dollars_per_million_tokens(60 * 1.19, 4000): "An hour has 3,600 s.",
    },
    why="1.19 / 3,600 / 4,000 · 1,000,000. The article says 12 cents.",
    shows="The price of a token is the price of an hour, divided by the "
    "number of tokens in an hour.",
)

# %% [markdown]
# ## Cost depends on the batch size
#
# A step of decode reads all weights, for one sequence or for many (lesson 8).
# The price of the hour stays the same. So tokens are cheap when many
# sequences share a step. Enter raises the batch size: both axes of the plot
# are logarithmic. `o` is the cost, and `.` is what it would be if a batch of
# n had 1/n of the cost. Where do they part, and what does a step take there?

# %%
seven = find_model("llama-2-7b")
a100 = Serving(seven, find_gpu("a100-pcie"))
price = a100.machine.dollars_per_hour
out, frames = {}, []


def plot(costs):
    """Draw costs over batch sizes: a row is a factor of 1.5."""
    grid = [[" "] * 60 for _ in range(15)]
    halves = {batch: costs[1] / batch for batch in costs}
    for sign, values in ((".", halves), ("o", costs)):
        for batch, dollars in values.items():
            row = round(math.log(3 / dollars, 1.5))
            grid[row][round(7 * math.log2(batch))] = sign
    lines = [
        f"${3 / 1.5**row:5.3f} |{''.join(line).rstrip()}"
        for row, line in enumerate(grid)
    ]
    scale = "".join(f"{2**power:<7}" for power in range(8)).rstrip()
    return "\n".join([*lines, f"{'batch':8}{scale}"])


for batch in (1, 2, 4, 10, 20, 40, 100, most_sequences(a100, 500)):
    rate = decode_tokens_per_s(a100, 500, batch)
    out[batch] = dollars_per_million_tokens(price, rate)
    step = 1e3 * decode_time(a100, 500, batch).seconds
    frames.append(
        f"a batch of {batch}: ${out[batch]:.3f} per million tokens\n"
        f"a step takes {step:.1f} ms, {rate:,.0f} tokens/s\n{plot(out)}"
    )
print("7B, 500 tokens each, on an A100 that is never idle:")
step_through(frames, printed=[0, -1])
assert out[1] > 2 and out[batch] < 0.06  # the last batch is the largest

# %%
predict(
    f"With a batch of 40 a million tokens cost ${out[40]:.3f}, if the GPU is "
    "busy 24 hours a day. Now it is busy for 6 hours a day, but paid for 24. "
    "What do a million tokens cost?",
    answer=out[40] * 24 / 6,
    within=0.02,
    mistakes={
        out[40]
        * 6
        / 24: "There are fewer tokens, but the bill is the same.",
        out[40]: "The other 18 hours are paid, too.",
    },
    why="Four times as much. This is one reason why an API can be cheaper "
    "than your own GPU: its GPUs are busy with the requests of other users.",
    shows="Idle hours are paid as well, so the price of a token depends on "
    "how busy the GPU is.",
)

# %% [markdown]
# ## Why is input cheaper than output?
#
# All tokens of the prompt run in one pass, which is compute-bound. The tokens
# of a completion take one step each, and a step is memory-bound (lessons 5
# and 6).

# %%
into = prefill_time(a100, 500).seconds / 500
alone = decode_time(a100, 500).seconds
predict(
    f"On this A100 a prompt of 500 tokens takes {1e3 * 500 * into:.0f} ms. "
    f"One step of decode with a batch of 1 takes {1e3 * alone:.1f} ms. How "
    "many times as expensive is an output token as an input token?",
    answer=alone / into,
    within=0.05,
    mistakes={1.0: "The FLOPs are the same. But the times differ."},
    why="Both do the same number of FLOPs. But in decode the arithmetic "
    "units are idle while the weights are read, and this time is paid.",
    shows="With a batch of 1 an output token is much more expensive, because "
    "a step reads all weights for it alone.",
)
cost_in = dollars_per_million_tokens(price, 1 / into)
rows = [
    [
        f"batch of {batch}",
        f"{cost_in:.3f}",
        f"{dollars:.3f}",
        f"{dollars / cost_in:.1f}",
    ]
    for batch, dollars in out.items()
]
print(table(["decode", "$ in", "$ out", "out / in"], rows))

# %% [markdown]
# With larger batches the two costs are closer. The remaining difference is
# the time to read the keys and values: each sequence has its own, so a batch
# does not share this cost. In the article's price list ($2 for input, $8 for
# output) the difference is a factor of 4.
#
# ## Which GPU is the cheapest?

# %%
per_gpu = {}
for name, hourly in prices.items():
    serving = Serving(seven, find_gpu(name))
    rate = decode_tokens_per_s(serving, 500, most_sequences(serving, 500))
    per_gpu[name] = dollars_per_million_tokens(hourly, rate)
print("dollars per million tokens, at the largest batch (7B, 500 each):")
print(bars(per_gpu))
cheapest = min(per_gpu, key=lambda name: per_gpu[name])
print(f"The cheapest is {cheapest}, at ${prices[cheapest]} per hour.")

# %% [markdown]
# (`minillm estimate compare --batch 40` compares all GPUs, also by latency.)
#
# ## Your own machine
#
# Your machine needs electricity. We assume 60 watts and 30 cents per kWh. You
# can change both numbers at the Python prompt (`p`). How many tokens per
# second does it produce, and what do they cost? First comes the prediction,
# as in lesson 11.

# %%
watts, dollars_per_kwh = 60, 0.30
hourly = watts / 1000 * dollars_per_kwh
story = minillm.load("story")
mine = measure_machine(story.config)
here = Serving(
    story.config, mine, weights=FORMATS["float32"], cache_bytes=4
)


def step_s(batch, repeats=10):
    """Return the seconds of a decode step: the minimum of `repeats` runs."""
    caches = [minillm.KVCache(story, 50 + repeats) for _ in range(batch)]
    minillm.forward_batch(story, [([7] * 50, cache) for cache in caches])
    times = []
    for _ in range(repeats):
        started = perf_counter()
        minillm.forward_batch(story, [([7], cache) for cache in caches])
        times.append(perf_counter() - started)
    return min(times)


expected = {batch: decode_time(here, 51, batch).seconds for batch in (1, 8)}
measured = {batch: step_s(batch) for batch in (1, 8)}
predict(
    f"The estimate is {1e3 * expected[1]:.2f} ms per step. That is "
    f"{1 / expected[1]:,.0f} tokens per second. An hour costs "
    f"{100 * hourly:.1f} cents. How many dollars do a million tokens cost?",
    answer=dollars_per_million_tokens(hourly, 1 / expected[1]),
    within=0.05,
    mistakes={
        100
        * dollars_per_million_tokens(hourly, 1 / expected[1]): "That is in "
        "cents."
    },
    shows="On your own machine the electricity of a token is the watts, "
    "divided by the tokens per second.",
)

# %%
rows = []
for batch in (1, 8):
    pair = (batch / expected[batch], batch / measured[batch])
    costs = [dollars_per_million_tokens(hourly, rate) for rate in pair]
    row = [
        *(f"{rate:,.0f}" for rate in pair),
        *(f"{cost:.4f}" for cost in costs),
    ]
    rows.append([f"batch of {batch}", *row])
heads = ["", "tokens/s", "measured", "$ per million", "measured"]
print(table(heads, rows))
more = matrix_parameters(seven) / matrix_parameters(story.config)
print(f"A 7B model has {more:,.0f} times as many weights as `story`.")

# %% [markdown]
# With a batch of 8 Python has more work, because it computes the attention of
# each sequence separately. The estimate does not include this overhead. In a
# small model it is visible. An estimate is a lower bound from the hardware.
# The real cost is higher.
#
# ## Training is paid once
#
# The article assumes $100,000 for training and $0.01 per call.

# %%
few = break_even_days(100_000, 1000 * 0.01)
predict(
    "There are one million calls per day. After how many days is the total "
    "cost of the calls as high as the cost of the training?",
    answer=round(break_even_days(100_000, 1e6 * 0.01)),
    mistakes={1: "The calls of the first day cost $10,000."},
    why=f"With 1,000 calls per day it is {few:,.0f} days, or "
    f"{few / 365:.0f} years. So the number of calls decides whether training "
    "or inference costs more.",
    shows="Training is paid once and inference for every call, so the number "
    "of calls decides which costs more.",
)

# %%
calls = (100, 10_000, 1_000_000, 1_000_000_000)
saved = {n: 0.01 * n * 0.01 for n in calls}
article = dict(zip(calls, (0.001, 0.10, 10, 10_000), strict=True))
predict(
    "Inference becomes 1% cheaper. There are a million calls per day at "
    "$0.01 each. How many dollars are saved per day?",
    answer=saved[1_000_000],
    mistakes={
        10: "That is the article's number. Compute 1% of $10,000.",
        10_000: "That is the cost of all calls.",
    },
    why="1% of $10,000. The article says $10. All numbers of its table are "
    "too low by the same factor. They would be correct for $0.001 per call.",
    shows="A saving of 1% is 1% of the bill at any scale: it does not "
    "compound.",
)
rows = [
    [f"{n:,} calls", f"{saved[n]:,.10g}", f"{article[n]:,.10g}"]
    for n in calls
]
print(table(["saved, $ per day", "computed", "the article"], rows))

# %% [markdown]
# ## The article's claims

# %%
theirs = dollars_per_million_tokens(1.19, 4000)
limit = (
    500 * a100.cache_bytes_per_token / a100.machine.bandwidth_bytes_per_s
)
claim(
    "a100-cost",
    "4,000 tokens/sec Cost: $1.19/hour = $0.00012 per 1,000 tokens",
    "false",
    f"it is ${theirs / 1000:.7f}, or ${theirs:.4f} per million.",
)
claim(
    "faq-batch-cost",
    "Larger batches increase GPU utilization, so cost per token decreases",
    "true",
    "but reading the keys and values of each sequence is a lower bound: "
    f"${dollars_per_million_tokens(price, 1 / limit):.3f} per million here.",
)
claim(
    "one-pct-table",
    "A 1% reduction in inference cost compounds at scale",
    "false",
    f"its numbers are {saved[100] / article[100]:.0f} times too low for its "
    "own $0.01 per call. And 1% is 1% at any scale, so nothing compounds.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: why the same GPU produces tokens at two dollars
#   per million and at six cents. Explain also what would make yours cheaper.
# - Read `minillm/estimate/cost.py`: six formulas, all of them. Then read
#   `minillm/evidence/claims/cost.py`: how code checks a claim.
# - Change an input of a claim:
#   `minillm claims one-pct-table --set dollars_per_call=0.001`.
# - Write it yourself: exercises 28 `cost_per_million` and 29
#   `break_even_day`. `minillm exercise start my-exercises` makes a folder for
#   all exercises, once. There, run `minillm exercise check 28`.
# - More of the article's claims: `minillm claims --section cost`.
# - Next: lesson 14, quantisation. It begins a second part: the strategies that
#   make inference cheaper.
#
# Sources: NVIDIA's data sheets. Prices: RunPod, as DeployBase.AI listed them
# in March 2026. Kaplan et al., 2001.08361. Kwon et al., vLLM, 2309.06180.
