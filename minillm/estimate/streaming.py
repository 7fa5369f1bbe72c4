"""Layer streaming: what it costs to read the layers from a file in every forward pass.

While a layer computes, the next one is read, so a pass takes as long as the slower of the two:

    seconds of a pass = max(bytes of the layers / bandwidth of the file, seconds of computing)

A pass of `tokens` tokens reads the same bytes as a pass of one: prefill and batches share the price, decoding pays it
for every token. In memory are the head, two layers, the final norm and the KV cache; an embedding that is not the head
stays in the file.
"""

from dataclasses import dataclass

from minillm.config import ModelConfig
from minillm.estimate.memory import FORMATS, WEIGHTS, NumberFormat
from minillm.estimate.parameters import head_parameters, layers_parameters, vector_parameters
from minillm.estimate.units import Number

IN_MEMORY = 2  # layers: the one that computes, and the one that is being read


@dataclass(frozen=True)
class Streamed:
    """Layers that every forward pass reads from a file.

    Attributes:
        file_bytes: what a pass reads.
        head_bytes, layers_bytes: in memory: the head, and two layers with the final norm.
        bytes_per_s: bandwidth of the file.
    """

    file_bytes: Number
    head_bytes: Number
    layers_bytes: Number
    bytes_per_s: Number

    @property
    def memory_bytes(self) -> Number:
        """Return the bytes of weights that are in memory at a time."""
        return self.head_bytes + self.layers_bytes

    @property
    def seconds(self) -> Number:
        """Return the time in which a pass reads its layers."""
        return self.file_bytes / self.bytes_per_s


def streamed(config: ModelConfig, weights: str, bytes_per_s: Number, scales: bool = True) -> Streamed:
    """Return what streaming takes, if the weights have this format in the file and in memory.

    Args:
        config: of the model.
        weights: a format of minillm, a key of `memory.WEIGHTS`, in which the head of int4 is int8.
        bytes_per_s: bandwidth of the file.
        scales: False for a key of `memory.FORMATS`, the numbers alone.
    """
    layers = WEIGHTS[weights] if scales else FORMATS[weights]
    head = WEIGHTS["int8"] if scales and weights == "int4" else layers
    in_layers = layers_parameters(config) + vector_parameters(config) - config.hidden_size  # without the final norm
    at_a_time = in_layers * min(IN_MEMORY, config.num_hidden_layers) / config.num_hidden_layers + config.hidden_size
    return Streamed(
        streamed_layers_bytes(config, layers),
        head_parameters(config) * head.bytes_each,
        at_a_time * layers.bytes_each,
        bytes_per_s,
    )


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
