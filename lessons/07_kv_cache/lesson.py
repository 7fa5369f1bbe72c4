# %% [markdown]
# # The KV cache and its memory
#
# Decode is fast because keys and values of earlier tokens are kept. This
# lesson opens the cache: what is in it, how large it is, and what it saves.
# It also shows why the cache, more than the weights, decides how many users a
# GPU can serve.
#
# The article's section is "KV Cache and Memory".

# %%
import os

# Set this before NumPy is imported: on a busy machine threads wait for
# each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from time import process_time

import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through, step_through_run
from minillm.classroom.pictures import bars, table, timeline
from minillm.classroom.questions import predict
from minillm.trace import record

model = minillm.load("story", backend="plain")
config = model.config
ids = model.tokenizer.encode("Once upon a time, there was a little")
cache = minillm.KVCache(model, capacity=40)
minillm.prefill(model, ids, cache)
print("keys  ", cache.keys.shape, "[layers, heads, capacity, head_dim]")
print("values", cache.values.shape)
print(f"{cache.length} of {cache.capacity} slots are in use")

# %% [markdown]
# The room for one token is a **slot**. Heads of keys and values are called
# **KV heads**. For every token, every layer and every KV head the cache keeps
# one key and one value. Each is a row of head_dim numbers. Here the numbers
# are float32: each takes 4 bytes.

# %%
kv_heads, head_dim = config.num_key_value_heads, config.head_dim
layers = config.num_hidden_layers
numbers = 2 * layers * kv_heads * head_dim
group = config.num_attention_heads // kv_heads
predict(
    f"{layers} layers, {config.num_attention_heads} query heads, {kv_heads} "
    f"KV heads, head_dim {head_dim}, 4 bytes a number. How many bytes does "
    "one token take in the cache?",
    answer=cache.nbytes // cache.capacity,
    mistakes={
        numbers * 2: "Keys *and* values.",
        numbers: "Those are numbers. Each has 4 bytes.",
        numbers * 4 * group: "Queries are not kept. Count KV heads.",
    },
    why="2 (key and value) · layers · KV heads · head_dim · bytes of a "
    "number. The answer was measured: the bytes of the two arrays, divided "
    "by the number of slots.",
    shows="The cache grows by the same number of bytes with every token.",
)

# %% [markdown]
# ## A token is appended
#
# Each decode step writes one key and one value in every layer and head, into
# the next free slot. Nothing else changes. The frames show a run: Enter does
# the next step. Find the new column. Why is the last token of the answer never
# in the cache?

# %%
grown = cache.fork()  # an independent copy
before = grown.keys.copy()
for token in ids[:8]:
    minillm.decode_step(model, token, grown)
changed = np.abs(grown.keys - before).max(axis=(0, 1, 3)) > 0  # [capacity]
print("slots whose keys have changed:", np.flatnonzero(changed))
assert changed.sum() == 8 and not changed[: len(ids)].any()
with record() as run:
    minillm.generate(model, ids, 8)
step_through_run(run.trace, "cache", printed=[1, 2, -1])

# %% [markdown]
# ## What does a key depend on?
#
# In layer 0 a token's key is computed from its embedding and its position. So
# it depends on this token alone. In layer 1 it is computed from the output of
# layer 0. And attention in layer 0 has used the tokens before it.

# %%
first = model.tokenizer.encode("The cat saw a dog")
second = [*reversed(first[:-1]), first[-1]]  # the same token at the end


def keys_of_last(tokens):
    """Return the last token's keys in all layers."""
    cache = minillm.KVCache(model, len(tokens))
    minillm.prefill(model, tokens, cache)
    return cache.keys[:, :, len(tokens) - 1]  # [layers, heads, head_dim]


gap = np.abs(keys_of_last(first) - keys_of_last(second)).max(axis=(1, 2))
predict(
    "Two sequences have the same token at the same position, but different "
    f"tokens before it. In how many of the {layers} layers are the keys of "
    "this token the same?",
    answer=int((gap < 1e-4).sum()),
    mistakes={layers: "Then no layer would know what came before."},
    why="In layer 0 only. From layer 1 on, a row has taken something from "
    "the tokens before it.",
    shows="A cached key belongs to a token and to all tokens before it, so "
    "it is of use only after the same beginning.",
)
assert gap[0] < 1e-4 and (gap[1:] > 1e-4).all()

# %% [markdown]
# ## Dropping tokens costs nothing
#
# To drop the last tokens, the cache only lowers its length (`truncate`).
# Later tokens are written over the dropped ones. Lesson 10 needs this. So does
# an editor in which you delete a word. `fork` makes a copy, to continue a
# sequence in two ways. In the frames `#` is a slot in use. Follow `x`, a slot
# that still has a dropped token.

# %%
other, frames, written = cache.fork(), [], cache.length


def draw(done):
    """Append a frame of both caches, and of what was done."""
    rows = {}
    for name, each, most in (
        ("cache", cache, 0),
        ("other", other, written),
    ):
        dropped = "x" * (most - each.length)
        rows[name] = f"{'#' * each.length + dropped:.<{each.capacity}}"
    frames.append(f"{done}\n{timeline(rows, 'slot')}")


draw("other = cache.fork()")
results = []
for token in (ids[0], ids[1], ids[0]):
    results.append(minillm.decode_step(model, token, other))
    written = other.length
    draw(f"decode {model.tokenizer.token_text(token)!r} in other")
    other.truncate(cache.length)
    draw("other.truncate: its length is lower, nothing else changed")
step_through(frames, printed=[0, 1, 2])
first_time, _, second_time = results
assert np.array_equal(first_time, second_time)
print("the first and the third time: the same logits, to the bit")

# %% [markdown]
# ## What does it save?
#
# Without a cache, every step runs the whole sequence again. With a cache,
# every token runs once.

# %%
prompt, new = 100, 50
naive = sum(range(prompt, prompt + new))
cached = prompt + (new - 1)
predict(
    f"A prompt has {prompt} tokens, and {new} new tokens follow. *With* a "
    "cache, how many tokens run through the network in all?",
    answer=cached,
    mistakes={
        prompt + new: "The last token is never run through the network.",
        naive: "That is without a cache.",
    },
    why=f"Without a cache it is {prompt} + {prompt + 1} + ... = {naive:,}: "
    f"{naive / cached:.0f} times as many.",
    shows="With a cache each token runs through the network once, and not "
    "again for every new token.",
)

# %%
times = {}
for new in (10, 30, 60):
    for use_cache in (True, False):
        started = process_time()
        sampling = minillm.Sampling(ignore_eos=True)
        out = minillm.generate(model, ids, new, sampling, use_cache)
        name = f"{new} tokens, {'cache' if use_cache else 'no cache'}"
        times[name] = (process_time() - started) * 1e3
print("processor time on this machine:")
print(bars(times, " ms"))
assert times["60 tokens, cache"] < times["60 tokens, no cache"]

# %% [markdown]
# With a cache, twice as long an answer takes twice the time. Without a cache
# it takes more than twice the time.
#
# ## The price: memory
#
# Now we look at large models. On GPUs a number usually takes 2 bytes
# (float16).


# %%
def kv_bytes(layers, kv_heads, head_dim, number_bytes=2):
    """Return the bytes of one token's keys and values."""
    return 2 * layers * kv_heads * head_dim * number_bytes


token_bytes = kv_bytes(layers, kv_heads, head_dim, 4)
assert token_bytes == cache.nbytes // cache.capacity
predict(
    "Llama 2 7B has 32 layers, 32 KV heads, head_dim 128, 2 bytes a number. "
    "How many bytes does one token take?",
    answer=kv_bytes(32, 32, 128),
    mistakes={kv_bytes(32, 32, 128) // 2: "Keys *and* values."},
    why="This is half a megabyte for a single token. 25,000 tokens take as "
    "many bytes as the model itself.",
    shows="The cache of long texts can take more memory than the weights of "
    "the model.",
)

# %%
shapes = {  # layers, KV heads, head_dim, billions of weights
    "Llama 2 7B": (32, 32, 128, 6.74),
    "Llama 2 13B": (40, 40, 128, 13.02),
    "Llama 2 70B": (80, 8, 128, 68.98),
    "Llama 3 8B": (32, 8, 128, 8.03),
    "Qwen2.5 7B": (28, 4, 128, 7.62),
    "SmolLM2 135M": (30, 3, 64, 0.135),
}
per_token = {name: kv_bytes(*s[:3]) / 1000 for name, s in shapes.items()}
print(bars(per_token, " kB"))
rows = []
for name, (*shape, billions) in shapes.items():
    room = 0.9 * 80e9 - 2e9 * billions  # 90% of 80 GB, less the weights
    tokens = max(0, int(room // kv_bytes(*shape)))
    rows.append([name, f"{2 * billions:.1f}", f"{tokens:,}"])
print(table(["", "weights, GB", "tokens on an 80 GB GPU"], rows))

# %% [markdown]
# Newer models have few KV heads. Grouped-query attention (lesson 3) makes the
# cache several times smaller.
#
# ## The article's claims

# %%
pass_501 = 2 * 6_476_005_376 * 501 + 2 * 32 * 4096 * 501 * 502  # FLOPs
recompute = pass_501 / 312e12  # seconds of an A100
seven, seventy = kv_bytes(32, 32, 128), kv_bytes(80, 8, 128)
claim(
    "no-cache-seconds",
    "with cache, each token takes ~50ms. Without, seconds",
    "false",
    f"a pass over 500 tokens takes an A100 {recompute * 1e3:.0f} ms at "
    "least, and 50-100 ms by the article's own words.",
)
claim(
    "kv-formula",
    "batch_size × sequence_length × num_layers × hidden_dim × 2",
    "true if",
    "there are as many KV heads as query heads. And it counts numbers, not "
    f"bytes. Here it would give {2 * layers * config.hidden_size * 4:,} "
    f"bytes a token, but there are {cache.nbytes // cache.capacity:,}.",
)
claim(
    "kv-70b-larger",
    "large models (70B) require larger cache",
    "false",
    f"Llama 2 70B has 8 KV heads: {seventy:,} bytes a token, "
    f"{seventy / seven:.2f} of 7B's.",
)
assert recompute < 0.05 and seventy < seven

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: what is in the cache, how many bytes does a token
#   take, and why may a 70B model need fewer than a 7B one?
# - Read `minillm/kv_cache/contiguous.py`: `write`, `truncate` and `fork` are
#   a few lines each. Then read `attend` in `minillm/attention.py`: the mask
#   when the first query is not at position 0.
# - See the cache of your own prompt on a page, view "the cache":
#   `minillm trace --raw --html run.html "Once upon a time"`.
# - Write it yourself: exercises 11 `kv_cache_append`, 12 `kv_cache_truncate`
#   and 13 `kv_cache_memory`. `minillm exercise start my-exercises` makes a
#   folder for all exercises, once. There, run `minillm exercise check 11`.
# - `minillm zoo 8 --show` runs a bug of a public engine: trimmed tokens
#   that stay in the cache.
# - More of the article's claims: `minillm claims --section kv`.
# - Next: lesson 8, many sequences at once.
#
# Sources: Pope et al., 2211.05102. Ainslie et al., GQA, 2305.13245. Touvron
# et al., Llama 2, 2307.09288. Sizes of models are from their config files.
