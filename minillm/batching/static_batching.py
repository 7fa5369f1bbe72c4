"""Static batching: a batch of requests starts together, and all are answered when the longest one is done.

The naive twin of the `Engine`. With answers of 100 and 10 tokens both wait 100 steps, and 45% of the batch slots
are idle: in general 1 - sum(lengths) / (n * longest) (Yu et al., Orca, OSDI 2022, section 2).
"""

import threading
from collections import deque
from itertools import islice

from minillm.batching.request import Request
from minillm.completion import DEFAULT_NEW_TOKENS, Completion
from minillm.events import Admitted, Finished, tell
from minillm.generation import Prompt, encode_prompt
from minillm.kv_cache.cache import memory_kind
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model, check_model
from minillm.sampling import Sampling
from minillm.support.checks import check_integer
from minillm.transformer import forward_batch


class StaticBatching:
    """Requests in batches of a fixed size, in order of arrival.

    Attributes:
        steps: forward passes so far.
        slot_steps: batch slots, summed over all steps.
        idle_slot_steps: those whose request was finished and waited for the others. They are not computed here; where
            a batch is one padded array, they are.
        reserved_slots, filled_slots: slots of the caches (one token each), and tokens in them, summed over all steps.

    Example:
        >>> batching = minillm.StaticBatching(minillm.load("story"), batch_size=2)
        >>> requests = [batching.submit("Once upon a time", max_new_tokens=n) for n in (8, 2)]
        >>> batching.run()
        >>> batching.steps, batching.idle_slot_steps
        (8, 6)
    """

    def __init__(self, model: Model, batch_size: int, cache_dtype: str | None = None) -> None:
        """Begin without requests.

        Args:
            model: the model.
            batch_size: the most requests in a batch.
            cache_dtype: "int8" to store keys and values in 8 bits, as in `KVCache`.

        Raises:
            ValueError: a wrong argument.
        """
        check_model(model)
        self.model, self.batch_size = model, check_integer("batch_size", batch_size, 1)
        memory_kind(model, cache_dtype)  # refuses a wrong dtype
        self.cache_dtype = cache_dtype
        self.waiting: deque[Request] = deque()
        self.steps = self.slot_steps = self.idle_slot_steps = 0
        self.reserved_slots = self.filled_slots = 0
        self._turn = threading.Lock()

    def submit(
        self, prompt: Prompt, max_new_tokens: int = DEFAULT_NEW_TOKENS, sampling: Sampling | None = None
    ) -> Request:
        """Append a new request to the queue. The arguments are those of `generate`.

        Raises:
            ValueError: a wrong argument.
        """
        completion = Completion.of(self.model, encode_prompt(self.model, prompt), max_new_tokens, sampling)
        request = Request(completion, self.steps)
        self.waiting.append(request)
        tell(completion.submitted())
        return request

    def run(self) -> None:
        """Run batch after batch until all requests are answered. After an interrupt it can be called again.

        Threads take turns: a second one waits for the first.
        """
        with self._turn:
            while self.waiting:
                batch = list(islice(self.waiting, self.batch_size))
                self._run_batch(batch)
                for _ in batch:
                    self.waiting.popleft()

    def _run_batch(self, requests: list[Request]) -> None:
        sizes = {request: request.completion.max_cached_tokens for request in requests}
        caches = {request: KVCache(self.model, size, self.cache_dtype) for request, size in sizes.items()}
        for request in requests:
            request.status = "running"
            tell(Admitted(request.completion, caches[request], known_tokens=0, restored_tokens=0))
        while unfinished := [request for request in requests if not request.completion.finish_reason]:
            self._step(requests, unfinished, caches)
        for request in requests:  # only now are they answered
            request.status, request.finished_step = "finished", self.steps
            tell(Finished(request.completion, request.finish_reason))

    def _step(self, requests: list[Request], unfinished: list[Request], caches: dict[Request, KVCache]) -> None:
        batch = [(request.completion.sequence[caches[request].length :], caches[request]) for request in unfinished]
        logits = self.model.ops.to_host(forward_batch(self.model, batch))  # [unfinished, vocab]
        self.steps += 1
        self.slot_steps += len(requests)
        self.idle_slot_steps += len(requests) - len(unfinished)
        self.reserved_slots += sum(cache.capacity for cache in caches.values())
        self.filled_slots += sum(cache.length for cache in caches.values())
        for request, row in zip(unfinished, logits, strict=True):
            request.completion.add(row)
            request.first_token_step = request.first_token_step or self.steps
