"""Static batching: a batch of requests starts together and is answered together, when the longest is done.

The naive twin of the `Engine`. With answers of 100 and 10 tokens both wait 100 steps, and 45% of the places in the
batch are idle: in general 1 - sum(lengths) / (n * longest) (Yu et al., Orca, OSDI 2022, section 2).
"""

from collections import deque
from itertools import islice

from minillm.arrays import Tokens
from minillm.batching.request import Request
from minillm.completion import Completion
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model, check_model
from minillm.sampling import Sampling
from minillm.support.checks import check_integer
from minillm.transformer import forward_batch


class StaticBatching:
    """Requests in batches of a fixed size, in order of arrival.

    Attributes:
        steps: forward passes so far.
        slot_steps: places in the batches so far, counted once for each step.
        idle_slot_steps: those whose request was finished and waited for the others. They are not computed here; where
            a batch is one padded array, they are.
        reserved_slots, filled_slots: places for a token in the caches, and tokens in them, summed over all steps.
    """

    def __init__(self, model: Model, batch_size: int) -> None:
        """No requests yet.

        Raises:
            ValueError: a wrong argument.
        """
        check_model(model)
        self.model, self.batch_size = model, check_integer("batch_size", batch_size, 1)
        self.waiting: deque[Request] = deque()
        self.steps = self.slot_steps = self.idle_slot_steps = 0
        self.reserved_slots = self.filled_slots = 0

    def submit(self, prompt_ids: Tokens, max_new_tokens: int = 32, sampling: Sampling | None = None) -> Request:
        """A new request joins the queue.

        Raises:
            ValueError: a wrong argument.
        """
        request = Request(Completion(self.model, prompt_ids, max_new_tokens, sampling), self.steps)
        self.waiting.append(request)
        return request

    def run(self) -> None:
        """Run batch after batch until all requests are answered. Interrupted, it can be called again."""
        while self.waiting:
            batch = list(islice(self.waiting, self.batch_size))
            self._run_batch(batch)
            for _ in batch:
                self.waiting.popleft()

    def _run_batch(self, requests: list[Request]) -> None:
        caches = {request: KVCache(self.model, request.completion.max_cached_tokens) for request in requests}
        unfinished = [request for request in requests if not request.completion.finish_reason]
        while unfinished:
            batch = [(request.completion.sequence[caches[request].length :], caches[request]) for request in unfinished]
            logits = self.model.ops.to_host(forward_batch(self.model, batch))
            self.steps += 1
            self.slot_steps += len(requests)
            self.idle_slot_steps += len(requests) - len(unfinished)
            self.reserved_slots += sum(cache.capacity for cache in caches.values())
            self.filled_slots += sum(cache.length for cache in caches.values())
            for request, row in zip(unfinished, logits, strict=True):
                request.completion.add(row)
                request.first_token_step = request.first_token_step or self.steps
            unfinished = [request for request in unfinished if not request.completion.finish_reason]
        for request in requests:  # only now are they answered
            request.finish_reason, request.finished_step = request.completion.finish_reason, self.steps
