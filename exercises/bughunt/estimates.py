"""A small estimate: what a model takes on some GPUs, in small functions that need nothing but Python.

    python -m doctest estimates.py

says nothing if every figure is right. These are the right ones:

>>> report(LLAMA_2_70B, gpu=A100, gpus=4, prompt=4000, output=100)
parameters                        68.9766 billion
read for every step              137.4264 GB
KV cache of a token              327.6800 kB
prompts and answers that fit          111
prefill of one prompt            455.5974 ms
a step of one sequence            17.0125 ms
a step of that many               34.9156 ms
one request                        2.1398 s
that many requests                54.0275 s
a million tokens                   6.4357 dollars
wait if busy half of the time      1.0699 s
tokens a round, 4 guesses at 0.8   3.3616

Each function stands on those above it, so look at the first figure that is wrong. `python -i` lets you call them.
"""

LLAMA_2_70B = {
    "layers": 80, "hidden": 8192, "heads": 64, "kv_heads": 8, "head_dim": 128, "inner": 28672, "vocab": 32000
}  # fmt: skip
A100 = {"memory": 80e9, "flops_per_s": 312e12, "bytes_per_s": 2039e9, "dollars_per_hour": 1.19}
NUMBER_BYTES = 2  # float16


def layer_weights(model):
    """Numbers in the matrices of all layers: q, k, v, output; gate, up, down."""
    q, kv = model["heads"] * model["head_dim"], model["kv_heads"] * model["head_dim"]
    return model["layers"] * model["hidden"] * (2 * q + 2 * kv + 3 * model["inner"])


def head_weights(model):
    """Numbers in the output head; the embedding has as many."""
    return model["hidden"] * model["vocab"]


def parameters(model):
    """All numbers, those of the norms too."""
    norms = (2 * model["layers"] + 1) * model["hidden"]
    return layer_weights(model) + 2 * head_weights(model) + norms


def step_bytes(model):
    """Bytes of weights that every step reads: of the embedding it only looks up rows."""
    return NUMBER_BYTES * (layer_weights(model) + head_weights(model))


def cache_bytes(model, tokens):
    """Bytes of the keys and values of so many tokens."""
    return NUMBER_BYTES * 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * tokens


def pass_seconds(model, gpu, gpus, sequences, new, cached):
    """One pass over `new` tokens of each sequence, behind `cached` ones; logits of the last row of each."""
    pairs = new * cached + new * (new + 1) / 2  # each query sees what is before it, and itself
    flops = 2 * layer_weights(model) * sequences * new
    flops += 2 * head_weights(model) * sequences
    flops += 4 * model["layers"] * model["heads"] * model["head_dim"] * sequences * pairs
    bytes_read = step_bytes(model) + cache_bytes(model, sequences * (cached + new))
    return max(flops / gpu["flops_per_s"], bytes_read / gpu["bytes_per_s"]) / gpus


def most_sequences(model, gpu, gpus, tokens):
    """How many sequences of so many tokens fit beside the weights; a tenth of the memory is for other things."""
    free = 0.9 * gpus * gpu["memory"] - NUMBER_BYTES * parameters(model)
    return max(0, int(free // cache_bytes(model, tokens)))


def request_seconds(model, gpu, gpus, sequences, prompt, output):
    """Equal requests together: the prompts in one pass, then a step for each token but the first."""
    steps = (pass_seconds(model, gpu, gpus, sequences, 1, prompt + done) for done in range(output - 1))
    return pass_seconds(model, gpu, gpus, sequences, prompt, 0) + sum(steps)


def dollars_per_million(gpu, gpus, tokens, seconds):
    """A million tokens, where so many take so many seconds."""
    return gpus * gpu["dollars_per_hour"] / 3600 * seconds / tokens * 1e6


def mean_wait(busy, service_s):
    """Mean wait at one server that is busy for this share of the time, if all services are alike (M/D/1)."""
    return service_s * busy / (2 * (1 - busy))


def tokens_per_round(acceptance, guesses):
    """Mean tokens of a round of speculative decoding."""
    return sum(acceptance**number for number in range(guesses + 1))


def report(model, gpu, gpus, prompt, output):
    """Print all of it."""
    batch = most_sequences(model, gpu, gpus, prompt + output - 1)
    middle = prompt + output // 2
    alone = request_seconds(model, gpu, gpus, 1, prompt, output)
    together = request_seconds(model, gpu, gpus, batch, prompt, output)
    for label, value, unit in (
        ("parameters", parameters(model) / 1e9, " billion"),
        ("read for every step", step_bytes(model) / 1e9, " GB"),
        ("KV cache of a token", cache_bytes(model, 1) / 1e3, " kB"),
        ("prompts and answers that fit", batch, ""),
        ("prefill of one prompt", 1e3 * pass_seconds(model, gpu, gpus, 1, prompt, 0), " ms"),
        ("a step of one sequence", 1e3 * pass_seconds(model, gpu, gpus, 1, 1, middle), " ms"),
        ("a step of that many", 1e3 * pass_seconds(model, gpu, gpus, batch, 1, middle), " ms"),
        ("one request", alone, " s"),
        ("that many requests", together, " s"),
        ("a million tokens", dollars_per_million(gpu, gpus, batch * output, together), " dollars"),
        ("wait if busy half of the time", mean_wait(0.5, alone), " s"),
        ("tokens a round, 4 guesses at 0.8", tokens_per_round(0.8, 4), ""),
    ):
        number = f"{value:.4f}" if isinstance(value, float) else str(value)
        print(f"{label:<33}{number:>8}{unit}")
