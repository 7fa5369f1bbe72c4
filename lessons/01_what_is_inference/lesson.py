# %% [markdown]
# # What is inference?
#
# You type a question, and a language model answers. This lesson opens the
# box while it happens. Nothing is simulated: a small real model, which comes
# with minillm, runs on your machine.
#
# You need to know Python and what a matrix product is. Nothing else.
#
# Each lesson checks a section of one article, "What is LLM inference", against
# what the model in front of you does. Here it is the article's overview.

# %%
import math

import minillm
from minillm.attention import softmax
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars
from minillm.classroom.questions import predict
from minillm.loading import open_checkpoint

model = minillm.load("story", backend="plain")
tensors = open_checkpoint("story").tensors
parameters = sum(math.prod(t.shape) for t in tensors.values())
print(f"{len(tensors)} arrays with {parameters:,} numbers in all")

# %% [markdown]
# These numbers are the **parameters**, also called **weights**. Training has
# found them (lesson 2). From now on nobody changes them.
#
# **Inference** means: use the fixed weights to compute something about a new
# text. The text you begin with is the **prompt**. The article says that three
# things happen to it. We do them by hand, one by one.
#
# ## Step 1: text becomes tokens
#
# A model computes with numbers, so the text is cut into pieces. A piece is a
# **token**. Every token has a number, its **id**. The list of all tokens is
# the **vocabulary**, and what cuts the text is the **tokenizer**.

# %%
prompt = "The capital of France is"
ids = model.tokenizer.encode(prompt)
for token in ids:
    print(f"{token:6} {model.tokenizer.token_text(token)!r}")
print("in the vocabulary:", model.config.vocab_size, "tokens")
assert model.tokenizer.decode(ids) == prompt

# %% [markdown]
# A frequent word is one token, with the space before it. A rare word is
# several. How is a number cut?

# %%
predict(
    "How many tokens are there in the text '2026'?",
    answer=len(model.tokenizer.encode("2026")),
    mistakes={1: "A token for every number? There would be far too many."},
    why="This tokenizer gives each digit a token of its own, so that the "
    "model can learn to add digit by digit.",
)

# %% [markdown]
# ## Step 2: tokens flow through the network
#
# `forward` is the whole network. It takes the ids. For *every* token it gives
# a score to *every* token of the vocabulary: how well would that one come
# next? The scores are called **logits**.

# %%
logits = minillm.forward(model, ids)
predict(
    f"The prompt has {len(ids)} tokens, the vocabulary "
    f"{model.config.vocab_size}. What is logits.shape?",
    answer=logits.shape,
    mistakes={
        (model.config.vocab_size,): "That is one row. There is a row for "
        "every token of the prompt.",
        logits.shape[::-1]: "Rows are tokens here, columns the vocabulary.",
    },
    why="Row i says what may follow token i. To go on we need the last row "
    "only. The others were computed too, which training uses (lesson 2).",
)

# %% [markdown]
# Logits can be any numbers. **Softmax** turns a row of them into
# probabilities: it takes exp of each, then divides by the sum. So all are
# positive, they add up to 1, and a larger score is a larger probability.

# %%
probabilities = softmax(logits[-1])  # [vocab]
best = probabilities.argsort()[::-1][:6].tolist()
print(f"the sum is {probabilities.sum():.3f}; the six largest:")
text = model.tokenizer.token_text
print(bars({repr(text(t)): float(probabilities[t]) for t in best}))

# %% [markdown]
# ## Step 3: choose a token, append it, repeat
#
# The model has given a probability to each next token. Taking the largest is
# called **greedy** decoding. The chosen token is appended to the text, and the
# network runs again, on the longer text. A model that works like this, each
# token from all before it, is called **autoregressive**.

# %%
sequence = list(ids)
for _ in range(3):
    logits = minillm.forward(model, sequence)
    sequence.append(int(logits[-1].argmax()))
    print(repr(model.tokenizer.decode(sequence)))
assert sequence[len(ids) :] == minillm.naive_decode(model, ids, 3)

# %% [markdown]
# That is all of it. `naive_decode` is this very loop. The rest of the course
# is about doing the same with less work.
#
# Greedy decoding has no chance in it. The alternative is **sampling**: draw
# the next token at random, each with its probability. The **temperature**
# says how wild the draw is. At 1 the probabilities are as they are; near 0
# it is almost greedy.

# %%
story = "Once upon a time, there was a little"


def six_texts(temperature):
    """The story continued with six seeds."""
    texts = []
    for seed in range(6):
        sampling = minillm.Sampling(temperature=temperature, seed=seed)
        out = minillm.generate(model, story, 12, sampling)
        texts.append(out.text)
    return texts


predict(
    "The story goes on six times, each time with another random seed. At "
    "temperature 0, how many different texts come out?",
    answer=len(set(six_texts(0))),
    mistakes={6: "At temperature 0 nothing is drawn: the seed has no say."},
    why="Temperature 0 means greedy. The same input gives the same output.",
)

# %%
different = set(six_texts(1))
print(f"at temperature 1 there are {len(different)} different ones:")
for line in sorted(different):
    print("...", line.strip())
assert len(different) > 1

# %% [markdown]
# ## When does it stop?
#
# The article names three reasons: an end-of-sequence token, a maximum
# length, or an explicit stop. The **end-of-sequence token** is a token that
# ended every text in training. So the model has learnt to give it when a
# text is complete. minillm calls the reasons `eos`, `length` and `stop`.

# %%
facts = ["The capital of France is", "Q: What is 2 + 3? A:", "The sky is"]
runs = [minillm.generate(model, fact, 60) for fact in facts]
by_itself = [run for run in runs if run.finish_reason == "eos"][0]
too_long = minillm.generate(model, story, 5)
until_dot = minillm.generate(
    model, story, 60, minillm.Sampling(stop=["."], ignore_eos=True)
)
for run in (by_itself, too_long, until_dot):
    print(f"{run.finish_reason:7} {len(run.tokens):3} tokens: {run.text!r}")
reasons = {run.finish_reason for run in (by_itself, too_long, until_dot)}
assert reasons == {"eos", "length", "stop"}

# %% [markdown]
# ## The article's claims
#
# Each lesson ends with the article's own sentences. A verdict is *true*, *true
# if* some condition holds, *imprecise*, *false*, or *not checkable*.

# %%
claim(
    "three-steps",
    "the prompt is tokenized ... the model predicts the next token, and "
    "this process repeats",
    "true",
    f"we did it by hand: {len(ids)} tokens in, then 3 passes of the "
    "network for 3 new tokens, and `naive_decode` gave the same ones.",
)
claim(
    "stop-conditions",
    "end-of-sequence token, maximum length, or explicit stop",
    "true",
    "one run for each: " + ", ".join(sorted(reasons)) + ".",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: what goes into the network, what comes out, and why
#   it must run once for every new token.
# - Read `minillm/decode.py`: `naive_decode` is the loop you have just written.
#   Then `minillm/sampling.py`: `probabilities` has every step of sampling.
# - Write it yourself: the exercises `naive_decode` and `top_p`.
# - Next: lesson 2, where the weights come from.
#
# Sources: Vaswani et al., Attention Is All You Need, 1706.03762. Holtzman et
# al., The Curious Case of Neural Text Degeneration, 1904.09751 (sampling).
# Numbers such as 1706.03762 name papers on arxiv.org.
