"""What each phase has to do at least, counted from the config, and the time that takes at the machine's limits.

Decode moves bytes: all weights and the whole cache for each step. Prefill multiplies. The roofline of either is the
longer of the two times (Williams, Waterman, Patterson, CACM 52(4), 2009).
"""

from dataclasses import dataclass

from minillm.config import ModelConfig


@dataclass(frozen=True)
class Work:
    """Bytes to read from memory, and multiplications plus additions."""

    bytes: int | float
    flops: int | float


@dataclass(frozen=True)
class Limits:
    """What the machine can do: bytes per second, floating-point operations per second."""

    bandwidth: float
    matmul: float

    def seconds(self, work: Work) -> float:
        """The least time in which this work can be done."""
        return max(work.bytes / self.bandwidth, work.flops / self.matmul)


def matrix_parameters(config: ModelConfig) -> int:
    """Weights that every token is multiplied with: all matrices and the output head, not the embedding's rows."""
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    attention = config.hidden_size * (2 * q + 2 * kv)
    mlp = 3 * config.hidden_size * config.intermediate_size
    return config.num_hidden_layers * (attention + mlp) + head_parameters(config)


def head_parameters(config: ModelConfig) -> int:
    """Weights of the output head."""
    return config.vocab_size * config.hidden_size


def weight_bytes(config: ModelConfig, itemsize: int) -> int:
    """Bytes of all weights; the norms are not worth counting."""
    embedding = 0 if config.tie_word_embeddings else head_parameters(config)
    return itemsize * (matrix_parameters(config) + embedding)


def cache_bytes(config: ModelConfig, itemsize: int) -> int:
    """Bytes of keys and values for one token."""
    return 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * itemsize


def prefill_work(config: ModelConfig, tokens: int, itemsize: int, logit_rows: int = 1) -> Work:
    """A prompt from nothing: layers for every token, attention to all before, the head for the last `logit_rows`."""
    layers = 2 * (matrix_parameters(config) - head_parameters(config)) * tokens
    attention = 2 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * tokens * (tokens + 1)
    return Work(
        bytes=matrix_parameters(config) * itemsize + cache_bytes(config, itemsize) * tokens,
        flops=layers + attention + 2 * head_parameters(config) * logit_rows,
    )


def decode_work(config: ModelConfig, context: int | float, itemsize: int, sequences: int = 1) -> Work:
    """One step of so many sequences: the weights are read once for all, each reads its own cache."""
    attention = 4 * config.num_hidden_layers * config.num_attention_heads * config.head_dim * context
    return Work(
        bytes=matrix_parameters(config) * itemsize + sequences * cache_bytes(config, itemsize) * context,
        flops=sequences * (2 * matrix_parameters(config) + attention),
    )
