"""llama.cpp as a peer: `python -m minillm.benchmark.peer_llama_cpp FILE.gguf MAX_TOKENS`; it computes as stored."""

import os
from time import perf_counter

from minillm.benchmark.peer_loop import Measure, answer_requests


def load(path: str, max_tokens: int) -> Measure:
    """Load the file with a context of `max_tokens`, on all cores."""
    from llama_cpp import Llama  # type: ignore[import-not-found, unused-ignore]

    model = Llama(path, n_ctx=max_tokens, n_threads=os.cpu_count(), verbose=False)

    def measure(context: int, new_tokens: int) -> tuple[float, float]:
        model.reset()
        started = perf_counter()
        model.eval([token % model.n_vocab() for token in range(context)])
        prefilled = perf_counter()
        for _ in range(new_tokens):
            model.eval([0])
        return prefilled - started, perf_counter() - prefilled

    return measure


if __name__ == "__main__":
    answer_requests(load)
