"""minillm: how LLM inference works, in Python and NumPy. Begin with `reference.py`, then `transformer.py`.

`load(name)` is fast; `load(name, backend="plain")` computes as the formulas read; with `load(name, backend="exact")`
every schedule (naive, cached, chunked, batched) gives the same logits to the bit, on every machine.
"""

from minillm import reference
from minillm.batching import Engine, StaticBatching
from minillm.decode import decode_step, naive_decode
from minillm.generation import Output, Timings, generate, stream
from minillm.kv_cache.contiguous import KVCache
from minillm.kv_cache.paged import BlockPool, PagedKVCache
from minillm.loading.load import load
from minillm.model import Model
from minillm.prefill import prefill
from minillm.sampling import Sampling
from minillm.speculative.drafters import PromptLookup, skip_layers
from minillm.speculative.generation import SpeculativeOutput, speculative_generate
from minillm.transformer import attention_weights, forward, forward_batch

__all__ = [
    "BlockPool",
    "Engine",
    "KVCache",
    "Model",
    "Output",
    "PagedKVCache",
    "PromptLookup",
    "Sampling",
    "SpeculativeOutput",
    "StaticBatching",
    "Timings",
    "attention_weights",
    "decode_step",
    "forward",
    "forward_batch",
    "generate",
    "load",
    "naive_decode",
    "prefill",
    "reference",
    "skip_layers",
    "speculative_generate",
    "stream",
]
