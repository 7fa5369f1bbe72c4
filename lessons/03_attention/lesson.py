# %% [markdown]
# # Attention
#
# A network treats every token by itself, with one exception. In **attention**
# tokens look at each other. It is the only place where "Paris" can learn that
# "France" came before. This lesson takes it apart, number by number.
#
# The article's section is "Attention Mechanism in Inference".

# %%
import numpy as np

import minillm
from minillm.attention import causal_mask, naive_attention, softmax
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars, heatmap
from minillm.classroom.questions import predict
from minillm.transformer import project_qkv

model = minillm.load("story", backend="plain")
config = model.config
ids = model.tokenizer.encode("Copy: cat sun red -> cat sun")
words = [model.tokenizer.token_text(token) for token in ids]
n = len(ids)
print(n, "tokens:", words)

# %% [markdown]
# ## Three vectors for every token
#
# Inside the network a token is a row of numbers: at first its row in a table,
# the **embedding**. The rows of all tokens together are `x`, a matrix.
#
# A **layer** of the network changes `x` a little; this model has a few of
# them, one after the other. The first part of a layer is attention. It makes
# three vectors of each row, by three matrix products:
#
# - the **query**: what is this token looking for?
# - the **key**: what can it be found by?
# - the **value**: what does it pass on to those who find it?
#
# This is done several times side by side, with other matrices. Each time is
# called a **head**: heads can look for different things.

# %%
layer = model.layer_weights[0]
positions = np.arange(n)
turns = model.ops.cos_sin(positions, config.rope, config.head_dim)
x = model.embedding[ids]
q, k, v = project_qkv(model, layer, x, turns)
print("x", x.shape, "  [tokens, width]")
print("q", q.shape, "[tokens, heads, numbers in a head]")
print("k", k.shape)
print("v", v.shape)

# %%
predict(
    "Look at the shapes: q has more heads than k. How many heads of q must "
    "share one head of k?",
    answer=q.shape[1] // k.shape[1],
    why="This is grouped-query attention (GQA). Keys and values have to be "
    "kept (lesson 6), queries need not: so fewer of them saves memory.",
)

# %% [markdown]
# ## From vectors to weights
#
# How well does token i's query fit token j's key? Multiply them number by
# number and add up. This is called the **dot product**, and it is large if
# both point the same way. It is divided by the square root of the head's
# size, so that scores do not grow with it.
#
# Two more steps. The **causal mask** forbids looking at later tokens: when
# the model writes, they are not there yet. Then softmax turns each row into
# weights, which are positive and add up to 1:
#
#     weights = softmax(mask(q k^T / sqrt(size)))
#
# Here k^T is k with rows and columns exchanged. In the code, -inf is minus
# infinity: a score that softmax turns into 0. We look at head 0 of layer 0.

# %%
scores = q[:, 0] @ k[:, 0].T / np.sqrt(config.head_dim)  # [queries, keys]
mask = causal_mask(queries=n, keys=n, start=0, window=None)
weights = softmax(np.where(mask, scores, -np.inf))  # [queries, keys]
print("the last token's scores: ", scores[-1].round(2))
print("the last token's weights:", weights[-1].round(2))
print("their sum:", weights[-1].sum().round(3))
engine = minillm.attention_weights(model, ids, layer=0)[0]
assert np.allclose(weights, engine, atol=1e-4)  # minillm computes the same

# %%
predict(
    f"There are {n} tokens. Each may look at itself and at all before it. "
    "How many pairs (who looks, at whom) does the mask allow?",
    answer=int(mask.sum()),
    mistakes={
        n * n: "Those are all pairs, with the forbidden ones.",
        n * (n - 1) // 2: "A token may look at itself, too.",
    },
    why="1 + 2 + ... + n = n(n+1)/2. They form a triangle. A row is a token "
    "that looks, a column the token it looks at:",
)
print(heatmap(mask.astype(float), words))

# %% [markdown]
# ## What do heads look for?
#
# Our text says: copy "cat sun red". At its end stands "cat sun" again. To go
# on well, the last token should look at what came *after the first sun*. Is
# there a head that does? We ask all heads of all layers.

# %%
every_head = [
    minillm.attention_weights(model, ids, layer)  # [heads, queries, keys]
    for layer in range(config.num_hidden_layers)
]
wanted = words.index(" sun") + 1  # the token after the first " sun"
looks_there = np.array([heads[:, -1, wanted] for heads in every_head])
number, head = divmod(int(looks_there.argmax()), looks_there.shape[1])
copier = every_head[number][head]  # [queries, keys]
print(f"layer {number}, head {head}: {looks_there.max():.0%} of its weight")
print(f"goes from the last {words[-1]!r} to {words[wanted]!r}")
print(heatmap(copier, words))
assert looks_there.max() > 2 / n  # far more than an even share

# %% [markdown]
# Darker is more. A head that finds an earlier copy of the present token, and
# looks at what followed it, is an **induction head**. Nobody put it there:
# training found it (Olsson et al., 2209.11895).
#
# ## What does a token get?
#
# The mean of the values, with those weights. That is all attention does.
# The rest of a layer, the **MLP**, treats every token by itself again: a
# product with a large matrix, a curve, a product back.

# %%
mixed = naive_attention(q, k, v, window=None)  # [tokens, heads * size]
head_0 = weights @ v[:, 0]  # [queries, keys] @ [keys, size]
assert np.allclose(mixed[:, : config.head_dim], head_0, atol=1e-5)
print("all heads, side by side:", mixed.shape)

# %% [markdown]
# ## Position is an angle
#
# A dot product does not know who came first. So queries and keys are turned
# before, by an angle that grows with the position (**RoPE**, rotary position
# embedding). If both are moved by the same distance, the angle between them
# stays. We move the whole text by 100 places. Will the weights change?

# %%
later = model.ops.cos_sin(positions + 100, config.rope, config.head_dim)
q2, k2, v2 = project_qkv(model, layer, x, later)
moved = q2[:, 0] @ k2[:, 0].T / np.sqrt(config.head_dim)
change = float(np.abs(moved - scores).max())
predict(
    "All positions grow by 100. What happens to the scores of head 0?",
    answer="nothing, but for rounding" if change < 1e-3 else "they change",
    choices=["they change", "nothing, but for rounding"],
    why="Only the distance of two tokens counts. The queries did change: "
    f"by {np.abs(q2 - q).max():.1f}. The scores: by {change:.6f}.",
)
assert change < 1e-3 < np.abs(q2 - q).max()

# %% [markdown]
# ## The past does not depend on the future
#
# The mask has a consequence that everything else in this course rests on.
# We replace the last token by another one, and compare the logits.

# %%
other = [*ids[:-1], ids[1]]
first, second = minillm.forward(model, ids), minillm.forward(model, other)
changed = np.abs(first - second).max(axis=1) > 1e-3  # [tokens]
predict(
    f"How many of the {n} rows of logits change?",
    answer=int(changed.sum()),
    mistakes={n: "May an earlier token look at the last one?"},
    why="Only the last. What an earlier token has computed stays right, "
    "whatever comes later. So it can be kept: the KV cache of lesson 6.",
)
assert changed.tolist() == [False] * (n - 1) + [True]

# %% [markdown]
# ## What does it cost?
#
# Everybody looks at everybody before: twice the text is four times the pairs.
# But the products with the weights cost, too. They grow with the text only
# once. Which of them is larger? We count FLOPs (lesson 2) for Llama 2 7B.

# %%
L, width = 32, 4096  # layers; heads times numbers in a head
P_layers, P_used = 6_476_005_376, 6_607_077_376  # without, with logits


def attention_flops(n):
    """Scores and means: 2 products, 2 FLOPs each, n(n+1)/2 pairs."""
    return 2 * 2 * L * width * n * (n + 1) // 2


def linear_flops(n):
    """2 FLOPs a token and weight."""
    return 2 * P_layers * n


shares = {}
for tokens in (100, 500, 5_000, 50_000, 500_000):
    attention = attention_flops(tokens)
    share = 100 * attention / (attention + linear_flops(tokens))
    shares[f"{tokens:,} tokens"] = round(share, 1)
print("share of attention in the FLOPs of one pass over the text:")
print(bars(shares, "%"))

# %%
print("For texts of ordinary length, attention is a small part.")
print("And the article? These are its claims, one by one.")
pairs = {size: size * (size + 1) // 2 for size in (100, 500)}
growth = attention_flops(500) / attention_flops(100)
whole = (attention_flops(500) + linear_flops(500)) / (
    attention_flops(100) + linear_flops(100)
)
saved_linear = linear_flops(500)  # a cache saves the pass over 500 old ones
saved_attention = attention_flops(500)
share = saved_linear / (saved_linear + saved_attention)
crossing = (
    2 * P_used / 524_288
)  # tokens whose KV is as large as the weights
claim(
    "attention-n2",
    "similarities between all pairs of tokens ... O(N²) comparisons",
    "true if",
    f"N² means its order: our mask allowed {mask.sum()} of {n * n} pairs.",
)
claim(
    "attention-counts",
    "100² = 10,000 ... 500² = 250,000 comparisons",
    "true",
    f"as squares; the mask leaves {pairs[100]:,} and {pairs[500]:,}.",
)
claim(
    "attention-25x",
    "a 5x longer sequence requires 25x more attention computation",
    "true if",
    f"attention alone is meant: {growth:.1f} times. The whole pass of a 7B "
    f"model takes {whole:.2f} times as many FLOPs.",
)
claim(
    "cache-saves-attention",
    "the KV cache ... avoids recomputing attention for old tokens",
    "imprecise",
    f"with 500 old tokens, {share:.0%} of the FLOPs it saves are products "
    "with weights, for keys, values and all that follows.",
)
claim(
    "decode-not-attention",
    "the real bottleneck during decoding isn't attention ... its memory "
    "bandwidth",
    "true if",
    f"fewer than {crossing:,.0f} tokens are cached in all. Beyond it, a 7B "
    "model reads more bytes of keys and values than of weights.",
)
claim(
    "bandwidth-limits",
    "GPU memory bandwidth (not compute cores) limits inference throughput",
    "true if",
    "decode is meant (lesson 5). Arithmetic limits prefill (lesson 4).",
)
claim(
    "h100-vs-cores",
    "an H100 with faster memory can decode faster than a GPU with more "
    "cores but slower memory",
    "true",
    "L40S: 18,176 cores, 864 GB/s. H100 SXM: 16,896 cores, 3,350 GB/s, so "
    f"{3350 / 864:.1f} times as fast in decode (NVIDIA's data sheets).",
)
assert 24 < growth < 25 and whole < 5.1 and share > 0.98

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: query, key and value; why a mask; and why the past
#   never changes.
# - Read `minillm/reference.py`: `attention` does it one head and one token at
#   a time. Then `naive_attention` in `minillm/attention.py`: the same, in
#   arrays.
# - Write it yourself: the exercises `softmax`, `rope`, `causal_mask`.
# - Next: lesson 4, prefill: the whole prompt in one pass.
#
# Sources: Vaswani et al., Attention Is All You Need, 1706.03762, section 3.2.
# Su et al., RoFormer, 2104.09864. Ainslie et al., GQA, 2305.13245.
