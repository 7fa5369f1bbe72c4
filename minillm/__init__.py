"""minillm: how LLM inference works, in Python and NumPy.

    import minillm

    model = minillm.load("story")                                   # ships with minillm; "smollm2" is a chat model
    out = minillm.generate(model, "The capital of France is")       # out.text, out.tokens, out.finish_reason
    for text in minillm.stream(model, "Once upon a time"):          # text as it becomes certain
        print(text, end="")
    cache = minillm.KVCache(model, capacity=64)                     # the same by hand: prefill, then decode
    logits = minillm.prefill(model, model.tokenizer.encode("The sky is"), cache)
    logits = minillm.decode_step(model, int(logits.argmax()), cache)
    engine = minillm.Engine(model)                                  # many requests in one batch
    requests = [engine.submit(prompt) for prompt in ("The sky is", "One and one is")]
    engine.run()                                                    # requests[0].text

`load(name)` computes fast, and `load(name, backend="compiled")` faster, with numba. `load(name, backend="plain")`
computes as the formulas read. With `load(name, backend="exact")` every schedule (naive, cached, chunked, batched,
speculative) gives the same logits to the bit, on every machine. To read the code, begin with `reference.py`, then
`transformer.py`.
"""

from minillm import reference, trace
from minillm.batching import Engine, NewToken, Request, StaticBatching
from minillm.completion import Step
from minillm.config import ModelConfig
from minillm.conversation import Conversation
from minillm.decode import decode_step, naive_decode
from minillm.generation import Generation, Output, Timings, generate
from minillm.kv_cache import BlockPool, KVCache, PagedKVCache
from minillm.model import Model
from minillm.parallel.load import load
from minillm.prefill import prefill
from minillm.sampling import Sampling
from minillm.score import Score, score
from minillm.speculative import (
    Draft,
    Drafter,
    PromptLookup,
    SpeculativeOutput,
    skip_layers,
    speculative_generate,
    stream,
)
from minillm.transformer import attention_weights, forward, forward_batch

__version__ = "0.1.0"
__all__ = [
    "BlockPool",
    "Conversation",
    "Draft",
    "Drafter",
    "Engine",
    "Generation",
    "KVCache",
    "Model",
    "ModelConfig",
    "NewToken",
    "Output",
    "PagedKVCache",
    "PromptLookup",
    "Request",
    "Sampling",
    "Score",
    "SpeculativeOutput",
    "StaticBatching",
    "Step",
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
    "score",
    "skip_layers",
    "speculative_generate",
    "stream",
    "trace",
]
