"""Several GPUs for one model: what they must send each other, and how long a pipeline idles.

*Tensor parallelism* (Shoeybi et al., Megatron-LM, 1909.08053) cuts attention by heads and the MLP by columns; every
GPU reads its share of the weights at the same time, and the partial sums meet in one all-reduce after attention and
one after the MLP. *Pipeline parallelism* (Huang et al., GPipe, 1811.06965) gives each GPU some of the layers.
"""

from minillm.config import ModelConfig
from minillm.estimate.units import Number


def all_reduce_bytes_sent(payload_bytes: Number, gpus: int) -> Number:
    """Bytes that each GPU sends in a ring all-reduce: a reduce-scatter and an all-gather of (gpus - 1) parts each."""
    return 2 * (gpus - 1) / gpus * payload_bytes


def tensor_parallel_bytes_sent(config: ModelConfig, tokens: int, gpus: int, bytes_each: Number = 2) -> Number:
    """Bytes that each GPU sends for one forward pass of so many tokens: two all-reduces a layer."""
    payload = tokens * config.hidden_size * bytes_each
    return 2 * config.num_hidden_layers * all_reduce_bytes_sent(payload, gpus)


def pipeline_bubble(stages: int, micro_batches: int) -> Number:
    """The share of time that a pipeline's GPUs idle while it fills and drains; one decoding sequence is one batch."""
    return (stages - 1) / (micro_batches + stages - 1)
