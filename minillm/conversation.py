"""Conversation: the state of a chat, and the KV cache that its turns share.

    conversation = Conversation(minillm.load("smollm2"), system="Answer briefly.")
    for text in conversation.stream("What is the capital of France?"):
        print(text, end="", flush=True)

The prompt of each turn is the whole conversation, put through the model's chat template. It begins with the tokens of
the turn before, whose keys and values are still in the cache. Only the tokens after that common prefix are prefilled:

    turn 1   | system  question 1                       |  answer 1
               prefilled                                   decoded
    turn 2   | system  question 1  answer 1  question 2 |  answer 2
               in the cache already          prefilled     decoded

The last token of an answer was never fed back, so the next turn prefills it with the question.
"""

import threading
from collections.abc import Iterator

from minillm.completion import DEFAULT_NEW_TOKENS, Step, check_sampling
from minillm.generation import Generation, Output
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model
from minillm.sampling import Sampling
from minillm.support.checks import check_integer, shown
from minillm.support.wording import counted
from minillm.text.messages import Message
from minillm.text.tokenizer import TextTooLong


class ConversationTooLong(ValueError):
    """The prompt has more tokens than the model's context: call `reset`, or drop earlier messages."""


class Conversation:
    """A chat with a model. Threads may share it: `answer` takes turns, and `stream` ends an answer still streamed.

    Attributes:
        messages: `[{"role": ..., "content": ...}]`, the system message first if there is one. While an answer is
            streamed, the last message is the answer so far. The list may be edited between turns.
        system: the system message with which `reset` begins; None or "" for none.
        max_new_tokens: the most tokens of one answer; the context may end an answer sooner.
        sampling: how tokens are chosen; None for greedy. With a seed, each answer begins with that seed again.
        cache: keys and values of the tokens in `cached`. It is replaced by one of twice the size when a turn needs
            more room, so it grows with the conversation and not with the model's context.

    Example:
        >>> model = minillm.load("story")
        >>> model.tokenizer.chat_template = "{{ messages[-1].content }}"  # story comes without a template
        >>> conversation = minillm.Conversation(model)
        >>> conversation.answer("The capital of France is").text, len(conversation.messages)
        (' Paris.', 2)
    """

    def __init__(
        self,
        model: Model,
        system: str | None = None,
        max_new_tokens: int = DEFAULT_NEW_TOKENS,
        sampling: Sampling | None = None,
        cache_dtype: str | None = None,
    ) -> None:
        """Begin with the system message alone.

        Args:
            model, system, max_new_tokens, sampling: as above.
            cache_dtype: "int8" to store keys and values in 8 bits, as in `KVCache`.

        Raises:
            ValueError: the model has no tokenizer or no chat template, or an argument is wrong.
        """
        self.cache = KVCache(model, 1, cache_dtype)
        if model.tokenizer.chat_template is None:
            raise ValueError(f"{model.name} has no chat template; continue text with minillm.generate instead")
        self.model = model
        if system is not None and not isinstance(system, str):
            raise ValueError(f"system is {shown(system)}; expected a text, or None")
        check_sampling(model, sampling)
        self.system = system
        self.max_new_tokens = check_integer("max_new_tokens", max_new_tokens, 1)
        self.sampling = sampling
        self._turn = threading.RLock()  # held by the thread that uses the cache
        self._computed: list[int] = []  # the sequence whose first `cache.length` tokens are in the cache
        self.reset()

    @property
    def cached(self) -> list[int]:
        """Return the ids of the tokens whose keys and values are in the cache."""
        return self._computed[: self.cache.length]

    def reset(self) -> None:
        """Drop all messages but the system message, and end an answer that is still streamed.

        The cache is kept: the next prompt has at least the tokens of the system message in common with it.
        """
        with self._turn:
            system = {"role": "system", "content": self.system}
            self.messages: list[Message] = [system] if self.system else []
            self._current: Generation | None = None  # the last answer; no other may use the cache any more

    def stream(self, question: str) -> Iterator[str]:
        """Ask a question, and return the text of the answer in pieces, each as soon as it is certain.

        The question is checked at once. The model runs as you iterate. If the iterator is closed early
        or an exception interrupts it, `messages` keeps the question and the answer so far; before the first piece it
        keeps neither. A later question or `reset` ends an iterator that is still open.

        Raises:
            ConversationTooLong: the prompt has more tokens than the model's context; nothing has changed.
            ValueError: the question is not text, the template refuses the messages, there is not enough memory for the
                cache, or `sampling` is wrong; `messages` has not changed.
        """
        with self._turn:
            messages: list[Message] = [*self.messages, {"role": "user", "content": question}]
            prompt = self._encoded(messages)
            new_tokens = min(self.max_new_tokens, self._room(prompt))
            self._grow(len(prompt) + new_tokens - 1)  # the last new token is never fed back
            self._current = None
            self.cache.truncate(common_prefix(self.cached, prompt))
            self._current = Generation(self.model, prompt, new_tokens, self.sampling, cache=self.cache)
            self._computed = self._current.completion.sequence  # grows with the answer
            return self._pieces(self._current, messages)

    def _encoded(self, messages: list[Message]) -> list[int]:
        try:
            return self.model.tokenizer.apply_chat_template(messages, self.model.config.max_position_embeddings)
        except TextTooLong as problem:
            raise ConversationTooLong(str(problem)) from None

    def answer(self, question: str) -> Output:
        """Ask a question and return the whole answer. It raises what `stream` raises.

        `Output.prompt_tokens` counts the whole prompt, and `Output.timings` the time of the tokens that were computed.
        """
        with self._turn:
            for _ in self.stream(question):
                pass
            assert self._current is not None and self._current.output is not None
            return self._current.output

    def _pieces(self, generation: Generation, messages: list[Message]) -> Iterator[str]:
        """Run the model, and keep `messages` up to date before each piece is handed out."""
        steps = iter(generation)
        while step := self._next_step(generation, steps, messages):
            if step.text:
                yield step.text

    def _next_step(self, generation: Generation, steps: Iterator[Step], messages: list[Message]) -> Step | None:
        """Return the next token of the answer; None at its end, or if another question or `reset` has ended it."""
        with self._turn:
            step = next(steps, None) if self._current is generation else None
            if step and (step.text or step.finish_reason):
                self.messages = [*messages, {"role": "assistant", "content": generation.completion.text}]
            return step

    def _room(self, prompt: list[int]) -> int:
        """Return how many tokens may follow the prompt; the last of them is never fed back."""
        context = self.model.config.max_position_embeddings
        if len(prompt) > context:
            raise ConversationTooLong(
                f"the conversation takes {counted(len(prompt), 'token')}, more than the model's context of {context}"
            )
        return context - len(prompt) + 1

    def _grow(self, tokens: int) -> None:
        """Replace a cache that is too small by an empty one for twice as many tokens, at most the context."""
        if tokens > self.cache.capacity:
            capacity = min(2 * tokens, self.model.config.max_position_embeddings)
            self.cache = KVCache(self.model, capacity, self.cache.dtype)


def common_prefix(cached: list[int], prompt: list[int]) -> int:
    """Return how many tokens both begin with, but at most all of the prompt except its last token.

    The last token of the prompt has to run, because only a token that runs has logits.

    >>> common_prefix([5, 6, 7, 8], [5, 6, 9])
    2
    >>> common_prefix([5, 6, 7], [5, 6])
    1
    """
    length = 0
    while length < min(len(cached), len(prompt) - 1) and cached[length] == prompt[length]:
        length += 1
    return length
