# %% [markdown]
# # Prefill
#
# An answer has two phases. **Prefill** reads the whole prompt, in one pass.
# **Decode** then writes the answer, one token a pass. This lesson is about
# the first, lesson 5 about the second. They look alike, and yet different
# things limit them: that is the key to everything about speed.
#
# The article's section is "The Prefill Phase".

# %%
import os

# Before NumPy is imported: threads of a busy machine wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from time import process_time

import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars, table
from minillm.classroom.questions import predict

model = minillm.load("story", backend="plain")
config = model.config
text = "Once upon a time, there was a little girl named Lily. One day, "
ids = model.tokenizer.encode(text * 4)
print(len(ids), "tokens in the prompt")

# %% [markdown]
# ## What goes in, what comes out
#
# Lesson 3 ended with: what earlier tokens have computed stays right, whatever
# comes later. So prefill keeps the keys and values of all prompt tokens, in
# all layers. What keeps them is the **KV cache**.

# %%
cache = minillm.KVCache(model, capacity=200)
logits = minillm.prefill(model, ids, cache)
print("tokens in the cache:", cache.length)
print("keys  ", cache.keys.shape, " [layers, heads, capacity, size]")
print("values", cache.values.shape)

# %%
predict(
    f"The prompt has {len(ids)} tokens, the vocabulary "
    f"{config.vocab_size}. What is the shape of prefill's logits?",
    answer=logits.shape,
    mistakes={
        (len(ids), config.vocab_size): "Rows before the last say what we "
        "know already: the prompt's next token."
    },
    why="Only the last row is computed: the first new token is chosen from "
    "it. For the other rows that saves a product with a large matrix.",
)

# %% [markdown]
# ## In one go, or in parts?
#
# A long prompt can be prefilled in **chunks**: first some tokens, then some
# more, over the same cache. Is the result the same?
#
# Floating-point numbers make this a subtle question. A sum of rounded numbers
# depends on the order of its terms, and another shape means another order. So
# minillm has a backend, called exact, whose sums never round.


# %%
def in_chunks(model, chunk):
    """Logits after the prompt, prefilled in chunks of this many tokens."""
    cache = minillm.KVCache(model, len(ids))
    return minillm.prefill(model, ids, cache, chunk=chunk)


exact_model = minillm.load("story", backend="exact")
exact = [in_chunks(exact_model, chunk) for chunk in (len(ids), 7, 1)]
plain = [in_chunks(model, chunk) for chunk in (len(ids), 7, 1)]
same_bits = all(np.array_equal(exact[0], other) for other in exact)
predict(
    "On the exact backend: are the logits in one go, in chunks of 7, and "
    "token by token, equal to the last bit?",
    answer="yes" if same_bits else "no",
    choices=["yes", "no"],
    why="The three are one computation. Elsewhere rounding differs: "
    "on the plain backend the largest difference here is "
    f"{max(np.abs(plain[0] - other).max() for other in plain):.1g}.",
)
assert same_bits

# %% [markdown]
# ## Why all at once?
#
# If the result is the same, why not token by token? Because of time. We
# measure one pass over n tokens, for several n. (Processor time, so that your
# other programs do not disturb it.)


# %%
def seconds(n, repeats=5):
    """The best of some passes over the first n tokens."""
    times = []
    for _ in range(repeats):
        cache = minillm.KVCache(model, n)
        started = process_time()
        minillm.prefill(model, ids[:n], cache)
        times.append(process_time() - started)
    return min(times)


took = {n: seconds(n) for n in (1, 2, 4, 8, 16, 32, 64)}
predict(
    "One pass over 64 tokens, or 64 passes over one: how do their times "
    "compare, on this machine?",
    answer="one pass is at least twice as fast"
    if 64 * took[1] > 2 * took[64]
    else "about the same",
    choices=[
        "about the same",
        "one pass is at least twice as fast",
    ],
    why=f"Now: {took[64] * 1e3:.1f} ms and {64 * took[1] * 1e3:.1f} ms.",
)

# %%
per_token = {f"{n} tokens": s / n * 1e3 for n, s in took.items()}
print("time per token, of one pass over so many:")
print(bars(per_token, " ms"))
assert took[64] < 64 * took[1]

# %% [markdown]
# The reason: whatever n is, every weight is fetched from memory *once*. For
# one token that fetching is nearly all the work. For 64 it is shared by 64.
# (In this small model, Python's own time for each pass is shared, too.)
#
# ## The roofline
#
# A machine has two speeds: how many FLOPs it does in a second, F, and how
# many bytes it reads in a second, its **bandwidth** B. A pass needs both, at
# the same time. So it takes at least
#
#     time = max(FLOPs / F, bytes / B)
#
# If the first is larger it is **compute bound**, else **memory bound**. This
# is the **roofline** model. Let us put in Llama 2 7B with 2 bytes a weight,
# on an A100: F = 312e12, B = 2,039e9.

# %%
F, B = 312e12, 2039e9


def prefill_bound(n, P=6_476_005_376, L=32, width=4096, V_d=131_072_000):
    """Seconds that a pass over n tokens takes at the two limits."""
    products = 2 * P * n + 2 * V_d  # one row only meets the head
    attention = 2 * L * width * n * (n + 1)  # lesson 3
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
print()
bounds = {n: max(prefill_bound(n)) * 1e3 for n in lengths}
print(bars({f"{n:,} tokens": t for n, t in bounds.items()}, " ms"))

# %% [markdown]
# The bar is flat first: below some length, more tokens cost nothing more.
# Then it grows with the length.

# %%
crossing = next(
    n for n in range(1, 1000) if prefill_bound(n)[0] > bounds[1] / 1e3
)
predict(
    "From how many tokens on is the A100 limited by arithmetic? (Hint: "
    "2·P·n / F against 2·P / B.)",
    answer=crossing,
    within=0.1,
    mistakes={F / B / 2: "Bytes are 2·P: two bytes a weight."},
    why=f"n = F / B = {F / B:.0f}, whatever the model. It is called the "
    "machine's ridge. Head and attention move it a little.",
)
assert crossing == 156

# %% [markdown]
# Most prompts are longer. So *prefill is compute bound*, on a GPU. Remember
# the article's sentence "mostly I/O bound", which you find below.
#
# ## The article's claims

# %%
big = dict(P=68_451_041_280, L=80, width=8192, V_d=262_144_000)  # 70B
t7, t70 = prefill_bound(500)[0], prefill_bound(500, **big)[0]
claim(
    "prefill-together",
    "all prompt tokens are processed together",
    "true",
    "one pass, chunks, and token by token gave the same bits.",
)
claim(
    "token-ids",
    "Tokenize: [101, 2054, 2003, 1996, 3007, 1997, 2605, 102] (8 tokens)",
    "false",
    "these are ids of BERT, a model that writes no text, and the question "
    "mark is missing. For Llama 2 it is [1, 1724, 338, 278, 7483, 310, "
    "3444, 29973].",
)
claim(
    "dims-4096-32",
    "embeddings of dimension 4096 (typical) ... 32 layers",
    "true",
    "so in Llama 2 7B, Mistral 7B and Llama 3 8B. Here: "
    f"{config.hidden_size} and {config.num_hidden_layers}.",
)
claim(
    "prefill-output",
    "Output: a representation of the entire prompt",
    "imprecise",
    "what comes out is a cache of keys and values, "
    f"{cache.keys[:, :, : cache.length].shape} each, and a row of logits.",
)
claim(
    "prefill-8-vs-1",
    "8 tokens ... only slightly more expensive than processing 1",
    "true if",
    f"memory bound, as on a GPU: {bounds[8] / bounds[1]:.2f} times. Here, "
    f"on a CPU: {took[8] / took[1]:.1f} times.",
)
claim(
    "prefill-formula",
    "Time ≈ (prompt_length × model_size) / GPU_throughput",
    "true if",
    f"a factor 2 is added, more than {crossing} tokens are there, and "
    "attention is small.",
)
assert abs(t70 / t7 - 10.5) < 0.1

# %%
doubling = {
    n: prefill_bound(2 * n)[0] / prefill_bound(n)[0] for n in (500, 8000)
}
short = max(prefill_bound(100)) / max(prefill_bound(50))
claim(
    "prefill-7b",
    "a 7B model processing a 500-token prompt on an A100 takes 50-100ms",
    "true if",
    f"it reaches {t7 / 0.1:.0%} to {t7 / 0.05:.0%} of F: at all of it, "
    f"{t7 * 1e3:.0f} ms.",
)
claim(
    "prefill-70b",
    "a 70B model ... takes 500ms-1s",
    "true if",
    f"it reaches {t70 / 1:.0%} to {t70 / 0.5:.0%} of one A100's F; but its "
    "138 GB need two.",
)
claim(
    "prefill-io-bound",
    "mostly I/O bound (moving weights) rather than compute bound",
    "false",
    f"at 500 tokens: compute {t7 * 1e3:.1f} ms, memory {bounds[1]:.1f} ms.",
)
claim(
    "prefill-size-scaling",
    "so larger models don't scale linearly",
    "false",
    f"70B takes {t70 / t7:.1f} times as long as 7B: as its weights.",
)
claim(
    "prefill-doubling",
    "2x longer prompts takes more than 2x time",
    "true if",
    f"long: from 8,000 to 16,000 tokens {doubling[8000]:.2f} times, from "
    f"500 to 1,000 {doubling[500]:.2f}, from 50 to 100 {short:.2f}.",
)
claim(
    "gpt41-price",
    "$2/1M input tokens and $8/1M output tokens for GPT-4.1",
    "true",
    "OpenAI's list price of April 2025.",
)
claim(
    "input-cheaper",
    "input tokens cost less to compute than output tokens",
    "true if",
    f"time is meant: {t7 / 500 * 1e3:.3f} ms a token here, but "
    f"{bounds[1]:.1f} ms when one token has the weights for itself (lesson "
    "5). FLOPs are the same.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: what prefill leaves behind, and why 100 tokens can
#   take a GPU as long as one.
# - Read `minillm/prefill.py`: ten lines, chunks and all. They call
#   `forward_batch` in `minillm/transformer.py`, the one forward pass.
# - Write it yourself: the exercise `chunked_prefill`.
# - Next: lesson 5, decode, which is limited by memory.
#
# Sources: Williams et al., Roofline, CACM 2009. Agrawal et al., Sarathi,
# 2308.16369 (chunked prefill). Touvron et al., Llama 2, 2307.09288. F and B
# are from NVIDIA's data sheet of the A100 80 GB SXM.
