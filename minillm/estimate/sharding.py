"""Several GPUs for one model: what they must send to each other, and how long a pipeline idles.

*Tensor parallelism* (Shoeybi et al., Megatron-LM, 1909.08053) splits attention by heads and the MLP by columns. Every
GPU reads its part of the weights at the same time. One all-reduce after attention and one after the MLP add up the
partial sums. *Pipeline parallelism* (Huang et al., GPipe, 1811.06965) gives each GPU some of the layers.
"""

from minillm.config import ModelConfig
from minillm.estimate.units import Number


def all_reduce_bytes_sent(payload_bytes: Number, gpus: int) -> Number:
    """Return the bytes each GPU sends in a ring all-reduce: reduce-scatter and all-gather, (gpus - 1) parts each."""
    return 2 * (gpus - 1) / gpus * payload_bytes


def tensor_parallel_bytes_sent(config: ModelConfig, tokens: int, gpus: int, bytes_each: Number = 2) -> Number:
    """Return the bytes that each GPU sends for one forward pass of `tokens`: two all-reduces per layer."""
    payload = tokens * config.hidden_size * bytes_each
    return 2 * config.num_hidden_layers * all_reduce_bytes_sent(payload, gpus)


def pipeline_bubble(stages: int, micro_batches: int) -> Number:
    """Return the fraction of time that a pipeline's GPUs idle while it fills and drains.

    One decoding sequence is one micro-batch.
    """
    return (stages - 1) / (micro_batches + stages - 1)
