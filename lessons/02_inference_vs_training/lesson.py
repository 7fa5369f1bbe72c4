# %% [markdown]
# # Inference and training
#
# Lesson 1 used a model's weights. This lesson shows where they come from. We
# train the model for a few steps with real gradients, and it learns a fact
# that it did not know. Then we count what training costs, compared with
# inference.
#
# The article's section is "Inference vs Training".

# %%
import hashlib
import tempfile
from pathlib import Path

import numpy as np

import minillm
from minillm.attention import softmax
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through
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
    """Return a copy of the weights of story, in one vector to change."""
    weights = ParameterVector(checkpoint.config)
    for name, array in weights_by_name(checkpoint).items():
        weights.tensors[name][...] = array
    return weights


P = fresh_weights().vector.size
print(f"P = {P:,} weights")

# %% [markdown]
# ## The loss: how wrong is the model?
#
# Training needs only texts. The model must predict each token of a text from
# the tokens before it. The token that really comes next is the **target**.
#
# Let p be the probability that the model gives to the target. The **loss** at
# this token is -log(p). If p is 1, the loss is 0. The smaller p is, the
# larger the loss. The loss of a text is the mean over its tokens.
#
# First comes a question. Then we compute the loss of a sentence that our
# model has never read, because there is no such country. The inputs are all
# tokens but the last. The targets are all tokens but the first.

# %%
vocabulary = checkpoint.config.vocab_size
predict(
    f"A model knows nothing: it gives each of its {vocabulary} tokens the "
    "same probability. About how large is its loss? (log is the natural "
    "logarithm)",
    answer=float(np.log(vocabulary)),
    within=0.05,
    mistakes={float(np.log2(vocabulary)): "That is log2, in bits."},
    why="p = 1/vocabulary, so -log(p) = log(vocabulary). A training run "
    "begins with random weights, so its first loss is near this number.",
    shows="A loss is judged by log(vocabulary), which is the loss of a model "
    "that knows nothing.",
)

# %%
sentence = "The capital of Narnia is Tuesday."
question = "The capital of Narnia is"
tokens = np.array(model.tokenizer.encode(sentence))
inputs, targets = tokens[None, :-1], tokens[1:]  # [1, time], [time]


def loss_and_gradient(weights):
    """Return the loss, its gradient for the logits, and saved values."""
    logits, saved = Network(weights, *inputs.shape).forward(inputs)
    loss, d_logits = cross_entropy(logits, targets, len(targets))
    return loss, d_logits, saved


before, _, _ = loss_and_gradient(fresh_weights())
print(
    f"loss {before:.2f}; a model that knows nothing: {np.log(vocabulary):.2f}"
)

# %% [markdown]
# ## Backward: how does each weight change the loss?
#
# Suppose one weight grows a little. How much does the loss grow? The loss's
# growth, divided by the weight's growth, is the **gradient** of this weight.
# The **backward pass** computes the gradients of all weights at once. It goes
# through the network from its end to its beginning, with the chain rule. The
# pass that computes the logits is the **forward pass**.

# %%
weights = fresh_weights()
gradient = weights.like()
loss, d_logits, saved = loss_and_gradient(weights)
Network(weights, *inputs.shape).backward(d_logits, saved, gradient)
predict(
    "How many numbers does the gradient have?",
    answer=gradient.vector.size,
    mistakes={1: "There is one number a weight, not one for the loss."},
    within=0.01,
    why="It has one number for each weight.",
    shows="Training needs memory for at least two numbers per weight: the "
    "weight and its derivative.",
)

# %%
# To check it, change one weight by hand: how much does the loss change?
index = int(np.abs(gradient.vector).argmax())  # the largest gradient
step = 1e-2
losses = []
for sign in (+1, -1):
    changed = fresh_weights()
    changed.vector[index] += sign * step
    losses.append(loss_and_gradient(changed)[0])
by_hand = (losses[0] - losses[1]) / (2 * step)
by_backward = float(gradient.vector[index])
print(f"backward pass: {by_backward:.4f}; by hand: {by_hand:.4f}")
assert abs(by_hand - by_backward) < 0.05 * abs(by_backward)

# %% [markdown]
# ## The step: change the weights
#
# An **optimizer** moves every weight against its gradient, so that the loss
# falls. Most models are trained with the optimizer AdamW. It also keeps two
# running means for each weight: of its gradient, and of its gradient squared.
# They determine how far each weight moves. One training step is: forward
# pass, backward pass, update. We take twelve steps. Each frame shows the
# probability of each target before a step, and Enter shows the next frame.
# Which targets make the loss large, and in which order do they rise?

# %%
weights, gradient = fresh_weights(), fresh_weights().like()
schedule = Schedule(steps=12, learning_rate=1e-3, warmup_steps=1)
optimizer = AdamW(schedule, weights.matrices())
words = [model.tokenizer.token_text(target) for target in targets]
frames = []
for number in range(12):
    logits, _ = Network(weights, *inputs.shape).forward(inputs)
    p = softmax(logits)[range(len(targets)), targets]  # [time]
    loss, d_logits, saved = loss_and_gradient(weights)
    Network(weights, *inputs.shape).backward(d_logits, saved, gradient)
    optimizer.update(weights.vector, gradient.vector)
    heading = f"before step {number + 1}: the loss is {loss:.2f}\n"
    each = {
        repr(w): round(float(x), 3) for w, x in zip(words, p, strict=True)
    }
    frames.append(heading + bars(each))
step_through(frames, printed=[0, 1, 2, -1])
assert loss < before / 2

# %%
# The loss fell. Does the model now say the sentence? We write the new
# weights to a folder, load them, and ask both models.
with tempfile.TemporaryDirectory() as folder:
    export(weights, Path(folder))
    trained = minillm.load(folder, backend="plain")
ids = model.tokenizer.encode(question)
answers = []
for one in (model, trained):
    new = minillm.naive_decode(one, ids, len(tokens) - len(ids))
    answers.append(model.tokenizer.decode(new))
print(f"before: {question}{answers[0]}")
print(f"after:  {question}{answers[1]}")
assert question + answers[1] == sentence

# %% [markdown]
# The model has learnt the sentence. But this is also a way to break a model:
# twelve steps on one sentence have changed everything else that it knew. Real
# training takes steps on billions of different sentences.
#
# ## What does a step cost?
#
# Nearly all the work is matrix products. A product of `[n, a]` with `[a, b]`
# takes n·a·b multiplications and as many additions. Each of these operations
# is one **FLOP**, a floating-point operation. So the product costs 2·n·a·b
# FLOPs.
#
# In the forward pass, a linear layer multiplies its input by its weights.
# This is one product. The backward pass needs two gradients: the one for the
# input, *and* the one for the weights.


# %%
def count_flops():
    """Run both passes; return the FLOPs of all products with weights."""
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
        _, d_logits, saved = loss_and_gradient(weights)
        network = Network(weights, *inputs.shape)
        network.backward(d_logits, saved, weights.like())
    finally:
        operations.linear, operations.linear_backward = linear, backward
    return counts


flops = count_flops()
ratio = flops["backward"] / flops["forward"]
predict(
    "Divide the FLOPs of the backward pass by the FLOPs of the forward "
    "pass. What is the ratio?",
    answer=ratio,
    mistakes={1.0: "Count the products: which gradients are needed?"},
    why="The backward pass has two products where the forward pass has one.",
    shows="A training step costs as much as three forward passes, and "
    "inference does only one.",
)

# %%
per_token = flops["forward"] / len(targets)
print(bars({name: count / 1e6 for name, count in flops.items()}, " MFLOP"))
print(f"forward, for each token and weight: {per_token / P:.3f} FLOPs")
assert ratio == 2 and abs(per_token / P - 2) < 0.02

# %% [markdown]
# So a forward pass costs 2·P FLOPs a token, and a training step 6·P. Training
# on D tokens costs 6·P·D. This is a well-known rule of thumb. Here you have
# counted it.
#
# Memory differs too. Inference keeps the weights. Training keeps the weights,
# the gradient and the two means: four numbers for each weight. It also keeps
# everything that the forward pass saved for the backward pass.
#
# And inference does not change the weights. To check this, we compute a hash
# of them, let the model generate text, and compute the hash again.


# %%
def weights_hash(model):
    """Return a hash of the embedding and of the matrices of all layers."""
    digest = hashlib.sha256(model.embedding.tobytes())
    for layer in model.layers():
        for array in (layer.qkv, layer.output, layer.gate_up, layer.down):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


hashes = [weights_hash(model)]
minillm.generate(model, "Once upon a time", 40)
hashes.append(weights_hash(model))
print(*hashes, sep="\n")
assert hashes[0] == hashes[1]

# %% [markdown]
# ## The article's claims
#
# Some claims are about models a thousand times as large. For those we compute
# with published figures: Llama 2 7B has 7 billion weights and was trained on
# 2 trillion tokens. An A100 is a GPU. It does at most 312 TFLOP/s (1 TFLOP is
# 10^12 FLOPs), and it reads 2,039 GB of memory a second.

# %%
P7, D7 = 6.74e9, 2e12  # Llama 2 7B: weights, training tokens
bound = 100 * 2 * P7 / 312e12, 2 * P7 / 2039e9  # arithmetic, memory
claim(
    "cheaper-per-example",
    "dramatically cheaper than training on a per-example basis",
    "imprecise",
    f"inference takes {1 + ratio:.0f} times fewer FLOPs. In time it may "
    "cost more: lesson 6 shows how little of a GPU one sequence alone uses.",
)
claim(
    "forward-100",
    "a forward pass on 100 tokens costs milliseconds",
    "true if",
    "it is one pass over all 100 tokens: at least "
    f"{max(bound) * 1e3:.1f} ms on an A100. One token at a time, there are "
    f"100 passes: at least {100 * bound[1] * 1e3:.0f} ms.",
)
claim(
    "inference-dwarfs",
    "total inference cost ... dwarfs training cost",
    "true if",
    "more than 3·D tokens are served, because training costs 6·P FLOPs a "
    f"token and inference 2·P. Here 3·D is {3 * D7:.0g} tokens.",
)
assert bound[0] < bound[1] < 100 * bound[1]

# %% [markdown]
# ## Where to go from here
#
# - Explain to somebody: what is a gradient, why does the backward pass cost
#   twice the forward pass, and which of these passes does inference need?
# - Read `minillm/training/operations.py`: `linear_backward` has the two
#   products of the backward pass. Then read `minillm/training/network.py`.
# - Write it yourself: exercise 2 `loss_gradient`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 2`.
# - More of the article's claims: `minillm claims --section inference`.
# - Next: lesson 3, inside the network: attention.
#
# Sources: Goodfellow et al., Deep Learning, 2016, section 6.5. Kaplan et al.,
# Scaling Laws, 2001.08361 (6·P·D). Loshchilov and Hutter, AdamW, 1711.05101.
# Touvron et al., Llama 2, 2307.09288.
