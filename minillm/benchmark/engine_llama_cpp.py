"""llama.cpp as an engine: `python -m minillm.benchmark.engine_llama_cpp FILE.gguf THREADS`.

It is called through its C functions, without the Python class around them, which copies logits. All settings except
the number of threads and the sizes are its own defaults.
"""

import ctypes
from typing import Any

import numpy as np

from minillm.benchmark.engine_loop import Answer, answer_requests, generate
from minillm.support.wording import counted


class LlamaCpp:
    """A model, and one context for each pair of sequences and room that was requested."""

    def __init__(self, path: str, threads: int) -> None:
        """Load the file for the CPU."""
        import llama_cpp

        self.c, self.threads = llama_cpp, threads
        parameters = llama_cpp.llama_model_default_params()
        parameters.n_gpu_layers = 0
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), parameters)
        if not self.model:
            raise ValueError("llama.cpp cannot load the file")
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))
        self.contexts: dict[tuple[int, int], tuple[Any, Any]] = {}

    def begin(self, sequences: int, room: int) -> None:
        """Take the context of this size and clear it."""
        if (sequences, room) not in self.contexts:
            self.contexts[sequences, room] = self._new_context(sequences, room)
        (self.context, self.batch), self.sequences, self.length = self.contexts[sequences, room], sequences, 0
        self.memory = self.c.llama_get_memory(self.context)
        self.c.llama_memory_clear(self.memory, False)

    def prefill(self, prompt: list[int]) -> int:
        """Run the prompt in sequence 0."""
        ids = (ctypes.c_int32 * len(prompt))(*prompt)  # kept in a variable: the batch only points to it
        self._run(self.c.llama_batch_get_one(ids, len(prompt)))
        self.length = len(prompt)
        return self._greedy(-1)

    def fork(self) -> None:
        """Copy sequence 0 to all others."""
        for sequence in range(1, self.sequences):
            self.c.llama_memory_seq_cp(self.memory, 0, sequence, -1, -1)

    def step(self, token: int) -> int:
        """Append the token to every sequence."""
        for row in range(self.sequences):
            self.batch.token[row], self.batch.pos[row] = token, self.length
        self._run(self.batch)
        self.length += 1
        return self._greedy(0)

    def _new_context(self, sequences: int, room: int) -> tuple[Any, Any]:
        """Create a context, and the batch of its decode step: one token of every sequence, all with logits."""
        parameters = self.c.llama_context_default_params()
        parameters.n_ctx, parameters.n_batch, parameters.n_seq_max = sequences * room, sequences * room, sequences
        parameters.n_threads = parameters.n_threads_batch = self.threads
        context, batch = self.c.llama_init_from_model(self.model, parameters), self.c.llama_batch_init(sequences, 0, 1)
        if not context:
            raise ValueError(
                f"llama.cpp has not enough memory for {counted(sequences, 'sequence')} of {counted(room, 'token')}"
            )
        batch.n_tokens = sequences
        for row in range(sequences):
            batch.n_seq_id[row], batch.seq_id[row][0], batch.logits[row] = 1, row, 1
        return context, batch

    def _run(self, batch: object) -> None:
        if self.c.llama_decode(self.context, batch):
            raise ValueError("llama_decode failed")

    def _greedy(self, row: int) -> int:
        logits = self.c.llama_get_logits_ith(self.context, row)
        return int(np.ctypeslib.as_array(logits, (self.vocab_size,)).argmax())


def load(path: str, threads: str) -> Answer:
    """Load the file; return the function that answers requests with `threads` threads."""
    engine = LlamaCpp(path, int(threads))
    return lambda request: generate(engine, request)


if __name__ == "__main__":
    answer_requests(load)
