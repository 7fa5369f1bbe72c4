# %% [markdown]
# # Batching
#
# In decode a GPU reads all weights to compute a single row (lesson 6). Most
# of its arithmetic units are idle. The remedy is to put rows of *several*
# sequences into the same pass. This is called **batching**. Batching lets one
# GPU serve many users.
#
# The article's section is "Batching and Throughput".

# %%
import os

# Before NumPy is imported: several BLAS threads make timings unreliable.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from time import process_time

import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through_run
from minillm.classroom.pictures import bars, table
from minillm.classroom.questions import predict
from minillm.trace import record

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
    print(f"{prompt!r} continues with {best!r}")
print("logits", logits.shape, "[sequences, vocabulary]")

# %% [markdown]
# One call computes three sequences of different lengths. Each sequence has
# its own cache. The tokens of all three are the rows of one matrix. Only
# attention needs to know which row belongs to which sequence. Such a batch is
# called **ragged**: no sequence is padded to the length of the longest.

# %%
alone = [minillm.forward(model, tokens)[-1] for tokens in ids]
assert np.allclose(logits, alone, atol=1e-3)


def step_time(batch_size, repeats=8):
    """Return the milliseconds of a decode step with this batch size."""
    caches = [minillm.KVCache(model, 40) for _ in range(batch_size)]
    times = []
    for _ in range(repeats):
        started = process_time()
        minillm.forward_batch(model, [([7], cache) for cache in caches])
        times.append(process_time() - started)
    return min(times) * 1e3


times = {size: step_time(size) for size in (1, 2, 4, 8, 16, 32)}
print("processor time per token, by batch size:")
print(bars({f"batch of {b}": t / b for b, t in times.items()}, " ms"))
assert times[32] < 32 * times[1]

# %% [markdown]
# ## How much does batching gain?
#
# The weights are read once for the whole batch. The caches are not shared:
# every sequence has its own keys and values. So a step of b sequences, each
# with n tokens, reads
#
#     bytes of weights + b · n · (bytes of one token in the cache)

# %%
W, KV, F, B = 2 * 6_607_077_376, 524_288, 312e12, 2039e9  # Llama 2 7B, A100


def step_seconds(b, n=500):
    """Return the time of a step: compute or memory, the longer (lesson 5)."""
    flops = b * (W + 4 * 32 * 4096 * n)
    return max(flops / F, (W + b * n * KV) / B)


gain = 10 * step_seconds(1) / step_seconds(10)
predict(
    "Llama 2 7B runs on an A100. Its weights are 13.2 GB. The cache of one "
    "sequence of 500 tokens is 0.26 GB. How many times as many tokens per "
    "second does a batch of 10 sequences produce as a batch of 1?",
    answer=gain,
    within=0.06,
    mistakes={10.0: "The weights are shared. The caches are not."},
    why="10 · (13.2 + 0.26) / (13.2 + 2.6): a little less than 10 times.",
    shows="A batch reads the weights once for all of its sequences, so ten "
    "sequences take little more time than one.",
)

# %%
rows, rates = [], {}
for b in (1, 4, 10, 32, 100, 200):
    seconds = step_seconds(b)
    rates[f"batch of {b}"] = b / seconds
    user = 1 / seconds
    rows.append([str(b), f"{seconds * 1e3:.1f}", f"{user:.0f}"])
print("upper bound of tokens/s, all sequences together:")
print(bars(rates))
print(table(["batch size", "ms per step", "tokens/s per sequence"], rows))

# %% [markdown]
# A larger batch produces more tokens per second in total (**throughput**).
# But each step takes longer. So every user waits longer for the next token
# (**latency**).
#
# ## Static batching
#
# The simplest way is **static batching**. Several requests start together.
# The batch ends when its longest completion ends. In the article's example
# one completion has 100 tokens and the other has 10.

# %%
one_token = [
    ids[0][:1],
    ids[1][:1],
]  # prompts of one token: no long prefill
ignore_eos = minillm.Sampling(ignore_eos=True)
static = minillm.StaticBatching(model, batch_size=2)
long, short = (
    static.submit(prompt, new_tokens, ignore_eos)
    for prompt, new_tokens in zip(one_token, (100, 10), strict=True)
)
static.run()
predict(
    "Both requests start together, and each step gives one token to each of "
    "them. After how many steps does the user with the short completion "
    "receive it?",
    answer=short.finished_step,
    mistakes={
        10: "Its last token is computed then. But the batch runs on."
    },
    why=f"{static.idle_slot_steps} of {static.slot_steps} batch slots were "
    f"idle: {static.idle_slot_steps / static.slot_steps:.0%}.",
    shows="In a static batch a short completion waits for the longest one.",
)

# %%
engine = minillm.Engine(model)
long, short = (
    engine.submit(prompt, new_tokens, ignore_eos)
    for prompt, new_tokens in zip(one_token, (100, 10), strict=True)
)
engine.run()
predict(
    "minillm's Engine decides before *every* step which requests take part. "
    "Finished requests leave. After how many steps does the short completion "
    "arrive now?",
    answer=short.finished_step,
    why="This is continuous batching (Yu et al., Orca, 2022). The batch slot "
    "is free at once for the next request in the queue.",
    shows="In continuous batching a completion is there with its own last "
    "token, and its slot is free at once.",
)
assert (short.finished_step, long.finished_step) == (10, 100)

# %% [markdown]
# ## Six requests, two batch slots
#
# Now six requests of different lengths wait, A to F. Two can run at the same
# time. In the frames a row is a request and a column is a step. Enter does
# the next step. First static batching: count the `-`. They are steps of a
# request that is done and waits for the end of its batch.

# %%
lengths = [9, 3, 6, 2, 5, 4]
exact = minillm.load("story", backend="exact")
static = minillm.StaticBatching(exact, batch_size=2)
with record() as run:
    static_requests = [
        static.submit(ids[0][:1], new, ignore_eos) for new in lengths
    ]
    static.run()
step_through_run(run.trace, "batch", printed=[5, -1])
print(f"{static.steps} steps, {sum(lengths)} tokens")

# %%
# Continuous batching: who takes the place of a request that leaves?
engine = minillm.Engine(exact, max_batch_tokens=2)  # two tokens per step
with record() as run:
    requests = [
        engine.submit(ids[0][:1], new, ignore_eos) for new in lengths
    ]
    while engine.has_work:
        engine.step()
step_through_run(run.trace, "batch", printed=[5, -1])
print(f"{engine.statistics.steps} steps, {sum(lengths)} tokens")
assert engine.statistics.steps < static.steps
assert [r.tokens for r in requests] == [r.tokens for r in static_requests]

# %% [markdown]
# The tokens are the same. The number of steps is smaller, because no request
# waits for the end of another one.
#
# ## Does a batch change the tokens?
#
# It should not. But floating-point sums depend on the shape of a matrix
# product (lesson 5), and a batch has a different shape. On most systems the
# other requests of a batch can change a completion. On the exact backend they
# cannot.
#
# This time the prompts are longer, and a step may have 8 tokens. A decode
# takes one of them. The rest of this **token budget** is for prompts, so a
# long prompt runs in chunks (`C`). Which steps use the whole budget?

# %%
engine = minillm.Engine(exact, max_batch_tokens=8)
with record() as run:
    together = [engine.submit(tokens, 8) for tokens in ids]
    engine.run()
step_through_run(run.trace, "batch", printed=[2, -1])
same = [
    request.tokens == minillm.generate(exact, tokens, 8).tokens
    for request, tokens in zip(together, ids, strict=True)
]
print("the same tokens as alone:", same)
assert all(same)

# %% [markdown]
# ## The article's claims

# %%
claim(
    "batch-more-cores",
    "the GPU distributes computation across more cores",
    "imprecise",
    "the gain comes from reading the weights once for the whole batch. Here "
    f"a token in a batch of 32 took {times[32] / 32 / times[1]:.0%} of the "
    "time of a token in a batch of 1.",
)
claim(
    "static-tail",
    "Request 2 latency: now 5 seconds (not 500ms)",
    "true if",
    "batching is static. With continuous batching the request finished "
    f"after {short.finished_step} steps, as it would alone.",
)
claim(
    "longer-unaffected",
    "the longer sequence is unaffected",
    "true if",
    "batch and sequences are small. A step of 2 sequences of 100 tokens "
    f"takes {step_seconds(2, 100) / step_seconds(1, 100):.3f} times as long "
    "as a step of 1. For 64 sequences of 500 tokens it is "
    f"{step_seconds(64) / step_seconds(1):.2f} times.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: why a batch of ten costs little more than a
#   batch of one, what limits that, and what continuous batching changes.
# - Read `minillm/batching/scheduler.py`: `schedule` plans a step. Then read
#   `minillm/transformer.py`: `forward_batch` runs it.
# - See a batch on a page, view "the batch": `minillm trace --raw --n 4
#   --temperature 1 --max-new-tokens 12 --html run.html "Once upon a time"`.
# - Write it yourself: exercises 14 `static_batch` and 15 `continuous_batch`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 14`.
# - `minillm zoo 11 --show` runs a bug of a public engine: one vector of
#   positions for a whole batch.
# - More of the article's claims: `minillm claims --section batching`.
# - Next: lesson 9, where the memory for all these caches comes from.
#
# Sources: Yu et al., Orca, OSDI 2022. Agrawal et al., Sarathi-Serve,
# 2403.02310. Pope et al., 2211.05102.
