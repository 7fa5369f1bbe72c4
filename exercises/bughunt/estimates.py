"""A small estimate of the memory, time and cost of a model on GPUs, in small functions of plain Python.

    python -m doctest estimates.py

prints nothing if every number is correct. These are the correct numbers:

>>> report(LLAMA_2_70B, gpu=A100, gpus=4, prompt=4000, output=100)
parameters                        68.9766 billion
weights read per step            137.4264 GB
KV cache per token               327.6800 kB
sequences that fit                    111
prefill of one prompt            455.5974 ms
decode step, batch of 1           17.0125 ms
decode step, largest batch        34.9156 ms
request, batch of 1                2.1398 s
all requests, largest batch       54.0275 s
a million tokens                   6.4357 dollars
mean wait, busy 50%                1.0699 s
tokens per round: K = 4, a = 0.8   3.3616

Each function uses the ones above it. So look at the first number that is wrong. `python -i` lets you call them.
"""

LLAMA_2_70B = {
    "layers": 80, "hidden": 8192, "heads": 64, "kv_heads": 8, "head_dim": 128, "inner": 28672, "vocab": 32000
}  # fmt: skip
A100 = {"memory": 80e9, "flops_per_s": 312e12, "bytes_per_s": 2039e9, "dollars_per_hour": 1.19}
NUMBER_BYTES = 2  # float16


def layer_weights(model):
    """Return the number of weights in the matrices of all layers: q, k, v, output; gate, up, down."""
    q, kv = model["heads"] * model["head_dim"], model["kv_heads"] * model["head_dim"]
    return model["layers"] * model["hidden"] * (2 * q + 2 * kv + 3 * model["inner"])


def head_weights(model):
    """Return the number of weights in the output head. The embedding has the same number."""
    return model["hidden"] * model["vocab"]


def parameters(model):
    """Return the number of all weights, including the norms."""
    norms = (2 * model["layers"] + 1) * model["hidden"]
    return layer_weights(model) + 2 * head_weights(model) + norms


def step_bytes(model):
    """Return the bytes of weights that a step reads. It looks up only a few rows of the embedding."""
    return NUMBER_BYTES * (layer_weights(model) + head_weights(model))


def cache_bytes(model, tokens):
    """Return the bytes of the keys and values of `tokens` tokens."""
    return NUMBER_BYTES * 2 * model["layers"] * model["kv_heads"] * model["head_dim"] * tokens


def pass_seconds(model, gpu, gpus, sequences, new, cached):
    """Return the seconds of a pass: `new` tokens per sequence after `cached` ones, with logits for the last token."""
    pairs = new * cached + new * (new + 1) / 2  # each query attends to earlier tokens and itself
    flops = 2 * layer_weights(model) * sequences * new
    flops += 2 * head_weights(model) * sequences
    flops += 4 * model["layers"] * model["heads"] * model["head_dim"] * sequences * pairs
    bytes_read = step_bytes(model) + cache_bytes(model, sequences * (cached + new))
    return max(flops / gpu["flops_per_s"], bytes_read / gpu["bytes_per_s"]) / gpus


def most_sequences(model, gpu, gpus, tokens):
    """Return how many sequences of `tokens` tokens fit next to the weights. A tenth of the memory is reserved."""
    free = 0.9 * gpus * gpu["memory"] - NUMBER_BYTES * parameters(model)
    return max(0, int(free // cache_bytes(model, tokens)))


def request_seconds(model, gpu, gpus, sequences, prompt, output):
    """Return the seconds of equal requests in a batch: one pass over the prompts, then a step per later token."""
    steps = (pass_seconds(model, gpu, gpus, sequences, 1, prompt + done) for done in range(output - 1))
    return pass_seconds(model, gpu, gpus, sequences, prompt, 0) + sum(steps)


def dollars_per_million(gpu, gpus, tokens, seconds):
    """Return the dollars per million tokens, if `tokens` tokens take `seconds` seconds."""
    return gpus * gpu["dollars_per_hour"] / 3600 * seconds / tokens * 1e6


def mean_wait(busy, service_s):
    """Return the mean wait at one server with equal service times (M/D/1). `busy` is the busy fraction of the time."""
    return service_s * busy / (2 * (1 - busy))


def tokens_per_round(acceptance, drafted):
    """Return the mean number of tokens of a round of speculative decoding with `drafted` draft tokens."""
    return sum(acceptance**count for count in range(drafted + 1))


def report(model, gpu, gpus, prompt, output):
    """Print all numbers."""
    batch = most_sequences(model, gpu, gpus, prompt + output - 1)
    middle = prompt + output // 2
    alone = request_seconds(model, gpu, gpus, 1, prompt, output)
    all_requests = request_seconds(model, gpu, gpus, batch, prompt, output)
    for label, value, unit in (
        ("parameters", parameters(model) / 1e9, " billion"),
        ("weights read per step", step_bytes(model) / 1e9, " GB"),
        ("KV cache per token", cache_bytes(model, 1) / 1e3, " kB"),
        ("sequences that fit", batch, ""),
        ("prefill of one prompt", 1e3 * pass_seconds(model, gpu, gpus, 1, prompt, 0), " ms"),
        ("decode step, batch of 1", 1e3 * pass_seconds(model, gpu, gpus, 1, 1, middle), " ms"),
        ("decode step, largest batch", 1e3 * pass_seconds(model, gpu, gpus, batch, 1, middle), " ms"),
        ("request, batch of 1", alone, " s"),
        ("all requests, largest batch", all_requests, " s"),
        ("a million tokens", dollars_per_million(gpu, gpus, batch * output, all_requests), " dollars"),
        ("mean wait, busy 50%", mean_wait(0.5, alone), " s"),
        ("tokens per round: K = 4, a = 0.8", tokens_per_round(0.8, 4), ""),
    ):
        number = f"{value:.4f}" if isinstance(value, float) else str(value)
        print(f"{label:<33}{number:>8}{unit}")
