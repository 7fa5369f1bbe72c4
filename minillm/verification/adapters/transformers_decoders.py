"""Every decoder of transformers that can be made tiny: one engine each, compared with itself.

    pytest --minillm-engine transformers_decoders               all of them: hours
    pytest --minillm-engine transformers_decoders -k moshi      one of them

The names are those of transformers' own table for causal language models. Their configs get the sizes of SIZES. A model
that cannot be made this way refuses its first call, with the reason. Such models need a file of their own.

The weights are random, so no reference exists: a schedule must give what one prefill into a new cache gives. NAME is
tested with the usual cache. NAME-recording records the past, which truncating a full window needs. NAME-generate calls
`generate`, with a batch that is padded on the left, chunks, a static cache, and drafts.
"""

import copy

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, DynamicCache, GenerationConfig, logging
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from minillm.verification.adapters import transformers_llama
from minillm.verification.adapters.transformers_generate import Generate
from minillm.verification.adapters.transformers_llama import states

WINDOW = 4
VOCAB_SIZE = 17
MOST_WEIGHTS = 4_000_000
SIZES = {  # names of configs, and the value that they get
    "vocab_size vocab_size_per_layer_input": VOCAB_SIZE,
    "hidden_size n_embd d_model intermediate_size ffn_dim n_inner dim_ff decoder_ffn_dim encoder_ffn_dim "
    "moe_intermediate_size shared_expert_intermediate_size linear_key_head_dim linear_value_head_dim "
    "hidden_size_per_layer_input d_embed dff lru_width index_head_dim mamba_d_head mamba_headdim router_hidden_size "
    "ffn_hidden_size expert_ffn_hidden_size": 16,
    "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_attention_heads n_head n_heads "
    "num_heads decoder_attention_heads encoder_attention_heads num_key_value_heads num_local_experts num_experts "
    "n_routed_experts num_experts_per_tok linear_num_key_heads linear_num_value_heads mamba_n_heads index_n_heads "
    "n_mamba_heads attention_heads": 2,
    "n_group topk_group n_shared_experts bos_token_id n_groups": 1,
    "head_dim qk_nope_head_dim v_head_dim q_lora_rank kv_lora_rank index_topk": 8,
    "qk_rope_head_dim rotary_dim mamba_d_state mamba_dt_rank": 4,
    "max_position_embeddings n_positions n_ctx max_seq_len": 64,
    "mamba_chunk_size chunk_size block_size": 4,  # a scan goes over pieces of this size
    "sliding_window attention_chunk_size window_size attention_window_size": WINDOW,
    "pad_token_id": 0,
}
SHARED = {  # one attention layer is called several times
    "layer_types": ["mamba", "hybrid"] * 3, "num_hidden_layers": 6, "hybrid_layer_ids": [1, 3, 5],
    "attention_hidden_size": 32, "attention_head_dim": 16,
}  # fmt: skip
LATENT = {"head_dim": 4}  # of keys of which a part has positions: its size
OWN_SIZES = {  # of configs whose numbers depend on each other
    **dict.fromkeys("axk1 deepseek_v3 longcat_flash youtu deepseek_v32 glm_moe_dsa hy_v4 axk2".split(), LATENT),
    "bamba": {"attn_layer_indices": [1]},
    "falcon_h1": {"mamba_d_ssm": 32},
    "gemma3n_text": {"layer_types": ["sliding_attention", "full_attention"] * 2, "num_hidden_layers": 4,
        "num_kv_shared_layers": 2},
    "gemma4_text": {"hidden_size_per_layer_input": 0},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"], "num_hidden_layers": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_hidden_layers": 2},
    "mamba2": {"head_dim": 16},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "zamba": SHARED,
    "zamba2": SHARED,
    "zaya": {"num_experts_per_tok": 1},
}  # fmt: skip


def engines():
    """Yield a name and an engine, whose model is made when it is first used."""
    for name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        yield name, Decoder(name, records_past=False)
        yield f"{name}-recording", Decoder(name, records_past=True)
        yield f"{name}-generate", Generator(name)


def tiny_config(name):
    """Return a tiny config of an architecture, with one layer of each kind, or two of one kind."""
    usual = CONFIG_MAPPING[name]()
    computed = {key for key in dir(type(usual)) if isinstance(getattr(type(usual), key), property)}
    computed |= {key for key, other in usual.attribute_map.items() if other in computed}
    named = {key: size for keys, size in SIZES.items() for key in keys.split()}
    known = (usual.to_dict().keys() | usual.attribute_map.keys()) - computed
    sizes = {key: size for key, size in named.items() if key in known}
    kinds = list(dict.fromkeys(getattr(usual, "layer_types", None) or ()))
    if kinds and "layer_types" not in computed:
        sizes["layer_types"] = kinds if len(kinds) > 1 else kinds * 2
        sizes["num_hidden_layers"] = len(sizes["layer_types"])
    if hasattr(usual, "is_decoder"):
        sizes["is_decoder"] = True
    return CONFIG_MAPPING[name](**sizes | OWN_SIZES.get(name, {}))


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
    model.generation_config = GenerationConfig()  # of some models, every answer ends with a certain token
    return model


def usable_model(name):
    """Return the model, if it can be made tiny and uses a cache."""
    logging.set_verbosity_error()
    try:
        model = tiny_model(name)
        theirs = DynamicCache(config=model.config)
        with torch.no_grad():
            assert model(torch.tensor([[3]]), cache=theirs, use_cache=True).logits.shape[-1] == VOCAB_SIZE
        assert any(states(layer) for layer in theirs.layers), "the model does not use the cache"
    except Exception as problem:
        raise NotImplementedError(f"{name} cannot be made tiny: {str(problem)[:200]}") from None
    return model


class Decoder(transformers_llama.Engine):
    """The functions of a Llama's engine, on another model."""

    VOCAB_SIZE, WINDOW, TOLERANCE = VOCAB_SIZE, WINDOW, 1e-4

    def __init__(self, name, records_past):
        self.name, self.records_past, self.cache, self.caches = name, records_past, "dynamic", []
        self.model = None

    def new_cache(self):
        """Return an empty cache. The first time, make the model."""
        self.model = self.model or usable_model(self.name)
        theirs = super().new_cache()
        if self.records_past and not any(hasattr(layer, "activate_past_recording") for layer in theirs.theirs.layers):
            raise NotImplementedError("no layer records the past")
        return theirs


class Generator(Generate):
    """`generate` of another model."""

    VOCAB_SIZE, REFERENCE = VOCAB_SIZE, "self"

    def __init__(self, name):
        self.name, self.model = name, None
        self.OPTIONS = {**Generate.OPTIONS, "drafts": [None, "lookup"]}

    def new_cache(self):
        """Return an empty list. The first time, make the model."""
        self.model = self.model or usable_model(self.name)
        return super().new_cache()

    def generate(self, prompts, options):
        """Return the answers with their log-probabilities."""
        self.new_cache()
        try:
            return super().generate(prompts, options)
        except ValueError as problem:
            if "not support" in str(problem):
                raise NotImplementedError(str(problem)) from None
            raise
