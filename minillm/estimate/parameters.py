"""Parameters of a model: all of them, those that every token is multiplied with, and those of its layers."""

from minillm.config import ModelConfig


def layer_matrices(config: ModelConfig) -> int:
    """Return the parameters of one layer's matrices: q, k, v, output, gate, up and down projection."""
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    return config.hidden_size * (2 * q + 2 * kv + 3 * config.intermediate_size)


def layers_parameters(config: ModelConfig) -> int:
    """Return the parameters of all layers' matrices: what every token of a prompt is multiplied with."""
    return config.num_hidden_layers * layer_matrices(config)


def head_parameters(config: ModelConfig) -> int:
    """Return the parameters of the output head, `[hidden_size, vocab_size]`; the embedding has the same number."""
    return config.hidden_size * config.vocab_size


def matrix_parameters(config: ModelConfig) -> int:
    """Return the parameters of the layers' matrices and the output head: what every decode step reads.

    The embedding is not counted, because a token looks up only one row of it; a tied embedding counts as the head.
    """
    return layers_parameters(config) + head_parameters(config)


def vector_parameters(config: ModelConfig) -> int:
    """Return the parameters of norms and biases: less than a thousandth of a model, left out of its work."""
    q, kv = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    layer = 2 * config.hidden_size + config.qk_norm * 2 * config.head_dim
    layer += config.attention_bias * (q + 2 * kv) + config.attention_output_bias * config.hidden_size
    layer += config.mlp_bias * (2 * config.intermediate_size + config.hidden_size)
    return config.num_hidden_layers * layer + config.hidden_size


def parameters(config: ModelConfig) -> int:
    """Return the number of all parameters; a tied embedding counts once."""
    embedding = 0 if config.tie_word_embeddings else head_parameters(config)
    return embedding + matrix_parameters(config) + vector_parameters(config)
