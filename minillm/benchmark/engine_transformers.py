"""transformers as an engine: `python -m minillm.benchmark.engine_transformers FOLDER THREADS`."""

from minillm.benchmark.engine_loop import Answer, answer_requests, generate


class Transformers:
    """A causal language model with its own cache, in float32."""

    def __init__(self, folder: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.sequences = 1

    def begin(self, sequences: int, room: int) -> None:
        """Take the number of sequences; the cache is new after each prefill and grows by itself."""
        self.sequences = sequences

    def prefill(self, prompt: list[int]) -> int:
        """Run the prompt, with logits for its last token only."""
        out = self.model(self.torch.tensor([prompt]), use_cache=True, logits_to_keep=1)
        self.cache = out.past_key_values
        return int(out.logits[0, -1].argmax())

    def fork(self) -> None:
        """Copy the first sequence to all others."""
        self.cache.batch_repeat_interleave(self.sequences)

    def step(self, token: int) -> int:
        """Append the token to every sequence."""
        tokens = self.torch.full((self.sequences, 1), token)
        out = self.model(tokens, past_key_values=self.cache, use_cache=True)
        return int(out.logits[0, -1].argmax())


def load(folder: str, threads: str) -> Answer:
    """Load the folder; return the function that answers requests with `threads` threads."""
    import torch

    torch.set_num_threads(int(threads))
    torch.set_grad_enabled(False)
    engine = Transformers(folder)
    return lambda request: generate(engine, request)


if __name__ == "__main__":
    answer_requests(load)
