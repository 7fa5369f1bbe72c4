# %% [markdown]
# # Hardware and the roofline
#
# Which GPU should run a model? Lessons 5 to 8 used the numbers of one GPU.
# This lesson uses the numbers of many GPUs. First: does the model fit? Then:
# how fast does it run, and why? You first work with data sheets. Then you
# check the method on a machine that you can measure: your own.
#
# The article's section is "Inference Hardware Selection".

# %%
import minillm
from minillm.benchmark.this_machine import measure_decode, measure_machine
from minillm.classroom.claims import claim
from minillm.classroom.frames import step_through
from minillm.classroom.pictures import bars, roofline, table
from minillm.classroom.questions import predict
from minillm.estimate.batching import decode_tokens_per_s
from minillm.estimate.hardware import find_gpu, gpu_table
from minillm.estimate.memory import FORMATS, gpus_needed, weights_bytes
from minillm.estimate.models import find_model
from minillm.estimate.roofline import ridge_flops_per_byte
from minillm.estimate.serving import Serving, decode_time, most_sequences
from minillm.estimate.units import GB, GIB
from minillm.estimate.work import decode_work, prefill_work
from minillm.trace.counting import counted

rows = []
for name, gpu in gpu_table().items():
    memory, bandwidth = (
        gpu.memory_bytes / GB,
        gpu.bandwidth_bytes_per_s / GB,
    )
    kind, flops = gpu.memory_kind, gpu.flops_per_s / 1e12
    rows.append(
        [name, kind, f"{memory:.0f}", f"{bandwidth:,.0f}", f"{flops:,.0f}"]
    )
print(table(["GPU", "memory", "GB", "GB/s", "TFLOP/s"], rows))

# %% [markdown]
# For inference, three numbers describe a GPU: how many bytes its memory
# holds, how many bytes per second it reads (its **bandwidth**), and how many
# FLOPs per second it does. (The price follows in lesson 13.) The numbers are
# from the manufacturers' data sheets. The file `minillm/estimate/gpus.toml`
# gives the source of each one.
#
# ## Does the model fit?
#
# The GPU's memory must hold the weights and the KV cache. Other programs need
# some memory, too. So we assume that 90% of it can be used.

# %%
seventy, h100 = find_model("llama-2-70b"), find_gpu("h100-sxm")
predict(
    f"Llama 2 70B has {weights_bytes(seventy, 1) / 1e9:.0f} billion weights. "
    "A weight in float16 takes 2 bytes. One H100 has "
    f"{h100.memory_bytes / GB:.0f} GB. How many H100 are needed to hold the "
    "weights?",
    answer=gpus_needed(weights_bytes(seventy), h100.memory_bytes),
    mistakes={
        1: "That is enough for 1 byte per weight, with no memory left."
    },
    why=f"{weights_bytes(seventy) / GB:.0f} GB are far more than the memory "
    "of one. In int8, with 1 byte per weight, one would be nearly full.",
    shows="The bytes of the weights alone can decide how many GPUs a model "
    "needs.",
)
a100, rows = find_gpu("a100"), []
for billions in (7, 13, 70, 200):
    row = [f"{billions}B"]
    for name in ("float16", "int8", "int4"):
        size = billions * 1e9 * FORMATS[name].bytes_each
        row.append(f"{size / GB:.1f} GB, {gpus_needed(size, 80 * GB)}")
    rows.append(row)
print("size of the weights, and number of GPUs of 80 GB needed:")
print(table(["", "float16", "int8", "int4"], rows))

# %%
predict(
    "In a data sheet a GB is 1000 · 1000 · 1000 bytes. Tools such as "
    "nvidia-smi count in GiB: 1024 · 1024 · 1024 bytes. Often both are "
    "written as G. How many GiB does a card of 80 GB have?",
    answer=80 * GB / GIB,
    within=0.002,
    mistakes={
        80 * GIB / GB: "A GiB is larger than a GB, so there are fewer."
    },
    why="80 · 1000³ / 1024³. That 7% has kept more than one model from "
    "fitting. (A real card shows a slightly different number: it reserves "
    "some memory for itself, and data sheets are rounded.)",
    shows="A GB is 7% smaller than a GiB, so sizes are compared only in the "
    "same unit.",
)

# %% [markdown]
# ## How much work is a pass?
#
# A config gives the sizes of a model's matrices. From them follow the FLOPs
# and the bytes of a pass: two FLOPs per weight and token, plus the FLOPs of
# attention. Is this formula correct? We count the FLOPs of the real engine
# and compare.

# %%
story, count = counted(minillm.load("story"))
ids = story.tokenizer.encode("Once upon a time, there was a little girl")
cache = minillm.KVCache(story, 40)
minillm.prefill(story, ids, cache)
expected = prefill_work(story.config, len(ids), 4, 4)  # 4 bytes: float32
print(f"prefill of {len(ids)} tokens: {count.flops:,} FLOPs counted")
print(f"{'formula':>20}: {expected.flops:,.0f}")
assert count.flops == expected.flops
before, step = count.flops, decode_work(story.config, len(ids) + 1, 1, 4, 4)
minillm.decode_step(story, ids[0], cache)
print(f"        next token: {count.flops - before:,} FLOPs counted")
print(f"{'formula':>20}: {step.flops:,.0f}")
assert count.flops - before == step.flops

# %% [markdown]
# ## The roofline
#
# The **arithmetic intensity** of some work is its FLOPs divided by its bytes.
# The **ridge** of a GPU is F / B: the FLOPs that it can do in the time in
# which it reads one byte. Work with an intensity below the ridge waits for
# memory, so it reaches only a part of the peak. Plotted against intensity,
# the attainable performance rises like a roof and is flat after the ridge.
# The frames show a decode step on an A100, with 500 tokens a sequence: Enter
# raises the batch size. A and B climb, since a batch shares the weights. Why
# does A stop, and B not so soon? (Each sequence has a cache of its own. Llama
# 3 8B has grouped-query attention, so its cache is four times smaller.)

# %%
seven = find_model("llama-2-7b")
eight, frames = find_model("llama-3-8b"), []
for batch in (1, 4, 16, 64, 200):
    work = {
        "decode, Llama 2 7B": decode_work(seven, 500, batch),
        "decode, Llama 3 8B": decode_work(eight, 500, batch),
        "prefill of 500 tokens, Llama 2 7B": prefill_work(seven, 500),
    }
    points = {name: each.intensity for name, each in work.items()}
    plot = roofline(a100.flops_per_s, a100.bandwidth_bytes_per_s, points)
    frames.append(f"batch of {batch}\n{plot}")
step_through(frames)
ridge = ridge_flops_per_byte(a100)
predict(
    "With 2 bytes per weight, n tokens do 2·n FLOPs per 2 bytes. So from "
    f"{ridge:.0f} tokens on, a pass is compute-bound (lesson 5). Now each "
    "weight takes half a byte (int4). Arithmetic is as fast as before. From "
    "how many tokens on is a pass compute-bound now?",
    answer=ridge * FORMATS["int4"].bytes_each / 2,
    within=0.03,
    mistakes={
        ridge
        * 4: "Fewer bytes take less time to read, so the number is smaller.",
        ridge / 2: "From 2 bytes to half a byte is a factor of 4.",
    },
    why="2·n FLOPs per half byte. So int4 weights speed up small batches. "
    "Above the ridge the time is spent on arithmetic, and smaller weights do "
    "not change the number of FLOPs.",
    shows="Smaller weights make a pass faster only as long as memory is its "
    "limit.",
)

# %% [markdown]
# ## Your own machine
#
# You have no data sheet for it, so we measure three things: how fast it reads
# the matrices of `story`, how fast it multiplies, and how long Python needs
# for each layer. For large models on GPUs this overhead of Python is small.
# For a small model it is not.

# %%
mine = measure_machine(story.config)
here = Serving(
    story.config, mine, weights=FORMATS["float32"], cache_bytes=4
)
context = 100
step = decode_work(story.config, context, 1, 4, 4)
time = decode_time(here, context)
slower = max(time.compute_s, time.memory_s)
predict(
    f"A step of `story` reads {step.bytes / 1e6:.1f} MB and does "
    f"{step.flops / 1e6:.1f} MFLOP. Your machine reads "
    f"{mine.bandwidth_bytes_per_s / GB:.1f} GB/s and does "
    f"{mine.flops_per_s / 1e9:.0f} GFLOP/s. The overhead of Python is "
    f"{time.overhead_s * 1e3:.2f} ms. How many ms does a step take?",
    answer=time.seconds * 1e3,
    within=0.1,
    mistakes={
        slower * 1e3: "Add the overhead of Python.",
        (time.compute_s + time.memory_s + time.overhead_s)
        * 1e3: "Reading and computing overlap. Take the longer one.",
    },
    why=f"max({time.memory_s * 1e3:.2f}, {time.compute_s * 1e3:.2f}) + "
    f"{time.overhead_s * 1e3:.2f} ms. This is a prediction: no decode step "
    "of `story` was measured for it. The next cell measures one.",
    shows="The time of a step can be estimated from its bytes, its FLOPs and "
    "a few numbers of the machine.",
)

# %%
measured = measure_decode(minillm.load("story"), context)
shown = {"predicted": time.seconds * 1e3, "measured": measured * 1e3}
print(bars(shown, " ms"))
print(f"The prediction is off by {time.seconds / measured - 1:+.0%}.")
faster = a100.bandwidth_bytes_per_s / mine.bandwidth_bytes_per_s
print(f"An A100 reads {faster:.0f} times as fast as this machine.")

# %% [markdown]
# Other programs that run at the same time make the prediction worse. On a
# quiet machine it is within 25%. The command
# `minillm estimate --gpu this-machine --model story` computes the same.
#
# ## How many sequences fit?
#
# The memory that the weights leave free is for the KV cache. The more
# sequences share a pass, the more tokens per second the GPU produces.

# %%
on_a100 = Serving(seven, a100)
most = most_sequences(on_a100, 500)
room, each = 0.9 * a100.memory_bytes, 500 * on_a100.cache_bytes_per_token
predict(
    f"90% of an A100's memory is {room / GB:.0f} GB. The weights of Llama 2 "
    f"7B take {on_a100.weights_bytes / GB:.1f} GB. The cache of one sequence "
    f"of 500 tokens takes {each / GB:.3f} GB. How many sequences fit?",
    answer=most,
    within=0.01,
    mistakes={room // each: "Subtract the weights first."},
    why=f"({room / GB:.0f} - {on_a100.weights_bytes / GB:.1f}) / "
    f"{each / GB:.3f}, rounded down. For Llama 3 8B, which has grouped-query "
    "attention, it is "
    f"{most_sequences(Serving(find_model('llama-3-8b'), a100), 500)}.",
    shows="The memory that the weights leave free limits the batch, because "
    "each sequence needs a cache.",
)
rows, rates, alone = [], {}, {}
for name, gpu in gpu_table().items():
    serving = Serving(seven, gpu)
    batch = most_sequences(serving, 500)
    rates[name] = decode_tokens_per_s(serving, 500, batch)
    alone[name] = decode_time(serving, 500).seconds * 1e3
    largest = decode_time(serving, 500, batch).seconds * 1e3
    rows.append([name, f"{alone[name]:.1f}", str(batch), f"{largest:.1f}"])
heads = ["GPU", "ms, batch 1", "largest batch", "ms, largest batch"]
print(table(heads, rows))
print("upper bound of tokens/s at the largest batch (7B, 500 tokens each):")
print(bars(rates))
fastest_read = sorted(
    gpu_table(), key=lambda n: -find_gpu(n).bandwidth_bytes_per_s
)
assert sorted(alone, key=lambda n: alone[n]) == fastest_read

# %% [markdown]
# With a batch of 1, the speed of a GPU is the bandwidth of its memory. With
# the largest batch, the size of the memory matters, too. A GPU that holds
# more sequences reads the weights once for more of them.
#
# ## If the model does not fit
#
# The article's last strategy is lazy loading: the layers stay in the file,
# and each forward pass reads them from there. Then only two layers are in
# memory: one computes, and a thread reads the next one. We count the reads.

# %%
streamed = minillm.load("story", layers="streamed")
tokens = streamed.tokenizer.encode("Once upon a time there was a cat")
layers = streamed.layer_weights
reads, read_layer = [], layers.read
layers.read = lambda number: reads.append(number) or read_layer(number)
minillm.prefill(streamed, tokens, minillm.KVCache(streamed, len(tokens)))
print(f"prefill: {len(reads)} layers read for {len(tokens)} tokens")
assert len(reads) == streamed.config.num_hidden_layers

reads.clear()
minillm.naive_decode(streamed, tokens, 3)
print(f"3 new tokens: {len(reads)} layers read")
assert len(reads) == 3 * streamed.config.num_hidden_layers

# %% [markdown]
# A pass reads every layer once, for one token or for many. So prefill shares
# the price among its tokens, and decoding pays it for each token. The page
# `docs/streaming.md` shows what that costs in milliseconds.
#
# ## The article's claims

# %%
l40s = Serving(seven, find_gpu("l40s"))
h100_sxm = Serving(seven, find_gpu("h100-sxm"))
int8, int4 = (
    weights_bytes(seventy, FORMATS[name].bytes_each) / GB
    for name in ("int8", "int4")
)
slower = decode_time(l40s, 1).seconds / decode_time(h100_sxm, 1).seconds
on_cpu = weights_bytes(seven) / (51.2 * GB)  # two channels of DDR4-3200
claim(
    "h100-70b",
    "NVIDIA H100: 80GB HBM3 (fits up to 70B models comfortably)",
    "false",
    f"not in float16: {weights_bytes(seventy) / GB:.0f} GB need two cards. "
    f"In int8 the weights take {int8:.0f} GB, in int4 {int4:.0f} GB.",
)
claim(
    "l40s-latency",
    "L40S: ... faster per-token latency",
    "false",
    f"it takes {slower:.1f} times as long per token as an H100, because its "
    f"memory bandwidth is {slower:.1f} times lower.",
)
claim(
    "faq-cpu",
    "Llama 2 7B runs on modern CPUs in 5-10 seconds per token",
    "false",
    f"reading the weights takes {on_cpu:.2f} s in float16 at 51 GB/s, and "
    f"{on_cpu * FORMATS['q4_0'].bytes_each / 2:.2f} s in 4 bits.",
)
assert slower > 3 and on_cpu < 1

# %% [markdown]
# ## Where to go from here
#
# - Explain to another person: what each of a GPU's three numbers decides, and
#   why int4 speeds up a batch of 1 but not a batch of 1,000.
# - Read `minillm/estimate/work.py`: what a pass computes and reads. Then read
#   `minillm/estimate/roofline.py`: how long that takes. Both are short.
# - Try: `minillm estimate --model llama-2-7b --gpu a100 --batch 10 --explain`
# - See passes of a run of your own under a roofline, view "the pass":
#   `minillm trace --raw --html run.html "Once upon a time"`.
# - Write it yourself: exercises 23 `kv_cache_size`, 24 `roofline_time` and 25
#   `max_batch`. `minillm exercise start my-exercises` makes a folder for all
#   exercises, once. There, run `minillm exercise check 23`.
# - More of the article's claims: `minillm claims --section hardware`.
# - Next: lesson 12, what a user waits for.
#
# Sources: Williams et al., Roofline, CACM 2009. Pope et al., 2211.05102. Data
# sheets of the GPUs.
