# %% [markdown]
# # The prompt and the prefix cache
#
# All tokens of a prompt have to be prefilled before the first new token. A
# longer prompt can give a better answer, and costs more. But prompts often
# begin alike: with the same instructions, the same document, or the same
# conversation. Then the keys and values of the beginning are computed once.
# This lesson shows when this works, and which order of a prompt prevents it.
#
# The article's section is "Optimization Strategies", 3 and 4.

# %%
import numpy as np

import minillm
from minillm.attention import softmax
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through, step_through_run
from minillm.classroom.pictures import bars
from minillm.classroom.questions import predict
from minillm.conversation import common_prefix
from minillm.kv_cache.prefix import PrefixTable
from minillm.trace import record
from minillm.trace.counting import counted

model = minillm.load("story", backend="plain")
encode, word = model.tokenizer.encode, model.tokenizer.token_text
facts = ["Lily has a red ball.\n", "The ball was red.\n", "Tom is sad.\n"]
question = "The color of the ball is"
right = encode(question + " red")[-1]
chance, lengths = {}, []
for count in range(3):
    ids = encode("".join(facts[:count]) + question)
    p = softmax(minillm.forward(model, ids)[-1])
    chance[f"facts: {count}, tokens: {len(ids)}"] = round(
        float(p[right]), 3
    )
    lengths.append(len(ids))
print(f"{question} ... the probability of {word(right)!r}:")
print(bars(chance))

# %% [markdown]
# Nobody changed a weight. The facts are in the prompt, and attention reads
# them there. Documents, examples and instructions in a prompt all work like
# this. What do they cost?


# %%
def prefill_flops(tokens):
    """Return the FLOPs of a prefill, counted while it runs."""
    one, count = counted(model)
    minillm.prefill(one, tokens, minillm.KVCache(one, len(tokens)))
    return count.flops


short, long = (encode("".join(facts[:n]) + question) for n in (0, 2))
ratio = prefill_flops(long) / prefill_flops(short)
predict(
    f"The question alone has {len(short)} tokens. With two facts it has "
    f"{len(long)}. How many times as many FLOPs does its prefill take? "
    "(About.)",
    answer=ratio,
    within=0.1,
    why=f"{len(long)} / {len(short)} = {len(long) / len(short):.1f}. "
    "Products with weights are most of the FLOPs, and each token takes the "
    "same number. Only the logits are computed once.",
    shows="Prefill works for every token of a prompt, so a prompt of twice "
    "the length takes about twice the work.",
)

# %% [markdown]
# ## Which blocks are known?
#
# Many users ask about the same facts. Lesson 3 showed that a token's keys and
# values do not depend on *later* tokens. So the keys and values of the facts
# are the same for every question. An engine keeps them in blocks (lesson 9).
# A new prompt is cut into blocks, too, and looked up from its beginning, a
# block at a time, until one is not known. This is **prefix caching**.
#
# We look up four prompts, with blocks of 4 tokens:
#
# 1. the facts and a question: nothing is known yet
# 2. the same facts and another question
# 3. as 2, but the first word is "Tom" in place of "Lily"
# 4. as 2, but the question comes first

# %%
story = "".join(facts)
other = "The name of the girl is"
prompts = [
    story + question,
    story + other,
    story.replace("Lily", "Tom", 1) + other,
    other + "\n" + story,
]
SIZE = 4
known = PrefixTable()
frames, hits = [], []
for number, text in enumerate(prompts, start=1):
    ids = encode(text)
    found = known.find(ids, SIZE)
    lines = [f"prompt {number}: {len(ids)} tokens"]
    parent = None
    for index in range(len(ids) // SIZE):
        tokens = ids[index * SIZE : (index + 1) * SIZE]
        state = "known" if index < len(found) else "computed"
        lines.append(f"  {state:9}{[word(token) for token in tokens]}")
        # a block is known by its tokens and its parent, the block before it
        parent = known.add(parent, tokens, block=100 * number + index)
    rest = [word(token) for token in ids[len(ids) // SIZE * SIZE :]]
    lines.append(f"  computed {rest} (not a full block)")
    frames.append("\n".join(lines))
    hits.append(len(found))
same = len(encode(prompts[2])) == len(encode(prompts[1]))
assert same and hits[0] == 0

# %%
predict(
    "Prompt 3 differs from prompt 2 in its first word alone. All its later "
    "blocks have the same tokens. How many of its blocks are known?",
    answer=hits[2],
    mistakes={
        len(encode(prompts[2])) // SIZE - 1: "The tokens are the same. Do "
        "their keys and values depend on nothing else?"
    },
    why="Keys and values depend on all tokens before. So a block is known by "
    "its own tokens and by the block before it.",
    shows="One different token at the beginning makes all blocks after it "
    "unknown.",
)

# %%
step_through(frames, printed=[0, 1, 2, 3])
assert hits[1] > 0 and hits[2] == hits[3] == 0

# %% [markdown]
# With the question first, no block of the facts is found. So put first what
# many prompts have in common. Put last what differs, such as the question,
# the date and the name of the user.
#
# ## Why must the blocks before be the same?
#
# We compare the keys of the *second* block in prompts 2 and 3. Its tokens are
# the same, at the same positions. Only the first word before it differs. A
# bar is the largest difference of a number in a layer. Look at layer 0.

# %%
keys = []
for text in prompts[1:3]:
    cache = minillm.KVCache(model, 64)
    minillm.prefill(model, encode(text), cache)
    layers = range(model.config.num_hidden_layers)
    keys.append([cache.segments(n, cache.length)[0][0] for n in layers])
block = slice(SIZE, 2 * SIZE)
apart = {
    f"layer {n}": float(np.abs(a[:, block] - b[:, block]).max().round(3))
    for n, (a, b) in enumerate(zip(*keys, strict=True))
}
print("keys of the second block, the largest difference:")
print(bars(apart))
assert apart["layer 0"] < 1e-4 < apart["layer 1"]

# %% [markdown]
# In layer 0 a key depends on its token and its position alone. But the
# attention of layer 0 has brought the first word into the other rows. From
# layer 1 on the keys know it.
#
# ## The engine does it
#
# Three requests with the same facts come one after another. A frame is a
# step. In the first step of a request, look at how many tokens are prefilled,
# and at the blocks that it takes over.

# %%
questions = (question, other, "The ball was")
engine = minillm.Engine(model, block_size=SIZE, num_blocks=20)
with record() as run:
    requests = []
    for text in questions:
        requests.append(engine.submit(story + text, 2))
        engine.run()
step_through_run(run.trace, "cache", printed=[1, 3])
whole = [len(encode(story + text)) for text in questions]
known_tokens = engine.statistics.prefix_tokens
print(f"{sum(whole)} prompt tokens, {known_tokens} of them known")
for request, text in zip(requests, questions, strict=True):
    alone = minillm.generate(model, story + text, 2)
    assert request.tokens == alone.tokens

# %%
ids = encode(story + "The ball was red.")
engine = minillm.Engine(model, block_size=16)
engine.submit(ids, 1)
engine.run()
before = engine.statistics.prefix_tokens
engine.submit(ids, 1)
engine.run()
again = engine.statistics.prefix_tokens - before
predict(
    f"A prompt of {len(ids)} tokens is sent twice. Blocks have 16 tokens. "
    "How many tokens need not run the second time?",
    answer=again,
    mistakes={
        len(
            ids
        ): "Only full blocks are known, and the last token must run: "
        "its logits are needed.",
    },
    why=f"{len(ids)} // 16 = {len(ids) // 16} full block. Smaller blocks "
    "would find more, and cost more to look up.",
    shows="Only full blocks are found again, and the tokens after them run "
    "each time.",
)

# %% [markdown]
# ## A conversation
#
# A model remembers nothing between two questions. So each turn of a chat
# sends the whole conversation again, and the prompt grows with every turn.
# But it begins with the tokens of the turn before. `Conversation` in minillm
# keeps the cache and prefills only what is new. Enter shows the next turn.

# %%
go_on = minillm.Sampling(temperature=0, ignore_eos=True)
says = (
    "Lily has a red ball.",
    "Tom is sad.",
    "Lily likes Tom.",
    "They play.",
)
sequence, cached, prefilled, frames = [], [], {}, []
total = computed = 0
for turn, text in enumerate(says, start=1):
    prompt = sequence + encode(text)
    new = len(prompt) - common_prefix(
        cached, prompt
    )  # as Conversation does
    prefilled[f"turn {turn}, no cache"] = len(prompt)
    prefilled[f"turn {turn}, cache"] = new
    total, computed = total + len(prompt), computed + new
    frames.append(bars(prefilled))
    sequence = prompt + minillm.generate(model, prompt, 8, go_on).tokens
    cached = sequence[:-1]  # the last token was never fed back
step_through(frames, printed=[-1])
print(f"{computed} of {total} tokens are prefilled")
assert computed < total / 2

# %%
turns, each = 10, 100
without = sum(each * turn for turn in range(1, turns + 1))
predict(
    f"A chat has {turns} turns. Each adds {each} tokens, question and answer "
    "together. Without a cache turn 1 prefills 100 tokens, turn 2 200, and "
    "so on. How many are prefilled in all turns together?",
    answer=without,
    mistakes={turns * each: "That is with a cache: each token once."},
    why=f"100 * (1 + 2 + ... + 10). With a cache at most {turns * each:,}. "
    "The first sum grows with the square of the number of turns.",
    shows="Without a prefix cache the work of a chat grows with the square "
    "of its turns.",
)

# %%
claim(
    "short-prompts",
    "Shorter prompts ...: faster prefill, reduced token costs",
    "true if",
    "the tokens really run. Here two facts made a prefill "
    f"{ratio:.1f} times as large. Tokens of a known prefix do not run: "
    f"{known_tokens} of {sum(whole)} in the engine above.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: why a changed first word makes all blocks
#   unknown, and in which order to write a prompt.
# - Read `minillm/kv_cache/prefix.py`, and `common_prefix` in
#   `minillm/conversation.py`. Then read `adopt_prefix` in
#   `minillm/kv_cache/block_table.py`.
# - See shared blocks on a page, view "the cache": `minillm trace --raw --n 2
#   --temperature 1 --max-new-tokens 8 --block-size 4 --html run.html
#   "Lily has a red ball. The color of the ball is"`.
# - Write it yourself: exercises 35 `prefix_hash_chain` and 36
#   `shared_blocks`. `minillm exercise start my-exercises` makes a folder for
#   all exercises, once. There, run `minillm exercise check 35`.
# - `minillm zoo 14 --show` runs a bug of a public engine: a prefix that is
#   another user's.
# - More of the article's claims: `minillm claims --section optimization`.
# - Next: lesson 17, streaming and sharding: models that do not fit.
#
# Sources: Kwon et al., vLLM, 2309.06180. Zheng et al., SGLang, 2312.07104.
# Brown et al., Language Models are Few-Shot Learners, 2005.14165.
