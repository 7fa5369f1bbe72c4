"""Every decoder of transformers that can be made tiny: one engine each, compared with itself.

    pytest --minillm-engine transformers_decoders               all of them: hours
    pytest --minillm-engine transformers_decoders -k moshi      one of them

The names are those of transformers' own table for causal language models. Their configs get the sizes of SIZES. A model
that cannot be made this way refuses its first call, with the reason. Such models need a file of their own.

The weights are random, so no reference exists: a schedule must give what one prefill into a new cache gives. NAME is
tested with the usual cache. NAME-recording records the past, which truncating a full window needs.
"""

import copy

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, DynamicCache, logging
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from minillm.verification.adapters import transformers_llama

WINDOW = 4
VOCAB_SIZE = 17
MOST_WEIGHTS = 4_000_000
SIZES = {
    VOCAB_SIZE: "vocab_size",
    16: "hidden_size n_embd d_model intermediate_size ffn_dim n_inner dim_ff decoder_ffn_dim encoder_ffn_dim "
    "moe_intermediate_size shared_expert_intermediate_size linear_key_head_dim linear_value_head_dim "
    "hidden_size_per_layer_input d_embed dff lru_width index_head_dim",
    2: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_attention_heads n_head n_heads "
    "num_heads decoder_attention_heads encoder_attention_heads num_key_value_heads num_local_experts num_experts "
    "n_routed_experts num_experts_per_tok linear_num_key_heads linear_num_value_heads mamba_n_heads index_n_heads",
    1: "n_group topk_group n_shared_experts bos_token_id",
    8: "head_dim qk_nope_head_dim v_head_dim q_lora_rank kv_lora_rank index_topk",
    4: "qk_rope_head_dim rotary_dim mamba_d_state",
    64: "max_position_embeddings n_positions n_ctx max_seq_len",
    WINDOW: "sliding_window attention_chunk_size",
    0: "pad_token_id",
}  # the value, and the names of configs that get it


def engines():
    """Yield a name and an engine, whose model is made when it is first used."""
    for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        yield name, Decoder(name, records_past=False)
        yield f"{name}-recording", Decoder(name, records_past=True)


def tiny_config(name):
    """Return a tiny config of an architecture, with one layer of each kind, or two of one kind."""
    usual = CONFIG_MAPPING[name]()
    computed = {key for key in dir(type(usual)) if isinstance(getattr(type(usual), key), property)}
    named = {key: size for size, keys in SIZES.items() for key in keys.split()}
    sizes = {key: size for key, size in named.items() if key not in computed and hasattr(usual, key)}
    kinds = list(dict.fromkeys(getattr(usual, "layer_types", None) or ()))
    if kinds and "layer_types" not in computed:
        sizes["layer_types"] = kinds if len(kinds) > 1 else kinds * 2
        sizes["num_hidden_layers"] = len(sizes["layer_types"])
    if hasattr(usual, "is_decoder"):
        sizes["is_decoder"] = True
    return CONFIG_MAPPING[name](**sizes)


def tiny_model(name):
    """Return the model in float64. Its matrices are larger than usual, so that every token changes the logits."""
    config = tiny_config(name)
    if config.get_text_config().vocab_size != VOCAB_SIZE:
        raise ValueError(f"a vocabulary of {config.get_text_config().vocab_size}")
    with torch.device("meta"):
        weights = sum(part.numel() for part in AutoModelForCausalLM.from_config(copy.deepcopy(config)).parameters())
    if weights > MOST_WEIGHTS:
        raise ValueError(f"{weights} weights")
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, experts_implementation="eager").to(torch.float64).eval()
    for part in model.parameters():
        if part.ndim > 1 and 0 < part.std() < 0.1:
            part.data *= 0.3 / part.std()
    return model


class Decoder(transformers_llama.Engine):
    """The functions of a Llama's engine, on another model."""

    VOCAB_SIZE, WINDOW, TOLERANCE = VOCAB_SIZE, WINDOW, 1e-4

    def __init__(self, name, records_past):
        self.name, self.records_past, self.cache, self.caches = name, records_past, "dynamic", []
        self.model = None

    def new_cache(self):
        """Return an empty cache. The first time, make the model."""
        logging.set_verbosity_error()
        try:
            self.model = self.model or tiny_model(self.name)
            theirs = DynamicCache(config=self.model.config)
            with torch.no_grad():
                assert self.model(torch.tensor([[3]]), cache=theirs, use_cache=True).logits.shape[-1] == VOCAB_SIZE
                assert theirs.get_seq_length() == 1
        except Exception as problem:
            raise NotImplementedError(f"{self.name} cannot be made tiny: {str(problem)[:200]}") from None
        if self.records_past and not any(hasattr(layer, "activate_past_recording") for layer in theirs.layers):
            raise NotImplementedError("no layer records the past")
        return super().new_cache()
