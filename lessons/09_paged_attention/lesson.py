# %% [markdown]
# # Paged attention
#
# Lesson 8 runs many sequences on one GPU. Each of them needs memory for its
# cache. But the length of a completion is not known in advance. How much
# memory should be reserved for it? This lesson shows the answer that made
# vLLM well known.
#
# The article's section is "KV Cache Optimization (Paged Attention)".

# %%
import random

import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through, step_through_run
from minillm.classroom.pictures import bars, block_map
from minillm.classroom.questions import predict
from minillm.trace import record

model = minillm.load("story", backend="exact")
encode = model.tokenizer.encode
ids = encode("Once upon a time, there was a little")
cache = minillm.KVCache(model, capacity=512)
minillm.prefill(model, ids, cache)
print(f"a cache for a full context: {cache.nbytes:,} bytes")
print(f"slots in use: {cache.length} of {cache.capacity}")

# %% [markdown]
# A **slot** is the memory for the keys and values of one token. A contiguous
# cache must reserve slots for the longest sequence that may come. Most
# completions are shorter. So most of the slots stay empty.

# %%
slots = 512 * 8  # of a GPU that has memory for eight full contexts
generator = random.Random(1)
lengths = [generator.randint(20, 200) for _ in range(8)]
used = sum(lengths)
predict(
    f"A GPU has memory for 8 contexts of 512 tokens. Eight sequences have "
    f"reserved 512 slots each. Together they have {used} tokens. What "
    f"percentage of the {slots:,} slots is in use?",
    answer=100 * used / slots,
    within=0.05,
    why="The other slots are reserved but empty, and a ninth sequence is "
    "rejected. In the vLLM paper's measurements only 20% to 38% of the slots "
    "were in use.",
    shows="Memory that is reserved for the longest possible text is mostly "
    "empty.",
)

# %% [markdown]
# ## Blocks and block tables
#
# Operating systems solved this problem long ago. They divide memory into
# **pages** and give a program any free page, one at a time. Here the memory
# for keys and values is divided into **blocks** of a few slots. Each sequence
# has a list of its blocks, the **block table**. The keys and values of token
# t are in
#
#     block table[t // block_size], slot t % block_size
#
# In our pool other sequences, x0 to x15, have taken blocks, and some of them
# have freed theirs. So the free blocks are not contiguous. In the frames each
# pair of brackets is a block. Each letter is a slot with the keys and values
# of one token. A dot is an empty slot of a block in use. A and B grow in turn,
# a token each: Enter appends the next ones. When does a sequence take a new
# block, and which one does it get?

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
caches = {f"x{number}": other for number, other in enumerate(others)}
caches |= {"A": a, "B": b}
tables = f"A's table: {a.table}  B's table: {b.table}"
frames = [f"{block_map(pool, caches)}\n{tables}"]
for token in ids[:5]:  # A and B grow in turn
    minillm.decode_step(model, token, a)
    minillm.decode_step(model, token, b)
    tables = f"A's table: {a.table}  B's table: {b.table}"
    frames.append(f"{block_map(pool, caches)}\n{tables}")
step_through(frames)
assert len(a.segments(0, a.length)) > 1

# %% [markdown]
# A sequence takes a new block when its last one is full, so only the last
# block can have empty slots. B got block 13, which comes after 12. A got block
# 0, because block 8, which comes after 7, is in use. Any free block will do:
# the table has its number.

# %%
t = 9
predict(
    f"A block has {pool.block_size} slots. A's table is {a.table}. Tokens "
    f"are counted from 0. Which block has the keys and values of A's token "
    f"{t}?",
    answer=a.table[t // pool.block_size],
    mistakes={
        t
        // pool.block_size: "That is the index into the table. Which block "
        "does the table have at this index?"
    },
    why=f"table[{t} // {pool.block_size}] = table[{t // pool.block_size}]. "
    f"Inside the block it is slot {t} % {pool.block_size} = "
    f"{t % pool.block_size}.",
    shows="A block table says for each part of a sequence where it is in "
    "memory, so the blocks can be anywhere.",
)

# %% [markdown]
# ## Does paging change attention?
#
# Attention is a sum over all earlier keys. The result does not depend on
# where the keys are stored. minillm's `attend` takes the keys as a list of
# *segments*. A segment is a range of keys that are contiguous in memory. A
# contiguous cache has one segment. A paged cache has one segment for each group
# of neighbouring blocks.

# %%
contiguous = minillm.KVCache(model, 40)
minillm.prefill(model, prompt_a, contiguous)
for token in ids[:5]:
    logits = minillm.decode_step(model, token, contiguous)
a.truncate(len(prompt_a))
for token in ids[:5]:
    paged_logits = minillm.decode_step(model, token, a)
print("table:", a.table, "segments:", len(a.segments(0, a.length)))
print("bit-identical logits:", np.array_equal(logits, paged_logits))
assert np.array_equal(logits, paged_logits)

# %% [markdown]
# ## How much memory is wasted now?
#
# At most one block of each sequence is partly empty. On average half of this
# block is empty. Now we count the empty slots of the eight sequences above,
# for several block sizes.

# %%
waste = {"reserved, 512 each": 100 * (1 - used / slots)}
for block_size in (64, 16, 4):
    taken = sum(-(-n // block_size) * block_size for n in lengths)
    waste[f"blocks of {block_size}"] = 100 * (1 - used / taken)
print("empty slots, in percent of the allocated slots:")
print(bars(waste, "%"))

# %% [markdown]
# Why not use blocks of one token? Each block costs an entry in the block
# table. And attention reads a few long segments faster than many short ones.
# The default block size of vLLM is 16.
#
# ## Sharing blocks
#
# Blocks have a second advantage: two block tables can contain the same block.
# For example, we want two completions of one prompt. `fork` copies the table,
# not the keys and values. The pool counts in how many tables each block is.
# This number is the **reference count** of the block.

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
# Now B appends a token. Its slot is in the second block. A uses this block
# too. If B wrote there, A would later read the keys of B. So a shared block
# is never written. A sequence that must write into a shared block first takes
# a copy of it. This is **copy-on-write**.

# %%
for cache in (a, b):
    cache.free()
minillm.prefill(model, ids[:6], a)
b = a.fork()
used_before = pool.used
minillm.decode_step(model, ids[0], b)
predict(
    f"A and B share {used_before} blocks. The second block is half full. B "
    "appends a token. How many blocks are in use now, in total?",
    answer=pool.used,
    mistakes={
        used_before: "B must not write into a block that A uses.",
        2
        * used_before: "The first block is full. B writes nothing into it, "
        "so it stays shared.",
    },
    why="The second block was copied. The first block is still shared, "
    "as the picture shows.",
    shows="Sequences can share blocks, and only the block that one of them "
    "writes to is copied.",
)
print(block_map(pool, {"A": a, "B": b}))
assert a.table[0] == b.table[0] and a.table[1] != b.table[1]

# %% [markdown]
# ## A whole run
#
# Many requests begin with the same tokens: instructions, a document, or the
# conversation so far. The keys in a block depend on the tokens of the block
# and on all tokens before it (lesson 7). So a later sequence with the same
# prefix can use the same full blocks. This is **prefix caching**. A block of
# a finished request stays **cached** until its memory is needed: then it is
# **evicted**.
#
# And if no block is left? Then the engine takes the blocks of the request
# that came last. This is **preemption**. The request waits, and its keys and
# values are recomputed later. Here two samples of a prompt, A and B, and a
# later request C have 8 blocks. Step through the run. Find the copy-on-write,
# the prefix hit, the preemption, the eviction, and how C resumes.

# %%
engine = minillm.Engine(model, block_size=4, num_blocks=8)
draw = minillm.Sampling(temperature=1, seed=0, ignore_eos=True)
with record() as run:
    engine.submit_samples(ids[:6], 2, 10, draw)
    for _ in range(3):
        engine.step()
    c = engine.submit(ids[:6] + encode(" girl named"), 8)
    engine.run()
step_through_run(run.trace, "cache", printed=[2, 4, 9, 11])
totals = run.trace.states.last["totals"]
print("prefix tokens that need not run:", totals["known"])
for event in ("copies", "preemptions", "evictions"):
    print(f"{event}: {totals[event]}")
    assert totals[event] > 0
alone = minillm.generate(model, ids[:6] + encode(" girl named"), 8)
assert c.tokens == alone.tokens  # the preemption has changed nothing

# %%
# The article's claims about paged attention.
reserve, block = 1 - 500 / 2048, 1 - 500 / 512
claim(
    "paged",
    "paged attention ... smaller pages that fit in GPU memory more "
    "efficiently. This allows larger batch sizes",
    "true",
    f"for sequences of 500 tokens, {reserve:.0%} of 2,048 reserved slots are "
    f"empty. With blocks of 16 it is {block:.1%}. So {2048 / 512:.1f} times "
    "as many sequences fit. The vLLM paper measured 2 to 4 times the "
    "throughput.",
)
claim(
    "paged-tradeoff",
    "Tradeoff: requires specialized inference software",
    "imprecise",
    "attention must follow a block table, and an allocator must manage the "
    "blocks. Here both are short files that you can read.",
)
assert abs(block - 0.023) < 0.001

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: block table, reference count and copy-on-write.
#   Explain also why a block cannot be shared if the tokens before it differ.
# - See a preemption on a page, view "the cache": `minillm trace --raw --n 3
#   --temperature 1 --max-new-tokens 12 --block-size 4 --num-blocks 8 --html
#   run.html "Once upon"`.
# - Read `minillm/kv_cache/block_table.py`: `reserve`, `truncate`, `fork`; and
#   `write` in `minillm/kv_cache/paged.py`. Then read
#   `minillm/kv_cache/blocks.py` and `minillm/kv_cache/prefix.py`.
# - Write it yourself: exercises 16 `block_table`, 17 `block_allocation`, 18
#   `copy_on_write` and 19 `online_softmax`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 16`.
# - `minillm zoo 15 --show` runs a bug of a public engine: a shared block
#   that is written.
# - More of the article's claims: `minillm claims --section optimization`.
# - Next: lesson 10, several tokens in one pass of decode.
#
# Sources: Kwon et al., vLLM, 2309.06180. Zheng et al., SGLang, 2312.07104
# (prefix caching).
