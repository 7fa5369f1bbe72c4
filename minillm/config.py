"""ModelConfig: the numbers that fix the shape of a model of the Llama family.

Every array in minillm has axes named after these numbers. Fields are spelled as in a Hugging Face `config.json`,
which `loading/read_config.py` checks and turns into a ModelConfig. Llama, Mistral, Qwen2, Qwen3 and SmolLM2 differ
only in the values here: there is one forward pass for all of them.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class RopeParameters:
    """How positions turn queries and keys (Su et al., RoFormer, 2104.09864), and how long contexts slow the turning.

    `rope_type` is "default", "linear" (every frequency divided by `factor`) or "llama3" (low frequencies divided by
    `factor`, high ones kept, a ramp between: Llama 3.1). `frequency_factors`, where a file gives them, divide the
    frequencies one by one.
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
    """The architecture of one model. Sizes are counts of numbers, not bytes.

    Attributes:
        model_type: "llama" (SmolLM2 too), "mistral", "qwen2" or "qwen3"; informative only, `forward` never asks.
        vocab_size: how many tokens there are.
        hidden_size: width of the residual stream, called `dim` in shapes.
        intermediate_size: width inside the MLP.
        num_hidden_layers: transformer layers.
        num_attention_heads: query heads.
        num_key_value_heads: key and value heads; fewer than query heads is grouped-query attention (GQA, 2305.13245).
        head_dim: width of one head.
        max_position_embeddings: the longest context, in tokens.
        rms_norm_eps: added to the mean square before its root.
        tie_word_embeddings: whether the output head is the embedding, transposed.
        rope: the rotary position embedding.
        attention_bias: whether the q, k and v projections add a bias.
        attention_output_bias: whether the projection after attention adds one.
        mlp_bias: whether the MLP's three projections add one.
        qk_norm: whether q and k are normed per head before they are rotated (Qwen3).
        sliding_windows: for each layer, how many tokens back a query sees, itself included; None is all of them.
        bos_token_id: the token that begins a sequence, if the model has one.
        eos_token_ids: the tokens that end one; any of them stops generation.
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
