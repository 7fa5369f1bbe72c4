# %% [markdown]
# # Attention
#
# A network processes every token separately, with one exception. In
# **attention** a token uses information from other tokens. It is the only
# step in which "Paris" can learn that "France" came before. This lesson
# computes attention step by step.
#
# The article's section is "Attention Mechanism in Inference".

# %%
import numpy as np

import minillm
from minillm.attention import causal_mask, naive_attention, softmax
from minillm.classroom.claims import claim
from minillm.classroom.frames import line_by_line, step_through
from minillm.classroom.pictures import bars, dial, heatmap
from minillm.classroom.questions import predict
from minillm.layers import swiglu
from minillm.trace import frame, record
from minillm.transformer import head, project_qkv

model = minillm.load("story", backend="plain")
config = model.config
ids = model.tokenizer.encode("Copy: cat sun red -> cat sun")
words = [model.tokenizer.token_text(token) for token in ids]
n = len(ids)
print(n, "tokens:", words)

# %% [markdown]
# ## Three vectors for every token
#
# Inside the network a token is a row of numbers. At first this is the token's
# row in a table, the **embedding**. The length of the row is the **hidden
# size**. The rows of all tokens together are the matrix `x`.
#
# A **layer** of the network changes `x` a little. This model has several
# layers, one after the other. The first part of a layer is attention. It
# computes three vectors from each row, by three matrix products:
#
# - the **query**: what does this token look for?
# - the **key**: what can other tokens find it by?
# - the **value**: what do the tokens that find it receive?
#
# This is done several times in parallel, each time with other matrices. Each
# time is called a **head**. Different heads can look for different things.
# The length of a head's vectors is **head_dim**.

# %%
layer = model.layer_weights[0]
positions = np.arange(n)
cos_sin = model.ops.cos_sin(positions, config.rope, config.head_dim)
x = model.embedding[ids]
q, k, v = project_qkv(model, layer, x, cos_sin)
print("x", x.shape, "  [tokens, hidden size]")
print("q", q.shape, "[tokens, heads, head_dim]")
print("k", k.shape)
print("v", v.shape)

# %%
predict(
    "Look at the shapes: q has more heads than k. How many heads of q must "
    "share one head of k?",
    answer=q.shape[1] // k.shape[1],
    why="This is grouped-query attention (GQA). Keys and values have to be "
    "kept (lesson 7), queries do not.",
    shows="In grouped-query attention several query heads share keys and "
    "values, so there is less to keep in memory.",
)

# %% [markdown]
# ## From queries and keys to attention weights
#
# How well does token i's query fit token j's key? Multiply them number by
# number and add up. This is called the **dot product**. It is large if both
# vectors point in the same direction. It is divided by the square root of
# head_dim, so that it does not grow with head_dim. The result is the
# **score** of query i for key j.
#
# Two more steps follow. The **causal mask** hides later tokens, because they
# do not exist yet when the model generates. Then softmax turns each row of
# scores into **attention weights**. They are positive and add up to 1:
#
#     weights = softmax(mask(q k^T / sqrt(head_dim)))
#
# Here k^T is k with rows and columns exchanged. In the code, -inf is minus
# infinity. Softmax turns this score into 0. We look at head 0 of layer 0. A
# frame is a row: the query of one token. Enter shows the next row. What does
# the mask hide, and what happens to the weights when one more key is seen?

# %%
scores = q[:, 0] @ k[:, 0].T / np.sqrt(config.head_dim)  # [queries, keys]
mask = causal_mask(queries=n, keys=n, start=0, window=None)
weights = softmax(np.where(mask, scores, -np.inf))  # [queries, keys]
engine = minillm.attention_weights(model, ids, layer=0)[0]
assert np.allclose(weights, engine, atol=1e-4)  # minillm computes the same


def row(i):
    """Draw row i: each key, its score, and its attention weight."""
    each = {}
    for j, word in enumerate(words):
        score = f"{scores[i, j]:6.2f}" if mask[i, j] else "hidden"
        each[f"{j} {word!r:7} {score}"] = float(weights[i, j].round(3))
    return f"the query of token {i}, {words[i]!r}\n" + bars(each)


step_through([row(i) for i in range(n)], printed=[2, -1])

# %%
predict(
    f"There are {n} tokens. Each may look at itself and at all tokens before "
    "it. How many pairs (query, key) does the mask allow?",
    answer=int(mask.sum()),
    mistakes={
        n * n: "Those are all pairs, including the hidden ones.",
        n * (n - 1) // 2: "A token may look at itself, too.",
    },
    why="1 + 2 + ... + n = n(n+1)/2. The pairs form a triangle. A row is the "
    "token that looks, a column is the token that it looks at.",
    shows="The work of attention grows with the square of the length, "
    "because each token looks at all before it.",
)
print(heatmap(mask.astype(float), words))

# %% [markdown]
# ## What do heads look for?
#
# Our prompt says: copy "cat sun red". At its end it repeats "cat sun". To
# continue correctly, the last token should look at the token *after the first
# sun*. Is there a head that does this? We check all heads of all layers.
# The frames are the heads of its layer: a row is the token that looks, a
# column is the token that it looks at. Enter shows the next head.

# %%
every_head = [
    minillm.attention_weights(model, ids, layer)  # [heads, queries, keys]
    for layer in range(config.num_hidden_layers)
]
target = words.index(" sun") + 1  # the token after the first " sun"
to_target = np.array([heads[:, -1, target] for heads in every_head])
number, copier = divmod(int(to_target.argmax()), to_target.shape[1])
largest = to_target.max()
print(f"layer {number}, head {copier}: {largest:.0%} of its attention")
print(f"goes from the last {words[-1]!r} to {words[target]!r}")
with record(detail="attention") as run:
    minillm.generate(model, ids, 1)
heads = [
    frame(run.trace, 1, "attention", layer=number, head=each)
    for each in range(config.num_attention_heads)
]
step_through(heads, printed=[copier])
assert largest > 2 / n  # an even spread would be 1 / n

# %% [markdown]
# The fuller a cell, the larger the attention weight. The last row has its
# cell at " red". An **induction head**
# finds an earlier copy of the current token and looks at the token that
# followed it. Nobody programmed this. Training found it (Olsson et al.,
# 2209.11895).
#
# ## The residual stream: a whole network
#
# A token receives the mean of the values, weighted by its attention weights.
# This mean is the **attention output**. A **linear layer**, a product with a
# matrix of weights, brings it to the hidden size. The result is *added* to
# `x`: nothing is replaced. So `x` is called the **residual stream**.
#
# The second part of a layer is the **MLP**. It processes every token
# separately: a linear layer to a larger size, a non-linear function, and a
# linear layer back. Its output is added, too. Before each part,
# **RMSNorm** scales the row, so that its numbers are neither large nor small.
#
#     x -+- norm -> attention -> + -+- norm -> MLP -> + -> the next layer
#        |                       |  |                 |
#        +------- is added ------+  +---- is added ---+
#
# After the last layer the **head**, one more linear layer, gives the logits.
# We can ask it earlier: which token would come next, if the network ended
# here? A frame adds one part. The bar is the size of the last token's row.
# Which part writes " red"?

# %%
first_head = naive_attention(q, k, v, window=None)[:, : config.head_dim]
assert np.allclose(first_head, weights @ v[:, 0], atol=1e-5)
x = model.embedding[ids]
stream = {"embedding": x}  # after each part, [tokens, hidden size]
for number, part in enumerate(model.layers()):
    q_k_v = project_qkv(model, part, x, cos_sin)
    x = x + naive_attention(*q_k_v, window=None) @ part.output
    stream[f"{number} attention"] = x
    h = model.ops.rms_norm(x, part.mlp_norm, config.rms_norm_eps)
    gate, up = np.split(h @ part.gate_up, 2, axis=1)
    x = x + swiglu(gate, up) @ part.down
    stream[f"{number} MLP"] = x
logits = head(model, x[-1:])[0]
assert np.allclose(logits, minillm.forward(model, ids)[-1], atol=1e-3)
sizes = {}
for name, rows in stream.items():
    p = softmax(head(model, rows[-1:])[0])
    word = model.tokenizer.token_text(int(p.argmax()))
    size = float(np.sqrt(np.mean(rows[-1] ** 2)))  # root of mean square
    sizes[f"{name:11} {word!r:9}{p.max():4.0%}"] = round(size, 2)
step_through(line_by_line(bars(sizes)), printed=[-1])

# %% [markdown]
# ## RoPE: the position is an angle
#
# A dot product does not depend on which token came first. So queries and keys
# are first rotated, by an angle that grows with the position. This is
# **RoPE**, rotary position embedding. If both positions grow by the same
# number, the angle between query and key stays the same. We add 100 to all
# positions. Will the scores change? The frames draw a pair of numbers of the
# last query (q) and of the key of " sun" (k) as hands of a clock.

# %%
later = model.ops.cos_sin(positions + 100, config.rope, config.head_dim)
q2, k2, v2 = project_qkv(model, layer, model.embedding[ids], later)
moved = q2[:, 0] @ k2[:, 0].T / np.sqrt(config.head_dim)
change = float(np.abs(moved - scores).max())
predict(
    "All positions grow by 100. What happens to the scores of head 0?",
    answer="nothing, except for rounding"
    if change < 1e-3
    else "they change",
    choices=["they change", "nothing, except for rounding"],
    why=f"The queries did change, by up to {np.abs(q2 - q).max():.1f}. The "
    f"scores changed by up to {change:.1g}.",
    shows="With RoPE a score depends on the distance between two tokens, and "
    "not on where they are in the text.",
)
assert change < 1e-3 < np.abs(q2 - q).max()


def clock(added, pair=4, key=3):
    """Draw a pair of a query and a key, at later positions."""
    turned = model.ops.cos_sin(
        positions + added, config.rope, config.head_dim
    )
    q, k, _ = project_qkv(model, layer, model.embedding[ids], turned)
    other = pair + config.head_dim // 2  # a pair is (i, i + head_dim / 2)
    hands = {
        name: float(np.arctan2(row[0, other], row[0, pair]))
        for name, row in (("q", q[-1]), ("k", k[key]))
    }
    between = np.degrees(hands["q"] - hands["k"]) % 360
    heading = f"positions {n - 1 + added} and {key + added}: from k to q "
    return f"{heading}{between:.0f} degrees\n{dial(hands)}"


step_through([clock(added) for added in (0, 5, 10, 15, 100)])

# %% [markdown]
# ## Earlier tokens do not depend on later ones
#
# The mask has a consequence that the rest of this course depends on. We
# replace the last token with another one and compare the logits.

# %%
other = [*ids[:-1], ids[1]]
first, second = minillm.forward(model, ids), minillm.forward(model, other)
changed = np.abs(first - second).max(axis=1) > 1e-3  # [tokens]
predict(
    f"How many of the {n} rows of logits change?",
    answer=int(changed.sum()),
    mistakes={n: "May an earlier token look at the last one?"},
    why="Only the last row changes. Lesson 7 keeps what was computed for the "
    "others: the KV cache.",
    shows="Later tokens never change earlier results, so what was computed "
    "once can be kept.",
)
assert changed.tolist() == [False] * (n - 1) + [True]

# %% [markdown]
# ## What does it cost?
#
# Every token looks at all tokens before it. So twice as many tokens have four
# times as many pairs. The linear layers cost FLOPs too (lesson 2), but twice
# as many tokens need only twice as many. Which of the two is larger? We count
# FLOPs for Llama 2 7B.

# %%
L, hidden_size = 32, 4096  # layers; heads * head_dim
# weights: in the layers; in the layers and the matrix for the logits
P_layers, P_used = 6_476_005_376, 6_607_077_376


def attention_flops(n):
    """Return FLOPs: 2 products, 2 FLOPs each, n(n+1)/2 pairs."""
    return 2 * 2 * L * hidden_size * n * (n + 1) // 2


def linear_flops(n):
    """Return 2 FLOPs for each token and weight."""
    return 2 * P_layers * n


shares = {}
for tokens in (100, 500, 5_000, 50_000, 500_000):
    attention = attention_flops(tokens)
    share = 100 * attention / (attention + linear_flops(tokens))
    shares[f"{tokens:,} tokens"] = round(share, 1)
print("share of attention in the FLOPs of one pass over n tokens:")
print(bars(shares, "%"))

# %%
print("For prompts of ordinary length, attention is a small part.")
print("Now the article's claims.")
growth = attention_flops(500) / attention_flops(100)
whole = (attention_flops(500) + linear_flops(500)) / (
    attention_flops(100) + linear_flops(100)
)
saved_linear = linear_flops(500)  # a cache saves the pass over 500 old ones
saved_attention = attention_flops(500)
share = saved_linear / (saved_linear + saved_attention)
# the number of cached tokens whose KV is as large as the weights
crossing = 2 * P_used / 524_288
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
    "with weights: for keys and values, and for everything after them.",
)
claim(
    "decode-not-attention",
    "the real bottleneck during decoding isn't attention ... its memory "
    "bandwidth",
    "true if",
    f"fewer than {crossing:,.0f} tokens are cached in all. With more, a 7B "
    "model reads more bytes of keys and values than of weights.",
)
assert 24 < growth < 25 and whole < 5.1 and share > 0.98

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: what are query, key and value, why is there a mask,
#   and why do later tokens never change earlier results?
# - Read `minillm/reference.py`: `attention` computes one head and one token
#   at a time. Then read `naive_attention` in `minillm/attention.py`: the
#   same, with arrays.
# - See the attention of your own prompt on a page, view "attention":
#   `minillm trace --raw --html run.html "Copy: cat sun red -> cat sun"`.
# - Write it yourself: exercises 3 `softmax`, 4 `rope`, 5 `causal_mask` and 6
#   `attention`. `minillm exercise start my-exercises` makes a folder for all
#   exercises, once. There, run `minillm exercise check 3`.
# - `minillm zoo 7 --show` runs a bug of a public engine: a sliding window
#   with one token too many.
# - More of the article's claims: `minillm claims --section attention`.
# - Next: lesson 4, the rest of the layer: norm, residual stream and MLP.
#
# Sources: Vaswani et al., Attention Is All You Need, 1706.03762, section 3.2.
# Su et al., RoFormer, 2104.09864. Ainslie et al., GQA, 2305.13245.
