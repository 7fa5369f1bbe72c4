"""transformers as a peer: `python -m minillm.benchmark.peer_transformers FOLDER MAX_TOKENS`."""

from time import perf_counter

from minillm.benchmark.peer_loop import Measure, answer_requests


def load(folder: str, max_tokens: int) -> Measure:
    """Load the folder in float32; `max_tokens` needs no preparation here."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)

    def measure(context: int, new_tokens: int) -> tuple[float, float]:
        with torch.inference_mode():
            started = perf_counter()
            out = model(torch.arange(context)[None] % model.config.vocab_size, use_cache=True, logits_to_keep=1)
            prefilled = perf_counter()
            for _ in range(new_tokens):
                out = model(torch.zeros((1, 1), dtype=torch.long), past_key_values=out.past_key_values, use_cache=True)
            return prefilled - started, perf_counter() - prefilled

    return measure


if __name__ == "__main__":
    answer_requests(load)
