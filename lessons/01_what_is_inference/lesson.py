# %% [markdown]
# # What is inference?
#
# You type a question, and a language model answers. This lesson shows what
# happens in between. Nothing is simulated: a small real model, which comes
# with minillm, runs on your machine.
#
# You need to know Python and what a matrix product is. You need nothing else.
#
# Most lessons check one section of an article, "What is LLM inference": they
# compare its claims with what the model does. The section of this lesson is
# the article's overview.

# %%
import math

import minillm
from minillm.attention import softmax
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through, step_through_run
from minillm.classroom.pictures import bars
from minillm.classroom.questions import predict
from minillm.loading import open_checkpoint
from minillm.trace import frame, record

model = minillm.load("story", backend="plain")
tensors = open_checkpoint("story").tensors
parameters = sum(math.prod(t.shape) for t in tensors.values())
print(f"{len(tensors)} arrays with {parameters:,} numbers in all")

# %% [markdown]
# These numbers are the **parameters**, also called **weights**. Training has
# found them (lesson 2). During inference they do not change.
#
# **Inference** means: use the fixed weights to compute something about a new
# text. The text you begin with is the **prompt**. The article says that three
# things happen to it. This lesson does all three, step by step.
#
# ## Step 1: text becomes tokens
#
# A model computes with numbers, so the text is split into short pieces. Each
# piece is a **token**. Every token has an **id**, an integer. The list of all
# tokens is the **vocabulary**. The program that splits the text is the
# **tokenizer**.

# %%
prompt = "The capital of France is"
ids = model.tokenizer.encode(prompt)
for token in ids:
    print(f"{token:6} {model.tokenizer.token_text(token)!r}")
print("in the vocabulary:", model.config.vocab_size, "tokens")
assert model.tokenizer.decode(ids) == prompt

# %% [markdown]
# A frequent word is one token, which includes the space before the word. A
# rare word is split into several tokens. How is a number split?

# %%
predict(
    "How many tokens are there in the text '2026'?",
    answer=len(model.tokenizer.encode("2026")),
    mistakes={1: "A token for every number? There would be far too many."},
    why="This tokenizer makes each digit a token of its own. So the model "
    "can learn to add digit by digit.",
    shows="A model reads tokens, not letters or words: how a text is cut "
    "decides what the model can see.",
)

# %% [markdown]
# ## Step 2: tokens flow through the network
#
# `forward` runs the whole network. The input is the ids. The output has one
# row for *every* token of the input. A row has one score for *every* token
# of the vocabulary: how likely is it to come next? These scores are called
# **logits**.

# %%
logits = minillm.forward(model, ids)
predict(
    f"The prompt has {len(ids)} tokens, the vocabulary "
    f"{model.config.vocab_size}. What is logits.shape?",
    answer=logits.shape,
    mistakes={
        (model.config.vocab_size,): "That is one row. There is one row for "
        "every token of the prompt.",
        logits.shape[::-1]: "Rows are tokens, columns are the vocabulary.",
    },
    why="Row i scores the tokens that may come after token i. To continue, "
    "we need only the last row. The other rows were computed too. Training "
    "uses them (lesson 2).",
    shows="One pass scores every token of the vocabulary, at every position "
    "of the text.",
)

# %% [markdown]
# A logit can be any number. **Softmax** turns a row of logits into
# probabilities. It computes exp of each logit, then divides by the sum of the
# row. So all probabilities are positive, and they add up to 1. A larger logit
# gives a larger probability.

# %%
probabilities = softmax(logits[-1])  # [vocab]
best = probabilities.argsort()[::-1][:6].tolist()
print(f"the sum is {probabilities.sum():.3f}; the six largest:")
text = model.tokenizer.token_text
print(bars({repr(text(t)): float(probabilities[t]) for t in best}))

# %% [markdown]
# ## Step 3: choose a token, append it, repeat
#
# The model has given every possible next token a probability. **Greedy**
# decoding chooses the token with the largest one. The chosen token is
# appended to the sequence. Then the network runs again, on the longer
# sequence. A model that computes each token from all tokens before it is
# called **autoregressive**.
#
# `record` records a run. The frames below show it step by step: press Enter
# for the next token, `b` to go back. How sure is the model of each token, and
# which token comes second? The sign ␣ is a space.

# %%
sequence = list(ids)
for _ in range(3):
    logits = minillm.forward(model, sequence)
    sequence.append(int(logits[-1].argmax()))
print(repr(model.tokenizer.decode(sequence)))
assert sequence[len(ids) :] == minillm.naive_decode(model, ids, 3)
with record() as run:
    minillm.generate(model, ids, 3, use_cache=False)
step_through_run(run.trace, "choice", printed=[1, 2])

# %% [markdown]
# This is all of inference. ("Paris" is a rare word here: two tokens.) The
# function `naive_decode` is the same loop. The rest of the course gets the
# same result with less work.
#
# Greedy decoding involves no randomness. The alternative is **sampling**: the
# next token is drawn at random, each token with its probability. The
# **temperature** sets how random the draw is. At 1 the probabilities are used
# unchanged. Near 0 sampling is almost greedy.

# %%
story = "Once upon a time, there was a little"


def six_texts(temperature):
    """Return six continuations of the story, one for each seed."""
    texts = []
    for seed in range(6):
        sampling = minillm.Sampling(temperature=temperature, seed=seed)
        out = minillm.generate(model, story, 12, sampling)
        texts.append(out.text)
    return texts


predict(
    "The story is continued six times, each time with another random seed. "
    "At temperature 0, how many different texts are there?",
    answer=len(set(six_texts(0))),
    mistakes={
        6: "At temperature 0 nothing is drawn: the seed makes no difference."
    },
    why="Temperature 0 means greedy. The same input gives the same output.",
    shows="Chance enters only in sampling: greedy decoding gives the same "
    "text every time.",
)

# %%
frames = []
for temperature in (0.3, 0.7, 1, 2):
    sampling = minillm.Sampling(temperature=temperature, seed=0)
    with record() as run:
        minillm.generate(model, story, 1, sampling)
    frames.append(f"{story} ...\n" + frame(run.trace, 1, "choice"))
print("Enter raises the temperature: look at the bars on the right.")
step_through(frames, printed=[0, -1])
different = set(six_texts(1))
print(f"\nat temperature 1 there are {len(different)} different texts:")
for line in sorted(different):
    print("...", line.strip())
assert len(different) > 1

# %% [markdown]
# ## When does it stop?
#
# The article names three reasons to stop: an end-of-sequence token, a maximum
# length, or an explicit stop. In training, every text ended with the
# **end-of-sequence token**. So the model has learnt to choose it when a text
# is complete. minillm calls the three reasons `eos`, `length` and `stop`.

# %%
facts = ["The capital of France is", "Q: What is 2 + 3? A:", "The sky is"]
runs = [minillm.generate(model, fact, 60) for fact in facts]
by_eos = [run for run in runs if run.finish_reason == "eos"][0]
by_length = minillm.generate(model, story, 5)
by_stop = minillm.generate(
    model, story, 60, minillm.Sampling(stop=["."], ignore_eos=True)
)
for run in (by_eos, by_length, by_stop):
    print(f"{run.finish_reason:7} {len(run.tokens):3} tokens: {run.text!r}")
reasons = {run.finish_reason for run in (by_eos, by_length, by_stop)}
assert reasons == {"eos", "length", "stop"}

# %% [markdown]
# ## The article's claims
#
# Most lessons end with one to three claims of the article, in its own words.
# Each claim gets a verdict: *true*, *true if* a condition holds, *imprecise*,
# *false*, or *not checkable*. `minillm claims` has all of them.

# %%
claim(
    "three-steps",
    "the prompt is tokenized ... the model predicts the next token, and "
    "this process repeats",
    "true",
    f"this lesson did it step by step: {len(ids)} prompt tokens, then 3 "
    "passes of the network for 3 new tokens. `naive_decode` gave the same "
    "tokens.",
)
claim(
    "stop-conditions",
    "end-of-sequence token, maximum length, or explicit stop",
    "true",
    "one run for each reason: " + ", ".join(sorted(reasons)) + ".",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: what goes into the network, what comes out, and why
#   it must run once for every new token.
# - Read `minillm/decode.py`: `naive_decode` is the loop of step 3. Then read
#   `minillm/sampling.py`: `probabilities` has every step of sampling.
# - See the run on a page, view "the choice": `minillm trace --raw --html
#   run.html "The capital of France is"`.
# - Write it yourself: exercise 1 `naive_decode`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 1`.
# - Next: lesson 2, where the weights come from.
#
# Sources: Vaswani et al., Attention Is All You Need, 1706.03762. Holtzman et
# al., The Curious Case of Neural Text Degeneration, 1904.09751 (sampling).
# Numbers such as 1706.03762 are the numbers of papers on arxiv.org.
