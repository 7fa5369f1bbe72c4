# %% [markdown]
# # Paged attention
#
# Lesson 7 wants many texts on one GPU. Each needs room for its cache. Nobody
# knows beforehand how long an answer gets. So how much room should one
# reserve? This lesson shows the answer that made vLLM famous.
#
# The article names it in "KV Cache Optimization (Paged Attention)".

# %%
import random

import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars, block_map
from minillm.classroom.questions import predict

model = minillm.load("story", backend="exact")
encode = model.tokenizer.encode
ids = encode("Once upon a time, there was a little")
whole = minillm.KVCache(model, capacity=512)
minillm.prefill(model, ids, whole)
print(f"a cache for a whole context: {whole.nbytes:,} bytes")
print(f"in use: {whole.length} of {whole.capacity} places")

# %% [markdown]
# A contiguous cache has to be reserved for the longest text that may come.
# Most answers are shorter, so most of it stays empty.

# %%
places = 512 * 8  # of a GPU that has memory for eight whole contexts
drawn = random.Random(1)
lengths = [drawn.randint(20, 200) for _ in range(8)]
used = sum(lengths)
predict(
    f"A GPU has memory for 8 contexts of 512 tokens. Eight texts, of {used} "
    f"tokens in all, have reserved 512 each. What percentage of the "
    f"{places:,} places is in use?",
    answer=100 * used / places,
    within=0.05,
    why="The rest is reserved and empty, and a ninth text is turned away. In "
    "the vLLM paper's measurements 20% to 38% held anything.",
)

# %% [markdown]
# ## Blocks and block tables
#
# Operating systems met this problem long ago. They cut memory into **pages**,
# and give a program one page after the other, wherever one is free. Here the
# memory for keys and values is cut into **blocks** of a few tokens. A text
# keeps a list of its blocks, the **block table**. Token t lies in
#
#     block table[t // block_size], place t % block_size
#
# In our pool other texts, x, have come and gone: free blocks lie scattered.

# %%
pool = minillm.BlockPool(model, num_blocks=16, block_size=4)
others = [minillm.PagedKVCache(pool) for _ in range(16)]
for other in others:
    minillm.prefill(model, ids[:4], other)
for number in (0, 2, 3, 5, 8, 10, 11, 13, 14, 15):
    others[number].free()
a, b = minillm.PagedKVCache(pool), minillm.PagedKVCache(pool)
prompt_a, prompt_b = ids[:6], ids[:3]
minillm.prefill(model, prompt_a, a)
minillm.prefill(model, prompt_b, b)
for token in ids[:5]:  # they grow in turns
    minillm.decode_step(model, token, a)
    minillm.decode_step(model, token, b)
xs = {f"x{number}": other for number, other in enumerate(others)}
print(block_map(pool, {**xs, "A": a, "B": b}))
print("A's table:", a.table, " B's table:", b.table)
assert len(a.segments(0, a.length)) > 1

# %% [markdown]
# Each pair of brackets is a block, each letter a token's keys and values, a
# dot an empty place. Only the last block of a text can have dots.

# %%
t = 9
predict(
    f"Blocks have {pool.block_size} places. A's table is {a.table}. In which "
    f"block lies A's token number {t}, counted from 0?",
    answer=a.table[t // pool.block_size],
    mistakes={
        t // pool.block_size: "That is the place in the table. Which block "
        "is written there?"
    },
    why=f"table[{t} // {pool.block_size}] = table[{t // pool.block_size}], "
    f"and there at place {t} % {pool.block_size} = {t % pool.block_size}.",
)

# %% [markdown]
# ## Does attention mind?
#
# Attention adds up over all earlier keys. In what blocks they lie is all the
# same, if each is found. minillm's `attend` takes the keys in *pieces*. A
# contiguous cache is one piece; a paged one is a piece for each run of
# neighbouring blocks.

# %%
straight = minillm.KVCache(model, 40)
minillm.prefill(model, prompt_a, straight)
for token in ids[:5]:
    last = minillm.decode_step(model, token, straight)
a.truncate(len(prompt_a))
for token in ids[:5]:
    paged_last = minillm.decode_step(model, token, a)
print("table:", a.table, "pieces:", len(a.segments(0, a.length)))
print("the same logits, to the bit:", np.array_equal(last, paged_last))
assert np.array_equal(last, paged_last)

# %% [markdown]
# ## How much is wasted now?
#
# At most one block of each text is partly empty: on average half a block.
# We count it for the eight texts of above, with blocks of several sizes.

# %%
shares = {"reserved, 512 each": 100 * (1 - used / places)}
for block_size in (64, 16, 4):
    held = sum(-(-n // block_size) * block_size for n in lengths)
    shares[f"blocks of {block_size}"] = 100 * (1 - used / held)
print("empty places among those taken:")
print(bars(shares, "%"))

# %% [markdown]
# Why not blocks of one token? Each block costs an entry in the table, and
# attention reads long pieces faster than many short ones. vLLM's default is
# 16.
#
# ## Sharing
#
# Blocks have a second virtue: two tables can name the same one. Say we want
# two answers to one prompt. `fork` copies the table, not the keys. The pool
# counts for each block in how many tables it is: its **reference count**.

# %%
for cache in (*others, a, b):
    cache.free()
minillm.prefill(model, ids[:6], a)
b = a.fork()
print(block_map(pool, {"A": a, "B": b}))
print("A:", a.table, " B:", b.table, " * is shared")
counts = [pool.reference_counts[block] for block in a.table]
print("reference counts:", counts)
assert a.table == b.table and counts == [2, 2]

# %% [markdown]
# Now B gets a token. Its place is in the second block, which A uses too. If B
# wrote there, A would read B's keys later. So a shared block is never
# written: whoever must write takes a copy first. This is **copy-on-write**.

# %%
for cache in (a, b):
    cache.free()
minillm.prefill(model, ids[:6], a)
b = a.fork()
held_before = pool.used
minillm.decode_step(model, ids[0], b)
predict(
    f"A and B share {held_before} blocks, the second is half full. B writes "
    "a token. How many blocks are held in all, now?",
    answer=pool.used,
    mistakes={
        held_before: "B may not write into a block that A uses.",
        2
        * held_before: "The first block is full: nobody writes there, so it "
        "stays shared.",
    },
    why="The second was copied, the first is still shared:",
)
print(block_map(pool, {"A": a, "B": b}))
assert a.table[0] == b.table[0] and a.table[1] != b.table[1]

# %% [markdown]
# ## The same beginning, again
#
# Many requests begin with the same text: instructions, a document, the talk
# so far. A full block's keys depend on its tokens and on all before (lesson
# 6). So a later text that begins the same can take the block as it is. The
# engine looks for such blocks by itself: **prefix caching**.

# %%
system = encode("Once upon a time, there was a little girl named Lily.") * 2
engine = minillm.Engine(model, block_size=4)
for ending in (" She", " One day,", " Lily"):
    engine.submit(system + encode(ending), max_new_tokens=4)
    engine.run()
    known = engine.statistics.prefix_tokens
    print(f"{ending!r:12} tokens found in blocks so far: {known}")
tokens_in_all = 3 * len(system)
assert known > tokens_in_all / 2

# %%
# And the article? Its claim about paged attention, and what came of it.
reserve, block = 1 - 500 / 2048, 1 - 500 / 512
claim(
    "paged",
    "paged attention ... smaller pages that fit in GPU memory more "
    "efficiently. This allows larger batch sizes",
    "true",
    f"with texts of 500 tokens, reserving 2,048 places leaves {reserve:.0%} "
    f"empty, blocks of 16 leave {block:.1%}: {2048 / 512:.1f} times as many "
    "texts. The vLLM paper measured 2 to 4 times the throughput.",
)
claim(
    "paged-tradeoff",
    "Tradeoff: requires specialized inference software",
    "imprecise",
    "attention must follow a block table, and somebody must keep the blocks. "
    "Here both are short files that you can read.",
)
assert abs(block - 0.023) < 0.001

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: block table, reference count, copy-on-write; and why
#   a block of the same tokens behind another beginning cannot be shared.
# - Read `minillm/kv_cache/paged.py`: `reserve`, `write`, `fork`. Then
#   `minillm/kv_cache/blocks.py` and `minillm/kv_cache/prefix.py`.
# - Write it yourself: the exercises `block_table`, `block_allocation`,
#   `copy_on_write`, `online_softmax` (attention in pieces).
# - Next: lesson 9, several tokens in one pass of decode.
#
# Sources: Kwon et al., vLLM, 2309.06180. Zheng et al., SGLang, 2312.07104
# (prefix caching).
