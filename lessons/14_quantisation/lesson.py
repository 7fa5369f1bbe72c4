# %% [markdown]
# # Quantisation
#
# A decode step reads every weight once (lesson 6). So its time, and most of
# the memory, depend on the bytes of a weight. **Quantisation** stores weights
# in fewer bits. This lesson rounds a group of weights by hand, then a whole
# model, with fewer and fewer bits, until it breaks.
#
# The article's section is "Optimization Strategies", 1.

# %%
from dataclasses import replace

import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.frames import line_by_line, step_through
from minillm.classroom.pictures import bars, table
from minillm.classroom.questions import predict
from minillm.evidence.quantization import compare_accuracy
from minillm.quantization import GROUP, quantize
from minillm.trace.counting import counted

model = minillm.load("story", backend="plain")
matrix = model.layer_weights[0].down.T  # [out, in]
print("one matrix of layer 0:", matrix.shape, matrix.dtype)
print("its first weights:", matrix[0, :6].round(3))

# %% [markdown]
# ## Eight weights in 4 bits
#
# With b bits a number has 2^b values. We use -7 to 7 for 4 bits: 15 of them,
# as many below 0 as above. The weights become multiples of one step, which is
# called the **scale**:
#
#     scale = largest |weight| / 7      number = weight / scale, rounded
#     stored: the numbers, and one scale       weight back = number * scale
#
# A frame rounds one more weight. Compare the first and the fourth column. The
# last one is the error, in steps.


# %%
def round_trip(weights, bits):
    """Return numbers, the scale, and the weights that come back."""
    largest = 2 ** (bits - 1) - 1
    scale = np.abs(weights).max() / largest
    numbers = np.rint(weights / scale)
    return numbers, scale, numbers * scale


some = matrix[0, :8]
numbers, scale, back = round_trip(some, 4)
lines = [
    [f"{w:+.3f}", f"{w / scale:+.2f}", f"{n:+.0f}", f"{b:+.3f}", f"{e:.2f}"]
    for w, n, b, e in zip(
        some, numbers, back, np.abs(back - some) / scale, strict=True
    )
]
print(f"scale {scale:.4f}")
heads = ["weight", "weight / scale", "number", "back", "error"]
step_through(line_by_line(table(heads, lines), 2), printed=[-1])

# %%
bound = float(np.abs(back - some).max() / scale)
limit = 0.5
assert bound <= limit + 1e-4
predict(
    "A weight is rounded to the nearest multiple of the scale. How large can "
    "the error be, in steps of one scale?",
    answer=limit,
    mistakes={1: "The nearest multiple is closer than that."},
    why=f"Half a step. In the table the largest error is {bound:.2f}. The "
    "scale depends on the largest weight.",
    shows="Rounding is off by at most half a scale, so the scale decides how "
    "much is lost.",
)

# %% [markdown]
# ## One large weight
#
# What if one of the weights is much larger than all others? It is called an
# **outlier**. We set the first weight to 2.0 and round again.

# %%
outlier = some.copy()
outlier[0] = 2.0
_, coarse, spoiled = round_trip(outlier, 4)
zeros = int((spoiled == 0).sum())
before, after = (
    ", ".join(f"{w:.2f}" for w in row) for row in (outlier, spoiled)
)
predict(
    f"The weights are {before}. The scale "
    f"is 2 / 7 = {coarse:.2f}. How many of the eight weights come back as 0?",
    answer=zeros,
    why=f"{after} come back. Weights smaller than half a scale are rounded "
    "to 0: the outlier has taken the numbers of its neighbours.",
    shows="One large weight makes the scale of its group large, and then the "
    "small weights of the group are lost.",
)

# %% [markdown]
# An outlier spoils all weights that share its scale. So a scale should be
# shared by few weights. In minillm, as in GGUF files, 32 neighbours are a
# **group** with a scale of their own, in 16 bits. An outlier then costs
# precision in its own group only.
#
# But scales take memory, too.

# %%
stored = quantize(matrix, "int8")
per_weight = 8 * stored.nbytes / matrix.size
predict(
    f"{GROUP} weights of 8 bits share a scale of 16 bits. How many bits does "
    "a weight take, with its part of the scale?",
    answer=per_weight,
    mistakes={8: "Add the scale: 16 bits for 32 weights."},
    why=f"8 + 16/{GROUP}. Groups of 8 would take {8 + 16 / 8:g} bits. The "
    "size of a group is a compromise.",
    shows="The name of a format leaves out the scales: int8 takes "
    f"{per_weight:g} bits per weight.",
)

# %% [markdown]
# ## A whole model with fewer and fewer bits
#
# We round all matrices of the layers of `story`, once with a scale for each
# group of 32, and once with a single scale for a whole matrix. A frame is one
# number of bits. With how many bits does each way still write the text of
# the unrounded model?
#
# **KL** is the Kullback-Leibler divergence. It measures how far the
# probabilities of all next tokens are from those of the unrounded model. 0
# means that they are equal. Look for the first frame in which it is above 1.

# %%
prompt = "Once upon a time, there was a little"
text = model.tokenizer.encode(
    prompt + " girl named Rosie. She lived in a small house with her mom."
)


def rounded(bits, group):
    """Return the model with its layers rounded, and a scale per group."""
    largest = 2 ** (bits - 1) - 1
    layers = []
    for layer in model.layer_weights:
        parts = {}
        for name in ("qkv", "output", "gate_up", "down"):
            weights = getattr(layer, name).T  # [out, in]
            groups = weights.reshape(-1, group or weights.size)
            scales = np.abs(groups).max(axis=1, keepdims=True) / largest
            back = np.rint(groups / scales) * scales
            parts[name] = back.reshape(weights.shape).T
        layers.append(replace(layer, **parts))
    return replace(model, layer_weights=tuple(layers))


frames, divergence, texts = [], {}, {}
for bits in (8, 4, 3, 2):
    pair = {
        "32 weights": rounded(bits, 32),
        "a matrix": rounded(bits, None),
    }
    found = compare_accuracy({"whole": model, **pair}, text)
    lines = [f"{bits} bits"]
    for name, one in pair.items():
        divergence[bits, name] = found[name].kl_divergence
        says = texts[bits, name] = minillm.generate(one, prompt, 7).text
        kl = f"KL {found[name].kl_divergence:6.4f}"
        lines.append(f"  a scale for {name:10} {kl} {says!r}")
    frames.append("\n".join(lines))
step_through(frames, printed=[0, 1, 2, 3])
assert divergence[3, "32 weights"] < 0.1 < 1 < divergence[3, "a matrix"]
assert divergence[2, "32 weights"] > 0.1
assert texts[3, "32 weights"] == minillm.generate(model, prompt, 7).text

# %% [markdown]
# With 3 bits and small groups the model still writes the same text. With one
# scale for a matrix the text does not even follow from the prompt. The
# numbers have the same bits. The small groups cost half a bit more for each
# weight: 16 bits for 32 weights.
#
# ## What the engine stores
#
# `minillm.load("story", weights="int4")` loads weights in the engine's own
# formats. Its int4 stores a minimum for each group as well as a scale, so all
# 16 numbers are used. What does a decode step read, and how much does it
# compute?

# %%
reads, work = {}, {}
loaded = {}
for weights in ("float32", "bfloat16", "int8", "int4"):
    loaded[weights] = minillm.load("story", "plain", weights=weights)
    one, count = counted(loaded[weights])
    minillm.decode_step(one, text[0], minillm.KVCache(one, 1))
    reads[weights] = count.weight_bytes / 1e6
    work[weights] = count.flops
print("weights that a decode step reads, MB:")
print(bars(reads))
found = compare_accuracy(loaded, text)
for name, each in found.items():
    print(f"{name:9} KL {each.kl_divergence:.6f}")
assert found["int8"].kl_divergence < found["int4"].kl_divergence < 0.01

# %%
predict(
    f"A decode step in float32 does {work['float32']:,} FLOPs. How many are "
    "they with weights in int8?",
    answer=work["int8"],
    mistakes={work["float32"] // 4: "The bytes are a quarter of that."},
    within=0.001,
    why="The same: first each number becomes a float again, which is not "
    "counted here, then floats are multiplied. This is weight-only "
    "quantisation: it makes decode faster, and not a long prefill (lesson "
    "5).",
    shows="Fewer bits save bytes and not FLOPs, so they speed up what waits "
    "for memory.",
)

# %%
smaller = reads["float32"] / reads["int8"], reads["float32"] / reads["int4"]
half = [r / 2 for r in smaller]  # models are usually served in 16 bits
print("The article's claims about quantisation:")
claim(
    "quant-compute",
    "Quantization ... reducing memory and compute requirements",
    "imprecise",
    f"a step reads {smaller[0]:.1f} times fewer bytes in int8, and does the "
    "same FLOPs. Only a GPU that multiplies in int8 computes less.",
)
claim(
    "quant-2-4x",
    "2-4x faster inference",
    "imprecise",
    f"from 16 bits, the bytes give {half[0]:.1f} times for int8 and "
    f"{half[1]:.1f} for int4, with scales. These are upper bounds, for "
    "decode in small batches.",
)
claim(
    "quant-loss",
    "Tradeoff: slight accuracy loss",
    "true if",
    "the groups are small enough. Here KL is "
    f"{divergence[4, '32 weights']:.4f} with 4 bits and groups of 32, and "
    f"{divergence[3, 'a matrix']:.1f} with 3 bits and one scale per matrix.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: what a scale is, why an outlier hurts, and why
#   decode gets faster and a long prefill does not.
# - Read `minillm/quantization/int8.py`, then
#   `minillm/quantization/int4.py`. The page `docs/quantization.md` has
#   the memory and the times that were measured.
# - See an int4 model choose its tokens on a page, view "choice": `minillm
#   trace --raw --weights int4 --html run.html "Once upon a time"`.
# - Write it yourself: exercises 37 `int8_round_trip`, 38 `int4_packing`, 39
#   `bfloat16_bits` and 40 `blockwise_product`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 37`.
# - `minillm zoo 29 --show` runs a bug of a public engine: two numbers of a
#   byte in the wrong order.
# - More of the article's claims: `minillm claims --section optimization`.
# - Next: lesson 15, distillation: a smaller model.
#
# Sources: Dettmers et al., LLM.int8(), 2208.07339. Dettmers and Zettlemoyer,
# The case for 4-bit precision, 2212.09720.
