# %% [markdown]
# # Streaming and sharding
#
# What if a model is larger than the memory? There are two ways. **Layer
# streaming** leaves the layers in a file, and each forward pass reads one
# after another. **Sharding** divides the model between several GPUs. They can
# share each layer (**tensor parallelism**), or have some layers each
# (**pipeline parallelism**). This lesson runs all three on `story`, and
# counts what they read, what they send, and how long they wait.
#
# The article's section is "Optimization Strategies", 5.

# %%
import numpy as np

import minillm
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through
from minillm.classroom.pictures import bars, table, timeline
from minillm.classroom.questions import predict
from minillm.estimate.hardware import find_gpu
from minillm.estimate.models import find_model
from minillm.estimate.parameters import matrix_parameters
from minillm.estimate.sharding import (
    pipeline_bubble,
    span_of,
    tensor_parallel_bytes_sent,
)
from minillm.estimate.streaming import streamed_seconds_per_token
from minillm.evidence.cut_models import idle_share, tensor_parallel_pass
from minillm.layers import swiglu

model = minillm.load("story", backend="plain")
ids = model.tokenizer.encode("The capital of France is")
layers = model.config.num_hidden_layers
print(f"{layers} layers, a prompt of {len(ids)} tokens")

# %% [markdown]
# ## Streaming: which layers are read?
#
# `load(..., layers="streamed")` reads no layer. While a pass computes layer
# 0, a thread reads layer 1, and so on. A layer that is done is dropped. So
# two layers are in memory, for a model of any depth:
#
#     reading    | layer 0 | layer 1 | layer 2 | layer 3 |
#     computing            | layer 0 | layer 1 | layer 2 | layer 3 |
#
# We generate three tokens, and write down each layer that is read.

# %%
streamed = minillm.load("story", backend="plain", layers="streamed")
reads = []
read_layer = streamed.layer_weights.read


def read_and_note(number):
    """Read a layer from the file, and write down its number."""
    reads.append(number)
    return read_layer(number)


streamed.layer_weights.read = read_and_note
answer = minillm.generate(streamed, ids, 3)
assert answer.tokens == minillm.generate(model, ids, 3).tokens
predict(
    f"The prompt has {len(ids)} tokens, and 3 new tokens are generated. The "
    f"model has {layers} layers. How many times was a layer read?",
    answer=len(reads),
    mistakes={
        layers: "No layer is kept until the next pass.",
        (len(ids) + 3) * layers: "The prompt is one pass (lesson 5).",
        4 * layers: "The last new token is never fed back.",
    },
    why="One pass for the prompt, which gives the first token, and one for "
    "each of the two others. A pass reads all layers.",
    shows="Streaming reads all layers again in every pass, so it pays to "
    "have many tokens in a pass.",
)
for number in range(0, len(reads), layers):
    print(f"pass {number // layers + 1}:", reads[number : number + layers])

# %% [markdown]
# The tokens are the same. Only the time differs: a pass takes at least
#
#     bytes of the layers / bandwidth of the file
#
# A model of 70 billion weights in 16 bits has 140 GB. A GPU reads them from
# the memory of the computer over a PCIe 4 link, with 31.5 GB/s.

# %%
gigabytes, link = 140, 31.5
seconds = streamed_seconds_per_token(gigabytes, link)
predict(
    f"How many seconds does a decode step take, if it reads {gigabytes} GB "
    f"at {link} GB/s?",
    answer=seconds,
    within=0.03,
    why="And each new token takes one such step. A batch shares it: the bars "
    "are seconds for each token, by the number of sequences.",
    shows="A streamed decode step takes at least the bytes of the weights, "
    "divided by the speed of the link.",
)
each = {
    f"batch {batch}": streamed_seconds_per_token(
        gigabytes, link, tokens=batch
    )
    for batch in (1, 4, 16, 64)
}
print(bars(each, " s"))

# %% [markdown]
# ## Tensor parallelism: every rank has a part of each layer
#
# A process, or a GPU, that has a part of the model is called a **rank**. How
# can two ranks share an MLP? Rank 0 takes the first half of the columns of
# gate and up. Each column gives one number, so no sum is cut, and the curve
# can be applied. Then each rank multiplies its numbers by its own *rows* of
# the last matrix. What does a rank get?

# %%
layer = model.layer_weights[0]
h = model.embedding[ids]  # [tokens, hidden size]; any rows will do here
inner = model.config.intermediate_size
gate, up = np.split(layer.gate_up, 2, axis=1)  # [hidden size, inner] each
partial, lines = [], []
for rank in range(2):
    own = span_of(inner, 2, rank)  # the numbers of this rank
    cut = slice(own.start, own.stop)
    numbers = swiglu(
        h @ gate[:, cut], h @ up[:, cut]
    )  # [tokens, inner / 2]
    partial.append(numbers @ layer.down[cut])  # [tokens, hidden size]
whole = swiglu(h @ gate, h @ up) @ layer.down
rows = [("rank 0", partial[0]), ("rank 1", partial[1])]
rows += [("sum", sum(partial)), ("whole MLP", whole)]
for name, values in rows:
    first = [f"{number:+.3f}" for number in values[-1, :4]]
    lines.append([name, str(values.shape), *first])
print("the first four numbers of the last token:")
print(table(["", "shape", "", "", "", ""], lines))
assert np.allclose(sum(partial), whole, atol=1e-4)

# %% [markdown]
# Each rank has one summand of *every* number. The sum is computed by an
# **all-reduce**: all ranks send what they have, and all receive the sum.
# Attention is cut in the same way, by heads. Now a pass of the engine on 1, 2
# and 3 ranks. Here the ranks are threads, which send each other messages.

# %%
passes = {ranks: tensor_parallel_pass(ranks, ids) for ranks in (1, 2, 3)}
reads_mb, sent_kb = {}, {}
for ranks, every in passes.items():
    for number, rank in enumerate(every):
        name = f"rank {number} of {ranks}"
        assert rank.same  # the logits are those of the whole model
        reads_mb[name] = rank.weight_bytes / 1e6
        sent_kb[name] = sum(kind.bytes for kind in rank.sent.values()) / 1e3
frames = [
    f"{title}\n{bars(values)}"
    for title, values in (
        ("weights that a rank reads in a pass, MB:", reads_mb),
        ("what it sends, kB:", sent_kb),
    )
]
step_through(frames, printed=[0, 1])

# %%
reduces = passes[2][0].sent["all_reduce"].calls
predict(
    f"The model has {layers} layers. A layer has one all-reduce after "
    "attention and one after the MLP, and the embedding, whose rows are cut, "
    "has one. How many are in a pass?",
    answer=reduces,
    mistakes={2 * layers: "And the one of the embedding."},
    why="Between two all-reduces each rank computes alone. So a fast network "
    "is needed: all ranks wait for each of them.",
    shows="Cut matrices cost two all-reduces a layer, and in each of them "
    "all ranks wait for each other.",
)
assert reduces == 2 * layers + 1

# %%
llama = find_model("llama-2-7b")
sent = tensor_parallel_bytes_sent(llama, tokens=1, gpus=8)
calls = 2 * llama.num_hidden_layers  # after attention and after the MLP
a_share = 2 * matrix_parameters(llama) / 8  # bytes, in 16 bits, on each GPU
read_ms = a_share / find_gpu("a100").bandwidth_bytes_per_s * 1e3
print("Llama 2 7B on 8 A100, one token:")
print(f"each GPU reads {a_share / 1e9:.2f} GB in {read_ms:.2f} ms")
print(f"and sends {sent / 1e6:.2f} MB, in {calls} all-reduces")

# %% [markdown]
# The bytes that are sent are few. But all GPUs wait for each all-reduce. A
# message takes some microseconds between GPUs of one machine, and more over a
# network. This is why tensor parallelism is used inside a machine.
#
# ## Pipeline parallelism: every rank has some layers
#
# Three ranks have two layers each. Such a part is called a **stage**. A stage
# sends the residual stream to the next one, and that is all. But while stage
# 0 computes, what do the others do? The rows of a pass can be cut into
# **micro-batches**. A digit is a micro-batch, a dot a slot in which a stage
# idles. A frame has more micro-batches.


# %%
def picture(stages, micro_batches):
    """Draw which micro-batch each stage computes, slot after slot."""
    rows = {}
    for stage in range(stages):
        digits = "".join(str(number) for number in range(micro_batches))
        rows[f"stage {stage}"] = (
            "." * stage + digits + "." * (stages - 1 - stage)
        )
    return timeline(rows, "slot")


frames, idle = [], {}
for micro_batches in (1, 2, 4, 8):
    idle[micro_batches] = idle_share(3, micro_batches, list(range(5, 13)))
    frames.append(
        f"micro-batches: {micro_batches}, idle: {idle[micro_batches]:.0%}\n"
        + picture(3, micro_batches)
    )
    formula = pipeline_bubble(3, micro_batches)
    assert abs(idle[micro_batches] - formula) < 1e-9
step_through(frames, printed=[0, 1, 3])

# %%
stages, batches = 4, 4
predict(
    f"A pipeline has {stages} stages and {batches} micro-batches. Which part "
    "of the slots is idle? This part is called the bubble. (Draw it, or "
    "think of p stages and m micro-batches.)",
    answer=float(pipeline_bubble(stages, batches)),
    within=0.02,
    mistakes={
        0.5: "Count the slots of one stage: 4 of work, and how many?"
    },
    why="There are m + p - 1 slots, and m of them are work: the bubble is "
    "(p - 1) / (m + p - 1) = 3 / 7. One sequence that decodes is one "
    f"micro-batch, so {pipeline_bubble(stages, 1):.0%} is idle.",
    shows="A pipeline needs many micro-batches: with one, all stages but one "
    "are idle at any time.",
)

# %% [markdown]
# Which one makes a token come sooner? With tensor parallelism all ranks read
# their part *at the same time*. In a pipeline one sequence passes one stage
# after the other, so its token does not come sooner than on one GPU with
# enough memory. A pipeline needs many sequences, and then gives more tokens
# per second.

# %%
share = max(rank.weight_bytes for rank in passes[2])
share /= passes[1][0].weight_bytes
claim(
    "sharding",
    "Split large models across multiple GPUs (sharding) ...: higher latency",
    "imprecise",
    f"true of a pipeline: with 3 stages and one sequence, {idle[1]:.0%} of "
    "the slots are idle. With tensor parallelism each of 2 ranks reads "
    f"{share:.0%} of the weights at the same time, so a token can come "
    "sooner.",
)
claim(
    "lazy-loading",
    "only load layers as needed (lazy loading) ... serving large models that "
    "don't fit on single GPU",
    "true if",
    f"one can wait: {seconds:.1f} s for each token, for 140 GB over PCIe 4.",
)

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: why streaming is slow in decode and cheap in a
#   long prefill, what an all-reduce adds up, and what a bubble is.
# - Read `minillm/streaming.py`: `LayerPass`. Then read
#   `minillm/parallel/backend.py`, and `minillm/parallel/thread_ranks.py` for
#   the ring of messages. The pages `docs/streaming.md` and
#   `docs/parallel.md` have figures and limits.
# - See a streamed model on a page, view "pass": `minillm trace --raw
#   --stream-layers --html run.html "The capital of France is"`.
# - Write it yourself: exercises 41 `all_reduce` and 42 `pipeline_bubble`.
#   `minillm exercise start my-exercises` makes a folder for all exercises,
#   once. There, run `minillm exercise check 41`.
# - `minillm zoo 30 --show` runs a bug of a public engine: a bias that every
#   rank adds.
# - More of the article's claims: `minillm claims --section optimization`.
# - This was the last lesson. `minillm claims` shows all claims of the article.
#
# Sources: Sheng et al., FlexGen, 2303.06865. Shoeybi et al., Megatron-LM,
# 1909.08053. Huang et al., GPipe, 1811.06965.
