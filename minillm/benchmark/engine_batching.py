"""`python -m minillm.benchmark.engine_batching MODEL BACKEND DTYPE`: a process that measures batching on request."""

from typing import Any

from minillm.benchmark.batching import decode_steps, mixed_load, queued_requests
from minillm.benchmark.engine_loop import Answer, answer_requests
from minillm.loading.load import load as load_model


def load(name: str, backend: str, dtype: str) -> Answer:
    """Load the model; return the function that measures it."""
    model = load_model(name, backend, dtype)

    def answer(request: dict[str, Any]) -> dict[str, Any]:
        if request["task"] == "decode":
            return decode_steps(model, request["prompts"], request["new_tokens"])
        return {"mixed": mixed_load, "queue": queued_requests}[request["task"]](model)

    return answer


if __name__ == "__main__":
    answer_requests(load)
