# %% [markdown]
# # Prefill
#
# An answer has two phases. **Prefill** reads the whole prompt, in one pass.
# **Decode** then writes the answer, one token a pass. This lesson is about
# the first phase, lesson 6 about the second. Both run the same network, but
# different things limit their speed. Most of what follows in this course
# rests on this difference.
#
# The article's section is "The Prefill Phase".

# %%
import os

# Set this before NumPy is imported: on a busy machine threads wait for
# each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from time import process_time

import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.frames import line_by_line, step_through
from minillm.classroom.pictures import bars, roofline, table
from minillm.classroom.questions import predict
from minillm.trace import record

model = minillm.load("story", backend="plain")
config = model.config
text = "Once upon a time, there was a little girl named Lily. One day, "
ids = model.tokenizer.encode(text * 4)[:64]
print(len(ids), "tokens in the prompt")

# %% [markdown]
# ## What goes in, what comes out
#
# Lesson 3 ended with a fact: what was computed for earlier tokens stays right
# when later tokens change. So prefill keeps the keys and values of all prompt
# tokens, in all layers. They are stored in the **KV cache**.

# %%
cache = minillm.KVCache(model, capacity=200)
logits = minillm.prefill(model, ids, cache)
print("tokens in the cache:", cache.length)
print("keys  ", cache.keys.shape, " [layers, heads, capacity, head_dim]")
print("values", cache.values.shape)

# %%
predict(
    f"The prompt has {len(ids)} tokens, the vocabulary "
    f"{config.vocab_size}. What is the shape of prefill's logits?",
    answer=logits.shape,
    mistakes={
        (len(ids), config.vocab_size): "Earlier rows predict tokens of "
        "the prompt, which we know already."
    },
    why="Only the last row is computed, because the first new token is "
    "chosen from it. For the other rows this saves a product with a large "
    "matrix.",
    shows="To begin an answer, the model needs only the scores that follow "
    "the last token of the prompt.",
)

# %% [markdown]
# ## In one pass, or in chunks?
#
# A long prompt can be prefilled in **chunks**: each pass runs the next tokens
# of the prompt, with the same cache. Is the result the same?
#
# With floating-point numbers this is not certain. They are rounded, so a sum
# depends on the order of its terms. For another shape of the matrices, the
# order is different. So minillm has a backend, called exact, whose sums never
# round.
#
# After the question, each line of the picture is a pass with a chunk of 7,
# and Enter shows the next one. `█` is a token that runs, `▒` a token that is
# in the cache. Look at the right end: what does every pass read again?


# %%
def in_chunks(model, chunk):
    """Return the logits of a prefill, `chunk` tokens at a time."""
    cache = minillm.KVCache(model, len(ids))
    return minillm.prefill(model, ids, cache, chunk=chunk)


exact_model = minillm.load("story", backend="exact")
exact = [in_chunks(exact_model, chunk) for chunk in (len(ids), 7, 1)]
plain = [in_chunks(model, chunk) for chunk in (len(ids), 7, 1)]
same_bits = all(np.array_equal(exact[0], other) for other in exact)
predict(
    "On the exact backend we compute the logits in one pass, in chunks of 7, "
    "and token by token. Are they equal to the last bit?",
    answer="yes" if same_bits else "no",
    choices=["yes", "no"],
    why="All three are the same computation. On other backends the rounding "
    "differs. On the plain backend the largest difference here is "
    f"{max(np.abs(plain[0] - other).max() for other in plain):.1g}.",
    shows="The way a prompt is cut into passes changes time and memory, and "
    "not the result.",
)
assert same_bits
with record() as run:
    in_chunks(model, 7)
    in_chunks(model, len(ids))
lines = []
for step in run.trace.states.steps[1:]:
    [passed] = [line for line in step if line["t"] == "pass"]
    [row] = passed["rows"]
    block = "▒" * row["first"] + "█" * row["count"]
    read = passed["weight_bytes"] / 1e6
    lines.append(f"{block:{len(ids)}} {read:4.1f} MB")
print("bytes of weights that each pass reads; at last, all in one pass:")
step_through(line_by_line("\n".join(lines)), printed=[-1])

# %% [markdown]
# ## Why all at once?
#
# If the result is the same, why not token by token? The reason is time. We
# measure one pass over n tokens, for several n. (We measure processor time,
# so that your other programs do not change the result.)


# %%
def seconds(n, repeats=5):
    """Return the shortest time of several passes over n tokens."""
    times = []
    for _ in range(repeats):
        cache = minillm.KVCache(model, n)
        started = process_time()
        minillm.prefill(model, ids[:n], cache)
        times.append(process_time() - started)
    return min(times)


took = {n: seconds(n) for n in (1, 2, 4, 8, 16, 32, 64)}
predict(
    "Compare one pass over 64 tokens with 64 passes over one token. What is "
    "true of their times, on this machine?",
    answer="one pass is at least twice as fast"
    if 64 * took[1] > 2 * took[64]
    else "about the same",
    choices=[
        "about the same",
        "one pass is at least twice as fast",
    ],
    why=f"Measured: {took[64] * 1e3:.1f} ms and {64 * took[1] * 1e3:.1f} ms.",
    shows="On this machine a token in a pass of 64 takes "
    f"{took[64] / 64 / took[1]:.0%} of the time of a token on its own.",
)

# %%
per_token = {f"{n} tokens": s / n * 1e3 for n, s in took.items()}
print("time per token, in one pass over n tokens:")
print(bars(per_token, " ms"))
assert took[64] < 64 * took[1]

# %% [markdown]
# The reason: a pass reads every weight from memory *once*, for every n. With
# one token, reading the weights is nearly all the work. With 64 tokens, the
# reading serves all 64. (In this small model, Python itself also takes some
# time for each pass, and the tokens of a pass share this time too.)
#
# ## The roofline
#
# A machine has two speeds. F is the number of FLOPs that it does in a second.
# B is the number of bytes that it reads in a second, its **bandwidth**. A
# pass computes and reads at the same time. So it takes at least
#
#     time = max(FLOPs / F, bytes / B)
#
# If the first is larger, the pass is **compute bound**, else it is **memory
# bound**. This is the **roofline** model. We apply it to Llama 2 7B with 2
# bytes a weight, on an A100: F = 312e12, B = 2,039e9.

# %%
F, B = 312e12, 2039e9


def prefill_bound(
    n, P=6_476_005_376, L=32, hidden_size=4096, V_d=131_072_000
):
    """Return the two least times of a pass over n tokens, in seconds."""
    products = 2 * P * n + 2 * V_d  # the logits: of the last row only
    attention = 2 * L * hidden_size * n * (n + 1)  # lesson 3
    weights = 2 * (P + V_d)  # bytes
    return (products + attention) / F, weights / B


rows, lengths = [], (1, 8, 50, 156, 500, 1000, 2000)
for n in lengths:
    compute, memory = prefill_bound(n)
    limit = "compute" if compute > memory else "memory"
    rows.append(
        [f"{n:,}", f"{compute * 1e3:.2f}", f"{memory * 1e3:.2f}", limit]
    )
print(table(["tokens", "compute, ms", "memory, ms", "bound by"], rows))
bounds = {n: max(prefill_bound(n)) * 1e3 for n in lengths}
frames = []
for n in lengths:
    compute, memory = prefill_bound(n)
    intensity = {f"{n:,} tokens": compute * F / (memory * B)}
    heading = (
        f"a pass over {n:,} tokens takes at least {bounds[n]:.1f} ms\n"
    )
    frames.append(heading + roofline(F, B, intensity))
print("\nEnter makes the pass longer: follow the point A, and the time.")
step_through(frames, printed=[1, -3])

# %% [markdown]
# While the point climbs, more tokens take no more time: the weights are read
# once for all of them. On the flat roof the time grows with the length.

# %%
crossing = next(
    n for n in range(1, 1000) if prefill_bound(n)[0] > bounds[1] / 1e3
)
predict(
    "From how many tokens on is the A100 limited by arithmetic? (Hint: "
    "compare 2·P·n / F with 2·P / B.)",
    answer=crossing,
    within=0.1,
    mistakes={F / B / 2: "The bytes are 2·P: two bytes a weight."},
    why=f"n = F / B = {F / B:.0f}, for every model with 2-byte weights. It "
    "is called the ridge point of the machine. The product for the logits "
    "and attention change it a little.",
    shows="Each machine has a ridge point: a pass over fewer tokens waits "
    "for memory, over more tokens for arithmetic.",
)
assert crossing == 156

# %% [markdown]
# Most prompts are longer. So *prefill is compute bound* on a GPU. Remember
# this when you read the article's sentence "mostly I/O bound" below.
#
# ## The article's claims

# %%
t7 = prefill_bound(500)[0]
doubling = {
    n: prefill_bound(2 * n)[0] / prefill_bound(n)[0] for n in (500, 8000)
}
short = max(prefill_bound(100)) / max(prefill_bound(50))
claim(
    "prefill-io-bound",
    "mostly I/O bound (moving weights) rather than compute bound",
    "false",
    f"at 500 tokens: compute {t7 * 1e3:.1f} ms, memory {bounds[1]:.1f} ms.",
)
claim(
    "prefill-doubling",
    "2x longer prompts takes more than 2x time",
    "true if",
    "the prompt is long. From 8,000 to 16,000 tokens it takes "
    f"{doubling[8000]:.2f} times the time, from 500 to 1,000 "
    f"{doubling[500]:.2f} times, from 50 to 100 {short:.2f} times.",
)
claim(
    "input-cheaper",
    "input tokens cost less to compute than output tokens",
    "true if",
    f"time is meant: {t7 / 500 * 1e3:.3f} ms a token here, but "
    f"{bounds[1]:.1f} ms when a pass over the weights computes one token "
    "(lesson 6). The FLOPs are the same.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: what does prefill leave in the cache, and why can a
#   GPU take as long for one token as for 100?
# - Read `minillm/prefill.py`: ten lines, including chunks. They call
#   `forward_batch` in `minillm/transformer.py`, the one forward pass.
# - See a prefill on a page, view "the pass": `minillm trace --raw --html
#   run.html "Once upon a time"`. It draws the roofline of an H100, too.
# - Write it yourself: exercise 7 `chunked_prefill`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 7`.
# - `minillm zoo 9 --show` runs a bug of a public engine: a second chunk
#   that does not see the first.
# - More of the article's claims: `minillm claims --section prefill`.
# - Next: lesson 6, decode, which is limited by memory.
#
# Sources: Williams et al., Roofline, CACM 2009. Agrawal et al., Sarathi,
# 2308.16369 (chunked prefill). Touvron et al., Llama 2, 2307.09288. F and B
# are from NVIDIA's data sheet of the A100 80 GB SXM.
