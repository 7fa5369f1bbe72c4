"""Memory of weights and of the KV cache, and how many sequences fit next to the weights."""

import math
from dataclasses import dataclass

from minillm.config import ModelConfig
from minillm.estimate.parameters import head_parameters, parameters
from minillm.estimate.units import Number

USABLE = 0.9  # fraction of a GPU's memory; 0.1 is for activations, the runtime and fragmentation


@dataclass(frozen=True)
class NumberFormat:
    """Storage of weights: `bits` for each, and a scale (or a scale and a minimum) of `scale_bits` for every `group`."""

    bits: Number
    scale_bits: Number = 0
    group: int = 1

    @property
    def bytes_each(self) -> Number:
        """Return the bytes of one weight, including its fraction of the scale: q4_0 has (4 + 16/32) / 8 = 0.5625."""
        return (self.bits + self.scale_bits / self.group) / 8


FORMATS = {
    "float32": NumberFormat(32),
    "float16": NumberFormat(16),
    "bfloat16": NumberFormat(16),
    "int8": NumberFormat(8),  # scales left out, as the article does
    "int4": NumberFormat(4),
    "q8_0": NumberFormat(8, 16, 32),  # llama.cpp's blocks of 32 weights
    "q4_0": NumberFormat(4, 16, 32),
}
WEIGHTS = {  # as `minillm.load(weights=...)` keeps matrices, with the scales of int8, and scales and minimums of int4
    "float32": FORMATS["float32"],
    "bfloat16": FORMATS["bfloat16"],
    "int8": FORMATS["q8_0"],
    "int4": NumberFormat(4, 32, 32),
}
CACHE_FORMATS = ("float32", "float16", "bfloat16", "int8")


def find_format(name: str) -> NumberFormat:
    """Return the format with this name.

    Raises:
        ValueError: FORMATS has no such name.
    """
    if name not in FORMATS:
        raise ValueError(f"dtype is {name[:40]!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def find_weights(name: str, config: ModelConfig) -> NumberFormat:
    """Return the format in which minillm keeps a model's weights under this name.

    Embedding and head of an int4 model have int8. So its weights have, on average, more than 4 bits.

    Raises:
        ValueError: WEIGHTS has no such name.
    """
    if name not in WEIGHTS:
        raise ValueError(f"weights is {name[:40]!r}; expected one of {', '.join(WEIGHTS)}")
    if name != "int4":
        return WEIGHTS[name]
    wide = head_parameters(config) * (1 if config.tie_word_embeddings else 2) / parameters(config)
    high, low = WEIGHTS["int8"], WEIGHTS["int4"]
    bits = wide * high.bits + (1 - wide) * low.bits
    scale_bits = wide * high.scale_bits + (1 - wide) * low.scale_bits
    return NumberFormat(bits, scale_bits, 32)


def find_cache_format(name: str, config: ModelConfig) -> NumberFormat:
    """Return the storage of keys and values: floats, or int8 with a float32 scale for each head's key and value.

    Raises:
        ValueError: no cache has this format.
    """
    if name == "int8":
        return NumberFormat(8, 32, config.head_dim)
    if name not in CACHE_FORMATS:
        raise ValueError(f"kv_cache is {name[:40]!r}; expected one of {', '.join(CACHE_FORMATS)}")
    return FORMATS[name]


def weights_bytes(config: ModelConfig, weight_bytes: Number = 2) -> Number:
    """Return the bytes of all weights, `weight_bytes` for each."""
    return parameters(config) * weight_bytes


def cache_bytes_per_token(config: ModelConfig, bytes_each: Number = 2) -> Number:
    """Return the bytes of one token's keys and values in all layers; grouped-query attention has fewer KV heads."""
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * bytes_each


def cache_bytes(config: ModelConfig, sequences: int, tokens: Number, bytes_each: Number = 2) -> Number:
    """Return the bytes of the KV cache of `sequences`, each of `tokens`."""
    return sequences * tokens * cache_bytes_per_token(config, bytes_each)


def gpus_needed(bytes_: Number, memory_bytes: Number, usable: Number = USABLE) -> int:
    """Return how many GPUs of this memory hold `bytes_`, if these can be divided anywhere (see `fewest_gpus`)."""
    return math.ceil(bytes_ / (memory_bytes * usable))


def max_sequences(free_bytes: Number, tokens: Number, bytes_per_token: Number) -> int:
    """Return how many sequences of `tokens` fit into the free memory; 0 if the weights leave none."""
    return max(0, math.floor(free_bytes / (tokens * bytes_per_token)))
