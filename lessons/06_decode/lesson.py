# %% [markdown]
# # Decode
#
# The prompt has been read (lesson 5). Now the answer is written, one token a
# pass: this is **decode**. Each pass does little work, but it is slow all the
# same. This lesson shows why.
#
# The article's section is "The Decode Phase".

# %%
import os
import textwrap

# Set this before NumPy is imported: on a busy machine threads wait for
# each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from dataclasses import replace
from time import process_time

import minillm
from minillm.backends.plain import Plain
from minillm.classroom.claims import claim
from minillm.classroom.frames import line_by_line, step_through
from minillm.classroom.pictures import bars, table
from minillm.classroom.questions import predict
from minillm.trace import record

model = minillm.load("story", backend="plain")
ids = model.tokenizer.encode("Once upon a time, there was a little")
NEW = 10


def answer(model, ids, new_tokens):
    """Prefill, then decode greedily; return the new tokens and the cache."""
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
# `decode_step` takes *one* token and the cache. It returns the logits after
# that token. Keys and values of all earlier tokens are in the cache, so they
# are not computed again. The result is the same as that of `naive_decode`,
# which computes everything again for every token.
#
# After the question you see both, pass by pass, with the FLOPs so far: Enter
# shows the next pass. `█` is a token that runs, `▒` one whose keys and values
# are read from the cache. Which `█` form a triangle, and which a line?

# %%
steps = cache.length - len(ids)
predict(
    f"The answer has {NEW} tokens. How many decode steps did it take?",
    answer=steps,
    mistakes={NEW: "Where did the first new token come from?"},
    why="Prefill's logits gave the first token. The last token is never run "
    f"through the network. So the cache holds {cache.length} tokens, one "
    f"fewer than the {len(ids) + NEW} tokens of the sequence.",
    shows="Prefill gives the first token, so an answer of n tokens takes n - "
    "1 decode steps.",
)


def passes(use_cache):
    """Return what is recorded of each pass of an answer."""
    with record() as run:
        minillm.generate(model, ids, NEW, use_cache=use_cache)
    recorded = (line for step in run.trace.states.steps for line in step)
    return [line for line in recorded if line["t"] == "pass"]


lines, flops, wide = [], [0, 0], len(ids) + NEW
for both in zip(passes(False), passes(True), strict=True):
    line = ""
    for which, one_pass in enumerate(both):
        [row] = one_pass["rows"]
        flops[which] += one_pass["flops"]
        tokens = "▒" * row["first"] + "█" * row["count"]
        line += f"{tokens:{wide}} {flops[which] / 1e6:6.0f}   "
    lines.append(line.rstrip())
heading = f"{'without a cache':{wide}} MFLOPs   with a cache"
step_through(line_by_line("\n".join([heading, *lines]), 2), printed=[-1])
assert flops[0] > 5 * flops[1]

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
    """Return FLOPs and bytes of one pass over new tokens after old ones."""
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
# Both read the same weights: all of them. The last column is the **arithmetic
# intensity**: the number of FLOPs for each byte that is read.

# %%
predict(
    "These weights take 4 bytes each. In most models on GPUs they take 2. "
    "What is the intensity of decode then, in FLOPs a byte?",
    answer=decode_flops / (decode_bytes / 2),
    mistakes={
        2.0: "There are two FLOPs a weight. How many bytes is a weight?",
        decode_flops / decode_bytes: "That is with 4 bytes.",
    },
    why="There is one multiplication and one addition for each weight of 2 "
    "bytes. In the time that it takes to read one byte, an A100 could do 153 "
    "FLOPs (lesson 5). In decode, 152 of these 153 are not used.",
    shows="A decode step does about one FLOP for each byte that it reads, so "
    "memory sets its speed.",
)

# %% [markdown]
# So decode is **memory bound**: its time is the time to read the weights.
#
#     time per token = bytes of weights / bandwidth
#
# Now we measure it for 100 tokens: in one pass (prefill) and one by one
# (decode). We measure processor time, so that your other programs do not
# change the result.


# %%
def milliseconds(run, repeats=3):
    """Return the shortest time of several runs."""
    times = []
    for _ in range(repeats):
        started = process_time()
        run()
        times.append(process_time() - started)
    return min(times) * 1e3


def one_by_one(model, n):
    """Decode n tokens, all with the arbitrary id 7."""
    cache = minillm.KVCache(model, n)
    for _ in range(n):
        minillm.decode_step(model, 7, cache)


def in_one_pass(model, n):
    """Prefill n tokens, all with the arbitrary id 7."""
    minillm.prefill(model, [7] * n, minillm.KVCache(model, n))


prefilled = milliseconds(lambda: in_one_pass(model, 100))
decoded = milliseconds(lambda: one_by_one(model, 100))
times = {"100 in one pass": prefilled, "100 one by one": decoded}
print(bars(times, " ms"))
assert decoded > prefilled

# %% [markdown]
# This is why providers charge more for output tokens than for input tokens.
#
# ## How fast can it be?
#
# The formula above gives the time per token. So a sequence gets at most
# bandwidth / bytes tokens a second.

# %%
W = 2 * 6_607_077_376  # bytes that Llama 2 7B reads for a token
predict(
    f"Llama 2 7B reads {W / 1e9:.1f} GB for each token, an A100 reads 2,039 "
    "GB a second. How many tokens a second can one sequence get, at most?",
    answer=2039e9 / W,
    within=0.05,
    why="With 2-byte weights this limit holds for every program. gpt-fast, a "
    "well tuned one, has measured 105.",
    shows="The speed limit of one sequence is the bandwidth, divided by the "
    "bytes of the weights.",
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
# ## Does a step get slower as the sequence grows?
#
# A little. Attention reads the keys and values of every earlier token. For
# Llama 2 7B they are 524,288 bytes a token (lesson 7). So a step reads
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
# The time of prefill grows with the prompt. The time of decode grows with the
# answer. Which is larger depends on both lengths. Here are three examples,
# for the same model and GPU, with the formulas of lesson 5:

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
print("Now the article's claims about decode.")
claim(
    "no-parallelism",
    "there's no parallelization within a single sequence",
    "imprecise",
    "only the *choice* of tokens is sequential. Heads can be computed in "
    "parallel, and known tokens can run in one pass, as in prefill.",
)
claim(
    "decode-bw-bound",
    "decode is memory-bandwidth bound",
    "true if",
    "few sequences run together (lesson 8). With one, the intensity is "
    f"{decode_flops / (decode_bytes / 2):.0f}, and the limit is 153.",
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

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: why are 100 tokens in one pass faster than 100
#   passes, although the FLOPs are the same?
# - Read `minillm/decode.py`: `decode_step` is one line. Then read
#   `minillm/generation.py`: `Generation.__iter__` is the whole loop.
# - See decode steps on a page, view "the pass": `minillm trace --raw --html
#   run.html "Once upon a time"`; the same with `--no-cache`.
# - Write it yourself: exercises 8 `decode_loop`, 9 `top_p`, 10
#   `stop_strings`, 33 `temperature_top_k` and 34 `token_mask`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 8`.
# - `minillm zoo 24 --show` runs a bug of a public engine: top-p that keeps
#   one token too few.
# - More of the article's claims: `minillm claims --section decode`.
# - Next: lesson 7, the cache that keeps a decode step small.
#
# Sources: Pope et al., Efficiently Scaling Transformer Inference, 2211.05102.
# gpt-fast's README (measurements on an A100 80 GB). NVIDIA's data sheets.
