"""transformers' Llama and its DynamicCache as an engine: `pytest --minillm-engine transformers_engine.py`."""

import copy

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM


class Engine:
    """Five of the six functions: a batch of different lengths would need padding."""

    def __init__(self, config, weights):
        sizes = (
            "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads num_key_value_heads "
            "head_dim max_position_embeddings rms_norm_eps tie_word_embeddings"
        ).split()
        rope = {"rope_type": "default", "rope_theta": config.rope.rope_theta}
        theirs = LlamaConfig(**{name: getattr(config, name) for name in sizes}, rope_parameters=rope)
        self.model = LlamaForCausalLM(theirs).to(torch.float64).eval()
        tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
        missing, unexpected = self.model.load_state_dict(tensors, strict=False)
        assert not unexpected
        assert set(missing) <= {"lm_head.weight"}
        self.model.tie_weights()

    def new_cache(self):
        return DynamicCache()

    @torch.no_grad()
    def prefill(self, tokens, cache):
        return self.model(torch.tensor([tokens]), past_key_values=cache, use_cache=True).logits[0, -1].numpy()

    def decode(self, token, cache):
        return self.prefill([token], cache)

    def truncate(self, cache, length):
        if length < cache.get_seq_length():
            cache.crop(length - cache.get_seq_length())  # below 0: how many to remove

    def fork(self, cache):
        return copy.deepcopy(cache)


make_engine = Engine
