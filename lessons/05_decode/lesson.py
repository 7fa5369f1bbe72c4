# %% [markdown]
# # Decode
#
# The prompt has been read (lesson 4). Now the answer is written, one token a
# pass: this is **decode**. Each pass is small. It is slow all the same, and
# this lesson shows why.
#
# The article's section is "The Decode Phase".

# %%
import os
import textwrap

# Before NumPy is imported: threads of a busy machine wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dataclasses import replace
from time import process_time

import minillm
from minillm.backends.plain import Plain
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars, table
from minillm.classroom.questions import predict

model = minillm.load("story", backend="plain")
ids = model.tokenizer.encode("Once upon a time, there was a little")
NEW = 10


def answer(model, ids, new_tokens):
    """Prefill, then decode greedily; the new tokens and the cache."""
    cache = minillm.KVCache(model, len(ids) + new_tokens)
    logits = minillm.prefill(model, ids, cache)
    tokens = [int(logits.argmax())]
    while len(tokens) < new_tokens:
        logits = minillm.decode_step(model, tokens[-1], cache)
        tokens.append(int(logits.argmax()))
    return tokens, cache


tokens, cache = answer(model, ids, NEW)
print(textwrap.fill(model.tokenizer.decode(ids + tokens), 78))
assert tokens == minillm.naive_decode(model, ids, NEW)

# %% [markdown]
# `decode_step` takes *one* token and the cache. It gives the logits after
# that token. Keys and values of all earlier tokens are in the cache, so they
# need not be computed again. The result is what `naive_decode` gives, which
# computes everything anew for every token.

# %%
steps = cache.length - len(ids)
predict(
    f"The answer has {NEW} tokens. How many decode steps did it take?",
    answer=steps,
    mistakes={NEW: "Where did the first new token come from?"},
    why="Prefill's logits gave the first token. And the last token is never "
    f"fed back: the cache holds {cache.length} tokens, one fewer than the "
    f"text's {len(ids) + NEW}.",
)

# %% [markdown]
# ## What does one step read?
#
# We put a counter between the engine and its matrix products. It adds up the
# FLOPs (lesson 2) and the bytes of the weights that are used.


# %%
class Counting(Plain):
    """The plain backend, with a counter at every product with weights."""

    def __init__(self):
        self.flops = self.weight_bytes = 0

    def linear(self, x, weight, bias=None):
        self.flops += 2 * len(x) * weight.size
        self.weight_bytes += weight.nbytes
        return super().linear(x, weight, bias)


def counted(new_tokens, old_tokens):
    """FLOPs and bytes of one pass over new tokens, behind old ones."""
    ops = Counting()
    counting_model = replace(model, ops=ops)
    cache = minillm.KVCache(counting_model, 512)
    minillm.prefill(counting_model, ids[:1] * old_tokens, cache)
    ops.flops = ops.weight_bytes = 0
    minillm.prefill(counting_model, ids[:1] * new_tokens, cache)
    return ops.flops, ops.weight_bytes


rows = []
for name, new in (("decode, 1 token", 1), ("prefill, 200 tokens", 200)):
    flops, size = counted(new, 100)
    rows.append([name, f"{flops:,}", f"{size:,}", f"{flops / size:.1f}"])
print(table(["", "FLOPs", "bytes of weights", "FLOPs a byte"], rows))
decode_flops, decode_bytes = counted(1, 100)
assert counted(200, 100)[1] == decode_bytes

# %% [markdown]
# Both read the same weights: all of them. The last column is called the
# **arithmetic intensity**: how much is computed with each byte that is read.

# %%
predict(
    "These weights take 4 bytes each. In most models on GPUs they take 2. "
    "What is the intensity of decode then, in FLOPs a byte?",
    answer=decode_flops / (decode_bytes / 2),
    mistakes={
        2.0: "Two FLOPs a weight. And how many bytes is a weight?",
        decode_flops / decode_bytes: "That is with 4 bytes.",
    },
    why="One multiplication and one addition for each weight of 2 bytes. An "
    "A100 could do 153 FLOPs in the time that it takes to read a byte "
    "(lesson 4). In decode, 152 of 153 are not used.",
)

# %% [markdown]
# So decode is **memory bound**: its time is the time to read the weights.
#
#     time per token = bytes of weights / bandwidth
#
# Here it is, for 100 tokens: in one pass (prefill), or one by one (decode).
# We measure processor time, so that your other programs do not disturb it.


# %%
def milliseconds(run, repeats=3):
    """The best of some runs."""
    times = []
    for _ in range(repeats):
        started = process_time()
        run()
        times.append(process_time() - started)
    return min(times) * 1e3


def one_by_one(model, n):
    """Decode n tokens, whatever they are."""
    cache = minillm.KVCache(model, n)
    for _ in range(n):
        minillm.decode_step(model, 7, cache)


def in_one_pass(model, n):
    """Prefill n tokens, whatever they are."""
    minillm.prefill(model, [7] * n, minillm.KVCache(model, n))


together = milliseconds(lambda: in_one_pass(model, 100))
apart = milliseconds(lambda: one_by_one(model, 100))
print(bars({"100 in one pass": together, "100 one by one": apart}, " ms"))
assert apart > together

# %% [markdown]
# This is why providers charge more for output tokens than for input tokens.
#
# ## How fast can it be?
#
# Turn the formula around: at most bandwidth / bytes tokens a second.

# %%
W = 2 * 6_607_077_376  # bytes that Llama 2 7B reads for a token
predict(
    f"Llama 2 7B reads {W / 1e9:.1f} GB for each token, an A100 reads 2,039 "
    "GB a second. How many tokens a second can one text get, at most?",
    answer=2039e9 / W,
    within=0.05,
    why="With 2-byte weights, whatever the program. gpt-fast, a well tuned "
    "one, has measured 105.",
)

# %%
bandwidths = {
    "T4": 320,
    "L40S": 864,
    "A100": 2039,
    "H100": 3350,
    "H200": 4800,
}  # GB/s
per_token = {gpu: W / (gb * 1e9) * 1e3 for gpu, gb in bandwidths.items()}
print("Llama 2 7B: least time per token")
print(bars(per_token, " ms"))

# %% [markdown]
# ## Does a step get slower as the text grows?
#
# A little. Attention reads the keys and values of every earlier token. For
# Llama 2 7B they are 524,288 bytes a token (lesson 6). So a step reads
#
#     bytes of weights + tokens · 524,288

# %%
KV = 524_288
by_length = {
    f"{n:,} tokens": (W + n * KV) / 2039e9 * 1e3
    for n in (0, 500, 5_000, 25_000, 50_000)
}
print("Llama 2 7B on an A100: least time of a step")
print(bars(by_length, " ms"))

# %% [markdown]
# ## A whole answer
#
# Prefill's time grows with the prompt, decode's with the answer. Which is
# larger depends on both. For the same model and GPU, with the formulas of
# lesson 4:

# %%
shares = {}
for prompt, new in ((500, 100), (8000, 100), (8000, 10)):
    flops = 2 * 6_476_005_376 * prompt
    flops += 2 * 32 * 4096 * prompt * (prompt + 1)  # attention
    prefill = max(flops / 312e12, W / 2039e9)
    decode = sum(
        (W + n * KV) / 2039e9 for n in range(prompt, prompt + new - 1)
    )
    shares[f"{prompt:,} in, {new} out"] = prefill / (prefill + decode) * 100
print("prefill's share of the time:")
print(bars(shares, "%"))

# %%
print("And the article? Its claims about decode, one by one.")
claim(
    "pass-per-token",
    "each output token requires a full forward pass",
    "true if",
    "nothing is speculated (lesson 9 does).",
)
claim(
    "passes-100",
    "a 100-token response requires 100 sequential forward passes",
    "true if",
    f"prefill is counted: here, {NEW} tokens were 1 prefill and {steps} "
    "decode steps.",
)
claim(
    "no-parallelism",
    "there's no parallelization within a single sequence",
    "imprecise",
    "only the *choice* of tokens is sequential. Heads run side by side, and "
    "tokens that are known can be run in one pass, as prefill does.",
)
claim(
    "recompute-longer",
    "recompute based on the new, longer sequence",
    "imprecise",
    "the new token is computed, over a cache. Recomputing all is what "
    "`naive_decode` does, with the same result.",
)
claim(
    "decode-formula",
    "Time ≈ (output_length × model_size) / GPU_throughput",
    "true if",
    "size is in bytes and throughput is bandwidth: 100 tokens of 7B on an "
    f"A100 take {100 * W / 2039e9 * 1e3:.0f} ms. With FLOPs instead it "
    f"would be {100 * W / 312e12 * 1e3:.1f} ms.",
)
claim(
    "decode-bw-bound",
    "decode is memory-bandwidth bound",
    "true if",
    "few texts run together: at one, the intensity is "
    f"{decode_flops / (decode_bytes / 2):.0f}, against 153 (lesson 7).",
)
claim(
    "small-fraction",
    "weights must be loaded ... even if only a small fraction are computed",
    "false",
    f"all {decode_bytes:,} bytes that were read were multiplied. And models "
    "that need only some of their weights (mixtures of experts) read only "
    "those.",
)

# %%
W70 = 2 * (68_976_648_192 - 262_144_000)
ratio = W70 / W
claim(
    "decode-7b",
    "100 tokens from a 7B model on an A100 takes 1-2 seconds",
    "true if",
    f"a third to two thirds of the bandwidth are reached; the limit is "
    f"{100 * W / 2039e9:.2f} s, gpt-fast has measured 0.95 s.",
)
claim(
    "decode-70b",
    "the same on a 70B model takes 10-20 seconds",
    "imprecise",
    f"its {W70 / 1e9:.0f} GB need two A100. Then the limit is "
    f"{100 * W70 / 2 / 2039e9:.1f} s, and gpt-fast has measured 4.7 s.",
)
claim(
    "bigger-slower",
    "larger models (more weights) are slower at decoding",
    "true",
    f"70B reads {ratio:.1f} times as many bytes as 7B.",
)
claim(
    "breakdown-5s",
    "Prefill: 100ms; Decode: 4,900ms (100 tokens at ~50ms per token)",
    "imprecise",
    f"99 steps of 50 ms are {99 * 50:,} ms.",
)
claim(
    "prefill-2pct",
    "the prefill phase is 2% of total time",
    "true if",
    "the prompt is short and the answer long: "
    + ", ".join(
        f"{share:.0f}% for {what}" for what, share in shares.items()
    )
    + ".",
)
claim(
    "decode-50ms",
    "~50ms per token",
    "imprecise",
    f"that is a T4 ({per_token['T4']:.0f} ms at least). An A100 needs "
    f"{per_token['A100']:.1f} ms at least, 10 in practice.",
)
assert 10 < ratio < 11

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: why are 100 tokens in one pass so much faster than
#   100 passes, though the FLOPs are the same?
# - Read `minillm/decode.py`: `decode_step` is one line. Then
#   `minillm/generation.py`: `Generation.__iter__` is the whole loop.
# - Write it yourself: the exercises `decode_loop` and `stop_strings`.
# - Next: lesson 6, the cache that makes a step so small.
#
# Sources: Pope et al., Efficiently Scaling Transformer Inference, 2211.05102.
# gpt-fast's README (measurements on an A100 80 GB). NVIDIA's data sheets.
