"""minillm as an engine: `python -m minillm.benchmark.engine_minillm MODEL BACKEND DTYPE WEIGHTS [CACHE_DTYPE]`.

It is asked like its peers, and answers three more requests: the time of a decode step beyond its matrix products, naive
decoding, and the time of a verification by its rows.
"""

import statistics
from typing import Any

from minillm.arrays import Array
from minillm.backends.memory import keep_freed_memory
from minillm.benchmark.engine_loop import Answer, answer_requests, generate
from minillm.benchmark.this_machine import products
from minillm.benchmark.timing import seconds
from minillm.decode import decode_step, naive_decode
from minillm.kv_cache.contiguous import KVCache
from minillm.loading.load import load as load_model
from minillm.model import Model
from minillm.prefill import prefill
from minillm.transformer import forward_batch


class Minillm:
    """A model and the caches of its sequences."""

    def __init__(self, model: Model, cache_dtype: str | None = None) -> None:
        self.model, self.cache_dtype = model, cache_dtype
        self.caches: list[KVCache] = []

    def begin(self, sequences: int, room: int) -> None:
        """Create the caches."""
        self.caches = [KVCache(self.model, room, self.cache_dtype) for _ in range(sequences)]

    def prefill(self, prompt: list[int]) -> int:
        """Run the prompt into the first cache."""
        return self._greedy(prefill(self.model, prompt, self.caches[0]))

    def fork(self) -> None:
        """Copy the first sequence to all others."""
        self.caches[1:] = [self.caches[0].fork() for _ in self.caches[1:]]

    def step(self, token: int) -> int:
        """Append the token to every sequence."""
        return self._greedy(forward_batch(self.model, [([token], cache) for cache in self.caches])[0])

    def _greedy(self, logits: Array) -> int:
        return int(self.model.ops.to_host(logits).argmax())


def beyond_products_s(model: Model, prompt: list[int], steps: int, cache_dtype: str | None = None) -> float:
    """Return the seconds per layer that a decode step takes beyond its matrix products; both are timed in turn."""
    cache = KVCache(model, len(prompt) + steps, cache_dtype)
    prefill(model, prompt, cache)
    differences = [
        seconds(lambda: decode_step(model, 0, cache)) - seconds(lambda: products(model)) for _ in range(steps)
    ]
    return statistics.median(differences) / model.config.num_hidden_layers


def verification_s(
    model: Model, prompt: list[int], rows: list[int], repeats: int, cache_dtype: str | None = None
) -> dict[str, float]:
    """Return the median seconds of a pass over each number of rows, all with logits; they are timed in turn."""
    cache = KVCache(model, len(prompt) + max(rows), cache_dtype)
    prefill(model, prompt, cache)

    def forward_s(count: int) -> float:
        took = seconds(lambda: forward_batch(model, [(prompt[:1] * count, cache)], [count]))
        cache.truncate(len(prompt))
        return took

    times = [[forward_s(count) for count in rows] for _ in range(repeats)]
    return {str(count): statistics.median(one) for count, one in zip(rows, zip(*times, strict=True), strict=True)}


def load(name: str, backend: str, dtype: str, weights: str = "float32", cache_dtype: str | None = None) -> Answer:
    """Load the model; return the function that answers requests."""
    model = load_model(name, backend, dtype, weights)
    engine = Minillm(model, cache_dtype)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        prompt, new_tokens = request["prompt"], request["new_tokens"]
        if request.get("task") == "beyond products":
            return {"seconds": beyond_products_s(model, prompt, new_tokens, cache_dtype)}
        if request.get("task") == "naive":
            return {"seconds": seconds(lambda: naive_decode(model, prompt, new_tokens))}
        if request.get("task") == "verification":
            return verification_s(model, prompt, request["rows"], new_tokens, cache_dtype)
        return generate(engine, request)

    return answer


if __name__ == "__main__":
    keep_freed_memory()  # as the command `minillm` does
    answer_requests(load)
