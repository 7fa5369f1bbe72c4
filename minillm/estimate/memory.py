"""Memory of weights and of the KV cache, and how many sequences fit beside the weights."""

import math
from dataclasses import dataclass

from minillm.config import ModelConfig
from minillm.estimate.parameters import parameters
from minillm.estimate.units import Number

USABLE = 0.9  # of a GPU's memory; the rest is for activations, the runtime and fragmentation


@dataclass(frozen=True)
class NumberFormat:
    """How a weight is stored: `bits` each, and one scale of `scale_bits` for a group of `group` weights."""

    bits: int
    scale_bits: int = 0
    group: int = 1

    @property
    def bytes_each(self) -> Number:
        """Bytes of one weight, its share of the scale included."""
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


def find_format(name: str) -> NumberFormat:
    """The format of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"dtype is {name[:40]!r}; expected one of {', '.join(FORMATS)}")
    return FORMATS[name]


def weights_bytes(config: ModelConfig, weight_bytes: Number = 2) -> Number:
    """Bytes of all weights, at so many bytes each."""
    return parameters(config) * weight_bytes


def cache_bytes_per_token(config: ModelConfig, bytes_each: Number = 2) -> Number:
    """Bytes of the keys and values of one token in all layers; grouped-query attention has fewer KV heads."""
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * bytes_each


def cache_bytes(config: ModelConfig, sequences: int, tokens: Number, bytes_each: Number = 2) -> Number:
    """Bytes of the KV cache of so many sequences of so many tokens."""
    return sequences * tokens * cache_bytes_per_token(config, bytes_each)


def gpus_needed(bytes_: Number, memory_bytes: Number, usable: Number = USABLE) -> int:
    """How many GPUs of this memory hold so many bytes."""
    return math.ceil(bytes_ / (memory_bytes * usable))


def max_sequences(free_bytes: Number, tokens: Number, bytes_per_token: Number) -> int:
    """How many sequences of so many tokens fit into free memory; 0 if the weights left none."""
    return max(0, math.floor(free_bytes / (tokens * bytes_per_token)))
