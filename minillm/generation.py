"""Generation: text in, text out. Tokenize the prompt, prefill, then decode and sample until the answer ends.

`Generation` is one request: iterate over its steps, then read its `output`. `generate` does that, and so does `stream`,
in `speculative/generation.py` because it takes a drafter too. With `use_cache=False` the same loop recomputes the whole
sequence for every token: the naive twin.
"""

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np

from minillm.arrays import Array
from minillm.batch_checks import check_cache, check_tokens
from minillm.completion import DEFAULT_NEW_TOKENS, Completion, Step, TokenLogprobs
from minillm.decode import decode_step
from minillm.events import Admitted, Finished, tell
from minillm.kv_cache.cache import memory_kind
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model, check_model
from minillm.prefill import PREFILL_CHUNK, prefill
from minillm.sampling import Sampling
from minillm.support.checks import check_bool, check_integer, shown
from minillm.transformer import forward

Prompt = str | Sequence[int] | Sequence[dict[str, Any]] | Array


@dataclass(frozen=True)
class Timings:
    """Durations of one request, in seconds.

    Attributes:
        ttft_s: time to first token: from the start of prefill until the first token is sampled.
        tpot_s: time per output token: mean over the tokens after the first; 0 if there is only one.
        prefill_s: the forward pass of the prompt.
        decode_s: everything after the first token; it includes what the caller does between two tokens.

    Example:
        >>> timings = minillm.generate(minillm.load("story"), "The capital of France is", max_new_tokens=3).timings
        >>> timings.ttft_s >= timings.prefill_s > 0 and timings.tpot_s > 0
        True
    """

    ttft_s: float
    tpot_s: float
    prefill_s: float
    decode_s: float


@dataclass(frozen=True)
class Output:
    """The result of one request.

    Attributes:
        text: the new text, without special tokens, up to a stop string.
        tokens: the new token ids only. If an end-of-sequence token came, it is the last one.
        finish_reason: "eos" (end-of-sequence token), "stop" (stop string) or "length" (max_new_tokens or context).
        timings: durations of the phases.
        prompt_tokens: number of prompt tokens.
        kv_cache_bytes: bytes reserved for keys and values; 0 without a cache.
        logprobs: one entry for each new token if `Sampling.logprobs` asked for them, else empty.

    Example:
        >>> out = minillm.generate(minillm.load("story"), "The capital of France is", max_new_tokens=3)
        >>> out.text, out.prompt_tokens, out.kv_cache_bytes
        (' Paris.', 5, 21504)
    """

    text: str
    tokens: list[int]
    finish_reason: str
    timings: Timings
    prompt_tokens: int
    kv_cache_bytes: int
    logprobs: list[TokenLogprobs] = field(default_factory=list)


def encode_prompt(model: Model, prompt: Prompt) -> list[int]:
    """Return token ids. Text is encoded unchanged (plus BOS), messages go through the chat template, ids pass through.

    An empty text is the BOS alone: the model begins a text of its own.

    Raises:
        ValueError: there is not one token, or the prompt is not text, token ids or messages.
    """
    if isinstance(prompt, str):
        ids = model.tokenizer.encode_prompt(prompt, model.config.max_position_embeddings)
        _warn_of_special(model, prompt)
        if not ids:
            raise ValueError("the prompt is empty, and the tokenizer has no BOS to begin with; expected some text")
    elif isinstance(prompt, list | tuple) and prompt and isinstance(prompt[0], dict):
        ids = model.tokenizer.apply_chat_template(list(prompt), model.config.max_position_embeddings)
    elif isinstance(prompt, Sequence | np.ndarray) and not isinstance(prompt, bytes):
        ids = prompt  # type: ignore[assignment]
    else:
        raise ValueError(f"prompt is of type {type(prompt).__name__}; expected text, token ids or chat messages")
    return [int(token) for token in check_tokens(model, ids)]


def _warn_of_special(model: Model, prompt: str) -> None:
    """Issue a warning if the prompt spells a special token: it becomes the tokens of its letters."""
    for _, _, special in model.tokenizer.find_special(prompt)[:1]:
        warnings.warn(f"{special} in the prompt is taken as text; to use special tokens, pass messages", stacklevel=4)


class Generation:
    """One request. Iterate over it once to run it, a token at a time; then read `output`.

    Attributes:
        prompt: token ids.
        completion: the answer as it grows.
        cache: its KV cache; None with `use_cache=False`.
        output: the result; None before the end.

    Example:
        >>> generation = minillm.generation.Generation(minillm.load("story"), "The capital of France is", 3)
        >>> [step.text for step in generation]
        [' P', 'aris', '.']
        >>> generation.output.finish_reason
        'length'
    """

    def __init__(
        self,
        model: Model,
        prompt: Prompt,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        sampling: Sampling | None = None,
        use_cache: bool = True,
        cache: KVCache | None = None,
        cache_dtype: str | None = None,
    ) -> None:
        """Check everything and encode the prompt; nothing is computed yet.

        Args:
            model: the model.
            prompt: text (continued as it is), token ids, or chat messages (put through the model's chat template).
            max_new_tokens: the most tokens to add; the model's context may end sooner.
            sampling: how tokens are chosen; greedy by default.
            use_cache: False recomputes the whole sequence for every token.
            cache: a cache that already holds the first tokens of the prompt, but not all of them; by default a new one.
            cache_dtype: "int8" to store keys and values in 8 bits. With `use_cache=False` they are rounded in the same
                way, in every pass.

        Raises:
            ValueError: a wrong argument, an empty prompt, or one longer than the model's context.
        """
        check_model(model)
        check_bool("use_cache", use_cache)
        memory_kind(model, cache_dtype)  # refuses a wrong dtype
        self.model, self.prompt, self.cache_dtype = model, encode_prompt(model, prompt), cache_dtype
        self.completion = Completion.of(model, self.prompt, max_new_tokens, sampling)
        if cache is not None:
            check_cache(model, cache)
            check_integer("cache.length", cache.length, 0, len(self.prompt) - 1)  # the last token gives logits
        elif use_cache:
            cache = KVCache(model, self.completion.max_cached_tokens, cache_dtype)
        self.cache = cache if use_cache else None
        self.output: Output | None = None
        self._running = threading.Lock()

    def __iter__(self) -> Iterator[Step]:
        """Prefill, then decode. Yield every new token as soon as it is sampled.

        Raises:
            ValueError: it was iterated before, or another thread iterates over it.
        """
        if self.completion.tokens or not self._running.acquire(blocking=False):
            raise ValueError("this generation has begun already, and runs once; make a new one")
        try:
            yield from self._steps()
        finally:
            self._running.release()

    def _steps(self) -> Iterator[Step]:
        answer = self.completion
        self._tell_beginning()
        started = perf_counter()
        logits = self._first_logits()
        prefilled = perf_counter()
        steps = [answer.add(logits)]
        first_token = perf_counter()
        while not answer.finish_reason:
            yield from steps
            steps = self._next_steps()
        ended = perf_counter()
        later = len(answer.tokens) - 1
        timings = Timings(
            ttft_s=first_token - started,
            tpot_s=(ended - first_token) / later if later else 0.0,
            prefill_s=prefilled - started,
            decode_s=ended - first_token,
        )
        self.output = self._output(timings)  # before the last step, so that its receiver can read the output
        tell(Finished(answer, answer.finish_reason))
        yield from steps

    def _tell_beginning(self) -> None:
        answer, cache = self.completion, self.cache
        known_tokens = min(cache.length, len(self.prompt) - 1) if cache else 0  # the last token of a prompt always runs
        tell(answer.submitted())
        tell(Admitted(answer, cache, known_tokens, restored_tokens=0))

    def _output(self, timings: Timings) -> Output:
        answer, cache_bytes = self.completion, self.cache.nbytes if self.cache else 0
        return Output(
            answer.text, answer.tokens, answer.finish_reason, timings, len(self.prompt), cache_bytes, answer.logprobs
        )

    def _first_logits(self) -> Array:
        if self.cache is None:
            return self._naive_logits()
        self.cache.truncate(min(self.cache.length, len(self.prompt) - 1))  # an interrupted prefill may have cached all
        missing = self.prompt[self.cache.length :]
        return self.model.ops.to_host(prefill(self.model, missing, self.cache, PREFILL_CHUNK))

    def _next_steps(self) -> list[Step]:
        """Make one forward pass and return its new token. Speculative decoding returns several."""
        if self.cache is None:
            return [self.completion.add(self._naive_logits())]
        logits = decode_step(self.model, self.completion.sequence[-1], self.cache)
        return [self.completion.add(self.model.ops.to_host(logits))]

    def _naive_logits(self) -> Array:
        return self.model.ops.to_host(forward(self.model, self.completion.sequence, self.cache_dtype)[-1])


def generate(
    model: Model,
    prompt: Prompt,
    max_new_tokens: int = DEFAULT_NEW_TOKENS,
    sampling: Sampling | None = None,
    use_cache: bool = True,
    on_step: Callable[[Step], Any] | None = None,
    cache_dtype: str | None = None,
) -> Output:
    """Run one request to its end.

    Args:
        model, prompt, max_new_tokens, sampling, use_cache, cache_dtype: as in `Generation`.
        on_step: called with every new `Step`.

    Raises:
        ValueError: a wrong argument, an empty prompt, or one longer than the model's context.

    Example:
        >>> model = minillm.load("story")
        >>> out = minillm.generate(model, "The capital of France is", max_new_tokens=3)
        >>> out.text, out.tokens, out.finish_reason
        (' Paris.', [379, 1910, 14], 'length')
    """
    if on_step is not None and not callable(on_step):
        raise ValueError(f"on_step is {shown(on_step)}; expected a function of one Step")
    generation = Generation(model, prompt, max_new_tokens, sampling, use_cache, cache_dtype=cache_dtype)
    for step in generation:
        if on_step is not None:
            on_step(step)
    assert generation.output is not None
    return generation.output
