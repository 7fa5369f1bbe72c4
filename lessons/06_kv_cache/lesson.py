# %% [markdown]
# # The KV cache and its memory
#
# Decode is fast because keys and values of earlier tokens are kept. This
# lesson opens the cache: what is in it, how large it is, what it saves, and
# why it, more than the weights, decides how many users a GPU can serve.
#
# The article's section is "KV Cache and Memory".

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
config = model.config
ids = model.tokenizer.encode("Once upon a time, there was a little")
cache = minillm.KVCache(model, capacity=40)
minillm.prefill(model, ids, cache)
print("keys  ", cache.keys.shape, "[layers, heads, capacity, size]")
print("values", cache.values.shape)
print(f"{cache.length} of {cache.capacity} places are in use")

# %% [markdown]
# For every token, every layer and every key head there is one key and one
# value. Each is a row of numbers, as long as a head. All this is float32
# here: a number takes 4 bytes.

# %%
heads, size = config.num_key_value_heads, config.head_dim
layers = config.num_hidden_layers
numbers = 2 * layers * heads * size
group = config.num_attention_heads // heads
predict(
    f"{layers} layers, {config.num_attention_heads} query heads, {heads} key "
    f"heads, {size} numbers in a head, 4 bytes a number. How many bytes does "
    "one token take in the cache?",
    answer=cache.nbytes // cache.capacity,
    mistakes={
        numbers * 2: "Keys *and* values.",
        numbers: "Those are numbers. Each has 4 bytes.",
        numbers * 4 * group: "Queries are not kept. Count key heads.",
    },
    why="2 (key and value) · layers · key heads · size · bytes. It is "
    "measured: the bytes of the two arrays, divided by the places.",
)

# %% [markdown]
# ## A token joins
#
# Each decode step writes one key and one value into every layer and head, at
# the next free place. Nothing else changes. We watch it grow.

# %%
grown = cache.fork()  # an independent copy
picture = {}
before = grown.keys.copy()
for step in range(8):
    used = grown.length
    picture[f"step {step}"] = "#" * used + "." * (grown.capacity - used)
    minillm.decode_step(model, ids[step], grown)
print(timeline(picture, "place"))
changed = np.abs(grown.keys - before).max(axis=(0, 1, 3)) > 0  # [capacity]
print("places whose keys have changed:", np.flatnonzero(changed))
assert changed.sum() == 8 and not changed[: len(ids)].any()

# %% [markdown]
# ## What exactly is in a key?
#
# In layer 0 a token's key is computed from its embedding: from the token
# alone, and its position. In layer 1 it is computed from what layer 0 made of
# the token. And layer 0 has mixed in the tokens before it.

# %%
first = model.tokenizer.encode("The cat saw a dog")
second = [*reversed(first[:-1]), first[-1]]  # the same token at the end


def keys_of_last(tokens):
    """The last token's keys in all layers."""
    cache = minillm.KVCache(model, len(tokens))
    minillm.prefill(model, tokens, cache)
    return cache.keys[:, :, len(tokens) - 1]  # [layers, heads, size]


gap = np.abs(keys_of_last(first) - keys_of_last(second)).max(axis=(1, 2))
predict(
    "The same token stands at the same position, after other words. In how "
    f"many of the {layers} layers are its keys the same?",
    answer=int((gap < 1e-4).sum()),
    mistakes={layers: "Then no layer would know what came before."},
    why="In layer 0 only. A cached key belongs to its token *and* to all "
    "that came before it. It can be used again only for the same beginning.",
)
assert gap[0] < 1e-4 and (gap[1:] > 1e-4).all()

# %% [markdown]
# ## Forgetting is free
#
# To forget the last tokens, the cache only has to lower its length. What lies
# behind it is written over later. Lesson 9 needs that; so does an editor in
# which you delete a word. And `fork` makes a copy, to go on in two ways.

# %%
other = cache.fork()
one_way = minillm.decode_step(model, ids[0], other)
other.truncate(cache.length)
minillm.decode_step(model, ids[1], other)
other.truncate(cache.length)
again = minillm.decode_step(model, ids[0], other)
assert np.array_equal(one_way, again)
print("decode, forget, decode: the same logits, to the bit")

# %% [markdown]
# ## What does it save?
#
# Without a cache every step runs the whole text again. With it, every token
# runs once.

# %%
prompt, new = 100, 50
naive = sum(range(prompt, prompt + new))
cached = prompt + (new - 1)
predict(
    f"A prompt of {prompt} tokens, {new} new ones. *With* a cache, how many "
    "tokens run through the network in all?",
    answer=cached,
    mistakes={
        prompt + new: "The last token is never fed back.",
        naive: "That is without a cache.",
    },
    why=f"Without one it is {prompt} + {prompt + 1} + ... = {naive:,}: "
    f"{naive / cached:.0f} times as many.",
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
# Twice as long an answer takes twice the time with a cache. Without one it
# takes more than twice.
#
# ## The price: memory
#
# Now large models. On GPUs a number usually takes 2 bytes (float16).


# %%
def kv_bytes(layers, key_heads, size, number=2):
    """Bytes of one token's keys and values."""
    return 2 * layers * key_heads * size * number


assert kv_bytes(layers, heads, size, 4) == cache.nbytes // cache.capacity
predict(
    "Llama 2 7B has 32 layers, 32 key heads of 128 numbers, 2 bytes each. "
    "How many bytes does one token take?",
    answer=kv_bytes(32, 32, 128),
    mistakes={kv_bytes(32, 32, 128) // 2: "Keys *and* values."},
    why="Half a megabyte, for a single token. 25,000 tokens weigh as much as "
    "the model itself.",
)

# %%
shapes = {  # layers, key heads, size, billions of weights
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
    room = (
        0.9 * 80e9 - 2e9 * billions
    )  # in 90% of 80 GB, beside the weights
    tokens = max(0, int(room // kv_bytes(*shape)))
    rows.append([name, f"{2 * billions:.1f}", f"{tokens:,}"])
print(table(["", "weights, GB", "tokens on an 80 GB GPU"], rows))

# %% [markdown]
# Newer models have few key heads: grouped-query attention (lesson 3) makes
# the cache several times smaller.
#
# ## The article's claims

# %%
W = 2 * 6_607_077_376  # bytes of 7B's weights; the FLOPs of a step, too
pass_501 = 2 * 6_476_005_376 * 501 + 2 * 32 * 4096 * 501 * 502
step_501 = W + 4 * 32 * 4096 * 501  # the second part is attention
recompute = pass_501 / 312e12
seven, seventy = kv_bytes(32, 32, 128), kv_bytes(80, 8, 128)
claim(
    "kv-what",
    "caches the key-value pairs from prefill and reuses them",
    "true",
    "and those of every new token. Decode over it gave what the naive way "
    "gives (lesson 5).",
)
claim(
    "kv-from-embeddings",
    "projecting input embeddings into key and value spaces",
    "imprecise",
    "in layer 0 only. In all others keys depend on the words before: the "
    f"largest difference above was {gap.max():.1f}.",
)
claim(
    "kv-new-o1",
    "computes KV for just the new token (fast, O(1) computation)",
    "true if",
    "keys and values are meant. The step as a whole also attends to all "
    "earlier tokens, so it grows with their number.",
)
claim(
    "no-cache-on",
    "without KV cache ... recomputing KV for the entire sequence (slow, "
    "O(n))",
    "true if",
    f"short: token 501 takes {pass_501 / step_501:.0f} times the FLOPs in "
    "7B. Attention adds a part that grows with n².",
)
claim(
    "no-cache-seconds",
    "with cache, each token takes ~50ms. Without, seconds",
    "false",
    f"a pass over 500 tokens takes an A100 {recompute * 1e3:.0f} ms at "
    "least, 50-100 by the article's own words.",
)
assert 480 < pass_501 / step_501 < 490

# %%
claim(
    "kv-formula",
    "batch_size × sequence_length × num_layers × hidden_dim × 2",
    "true if",
    "there are as many key heads as query heads; and it counts numbers, not "
    f"bytes. Here it would give {2 * layers * config.hidden_size * 4:,} "
    f"bytes a token; there are {cache.nbytes // cache.capacity:,}.",
)
claim(
    "kv-token-7b",
    "32 × 4096 × 2 × 2 bytes = 524KB",
    "true",
    f"{seven:,} bytes, with kB = 1000 bytes.",
)
claim(
    "kv-batch-10",
    "10 × 500 × 524KB = 2.6GB",
    "true",
    f"{10 * 500 * seven:,} bytes.",
)
claim(
    "kv-70b-larger",
    "large models (70B) require larger cache",
    "false",
    f"Llama 2 70B has 8 key heads: {seventy:,} bytes a token, "
    f"{seventy / seven:.2f} of 7B's.",
)
claim(
    "kv-20gb",
    "KV cache can consume 20GB+",
    "true if",
    f"{20e9 / seventy:,.0f} tokens of 70B are held: 30 texts of 2,034, say.",
)
growth = {
    b: (W + b * 500 * seven) / (W + 500 * seven) for b in (10, 32, 64)
}
claim(
    "batch-kv-slows",
    "larger batch sizes degrade latency: KV cache grows linearly with batch",
    "true if",
    "there are many tokens: with 500 each, a step takes "
    + ", ".join(f"{g:.2f} times ({b} texts)" for b, g in growth.items())
    + " the bytes of one text. And 64 texts are 64 times the output.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: what is in the cache, how many bytes a token takes,
#   and why a 70B model may need fewer than a 7B one.
# - Read `minillm/kv_cache/contiguous.py`: `write`, `truncate` and `fork` are a
#   few lines each. Then `attend` in `minillm/attention.py`: what a mask looks
#   like when the first query does not stand at position 0.
# - Write it yourself: the exercises `attention`, `kv_cache_append`,
#   `kv_cache_truncate`, `kv_cache_memory`.
# - Next: lesson 7, many texts at once.
#
# Sources: Pope et al., 2211.05102. Ainslie et al., GQA, 2305.13245. Touvron
# et al., Llama 2, 2307.09288. Sizes of models are from their config files.
