# %% [markdown]
# # The transformer layer
#
# Lesson 3 opened attention. This lesson shows the whole layer that attention
# is a part of, and what comes before and after the layers. Then it changes
# the engine in one place at a time: without the norm, without the residual
# stream, without the MLP. Each time the model writes a text, and you see what
# that part was for.
#
#     token ids
#         |  embedding: a row of a table for each token
#         x ----------------------+
#         |  norm, attention      |     the layer,
#         + <---------------------+     six times
#         x ----------------------+     in this
#         |  norm, MLP            |     model
#         + <---------------------+
#         x
#         |  norm, head: a product with one matrix
#     logits
#
# `x` is the residual stream: one row of numbers for each token.

# %%
from dataclasses import replace

import numpy as np

import minillm
from minillm.attention import naive_attention, softmax
from minillm.backends.plain import Plain
from minillm.classroom.frames import line_by_line, step_through
from minillm.classroom.pictures import bars, heatmap, table
from minillm.classroom.questions import predict
from minillm.layers import rms_norm, swiglu
from minillm.transformer import head, project_qkv

model = minillm.load("story", backend="plain")
config, word = model.config, model.tokenizer.token_text
prompt = "The capital of France is"
ids = model.tokenizer.encode(prompt)
print(len(ids), "tokens:", [word(token) for token in ids])
print(config.num_hidden_layers, "layers, hidden size", config.hidden_size)

# %% [markdown]
# ## One layer, line by line
#
# The code below is a whole layer. Each line computes one array from the ones
# before it. A frame adds one line. The columns are the shape and the size of
# the last token's row: the root of the mean of the squares of its numbers.
#
# Look at the column of sizes at the two lines "add": there x grows.

# %%
steps = []  # a name, an expression, a shape and a size


def note(name, expression, rows):
    """Write down what a line of the layer gave, and return it."""
    size = np.sqrt(np.mean(rows[-1] ** 2))
    steps.append([name, expression, str(list(rows.shape)), f"{size:.2f}"])
    return rows


cos_sin = model.ops.cos_sin(
    np.arange(len(ids)), config.rope, config.head_dim
)
layer, eps = model.layer_weights[0], config.rms_norm_eps
x = note("embedding", "x = table[ids]", model.embedding[ids])
h = rms_norm(x, layer.attention_norm, eps)
note("norm", "h = norm(x)", h)
q, k, v = project_qkv(model, layer, x, cos_sin)  # it computes h itself
note("queries", "q = h @ Wq", q.reshape(len(ids), -1))
a = note("attention", "a = attend(q, k, v)", naive_attention(q, k, v, None))
x = note("add", "x = x + a @ Wo", x + a @ layer.output)
h = note("norm", "h = norm(x)", rms_norm(x, layer.mlp_norm, eps))
gate, up = np.split(h @ layer.gate_up, 2, axis=1)
note("gate, up", "g, u = h @ Wg, h @ Wu", gate)
m = note("curve", "m = silu(g) * u", swiglu(gate, up))
x = note("add", "x = x + m @ Wd", x + m @ layer.down)
picture = table(["", "", "shape", "size"], steps)
step_through(line_by_line(picture, 2), printed=[-1])

# %%
one_layer = model.with_layers([0])  # the engine, with layer 0 alone
same = minillm.forward(one_layer, ids)
assert np.allclose(head(model, x), same, atol=1e-4)
attention_weights = layer.qkv.size + layer.output.size
mlp_weights = layer.gate_up.size + layer.down.size
predict(
    f"The matrices of attention have {attention_weights:,} weights. The MLP "
    f"has three matrices of {config.hidden_size} x "
    f"{config.intermediate_size}. How many times as many weights is that?",
    answer=mlp_weights / attention_weights,
    within=0.02,
    mistakes={mlp_weights: "That is the number. Divide it."},
    why=f"3 x {config.hidden_size} x {config.intermediate_size} = "
    f"{mlp_weights:,}. At short lengths the MLPs do most of the FLOPs, too.",
    shows="Attention is what connects tokens, but most weights of a layer "
    "are in its MLP.",
)

# %% [markdown]
# ## To leave a part out
#
# The engine does its arithmetic with the methods of a *backend*. The simplest
# one is `Plain`, in `minillm/backends/plain.py`: `rms_norm`, `add_linear`,
# `swiglu` and so on. So we can change one method and run the rest of the
# engine as it is. `write` shows what a changed engine writes after a prompt,
# greedily, and how probable its first token was.

# %%
prompts = (prompt, "Once upon a time, there was a little")


def write(ops):
    """Show what the model writes with this backend, after each prompt."""
    changed = replace(model, ops=ops)
    for text in prompts:
        p = softmax(
            minillm.forward(changed, model.tokenizer.encode(text))[-1]
        )
        answer = minillm.generate(changed, text, 9).text
        print(f"{text} ...\n  {p.max():4.0%} {answer!r}")


write(Plain())

# %% [markdown]
# Note the two texts. This is what a correct engine writes.
#
# ## The norm
#
# **RMSNorm** divides a row by its size, then multiplies each number by a
# weight that was learned. What does the rest of the layer see, if the row
# gets larger?

# %%
larger = rms_norm(10 * x, layer.mlp_norm, eps)
ratio = (
    np.abs(larger).max() / np.abs(rms_norm(x, layer.mlp_norm, eps)).max()
)
predict(
    "Every number of x is multiplied by 10. By how much do the numbers of "
    "norm(x) grow? Type a factor.",
    answer=round(float(ratio), 3),
    within=0.01,
    mistakes={10: "The row is divided by its size, which grows as well."},
    why="Both the row and its size are 10 times as large. So the stream can "
    "grow from layer to layer, and no layer notices.",
    shows="The norm keeps the direction of a row and drops its size, so each "
    "layer reads numbers of a size that it knows.",
)


# %%
class Watched(Plain):
    """The plain backend, which notes the size of each row that is normed."""

    divides = True

    def __init__(self):
        """Begin with an empty list of sizes."""
        self.seen = []

    def rms_norm(self, x, weight, eps):
        """Divide by the size and multiply by the weight, or only that."""
        self.seen.append(float(np.sqrt(np.mean(x[-1] ** 2))))
        if not self.divides:
            return x * weight
        return super().rms_norm(x, weight, eps)


class WithoutNorm(Watched):
    """The division by the size is left out. The weights stay."""

    divides = False


sizes = {}
for name, ops in (("norm", Watched()), ("no norm", WithoutNorm())):
    minillm.forward(replace(model, ops=ops), ids)
    places = {"at first": 0, "after layer 2": 6, "at the end": -1}
    for place, index in places.items():
        sizes[f"{name}, {place}"] = round(ops.seen[index], 2)
print("size of the row of the last token, with and without the norm:")
print(bars(sizes))
write(WithoutNorm())
assert sizes["norm, at the end"] < 100

# %% [markdown]
# The rows begin small. Without the norm they stay small for three layers,
# because small rows give small outputs. Then they grow, and nothing stops
# them. No layer gets rows of the size that it was trained on. So the text has
# no sense, and the model is sure of it: 100%, because the logits are large.
# In training the norm has a second use: no row can become so large or so
# small that learning stops.
#
# ## The residual stream
#
# Now the engine computes `x = a @ Wo` in place of `x = x + a @ Wo`: each part
# replaces the stream. What follows from "The capital of France is"?


# %%
class WithoutResidual(Plain):
    """Each part replaces the stream. Nothing is added to it."""

    def add_linear(self, x, h, weight, bias=None):
        """Return the product alone."""
        return self.linear(h, weight, bias)


write(WithoutResidual())

# %% [markdown]
# The same token again and again, after both prompts. What one part knew is
# lost in the next one. With the sum it stays available to all later parts,
# and to the head.
#
# The sum has one more consequence. A part whose output is 0 adds nothing, and
# the others still get the stream. So we can leave out *one* part of the 12,
# by setting its last matrix to 0. The bars are the probability of the token
# " P", which begins " Paris". A frame leaves out the next part.

# %%
right = int(minillm.forward(model, ids)[-1].argmax())
left_out = {"none": float(softmax(minillm.forward(model, ids)[-1])[right])}
for number, part in enumerate(model.layer_weights):
    for name, matrix in (("attention", "output"), ("MLP", "down")):
        layers = list(model.layer_weights)
        zeros = np.zeros_like(getattr(part, matrix))
        layers[number] = replace(part, **{matrix: zeros})
        changed = replace(model, layer_weights=tuple(layers))
        p = softmax(minillm.forward(changed, ids)[-1])
        left_out[f"{name} {number}"] = round(float(p[right]), 3)
step_through(line_by_line(bars(left_out)), printed=[-1])
others = {name: p for name, p in left_out.items() if name != "none"}
worst = sorted(others, key=others.get)[:3]
print("needed most:", ", ".join(worst))
assert set(worst) == {"MLP 0", "attention 4", "attention 5"}
assert sum(p > 0.5 for p in others.values()) >= 8

# %% [markdown]
# Most parts change the stream a little, and the model can do without any one
# of them. Three do what no other part does. For another prompt they can be
# other ones.
#
# ## The MLP: why a curve
#
# Attention moves information between tokens. The **MLP** works on each token
# alone. It is where a model keeps much of what it knows. In this model it is
#
#     m = silu(g) * u        g = h @ Wg (the gate), u = h @ Wu (up)
#     x = x + m @ Wd                                    (down)
#
# `silu` is a **curve**, a function that is not a straight line. We leave out
# the MLP, then gate and curve (`m = u`), then only u (`m = silu(g)`).


# %%
class WithoutMLP(Plain):
    """The MLP adds 0."""

    def swiglu(self, gate, up):
        """Return zeros."""
        return np.zeros_like(up)


class WithoutCurve(Plain):
    """Between the two products of the MLP nothing happens."""

    def swiglu(self, gate, up):
        """Return `up` as it is."""
        return up


class Gateless(Plain):
    """The curve stays, and `up` is left out."""

    def swiglu(self, gate, up):
        """Return silu(gate) alone."""
        return swiglu(gate, np.ones_like(up))


print("Without the MLP:")
write(WithoutMLP())
print("Without gate and curve:")
write(WithoutCurve())
print("With the curve, without u:")
write(Gateless())

# %%
inner = config.intermediate_size
up_matrix = layer.gate_up[:, inner:]  # [hidden size, inner]
one_matrix = up_matrix @ layer.down
assert np.allclose((h @ up_matrix) @ layer.down, h @ one_matrix, atol=1e-3)
predict(
    f"Without a curve the MLP is h @ Wu @ Wd. Wu is {up_matrix.shape} and Wd "
    f"is {layer.down.shape}. One matrix gives the same result. What is its "
    "shape?",
    answer=one_matrix.shape,
    why="(h @ Wu) @ Wd = h @ (Wu @ Wd). A curve between them makes more "
    "possible: different tokens are changed in different ways.",
    shows="Without a curve between them, any number of matrices can do no "
    "more than one matrix can.",
)

# %% [markdown]
# ## The MLP: why a gate
#
# What does the curve do? For a large positive g, silu(g) is about g. For a g
# far below 0 it is about 0. So the gate decides, for each of the 512 numbers
# of u and for each token, how much of it goes on. The picture has six of
# these numbers in layer 0, and silu(g) of each token: fuller is more. Which
# three are open for " France" and nearly shut for " is"? So one MLP, with the
# same matrices, does something else for each token.
#
# The last question tries a simpler curve: `np.maximum(g, 0) * u`.

# %%
lines = []
for g in (-8.0, -4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0):
    silu = swiglu(np.array([[g]]), np.ones((1, 1)))[0, 0]
    lines.append([f"{g:g}", f"{silu:.2f}", f"{max(g, 0):.2f}"])
print(table(["g", "silu(g)", "max(0, g)"], lines))
opened = swiglu(gate, np.ones_like(gate))  # silu(g), [tokens, 512]
by_difference = (opened[3] - opened[4]).argsort()  # " France" minus " is"
six = np.concatenate([by_difference[:3], by_difference[-3:]])
print("\nsilu(g) of six numbers, or 0 where it is below 0:")
print(heatmap(np.maximum(opened[:, six], 0), [word(t) for t in ids]))
assert (opened[4, six[:3]] > 2 * opened[3, six[:3]]).all()
assert (opened[3, six[3:]] > 2 * opened[4, six[3:]]).all()


class WithReLU(Plain):
    """A simpler curve: max(0, gate)."""

    def swiglu(self, gate, up):
        """Return max(0, gate) * up."""
        return np.maximum(gate, 0) * up


relu = replace(model, ops=WithReLU())
texts = [minillm.generate(one, prompt, 9).text for one in (model, relu)]
choices = ["nonsense", "another city", "the same text as before"]
predict(
    "The curve max(0, g) is called ReLU. The model was trained with silu. In "
    "the table compare the two columns. What does it write with ReLU?",
    answer=choices[2] if texts[0] == texts[1] else choices[0],
    choices=choices,
    why="Both let through what is large and positive, and shut out what is "
    "far below 0.",
    shows="The MLP needs a curve, but this model gets along with another "
    "curve of nearly the same form.",
)
write(WithReLU())
assert texts[0] == texts[1]

# %% [markdown]
# ## Where to go from here
#
# One caution. This model was trained *with* all its parts, so it fails
# without one of them. That shows what this model uses. It does not show that
# no model could be trained without that part.
#
# - Explain to another person: what is added to what, why a row is divided by
#   its size, and why two matrices without a curve are one matrix.
# - Read `minillm/transformer.py`: `transformer_layer` is what you have seen,
#   in 12 lines. Then read `minillm/layers.py`: `rms_norm` and `swiglu`.
# - See the parts of each pass on a page, view "pass":
#   `minillm trace --raw --html run.html "The capital of France is"`.
# - Write it yourself: exercises 31 `add_and_norm` and 32 `swiglu`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 31`.
# - `minillm zoo 3 --show` runs a bug of a public engine: an epsilon that is
#   not the model's.
# - Next: lesson 5, prefill: the whole prompt in one pass.
#
# Sources: Touvron et al., LLaMA, 2302.13971. Zhang and Sennrich, RMSNorm,
# 1910.07467. Shazeer, GLU Variants, 2002.05202. He et al., Deep Residual
# Learning, 1512.03385.
