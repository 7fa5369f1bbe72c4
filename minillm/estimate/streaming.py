"""Layer streaming: what it costs to read the layers from a file in every forward pass.

While a layer computes, the next one is read, so a pass takes as long as the slower of the two:

    seconds of a pass = max(bytes of the layers / bandwidth of the file, seconds of computing)

A pass of `tokens` tokens reads the same bytes as a pass of one: prefill and batches share the price, decoding pays it
for every token.
"""

from minillm.config import ModelConfig
from minillm.estimate.memory import NumberFormat
from minillm.estimate.parameters import layers_parameters
from minillm.estimate.units import Number


def streamed_layers_bytes(config: ModelConfig, stored: NumberFormat) -> Number:
    """Return the bytes that a forward pass reads: the weights of all layers, as the file stores them."""
    return layers_parameters(config) * stored.bytes_each


def streamed_seconds_per_token(
    layers_bytes: Number, bytes_per_s: Number, compute_s: Number = 0.0, tokens: int = 1
) -> Number:
    """Return the seconds for each of the `tokens` tokens of a pass, which computes for `compute_s` seconds.

    Example:
        >>> streamed_seconds_per_token(140e9, 31.5e9)  # 70B in float16 over PCIe 4, as it is decoded
        4.444444444444445
    """
    return max(layers_bytes / bytes_per_s, compute_s) / tokens
