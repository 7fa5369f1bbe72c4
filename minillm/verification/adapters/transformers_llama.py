"""transformers' Llamas and their KV caches: dynamic, static, sliding, and sliding with a record of the past.

    pytest --minillm-engine transformers_llama        (needs torch and transformers)

The models are Llama, Mistral, Qwen2 and Qwen3, as the config requires, in float64. All are compared with the reference.
An engine is a kind of cache with a kind of attention: `sdpa` is PyTorch's function, `eager` is transformers' own.

To test other models or caches, copy this file. The functions of `Engine` are all that is tested.
"""

import copy
from types import SimpleNamespace

import torch
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    LlamaConfig,
    MistralConfig,
    Qwen2Config,
    Qwen3Config,
    StaticCache,
)  # fmt: skip

FEATURES = ("window", "qk_norm", "bias")
CAPACITY = 200  # tokens of a static cache
KINDS = {  # the name of an engine: the cache, whether it records the past, the attention
    "dynamic": ("dynamic", False, "sdpa"),
    "recording": ("dynamic", True, "sdpa"),
    "static": ("static", False, "sdpa"),
    "eager": ("dynamic", False, "eager"),
}
SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings",
)  # fmt: skip


def engines():
    """Yield the name of each kind and what makes its engines."""
    for name, kind in KINDS.items():
        make = lambda config, weights, kind=kind: Engine(config, weights, *kind)  # noqa: E731
        yield name, SimpleNamespace(make_engine=make, FEATURES=FEATURES)


def make_engine(config, weights):
    """Return an engine of the plainest kind."""
    return Engine(config, weights, *KINDS["dynamic"])


def their_config(config):
    """Return the config of transformers for one of minillm's."""
    sizes = {name: getattr(config, name) for name in SIZES}
    rope = {"rope_type": "default", "rope_theta": config.rope.rope_theta}
    sizes |= {"rope_parameters": rope, "pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
    window = next(filter(None, config.sliding_windows), None)
    types = ["sliding_attention" if size else "full_attention" for size in config.sliding_windows]
    windows = {"use_sliding_window": window is not None, "sliding_window": window, "layer_types": types}
    if config.qk_norm:
        return Qwen3Config(**sizes, **windows, attention_bias=config.attention_bias)
    if config.attention_bias and not config.attention_output_bias:
        return Qwen2Config(**sizes, **windows)
    if window is None:
        return LlamaConfig(**sizes, attention_bias=config.attention_bias, mlp_bias=config.mlp_bias)
    if config.attention_bias or config.mlp_bias:
        raise NotImplementedError("no model of transformers has a window and these biases")
    return (
        Qwen2Config(**sizes, **windows)
        if None in config.sliding_windows
        else MistralConfig(**sizes, sliding_window=window)
    )


class Cached:
    """A cache of transformers, and the tokens in it."""

    def __init__(self, theirs, tokens=()):
        self.theirs, self.tokens = theirs, list(tokens)


class Engine:
    """The functions that are tested."""

    def __init__(self, config, weights, cache, records_past, attention):
        """Make the model, with the weights as tensors."""
        theirs = their_config(config)
        self.model = AutoModelForCausalLM.from_config(theirs, attn_implementation=attention).to(torch.float64).eval()
        tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
        missing, unexpected = self.model.load_state_dict(tensors, strict=False)
        assert not unexpected, unexpected
        assert all(name == "lm_head.weight" or name.endswith("bias") for name in missing), missing
        self.model.tie_weights()
        self.cache, self.records_past, self.caches = cache, records_past, []

    def new_cache(self):
        """Return an empty cache."""
        if self.cache == "static":
            theirs = StaticCache(config=self.model.config, max_cache_len=CAPACITY)
        else:
            theirs = DynamicCache(config=self.model.config)
        if self.records_past:
            theirs.activate_past_recording()
        self.caches.append(Cached(theirs))
        return self.caches[-1]

    @torch.no_grad()
    def prefill(self, tokens, cache):
        """Append tokens. Return the logits [vocab] after the last one."""
        result = self.model(torch.tensor([tokens]), cache=cache.theirs, use_cache=True)
        cache.tokens += tokens
        return result.logits[0, -1].numpy()

    def decode(self, token, cache):
        """Append one token. Return the logits [vocab] after it."""
        return self.prefill([token], cache)

    @torch.no_grad()
    def batch(self, pairs):
        """Return the logits [sequences, vocab]. A batch has one cache, so all tokens are padded and computed again."""
        rows = [cache.tokens + tokens for tokens, cache in pairs]
        longest = max(map(len, rows))
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = self.model(ids, attention_mask=mask, position_ids=positions).logits[:, -1].numpy()
        for tokens, cache in pairs:
            self.prefill(tokens, cache)
        return logits

    def truncate(self, cache, length):
        """Drop the tokens from index `length` on."""
        if length == len(cache.tokens):
            return
        if not cache.theirs.is_croppable:
            raise NotImplementedError("a full window of a static cache cannot be cropped")
        theirs = cache.theirs if self.records_past else copy.deepcopy(cache.theirs)
        try:
            theirs.crop(length - len(cache.tokens))  # below 0: how many tokens to remove
        except RuntimeError as problem:
            if self.records_past:
                raise
            raise NotImplementedError(str(problem)) from None  # as documented: a full window needs a record of the past
        cache.theirs = theirs  # after a refusal, some layers of it may be cropped, others not
        del cache.tokens[length:]

    def fork(self, cache):
        """Return an independent cache with the same tokens."""
        self.caches.append(copy.deepcopy(cache))
        return self.caches[-1]

    def copy_prefix(self, cache, length):
        """Return a new cache with the first `length` tokens."""
        prefix = self.fork(cache)
        self.truncate(prefix, length)
        return prefix

    def reorder(self, caches, order):
        """Return the caches in another order, as beam search does: the rows of one batch are reordered."""
        if not all(cache.tokens for cache in caches):
            raise NotImplementedError("an empty cache has no row")
        batch = copy.deepcopy(caches[0].theirs)
        for number, layer in enumerate(batch.layers):
            layers = [cache.theirs.layers[number] for cache in caches]
            layer.keys, layer.values = padded([one.keys for one in layers]), padded([one.values for one in layers])
        batch.reorder_cache(torch.tensor(order))
        result = [self.fork(caches[index]) for index in order]  # for the lengths: a batch has only one
        for row, cache in enumerate(result):
            for layer, rows in zip(cache.theirs.layers, batch.layers, strict=True):
                length = layer.keys.shape[-2]
                layer.keys = rows.keys[row : row + 1, :, -length:].clone()
                layer.values = rows.values[row : row + 1, :, -length:].clone()
        return result

    def keep(self, cache):
        """Empty every other cache."""
        for other in self.caches:
            if other is not cache:
                self.release(other)

    def release(self, cache):
        """Empty a cache."""
        cache.theirs.reset()
        cache.tokens.clear()

    def save(self, cache):
        """Return a copy of a cache and its tokens, which later calls do not change."""
        return copy.deepcopy((cache.theirs, cache.tokens))

    def restore(self, state):
        """Return a new cache from a saved copy."""
        self.caches.append(Cached(*copy.deepcopy(state)))
        return self.caches[-1]


def padded(rows):
    """Return tensors [1, heads, tokens, head_dim] as one [sequences, heads, tokens, head_dim], with zeros before."""
    longest = max(one.shape[-2] for one in rows)
    return torch.cat([torch.nn.functional.pad(one, (0, 0, longest - one.shape[-2], 0)) for one in rows])
