"""ModelConfig: the numbers that define the architecture of a model of the Llama family.

Fields are spelled as in a Hugging Face `config.json`; `loading/read_config.py` checks such a file and returns a
ModelConfig. In shapes, dim is hidden_size, inner is intermediate_size, heads is num_attention_heads, kv_heads is
num_key_value_heads, vocab is vocab_size. Llama, Mistral, Qwen2, Qwen3 and SmolLM2 differ
only in these values, so one forward pass serves all of them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class RopeParameters:
    """How queries and keys are rotated by their positions (RoPE; Su et al., RoFormer, 2104.09864).

    Attributes:
        rope_theta: base of the frequencies.
        rope_type: "default"; "linear": every frequency is divided by `factor`; "llama3" (Llama 3.1): low frequencies
            are divided by `factor`, high ones are kept, with a ramp between.
        factor: what frequencies are divided by.
        low_freq_factor, high_freq_factor: turns over the training context below which a frequency is low, and above
            which it is high.
        original_max_position_embeddings: tokens of the training context.
        frequency_factors: if a file gives them, each frequency is divided by its own.
    """

    rope_theta: float = 10_000.0
    rope_type: str = "default"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_position_embeddings: int = 8192
    frequency_factors: tuple[float, ...] | None = None


@dataclass(frozen=True)
class ModelConfig:
    """The architecture of one model. Sizes count numbers, not bytes.

    Attributes:
        model_type: "llama" (SmolLM2 too), "mistral", "qwen2" or "qwen3"; informative only: `forward` does not read it.
        vocab_size: number of tokens in the vocabulary.
        hidden_size: size of the residual stream, called `dim` in shapes.
        intermediate_size: size of the hidden layer in the MLP, called `inner` in shapes.
        num_hidden_layers: number of transformer layers.
        num_attention_heads: number of query heads.
        num_key_value_heads: number of key and value heads; fewer than query heads in grouped-query attention.
        head_dim: size of one head.
        max_position_embeddings: the longest context, in tokens.
        rms_norm_eps: added to the mean square before its root is taken.
        tie_word_embeddings: whether the output head is the embedding, transposed.
        rope: the rotary position embedding.
        attention_bias: whether the q, k and v projections add a bias.
        attention_output_bias: whether the projection after attention adds a bias.
        mlp_bias: whether the MLP's three projections add a bias.
        qk_norm: whether q and k are normalised per head before RoPE (Qwen3).
        sliding_windows: for each layer, the number of last tokens that a query sees, its own included; None for all.
        bos_token_id: the token that begins a sequence; None if the model has none.
        eos_token_ids: the tokens that end a sequence. Each of them stops generation.

    Example:
        >>> config = minillm.load("story").config
        >>> config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        (6, 192, 6, 2)
    """

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    tie_word_embeddings: bool
    rope: RopeParameters
    attention_bias: bool
    attention_output_bias: bool
    mlp_bias: bool
    qk_norm: bool
    sliding_windows: tuple[int | None, ...]
    bos_token_id: int | None
    eos_token_ids: tuple[int, ...]
