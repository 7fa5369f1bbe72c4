# %% [markdown]
# # Batching
#
# In decode a GPU reads all weights to compute one row (lesson 5). Nearly all
# of its arithmetic stands idle. The remedy: rows of *several* texts in the
# same pass. This is **batching**, and it is how one GPU serves many people.
#
# The article's section is "Batching and Throughput".

# %%
import os

# Before NumPy is imported: threads of a busy machine wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from time import process_time

import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars, table, timeline
from minillm.classroom.questions import predict

model = minillm.load("story", backend="plain")
prompts = [
    "Once upon a time",
    "The capital of France is",
    "Q: What is 23 + 45? A:",
]
ids = [model.tokenizer.encode(prompt) for prompt in prompts]
caches = [minillm.KVCache(model, 40) for _ in ids]
logits = minillm.forward_batch(model, list(zip(ids, caches, strict=True)))
for prompt, row in zip(prompts, logits, strict=True):
    best = model.tokenizer.token_text(int(row.argmax()))
    print(f"{prompt!r} goes on with {best!r}")
print("logits", logits.shape, "[texts, vocabulary]")

# %% [markdown]
# One call, three texts of different lengths, three caches. Their tokens lie
# one below the other in one matrix; only attention asks which row belongs to
# whom. Such a batch is called **ragged**: nothing is filled up to the length
# of the longest.

# %%
alone = [minillm.forward(model, tokens)[-1] for tokens in ids]
assert np.allclose(logits, alone, atol=1e-3)


def step_time(texts, repeats=8):
    """Milliseconds of one decode step of so many texts."""
    caches = [minillm.KVCache(model, 40) for _ in range(texts)]
    times = []
    for _ in range(repeats):
        started = process_time()
        minillm.forward_batch(model, [([7], cache) for cache in caches])
        times.append(process_time() - started)
    return min(times) * 1e3


times = {texts: step_time(texts) for texts in (1, 2, 4, 8, 16, 32)}
print("processor time per token, in a step of so many texts:")
print(bars({f"{b} together": t / b for b, t in times.items()}, " ms"))
assert times[32] < 32 * times[1]

# %% [markdown]
# ## How much can be gained?
#
# The weights are read once for all. The caches are not shared: everybody
# has a text of their own. So for b texts of n tokens a step reads
#
#     bytes of weights + b · n · (bytes of a token in the cache)

# %%
W, KV, F, B = 2 * 6_607_077_376, 524_288, 312e12, 2039e9  # Llama 2 7B, A100


def step_seconds(b, n=500):
    """The longer of arithmetic and reading, for one step (lesson 4)."""
    flops = b * (W + 4 * 32 * 4096 * n)
    return max(flops / F, (W + b * n * KV) / B)


gain = 10 * step_seconds(1) / step_seconds(10)
predict(
    "Llama 2 7B on an A100, texts of 500 tokens: the weights are 13.2 GB, "
    "each text's cache 0.26 GB. How many times as many tokens a second do "
    "10 texts get together as one alone?",
    answer=gain,
    within=0.06,
    mistakes={10.0: "The weights are shared. The caches are not."},
    why="10 · (13.2 + 0.26) / (13.2 + 2.6): not quite ten times.",
)

# %%
rows, rates = [], {}
for b in (1, 4, 10, 32, 100, 200):
    seconds = step_seconds(b)
    rates[f"{b} texts"] = b / seconds
    user = 1 / seconds
    rows.append([str(b), f"{seconds * 1e3:.1f}", f"{user:.0f}"])
print("tokens a second in all, at most:")
print(bars(rates))
print(table(["texts", "a step takes, ms", "tokens/s for each"], rows))

# %% [markdown]
# More texts: more tokens in all (**throughput**), but each step is longer, so
# everyone waits longer for their next token (**latency**).
#
# ## Who waits for whom?
#
# The simplest way is **static batching**: some requests start together, and
# the batch is done when its longest answer is. The article's example has one
# answer of 100 tokens and one of 10.

# %%
one_token = [ids[0][:1], ids[1][:1]]  # prompts of one token, to see clearly
forever = minillm.Sampling(ignore_eos=True)
static = minillm.StaticBatching(model, batch_size=2)
long, short = (
    static.submit(prompt, new, forever)
    for prompt, new in zip(one_token, (100, 10), strict=True)
)
static.run()
predict(
    "Both start together, a step gives a token to each. After how many steps "
    "does the person with the short answer get it?",
    answer=short.finished_step,
    mistakes={10: "It is complete then. But the batch is not."},
    why=f"{static.idle_slot_steps} of {static.slot_steps} places in the "
    "batch did nothing: "
    f"{static.idle_slot_steps / static.slot_steps:.0%}.",
)

# %%
engine = minillm.Engine(model)
long, short = (
    engine.submit(prompt, new, forever)
    for prompt, new in zip(one_token, (100, 10), strict=True)
)
engine.run()
predict(
    "minillm's Engine decides before *every* step who takes part, and who is "
    "done leaves. After how many steps does the short answer arrive now?",
    answer=short.finished_step,
    why="This is continuous batching (Yu et al., Orca, 2022). Its place is "
    "free at once, for whoever waits.",
)
assert (short.finished_step, long.finished_step) == (10, 100)

# %% [markdown]
# ## Six requests, two places
#
# Now six requests of different lengths wait for a machine with two places.
# A row is a request, a column a step: `#` a token, `-` done but waiting.

# %%
lengths = [12, 3, 8, 2, 10, 4]
exact = minillm.load("story", backend="exact")
static = minillm.StaticBatching(exact, batch_size=2)
waited = [static.submit(ids[0][:1], new, forever) for new in lengths]
static.run()
picture = {}
for number, request in enumerate(waited):
    started, new = request.first_token_step - 1, len(request.tokens)
    idle = request.finished_step - started - new
    picture[f"request {number}"] = " " * started + "#" * new + "-" * idle
print(timeline(picture))
print(f"{static.steps} steps, {sum(lengths)} tokens")

# %%
engine = minillm.Engine(exact, max_batch_tokens=2)  # two tokens a step
served = [engine.submit(ids[0][:1], new, forever) for new in lengths]
lines = ["" for _ in served]
while engine.has_work:
    lucky = {id(event.request) for event in engine.step()}
    for number, request in enumerate(served):
        lines[number] += "#" if id(request) in lucky else " "
print(timeline({f"request {n}": line for n, line in enumerate(lines)}))
print(f"{engine.statistics.steps} steps, {sum(lengths)} tokens")
assert engine.statistics.steps < static.steps
assert [r.tokens for r in served] == [r.tokens for r in waited]

# %% [markdown]
# The same tokens, in fewer steps: nobody waits for somebody else's end.
#
# ## Does company change my answer?
#
# It must not. But sums of rounded numbers depend on the shape of a product
# (lesson 4), and a batch has another shape. On most systems an answer can
# change with the company it is in. On the exact backend it cannot.

# %%
engine = minillm.Engine(exact)
together = [engine.submit(tokens, 8) for tokens in ids]
engine.run()
same = [
    request.tokens == minillm.generate(exact, tokens, 8).tokens
    for request, tokens in zip(together, ids, strict=True)
]
print("the same tokens as alone:", same)
assert all(same)

# %% [markdown]
# ## The article's claims

# %%
ridge = F / B
most = (0.9 * 80e9 - 13.48e9) // (500 * KV)
claim(
    "single-underuses",
    "a single request on a single GPU doesn't fully utilize hardware",
    "true",
    f"one text uses 1 of the {ridge:.0f} FLOPs that an A100 could do for "
    f"each byte it reads: {1 / ridge:.2%}.",
)
claim(
    "batch-more-cores",
    "the GPU distributes computation across more cores",
    "imprecise",
    "the gain is that one read of the weights serves all. Here a token in "
    f"a step of 32 took {times[32] / 32 / times[1]:.0%} of the time of one.",
)
claim(
    "a100-100tps",
    "single sequence: 100 tokens per second",
    "true",
    f"for 7B; the limit is {1 / step_seconds(1, 0):.0f}.",
)
claim(
    "a100-batch-10",
    "batch of 10: 1,000 tokens per second total",
    "true if",
    f"the texts are short: {gain:.1f} times at 500 tokens each, "
    f"{10 * step_seconds(1, 50) / step_seconds(10, 50):.1f} times at 50.",
)
claim(
    "batch-hundreds",
    "a production system batches hundreds of requests simultaneously",
    "true if",
    f"they are short or the cache is small: {most:.0f} texts of 500 tokens "
    "fit beside a 7B model on 80 GB.",
)
claim(
    "static-tail",
    "Request 2 latency: now 5 seconds (not 500ms)",
    "true if",
    "batching is static. With continuous batching it had its answer after "
    f"{short.finished_step} steps, as if it were alone.",
)
claim(
    "longer-unaffected",
    "the longer sequence is unaffected",
    "true if",
    "batch and texts are small: two texts of 100 tokens take "
    f"{step_seconds(2, 100) / step_seconds(1, 100):.3f} times as long a "
    f"step, 64 of 500 {step_seconds(64) / step_seconds(1):.2f} times.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: why ten texts cost little more than one, what limits
#   that, and what continuous batching changes.
# - Read `minillm/batching/scheduler.py`: `schedule` decides a step. Then
#   `minillm/transformer.py`: `forward_batch` runs it.
# - Write it yourself: the exercises `static_batch` and `continuous_batch`.
# - Next: lesson 8, where the memory for all these caches comes from.
#
# Sources: Yu et al., Orca, OSDI 2022. Agrawal et al., Sarathi-Serve,
# 2403.02310. Pope et al., 2211.05102.
