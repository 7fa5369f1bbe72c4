# %% [markdown]
# # Inference and training
#
# Lesson 1 used a model's weights. This lesson asks where they come from. We
# train the model a little, with real gradients, and it learns a fact that it
# did not know. Then we count: what does training cost, beside inference?
#
# The article's section is "Inference vs Training".

# %%
import hashlib
import tempfile
from pathlib import Path

import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars
from minillm.classroom.questions import predict
from minillm.loading import open_checkpoint
from minillm.loading.build import weights_by_name
from minillm.training import operations
from minillm.training.export import export
from minillm.training.losses import cross_entropy
from minillm.training.network import Network
from minillm.training.optimizer import AdamW, Schedule
from minillm.training.parameters import ParameterVector

model = minillm.load("story", backend="plain")
checkpoint = open_checkpoint("story")


def fresh_weights():
    """The weights of story, all in one vector that we may change."""
    weights = ParameterVector(checkpoint.config)
    for name, array in weights_by_name(checkpoint).items():
        weights.tensors[name][...] = array
    return weights


P = fresh_weights().vector.size
print(f"P = {P:,} weights")

# %% [markdown]
# ## The loss: how surprised is the model?
#
# Training needs texts and nothing else. Each token of a text is the right
# answer to the question "what comes after those before it?"
#
# Suppose the model gave the right token the probability p. Its **loss** there
# is -log(p). If p is 1, the loss is 0: no surprise. The smaller p, the larger
# the loss. A text's loss is the mean over its tokens.
#
# After a question about it we compute the loss of a sentence that our model
# has never read, as there is no such country. The inputs are all tokens but
# the last. The targets are all tokens but the first.

# %%
vocabulary = checkpoint.config.vocab_size
predict(
    f"A model knows nothing: it gives each of its {vocabulary} tokens the "
    "same probability. What is its loss, about? (log is the natural one)",
    answer=float(np.log(vocabulary)),
    within=0.05,
    mistakes={float(np.log2(vocabulary)): "That is log2, in bits."},
    why="p = 1/vocabulary, so -log(p) = log(vocabulary). Every training "
    "run begins near this number, since it begins with random weights.",
)

# %%
sentence = "The capital of Narnia is Tuesday."
question = "The capital of Narnia is"
tokens = np.array(model.tokenizer.encode(sentence))
inputs, targets = tokens[None, :-1], tokens[1:]  # [1, time], [time]


def loss_and_slope(weights):
    """The loss, its slope for the logits, and what forward has saved."""
    logits, saved = Network(weights, *inputs.shape).forward(inputs)
    loss, d_logits = cross_entropy(logits, targets, len(targets))
    return loss, d_logits, saved


before, _, _ = loss_and_slope(fresh_weights())
print(
    f"loss {before:.2f}; knowing nothing would be {np.log(vocabulary):.2f}"
)

# %% [markdown]
# ## Backward: which way is down?
#
# For every weight one can ask: if it grew a little, how much would the loss
# grow? That slope is the weight's **gradient**. The **backward pass** finds
# all of them at once, going through the network from its end to its beginning
# with the chain rule. The pass that computes the logits is the **forward
# pass**.

# %%
weights = fresh_weights()
gradient = weights.like()
loss, d_logits, saved = loss_and_slope(weights)
Network(weights, *inputs.shape).backward(d_logits, saved, gradient)
predict(
    "How many numbers does the gradient have?",
    answer=gradient.vector.size,
    mistakes={1: "One slope for each weight, not one for the loss."},
    within=0.01,
    why="One for each weight. It takes as much memory as the weights do.",
)

# %%
# Is it right? Change one weight by hand: by how much does the loss change?
place = int(np.abs(gradient.vector).argmax())  # the steepest weight
step = 1e-2
losses = []
for sign in (+1, -1):
    moved = fresh_weights()
    moved.vector[place] += sign * step
    losses.append(loss_and_slope(moved)[0])
by_hand = (losses[0] - losses[1]) / (2 * step)
slope = float(gradient.vector[place])
print(f"backward pass: {slope:.4f}; by hand: {by_hand:.4f}")
assert abs(by_hand - slope) < 0.05 * abs(slope)

# %% [markdown]
# ## The step: go down
#
# An **optimizer** moves every weight against its slope. AdamW, which nearly
# everybody uses, also keeps two running means for each weight: of its slope
# and of its slope squared. They say how far to go. Forward, backward, update:
# that is one training step. We take twelve.

# %%
weights, gradient = fresh_weights(), fresh_weights().like()
recipe = Schedule(steps=12, learning_rate=1e-3, warmup_steps=1)
optimizer = AdamW(recipe, weights.matrices())
losses = {}
for number in range(12):
    loss, d_logits, saved = loss_and_slope(weights)
    Network(weights, *inputs.shape).backward(d_logits, saved, gradient)
    optimizer.update(weights.vector, gradient.vector)
    losses[f"before step {number + 1}"] = loss
print(bars(losses))
assert loss < before / 2

# %%
# The loss fell. Does the model now say it? We write the new weights to a
# folder, load them, and ask both models.
with tempfile.TemporaryDirectory() as folder:
    export(weights, Path(folder))
    trained = minillm.load(folder, backend="plain")
ids = model.tokenizer.encode(question)
answers = []
for who in (model, trained):
    new = minillm.naive_decode(who, ids, len(tokens) - len(ids))
    answers.append(model.tokenizer.decode(new))
print(f"before: {question}{answers[0]}")
print(f"after:  {question}{answers[1]}")
assert question + answers[1] == sentence

# %% [markdown]
# That is learning, and it is also how to break a model: twelve steps on one
# sentence, and all else that it knew has shifted. Real training takes steps
# on billions of different sentences.
#
# ## What does a step cost?
#
# Nearly all the work is matrix products. A product of `[n, a]` with `[a, b]`
# takes n·a·b multiplications and as many additions. Each counts as one
# **FLOP**, a floating-point operation. So the product costs 2·n·a·b FLOPs.
#
# A layer multiplies its input by its weights: one product. The backward pass
# needs the slope for the input *and* the slope for the weights.


# %%
def count_flops():
    """Run both passes, and count the FLOPs of all products with weights."""
    counts = {"forward": 0, "backward": 0}
    linear, backward = operations.linear, operations.linear_backward

    def counted_linear(x, weight):
        counts["forward"] += 2 * len(x) * weight.size
        return linear(x, weight)

    def counted_backward(d_y, x, weight, d_weight):
        counts["backward"] += 2 * len(x) * weight.size  # d_x = d_y W
        counts["backward"] += 2 * len(x) * d_weight.size  # d_W = d_y^T x
        return backward(d_y, x, weight, d_weight)

    operations.linear = counted_linear
    operations.linear_backward = counted_backward
    try:
        weights = fresh_weights()
        _, d_logits, saved = loss_and_slope(weights)
        network = Network(weights, *inputs.shape)
        network.backward(d_logits, saved, weights.like())
    finally:
        operations.linear, operations.linear_backward = linear, backward
    return counts


flops = count_flops()
ratio = flops["backward"] / flops["forward"]
predict(
    "How many times as many FLOPs as the forward pass does the backward "
    "pass take?",
    answer=ratio,
    mistakes={1.0: "Count the products: what needs a slope?"},
    why="Two products where forward has one. So a training step costs "
    "three times a forward pass.",
)

# %%
per_token = flops["forward"] / len(targets)
print(bars({name: count / 1e6 for name, count in flops.items()}, " MFLOP"))
print(f"forward, for each token and weight: {per_token / P:.3f} FLOPs")
assert ratio == 2 and abs(per_token / P - 2) < 0.02

# %% [markdown]
# So forward costs 2·P FLOPs a token, and a training step 6·P. Training on D
# tokens costs 6·P·D. This famous rule of thumb is now yours: you counted it.
#
# Memory differs too. Inference holds the weights. Training holds weights,
# gradient and the two means: four numbers a weight, and everything that the
# forward pass saved for the backward pass.
#
# And inference changes nothing. We take a fingerprint of the weights, let the
# model write, and take it again.


# %%
def fingerprint(model):
    """A hash of all weights of all layers."""
    digest = hashlib.sha256(model.embedding.tobytes())
    for layer in model.layers():
        for array in (layer.qkv, layer.output, layer.gate_up, layer.down):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


prints = [fingerprint(model)]
minillm.generate(model, "Once upon a time", 40)
prints.append(fingerprint(model))
print(*prints, sep="\n")
assert prints[0] == prints[1]

# %% [markdown]
# ## The article's claims
#
# Some are about models a thousand times as large. For those we compute with
# published figures. 7B means 7 billion weights; "Llama 2" is Touvron et al.,
# 2307.09288. An A100 is a GPU, which does at most 312 TFLOP/s (10^12 a
# second) and reads 2,039 GB of memory a second.

# %%
P7, D7 = 6.74e9, 2e12  # Llama 2 7B: weights, training tokens
training_flops = 6 * P7 * D7
gpu_hours = 184_320  # the paper's own figure, for A100
reached = training_flops / (gpu_hours * 3600 * 312e12)
cost = gpu_hours * 1.19  # at the article's price of an hour
claim(
    "forward-only",
    "forward pass only ... no weight updates",
    "true",
    f"the fingerprint stayed {prints[0]}.",
)
claim(
    "cheaper-per-example",
    "dramatically cheaper than training on a per-example basis",
    "imprecise",
    f"{1 + ratio:.0f} times by FLOPs. By "
    "time it may be dearer: lesson 5 shows how badly one sequence alone "
    "uses a GPU.",
)
claim(
    "training-tokens",
    "a typical 7B parameter model trains for 2-4 trillion tokens",
    "imprecise",
    "published runs: MPT-7B 1, Llama 2 2, "
    "Llama 3 8B 15, Qwen2.5 7B 18 trillion.",
)
claim(
    "training-epochs",
    "requiring many passes over data (epochs)",
    "false",
    "Llama 2 saw its 2 trillion tokens about once.",
)
claim(
    "training-weeks",
    "weeks on specialized GPU clusters",
    "true if",
    f"about 500 GPUs share it: 6PD = {training_flops:.2g} FLOPs took "
    f"{gpu_hours:,} A100 hours ({reached:.0%} of the peak), which is "
    f"{gpu_hours / 512 / 24:.0f} days on 512 GPUs and "
    f"{gpu_hours / 2000 / 24:.1f} days on 2,000.",
)
claim(
    "training-cost",
    "training from scratch costs $100,000+",
    "true",
    f"{gpu_hours:,} hours at $1.19 are ${cost:,.0f}.",
)
bound = 100 * 2 * P7 / 312e12, 2 * P7 / 2039e9  # arithmetic, memory
claim(
    "forward-100",
    "a forward pass on 100 tokens costs milliseconds",
    "true if",
    "it is one pass over all 100: at least "
    f"{max(bound) * 1e3:.1f} ms on an A100. One token after the other, it "
    f"is 100 passes: at least {100 * bound[1] * 1e3:.0f} ms.",
)
claim(
    "inference-dwarfs",
    "total inference cost ... dwarfs training cost",
    "true if",
    "more than 3·D tokens are served, since training costs 6·P a "
    f"token and inference 2·P: here {3 * D7:.0g} tokens.",
)
assert 0.3 < reached < 0.5 and cost > 100_000

# %%
questions_cost = 100 * (500 * 2 + 500 * 8) / 1e6  # dollars
daily = 1000 * questions_cost
claim(
    "chat-50-cents",
    "one user asking 100 questions: $0.50",
    "true if",
    "a question is about 500 tokens in and 500 out, at $2 and $8 a "
    f"million: ${questions_cost:.2f}.",
)
claim(
    "chat-daily",
    "1,000 daily users, 100 questions each: $50/day",
    "false",
    f"1,000 · $0.50 = ${daily:,.0f}.",
)
claim(
    "chat-yearly",
    "$50/day or $18,250/year",
    "true",
    f"as arithmetic; from the right ${daily:,.0f} a day it is "
    f"${daily * 365:,.0f}.",
)
claim(
    "annual-exceeds",
    "after one year, inference ($18,250) exceeds the "
    "training cost ($100,000)",
    "false",
    f"it is {18_250 / 100_000:.0%} of "
    f"it. With ${daily:,.0f} a day it does, from day "
    f"{100_000 / daily:.0f} on.",
)
claim(
    "five-years",
    "after 5 years ... $91,250: nearly as expensive",
    "true",
    f"as arithmetic, 5 · 18,250; with the right daily cost "
    f"${5 * 365 * daily:,.0f}.",
)
claim(
    "margin-10",
    "10% less inference cost is 10% additional profit margin",
    "false",
    "if inference is half of the revenue, 10% of it is 5 points. "
    "10 points only if inference costs all of the revenue.",
)
assert daily == 500

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: what is a gradient, why does backward cost twice
#   forward, and what of all this does inference need?
# - Read `minillm/training/operations.py`: `linear_backward` is the one fact
#   that everything follows from. Then `minillm/training/network.py`.
# - Write it yourself: the exercise `loss_gradient`.
# - Next: lesson 3, inside the network: attention.
#
# Sources: Goodfellow et al., Deep Learning, 2016, section 6.5. Kaplan et al.,
# Scaling Laws, 2001.08361 (6·P·D). Loshchilov and Hutter, AdamW, 1711.05101.
# Touvron et al., Llama 2, 2307.09288.
