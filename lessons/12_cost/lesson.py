# %% [markdown]
# # Cost
#
# A GPU is paid by the hour, and costs the same in an hour in which nobody
# asks it anything. What a token costs is therefore one division:
#
#     dollars of an hour / tokens of an hour
#
# The price is on a list. The tokens are what lessons 10 and 11 were about.
#
# The article's sections are "Cloud GPU Selection" and "Why Inference Cost
# Dominates".

# %%
import os

# Before NumPy is imported: threads of a busy machine wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from time import perf_counter

import minillm
from minillm.benchmark.this_machine import measure_machine
from minillm.classroom.claims import claim
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
print("dollars an hour, rented, in March 2026:")
print(bars(prices))

# %%
predict(
    "The article has an A100 for $1.19 an hour that gives 4,000 tokens a "
    "second. What does a million tokens cost, in dollars?",
    answer=dollars_per_million_tokens(1.19, 4000),
    within=0.02,
    mistakes={
        0.12: "That is the article's figure. Divide yourself.",
        dollars_per_million_tokens(1.19, 4000) / 1000: "Of a thousand.",
        dollars_per_million_tokens(60 * 1.19, 4000): "An hour has 3600 s.",
    },
    why="1.19 / 3600 / 4,000 · 1,000,000. The article has 12 cents.",
)

# %% [markdown]
# ## The batch decides
#
# A step of decode reads all weights, for one text or for many (lesson 7). The
# hour has the same price. So tokens are cheap where many people share a step.

# %%
seven = find_model("llama-2-7b")
a100 = Serving(seven, find_gpu("a100-pcie"))
price = a100.machine.dollars_per_hour
out, rows = {}, []
for texts in (1, 4, 10, 40, 100, most_sequences(a100, 500)):
    rate = decode_tokens_per_s(a100, 500, texts)
    out[texts] = dollars_per_million_tokens(price, rate)
    step = 1e3 * decode_time(a100, 500, texts).seconds
    rows.append([f"{texts} texts", f"{rate:,.0f}", f"{step:.1f}"])
print("a million tokens of 7B, on an A100 that is never idle, in dollars:")
print(bars({f"{texts} texts": dollars for texts, dollars in out.items()}))
print(table(["", "tokens/s", "each waits, ms"], rows))
assert out[1] > 2 and out[texts] < 0.06  # texts: as many as fit

# %%
predict(
    f"With 40 texts a million tokens cost ${out[40]:.3f}, if it is busy "
    "around the clock. Now people come for 6 hours a day, and it is paid for "
    "24. What does a million cost?",
    answer=out[40] * 24 / 6,
    within=0.02,
    mistakes={
        out[40] * 6 / 24: "Fewer tokens share the same bill.",
        out[40]: "And who pays for the other 18 hours?",
    },
    why="Four times as much. An API can be cheaper than your own GPU for "
    "this reason alone: others fill its nights.",
)

# %% [markdown]
# ## Why is input cheaper than output?
#
# The prompt's tokens go through in one pass, limited by arithmetic; tokens of
# an answer come one a step, limited by memory (lessons 4 and 5).

# %%
into = prefill_time(a100, 500).seconds / 500
alone = decode_time(a100, 500).seconds
predict(
    f"A prompt of 500 tokens takes {1e3 * 500 * into:.0f} ms on this A100, "
    f"one step of decode, alone, {1e3 * alone:.1f} ms. How many times as "
    "dear as an input token is an output token?",
    answer=alone / into,
    within=0.05,
    mistakes={1.0: "The same FLOPs, yes. But who pays for waiting?"},
    why="They do the same number of FLOPs; while the weights are read, the "
    "arithmetic is paid for and idle.",
)
cost_in = dollars_per_million_tokens(price, 1 / into)
rows = [
    [
        f"{texts} texts",
        f"{cost_in:.3f}",
        f"{dollars:.3f}",
        f"{dollars / cost_in:.1f}",
    ]
    for texts, dollars in out.items()
]
print(table(["decode with", "$ in", "$ out", "out / in"], rows))

# %% [markdown]
# With large batches the two come nearer. What remains is the reading of each
# text's own keys and values, which no batch shares. In the article's price
# list, $2 in and $8 out, they are a factor of 4 apart.
#
# ## Which GPU is the cheapest?

# %%
per_gpu = {}
for name, hourly in prices.items():
    serving = Serving(seven, find_gpu(name))
    rate = decode_tokens_per_s(serving, 500, most_sequences(serving, 500))
    per_gpu[name] = dollars_per_million_tokens(hourly, rate)
print("dollars for a million tokens, as many texts as fit (7B, 500 each):")
print(bars(per_gpu))
cheapest = min(per_gpu, key=lambda name: per_gpu[name])
print(f"The cheapest is {cheapest}, at ${prices[cheapest]} an hour.")

# %% [markdown]
# (`minillm estimate compare --batch 40` has all of them, by latency, too.)
#
# ## Your own machine
#
# It needs electricity. Say 60 watts, at 30 cents for a kWh; change them at
# the Python prompt (`p`) if you know better. How many tokens a second does it
# give, and what do they cost? First the prediction, as in lesson 10.

# %%
watts, dollars_per_kwh = 60, 0.30
hourly = watts / 1000 * dollars_per_kwh
story = minillm.load("story")
mine = measure_machine(story.config)
here = Serving(
    story.config, mine, weights=FORMATS["float32"], cache_bytes=4
)


def steps_s(texts, repeats=10):
    """Seconds of a decode step of so many texts: the best of some."""
    caches = [minillm.KVCache(story, 50 + repeats) for _ in range(texts)]
    minillm.forward_batch(story, [([7] * 50, cache) for cache in caches])
    times = []
    for _ in range(repeats):
        started = perf_counter()
        minillm.forward_batch(story, [([7], cache) for cache in caches])
        times.append(perf_counter() - started)
    return min(times)


expected = {texts: decode_time(here, 51, texts).seconds for texts in (1, 8)}
took = {texts: steps_s(texts) for texts in (1, 8)}
predict(
    f"The estimate says {1e3 * expected[1]:.2f} ms for a step, so "
    f"{1 / expected[1]:,.0f} tokens a second. An hour costs "
    f"{100 * hourly:.1f} cents. How many dollars is a million tokens?",
    answer=dollars_per_million_tokens(hourly, 1 / expected[1]),
    within=0.05,
    mistakes={
        100
        * dollars_per_million_tokens(hourly, 1 / expected[1]): "Those are "
        "cents."
    },
)

# %%
rows = []
for texts in (1, 8):
    pair = (texts / expected[texts], texts / took[texts])
    costs = [dollars_per_million_tokens(hourly, rate) for rate in pair]
    row = [
        *(f"{rate:,.0f}" for rate in pair),
        *(f"{cost:.4f}" for cost in costs),
    ]
    rows.append([f"{texts} at once", *row])
heads = ["", "tokens/s", "measured", "$ a million", "measured"]
print(table(heads, rows))
more = matrix_parameters(seven) / matrix_parameters(story.config)
print(f"That is `story`. A 7B model has {more:,.0f} times the weights.")

# %% [markdown]
# With 8 at once Python has more to do, as each text has an attention of its
# own; the estimate does not know that, and it is seen in a model as small as
# this. An estimate says what the hardware allows: reality costs more.
#
# ## Training is paid once
#
# The article lets a training cost $100,000 and a call $0.01.

# %%
few = break_even_days(100_000, 1000 * 0.01)
predict(
    "One million calls a day: after how many days have all calls so far cost "
    "as much as the training?",
    answer=round(break_even_days(100_000, 1e6 * 0.01)),
    mistakes={1: "The first day's calls are $10,000."},
    why="And with 1,000 calls a day it is "
    f"{few:,.0f} days, {few / 365:.0f} years: it is the volume that decides "
    "which of the two dominates.",
)

# %%
calls = (100, 10_000, 1_000_000, 1_000_000_000)
saved = {n: 0.01 * n * 0.01 for n in calls}
article = dict(zip(calls, (0.001, 0.10, 10, 10_000), strict=True))
predict(
    "Somebody makes inference 1% cheaper. A million calls a day at $0.01: "
    "how many dollars does that save a day?",
    answer=saved[1_000_000],
    mistakes={
        10: "That is the article's figure. 1% of $10,000?",
        10_000: "That is all they cost.",
    },
    why="1% of $10,000. The article says $10 here, and is as far off in all "
    "of its table: it fits calls of $0.001.",
)
rows = [
    [f"{n:,} calls", f"{saved[n]:,.10g}", f"{article[n]:,.10g}"]
    for n in calls
]
print(table(["1% saves, $ a day", "computed", "the article"], rows))

# %% [markdown]
# ## The article's claims

# %%
h100 = Serving(seven, find_gpu("h100-sxm"))
sxm = Serving(seven, find_gpu("a100-sxm"))
each = {
    name: decode_tokens_per_s(serving, 500, texts) / texts
    for name, serving, texts in (("A100", sxm, 40), ("H100", h100, 100))
}
theirs = {
    "A100": dollars_per_million_tokens(1.19, 4000),
    "H100": dollars_per_million_tokens(1.99, 10_000),
}
pcie = [find_gpu(name) for name in ("a100-pcie", "h100-pcie")]
faster = pcie[1].bandwidth_bytes_per_s / pcie[0].bandwidth_bytes_per_s
dearer = pcie[1].dollars_per_hour / pcie[0].dollars_per_hour / faster
limit = (
    500 * a100.cache_bytes_per_token / a100.machine.bandwidth_bytes_per_s
)
claim(
    "runpod-prices",
    "RunPod offers A100 at $1.19/hour and H100 at $1.99/hour",
    "true if",
    "the PCIe cards are meant, at spot prices, in March 2026. The H100 SXM "
    f"is at ${prices['h100-sxm']}.",
)
claim(
    "a100-cost",
    "4,000 tokens/sec Cost: $1.19/hour = $0.00012 per 1,000 tokens",
    "false",
    f"${theirs['A100'] / 1000:.7f}: ${theirs['A100']:.4f} a million.",
)
claim(
    "h100-cost",
    "10,000 tokens/sec Cost: $1.99/hour = $0.00008 per 1,000 tokens",
    "false",
    f"${theirs['H100'] / 1000:.7f}: ${theirs['H100']:.4f} a million.",
)
claim(
    "seq-x-100",
    "A100 (40 sequences × 100 tokens/sec) ... H100 (100 sequences × 100 "
    "tokens/sec)",
    "true if",
    "the texts are short, or keys and values few. With 500 tokens of 7B "
    + " and ".join(
        f"{rate:.0f} on the {name}" for name, rate in each.items()
    )
    + " are the most.",
)
claim(
    "h100-cheaper",
    "Per token, H100 is cheaper despite higher hourly cost",
    "true if",
    f"it gives {10_000 / 4000:g} times the tokens, which arithmetic could. "
    f"By bandwidth the PCIe card is {faster:.2f} times as fast, so a token "
    f"{dearer:.2f} times as dear.",
)
claim(
    "faq-batch-cost",
    "Larger batches increase GPU utilization, so cost per token decreases",
    "true",
    "but never below what reading its own keys and values costs: "
    f"${dollars_per_million_tokens(price, 1 / limit):.3f} a million here.",
)
claim(
    "faq-pricing",
    "Pricing reflects actual compute cost",
    "not checkable",
    "providers do not publish their costs.",
)
assert theirs["H100"] < theirs["A100"] and dearer > 1

# %%
day, month = 1e6 * 0.01, 30 * 1e6 * 0.01
share = 100_000 / (5 * 365)
claim(
    "bills-inference",
    "Most LLM API bills are dominated by inference, not training",
    "true",
    "by definition: a price of tokens bills inference.",
)
claim(
    "amortised-55",
    "A $100,000 training cost amortized over 5 years of service is $55/day",
    "true",
    f"${share:.2f}.",
)
claim(
    "calls-10k",
    "One million API calls per day at $0.01 per call is $10,000/day",
    "true",
    f"${day:,.0f}.",
)
claim(
    "first-day",
    "After the first day of production inference, the daily inference cost "
    "exceeds the amortized training cost",
    "true",
    f"it is {day / share:.0f} times as much, at that volume. At "
    f"{share / 0.01:,.0f} calls a day they are equal.",
)
claim(
    "first-month",
    "After the first month, monthly inference cost exceeds the training cost",
    "true",
    f"${month:,.0f}, at that volume.",
)
claim(
    "one-pct-table",
    "A 1% reduction in inference cost compounds at scale",
    "false",
    f"its figures are {saved[100] / article[100]:.0f} times too low for its "
    "own $0.01, and 1% stays 1% at any scale: nothing compounds.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: why the same GPU makes tokens at two dollars a
#   million and at six cents, and what would make yours cheaper.
# - Read `minillm/estimate/cost.py`, the whole of it: six formulas. Then
#   `minillm/evidence/claims/cost.py`: how a claim is judged by code.
# - Try: `minillm claims one-pct-table --set dollars_per_call=0.001`
# - Write it yourself: the exercises `cost_per_million`, `break_even_day`.
# - That was the course. `minillm claims` has the other claims of the article.
#
# Sources: NVIDIA's data sheets. Prices: RunPod, as DeployBase.AI listed them
# in March 2026. Kaplan et al., 2001.08361. Kwon et al., vLLM, 2309.06180.
