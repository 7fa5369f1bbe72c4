"""Several GPUs for one model: the share of each, what they must send to each other, and how long a pipeline idles.

*Tensor parallelism* (Shoeybi et al., Megatron-LM, 1909.08053) splits attention by heads and the MLP by columns. Every
GPU reads its part of the weights at the same time. One all-reduce after attention and one after the MLP add up the
partial sums. *Pipeline parallelism* (Huang et al., GPipe, 1811.06965) gives each GPU some of the layers.
"""

from dataclasses import replace

from minillm.config import ModelConfig
from minillm.estimate.units import Number


def largest_share(config: ModelConfig, gpus: int) -> ModelConfig:
    """Return the largest part of the model that one of `gpus` GPUs holds, as the config of a smaller model.

    Heads, columns of the MLP and tokens of the vocabulary are never divided, so each count is rounded up. A GPU has
    query heads that follow each other, and copies of all KV heads that these read. It holds the norms of all layers.
    Each count is the largest of all GPUs.

        16 query heads, 2 KV heads, 8 GPUs:   a share of 2 query heads and 1 KV head
        16 query heads, 2 KV heads, 3 GPUs:   6 query heads on the third, and both KV heads on the second (heads 5 to 9)
    """
    heads = config.num_attention_heads
    gpus_with_heads = min(gpus, heads)
    return replace(
        config,
        num_attention_heads=share_of(heads, gpus),
        num_key_value_heads=max(
            len(kv_heads_of(config, span_of(heads, gpus_with_heads, gpu))) for gpu in range(gpus_with_heads)
        ),
        intermediate_size=share_of(config.intermediate_size, gpus),
        vocab_size=share_of(config.vocab_size, gpus),
    )


def share_of(units: int, gpus: int) -> int:
    """Return how many of `units` indivisible parts the GPU with the most of them holds: of 32 heads on 3 GPUs, 11."""
    return -(-units // gpus)


def span_of(units: int, gpus: int, gpu: int) -> range:
    """Return which of `units` indivisible parts one GPU holds. Counts differ by at most 1: of 32 heads on 3, 10 or 11.

    Example:
        >>> [span_of(16, 3, gpu) for gpu in range(3)]
        [range(0, 5), range(5, 10), range(10, 16)]
    """
    return range(units * gpu // gpus, units * (gpu + 1) // gpus)


def kv_heads_of(config: ModelConfig, heads: range) -> range:
    """Return the KV heads that these query heads read."""
    group = config.num_attention_heads // config.num_key_value_heads  # query heads that read the same KV head
    return range(heads.start // group, (heads.stop - 1) // group + 1)


def all_reduce_bytes_sent(payload_bytes: Number, gpus: int) -> Number:
    """Return the bytes each GPU sends in a ring all-reduce: reduce-scatter and all-gather, (gpus - 1) parts each."""
    return 2 * (gpus - 1) / gpus * payload_bytes


def tensor_parallel_bytes_sent(config: ModelConfig, tokens: int, gpus: int, bytes_each: Number = 2) -> Number:
    """Return the bytes that each GPU sends for one forward pass of `tokens`: two all-reduces per layer."""
    payload = tokens * config.hidden_size * bytes_each
    return 2 * config.num_hidden_layers * all_reduce_bytes_sent(payload, gpus)


def vocabulary_parallel_bytes_sent(
    config: ModelConfig, tokens: int, rows: int, gpus: int, bytes_each: Number = 2
) -> Number:
    """Return the bytes that each GPU sends for a cut vocabulary: embeddings are all-reduced, logits all-gathered.

    `tokens` go in; the logits of `rows` of them come out. In an all-gather around a ring each GPU sends gpus - 1 parts.
    """
    gathered = (gpus - 1) / gpus * rows * config.vocab_size * bytes_each
    return all_reduce_bytes_sent(tokens * config.hidden_size * bytes_each, gpus) + gathered


def pipeline_bytes_sent(
    config: ModelConfig, tokens: int, logit_rows: int, stages: int, stage: int, bytes_each: Number = 2
) -> Number:
    """Return the bytes that one stage sends for a forward pass of `tokens`, of which `logit_rows` have logits.

    A stage sends the residual stream to the next one. The last sends the logits to the first, which samples. A row of
    logits is vocab_size / hidden_size times a row of the stream: 85 times for smollm2.
    """
    if stages == 1:
        return 0
    last = stage == stages - 1
    return (logit_rows * config.vocab_size if last else tokens * config.hidden_size) * bytes_each


def pipeline_messages_sent(logit_rows: int, stages: int, stage: int, micro_batches: int = 1) -> int:
    """Return the messages that one stage sends for a forward pass: one for each micro-batch, the last one in all."""
    if stages == 1:
        return 0
    return int(logit_rows > 0) if stage == stages - 1 else micro_batches


def pipeline_bubble(stages: int, micro_batches: int, layers: int | None = None) -> Number:
    """Return the fraction of time that a pipeline's GPUs idle.

    They idle while it fills and drains. One decoding sequence is one micro-batch. By default all stages are equal. If
    `layers` are given that the stages cannot share evenly, the others also wait for the stage with the most layers.
    """
    longest = 1 if layers is None else stages * share_of(layers, stages) / layers  # in stages of equal length
    return 1 - micro_batches / (longest * (micro_batches + stages - 1))
