# %% [markdown]
# # Hardware and the roofline
#
# Which GPU should run a model? Lessons 4 to 7 put the figures of one GPU into
# their formulas. This lesson puts in all of them: first whether a model fits,
# then how fast it runs, and why. What you learn on data sheets you then try
# on a machine that you know: your own.
#
# The article's section is "Inference Hardware Selection".

# %%
import minillm
from minillm.benchmark.this_machine import measure_decode, measure_machine
from minillm.classroom.claims import claim
from minillm.classroom.pictures import bars, roofline, table
from minillm.classroom.questions import predict
from minillm.estimate.batching import decode_tokens_per_s, smallest_batch
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
# For inference a GPU is three numbers: how many bytes it holds, how fast it
# reads them (its **bandwidth**), and how fast it multiplies. (The price comes
# in lesson 12.) They are from the makers' data sheets, each with its source
# in `minillm/estimate/gpus.toml`.
#
# ## Does it fit?
#
# The weights must be in the GPU's memory, and beside them the KV cache. Not
# all of the memory is for them: programs need some, too. We count on 90%.

# %%
seventy, h100 = find_model("llama-2-70b"), find_gpu("h100-sxm")
predict(
    f"Llama 2 70B has {weights_bytes(seventy, 1) / 1e9:.0f} billion weights, "
    "a number in float16 has 2 bytes. How many H100 with "
    f"{h100.memory_bytes / GB:.0f} GB does it take to hold them?",
    answer=gpus_needed(weights_bytes(seventy), h100.memory_bytes),
    mistakes={1: "That would be a byte for each weight, and no room left."},
    why=f"{weights_bytes(seventy) / GB:.0f} GB are more than one has, by "
    "far. In int8, a byte a weight, one is nearly full.",
)
a100, rows = find_gpu("a100"), []
for billions in (7, 13, 70, 200):
    row = [f"{billions}B"]
    for name in ("float16", "int8", "int4"):
        size = billions * 1e9 * FORMATS[name].bytes_each
        row.append(f"{size / GB:.1f} GB, {gpus_needed(size, 80 * GB)}")
    rows.append(row)
print("weights, and how many GPUs of 80 GB they take:")
print(table(["", "float16", "int8", "int4"], rows))

# %%
predict(
    "A data sheet's GB has 1000 · 1000 · 1000 bytes. Tools such as "
    "nvidia-smi count in GiB, of 1024 · 1024 · 1024, and often write G for "
    "both. How many GiB has a card of 80 GB?",
    answer=80 * GB / GIB,
    within=0.002,
    mistakes={80 * GIB / GB: "Fewer: a GiB is larger than a GB."},
    why="80 · 1000³ / 1024³. The 7% have kept more than one model from "
    "fitting. (A real card shows a little more or less: it keeps some for "
    "itself, and data sheets round.)",
)

# %% [markdown]
# ## How much work is it?
#
# A config says how large a model's matrices are. So it says, too, what a pass
# computes and reads: two FLOPs for each weight and token, and attention's
# share. Is the formula right? We count what the engine really does.

# %%
story, count = counted(minillm.load("story"))
ids = story.tokenizer.encode("Once upon a time, there was a little girl")
cache = minillm.KVCache(story, 40)
minillm.prefill(story, ids, cache)
expected = prefill_work(story.config, len(ids), 4, 4)  # 4 bytes: float32
print(f"prefill of {len(ids)} tokens: {count.flops:,} FLOPs counted")
print(f"{'the formula':>20}: {expected.flops:,.0f}")
assert count.flops == expected.flops
before, step = count.flops, decode_work(story.config, len(ids) + 1, 1, 4, 4)
minillm.decode_step(story, ids[0], cache)
print(f"    the next token: {count.flops - before:,} FLOPs counted")
print(f"{'the formula':>20}: {step.flops:,.0f}")
assert count.flops - before == step.flops

# %% [markdown]
# ## The roofline
#
# FLOPs divided by bytes is the **arithmetic intensity** of some work. A GPU
# can do so many FLOPs in the time in which it reads a byte: that is its
# **ridge**, F / B. Work of less intensity waits for memory, and reaches only
# a part of the peak. Drawn over the intensity, what can be reached rises like
# a roof and then is flat. Here is Llama 2 7B on an A100; texts have 500
# tokens.

# %%
seven = find_model("llama-2-7b")
work = {
    "decode, 1 text": decode_work(seven, 500),
    "decode, 40 texts": decode_work(seven, 500, 40),
    "prefill, 50 tokens": prefill_work(seven, 50),
    "prefill, 500 tokens": prefill_work(seven, 500),
}
print(
    roofline(
        a100.flops_per_s,
        a100.bandwidth_bytes_per_s,
        {name: part.intensity for name, part in work.items()},
    )
)

# %%
ridge = ridge_flops_per_byte(a100)
predict(
    "Two bytes a weight: n tokens do 2·n FLOPs for 2 bytes, so arithmetic "
    f"is the limit from {ridge:.0f} tokens on (lesson 4). Now the weights "
    "are int4, half a byte, and arithmetic is as fast as before. From how "
    "many tokens on is arithmetic the limit?",
    answer=ridge * FORMATS["int4"].bytes_each / 2,
    within=0.03,
    mistakes={
        ridge * 4: "Fewer bytes are read sooner: memory limits *less*.",
        ridge / 2: "From 2 bytes to a half is a factor of 4.",
    },
    why="2·n FLOPs for half a byte. So small weights help small batches: "
    "above the ridge it is the arithmetic that takes the time, and weights "
    "that are only stored smaller do not change it.",
)

# %% [markdown]
# ## Your own machine
#
# Its data sheet is not at hand, so we measure: how fast it reads the matrices
# of `story`, how fast it multiplies, and what Python needs for each layer. In
# large models on GPUs the last is small. In a small model it is not.

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
    f"{mine.flops_per_s / 1e9:.0f} GFLOP/s; Python's part is "
    f"{time.overhead_s * 1e3:.2f} ms. How many ms does a step take?",
    answer=time.seconds * 1e3,
    within=0.1,
    mistakes={
        slower * 1e3: "And Python's part?",
        (time.compute_s + time.memory_s + time.overhead_s)
        * 1e3: "Reading and computing overlap: take the longer.",
    },
    why=f"max({time.memory_s * 1e3:.2f}, {time.compute_s * 1e3:.2f}) + "
    f"{time.overhead_s * 1e3:.2f} ms. Nothing of this was measured on a "
    "decode step of `story`. Let us do that now.",
)

# %%
measured = measure_decode(minillm.load("story"), context)
shown = {"predicted": time.seconds * 1e3, "measured": measured * 1e3}
print(bars(shown, " ms"))
print(f"The prediction is off by {time.seconds / measured - 1:+.0%}.")
faster = a100.bandwidth_bytes_per_s / mine.bandwidth_bytes_per_s
print(f"An A100 reads {faster:.0f} times as fast as this machine.")

# %% [markdown]
# Other programs that run meanwhile make it worse; on a quiet machine it is
# within 25%. `minillm estimate --gpu this-machine --model story` does the
# same.
#
# ## How many texts at once?
#
# What the weights leave over is for the KV cache. And the more texts share a
# pass, the more tokens a second come out of it.

# %%
on_a100 = Serving(seven, a100)
most = most_sequences(on_a100, 500)
room, each = 0.9 * a100.memory_bytes, 500 * on_a100.cache_bytes_per_token
predict(
    f"An A100, of which 90% may be used: {room / GB:.0f} GB. Llama 2 7B "
    f"takes {on_a100.weights_bytes / GB:.1f} GB, a text of 500 tokens "
    f"{each / GB:.3f} GB of cache. How many texts fit?",
    answer=most,
    within=0.01,
    mistakes={room // each: "Beside the weights."},
    why=f"({room / GB:.0f} - {on_a100.weights_bytes / GB:.1f}) / "
    f"{each / GB:.3f}, rounded down. With grouped-query attention, as in "
    "Llama 3 8B, it is "
    f"{most_sequences(Serving(find_model('llama-3-8b'), a100), 500)}.",
)

# %%
rows, rates, alone = [], {}, {}
for name, gpu in gpu_table().items():
    serving = Serving(seven, gpu)
    texts = most_sequences(serving, 500)
    rates[name] = decode_tokens_per_s(serving, 500, texts)
    alone[name] = decode_time(serving, 500).seconds * 1e3
    together = decode_time(serving, 500, texts).seconds * 1e3
    rows.append([name, f"{alone[name]:.1f}", str(texts), f"{together:.1f}"])
print(table(["GPU", "alone, ms", "texts that fit", "together, ms"], rows))
print("tokens a second of all together, at most (7B, 500 tokens each):")
print(bars(rates))
fastest_read = sorted(
    gpu_table(), key=lambda n: -find_gpu(n).bandwidth_bytes_per_s
)
assert sorted(alone, key=lambda n: alone[n]) == fastest_read

# %% [markdown]
# Alone, a GPU is as fast as its memory is read. Together, the size of the
# memory counts as well: who holds more texts reads the weights for more.
#
# ## The article's claims

# %%
h200, l40s, t4 = find_gpu("h200-sxm"), find_gpu("l40s"), find_gpu("t4")
int8, int4 = (
    weights_bytes(seventy, FORMATS[name].bytes_each) / GB
    for name in ("int8", "int4")
)
thirteen = Serving(find_model("llama-2-13b"), l40s)
beside = int(thirteen.free_bytes // thirteen.cache_bytes_per_token)
claim(
    "weights-7b",
    "7B parameter model: ~14GB (in float16)",
    "true",
    f"Llama 2 7B has {weights_bytes(seven) / GB:.2f} GB.",
)
claim(
    "weights-70b-200b",
    "70B parameter model: ~140GB ... 200B parameter model: ~400GB",
    "true",
    f"Llama 2 70B has {weights_bytes(seventy) / GB:.1f} GB.",
)
claim(
    "h100-70b",
    "NVIDIA H100: 80GB HBM3 (fits up to 70B models comfortably)",
    "false",
    f"not in float16: {weights_bytes(seventy) / GB:.0f} GB take two. In "
    f"int8 it has {int8:.0f} GB, in int4 {int4:.0f}.",
)
claim(
    "h200-200b",
    "NVIDIA H200: 141GB HBM3e (fits 200B models)",
    "false",
    f"in float16 they take {gpus_needed(400 * GB, h200.memory_bytes)}; one "
    f"holds them only in int4, {200e9 * FORMATS['int4'].bytes_each / GB:.0f} "
    "GB.",
)
claim(
    "a100-hbm2",
    "NVIDIA A100: 80GB HBM2 (older, less throughput than H100)",
    "imprecise",
    f"with 80 GB it is {a100.memory_kind}; HBM2 has the card of 40 GB.",
)
claim(
    "l40s-7b-13b",
    "NVIDIA L40S: 48GB GDDR6 (adequate for 7B-13B models)",
    "true",
    f"beside 13B there is room for {beside:,} tokens in the cache.",
)
assert (
    gpus_needed(200e9 * FORMATS["int8"].bytes_each, h200.memory_bytes) > 1
)

# %%
on = {name: Serving(seven, gpu) for name, gpu in gpu_table().items()}
needs = {
    (name, rate): smallest_batch(on[name], 500, rate)
    for name, rate in (("h100-sxm", 3000), ("l40s", 1000))
}
slower = (
    decode_time(on["l40s"], 1).seconds
    / decode_time(on["h100-sxm"], 1).seconds
)
t4_fits = most_sequences(on["t4"], 500)
t4_int8 = smallest_batch(
    Serving(seven, t4, weights=FORMATS["int8"]), 500, 200
)
worth = {
    name: on[name].machine.bandwidth_bytes_per_s
    / GB
    / on[name].machine.dollars_per_hour
    for name in ("l40s", "h100-pcie", "h100-sxm")
}
on_cpu = weights_bytes(seven) / (51.2 * GB)  # two channels of DDR4-3200
claim(
    "h100-3000",
    "H100: 3,000+ tokens/second, good for batch processing",
    "true if",
    f"there are at least {needs['h100-sxm', 3000]} texts (7B, 500 tokens). "
    f"Alone: {1 / decode_time(on['h100-sxm'], 500).seconds:.0f}.",
)
claim(
    "l40s-1000",
    "L40S: 1,000+ tokens/second",
    "true if",
    f"there are at least {needs['l40s', 1000]} texts.",
)
claim(
    "l40s-latency",
    "L40S: ... faster per-token latency",
    "false",
    f"it takes {slower:.1f} times as long for a token as an H100: its memory "
    "is that much slower.",
)
claim(
    "t4-200",
    "T4: 200-300 tokens/second, cheapest but slowest",
    "true if",
    f"the model is in int8, with {t4_int8} texts or more. In float16 only "
    f"{t4_fits} fit: {decode_tokens_per_s(on['t4'], 500, t4_fits):.0f} "
    "tokens/s.",
)
claim(
    "l40s-per-dollar",
    "For interactive chat, L40S might offer better latency per dollar than "
    "H100",
    "true if",
    "it is the H100 PCIe. GB/s for a dollar an hour: "
    + ", ".join(f"{name} {value:,.0f}" for name, value in worth.items())
    + ".",
)
claim(
    "faq-cpu",
    "Llama 2 7B runs on modern CPUs in 5-10 seconds per token",
    "false",
    f"reading the weights takes {on_cpu:.2f} s in float16 at 51 GB/s, and "
    f"{on_cpu * FORMATS['q4_0'].bytes_each / 2:.2f} s in 4 bits.",
)
assert worth["h100-pcie"] < worth["l40s"] < worth["h100-sxm"]

# %% [markdown]
# `minillm claims h100-70b` shows the working of one, with inputs to vary.
#
# ## Where to go from here
#
# - Explain to somebody: what a GPU's three numbers each decide, and why int4
#   makes one text faster but not a thousand.
# - Read `minillm/estimate/work.py`, what a pass computes and reads; then
#   `minillm/estimate/roofline.py`, how long that takes. Both are short.
# - Try: `minillm estimate --model llama-2-7b --gpu a100 --batch 10 --explain`
# - Write it yourself: the exercises `kv_cache_size`, `roofline_time`,
#   `max_batch`.
# - Next: lesson 11, what a person waits for.
#
# Sources: Williams et al., Roofline, CACM 2009. Pope et al., 2211.05102. Data
# sheets of the GPUs.
