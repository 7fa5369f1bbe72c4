"""transformers' Llamas and their KV caches: dynamic, static, sliding, quantized, and with a record of the past.

    pytest --minillm-engine transformers_llama        (needs torch and transformers)

The models are Llama, Mistral, Qwen2 and Qwen3, as the config requires, in float64. All are compared with the reference.
An engine is a kind of cache with a kind of attention: `sdpa` is PyTorch's function, `eager` is transformers' own. The
cache `full` keeps all keys of a window: only the mask hides them. The keys of `fp8` have 8 bits, so it is compared with
itself. `unrounded` is the base class of the other quantized caches, with numbers that are not rounded: what it adds to
quantization must be exact.

To test other models or caches, copy this file. The functions of `Engine` are all that is tested.
"""

import copy
from itertools import pairwise
from types import SimpleNamespace

import torch
from transformers import (
    AutoModelForCausalLM,
    DynamicCache,
    LlamaConfig,
    MistralConfig,
    QuantizedCache,
    Qwen2Config,
    Qwen3Config,
    StaticCache,
)  # fmt: skip
from transformers.cache_utils import BaseQuantizedLayer, Cache, QuantizedLayer

FEATURES = ("window", "qk_norm", "bias")
CAPACITY = 200  # tokens of a static cache
RESIDUAL = 4  # tokens that a quantized cache keeps unquantized
KINDS = {  # the name of an engine: the cache, whether it records the past, the attention
    "dynamic": ("dynamic", False, "sdpa"),
    "recording": ("dynamic", True, "sdpa"),
    "static": ("static", False, "sdpa"),
    "eager": ("dynamic", False, "eager"),
    "full": ("full", False, "sdpa"),
    "unrounded": ("unrounded", False, "sdpa"),
    "fp8": ("fp8", False, "sdpa"),
}
WITHOUT_WINDOW = {"FEATURES": ("qk_norm", "bias")}
SETTINGS = {
    "unrounded": {**WITHOUT_WINDOW, "PAGE": RESIDUAL},
    "fp8": {**WITHOUT_WINDOW, "REFERENCE": "self", "TOLERANCE": 0.5},
}
SIZES = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings",
)  # fmt: skip


def engines():
    """Yield the name of each kind and what makes its engines."""
    for name, kind in KINDS.items():
        make = lambda config, weights, kind=kind: Engine(config, weights, *kind)  # noqa: E731
        yield name, SimpleNamespace(make_engine=make, **{"FEATURES": FEATURES} | SETTINGS.get(name, {}))


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


class UnroundedLayer(QuantizedLayer):
    """A quantized layer whose numbers are kept as they are."""

    def _quantize(self, tensor, axis):
        return tensor.clone()

    def _dequantize(self, tensor):
        return tensor


def empty_cache(kind, config):
    """Return an empty cache of transformers."""
    if kind == "static":
        return StaticCache(config=config, max_cache_len=CAPACITY)
    if kind == "fp8":
        return QuantizedCache("fp8", config)
    if kind == "unrounded":
        return Cache([UnroundedLayer(residual_length=RESIDUAL) for _ in range(config.num_hidden_layers)])
    return DynamicCache() if kind == "full" else DynamicCache(config=config)


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
        theirs = empty_cache(self.cache, self.model.config)
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

    def batch(self, pairs):
        """Return the logits [sequences, vocab]. A batch has one cache, so all tokens are padded and computed again."""
        logits = self.padded_batch([cache.tokens + tokens for tokens, cache in pairs])
        for tokens, cache in pairs:
            self.prefill(tokens, cache)
        return logits

    @torch.no_grad()
    def padded_batch(self, rows):
        """Return the logits [sequences, vocab] after each row: padded prefill, then at most two decode steps."""
        longest, steps = max(map(len, rows)), min(2, min(map(len, rows)) - 1)
        ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        theirs = empty_cache(self.cache, self.model.config)
        for first, end in pairwise([0, *range(longest - steps, longest + 1)]):
            part = {"position_ids": positions[:, first:end], "attention_mask": mask[:, :end], "cache": theirs}
            logits = self.model(ids[:, first:end], use_cache=True, **part).logits[:, -1].numpy()
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
        if all(
            hasattr(layer, "batch_repeat_interleave") for layer in cache.theirs.layers
        ):  # as several answers have it
            self.caches[-1].theirs.batch_repeat_interleave(2)
            self.caches[-1].theirs.batch_select_indices(torch.tensor([1]))
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
            rows = [states(cache.theirs.layers[number]) for cache in caches]
            for index, (place, key) in enumerate(states(layer)):
                place[key] = padded([row[index][0][key] for row in rows])
        batch.reorder_cache(torch.tensor(order))
        result = [copy.deepcopy(caches[index]) for index in order]  # for the lengths: a batch has only one
        for row, cache in enumerate(result):
            for layer, rows in zip(cache.theirs.layers, batch.layers, strict=True):
                for (place, key), (ordered, _) in zip(states(layer), states(rows), strict=True):
                    place[key] = ordered[key][row : row + 1, ..., -place[key].shape[-2] :, :].clone()
        self.caches += result
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


def states(layer):
    """Return where the tensors of a layer are, such as its keys: pairs of a dict and a key."""
    if isinstance(layer, BaseQuantizedLayer):
        raise NotImplementedError("quantized keys are not tensors that could be joined")
    own = vars(layer)
    places = [own, *(value for value in own.values() if isinstance(value, dict))]  # some layers have several states
    return [
        (place, key) for place in places for key, value in place.items() if torch.is_tensor(value) and value.ndim > 2
    ]


def padded(rows):
    """Return tensors [1, heads, tokens, head_dim] as one [sequences, heads, tokens, head_dim], with zeros before."""
    if len({one.shape[-1] for one in rows}) > 1:
        raise NotImplementedError("these states have other sizes")
    longest = max(one.shape[-2] for one in rows)
    return torch.cat([torch.nn.functional.pad(one, (0, 0, longest - one.shape[-2], 0)) for one in rows])
