"""Speculator: the entry point of this folder. It checks model, drafter and k, and begins a Speculation per request.

speculator = Speculator(model, drafter, k=4)
speculation = speculator.begin(completion)
draft_tokens = speculation.propose(completion)      # then run the model over the last token and these
steps = speculation.verify(completion, logits)      # then truncate the model's cache
"""

import inspect
from collections.abc import Callable
from typing import Any

from minillm.completion import Completion
from minillm.events import Tell, tell
from minillm.model import Model, check_model
from minillm.speculative.draft_length import (
    LONGEST_DRAFT,
    MAX_DRAFT_TOKENS,
    AdaptiveLength,
    DraftLength,
    LookupLength,
    check_k,
)
from minillm.speculative.drafters import Drafter, ModelDrafter, PromptLookup
from minillm.speculative.rounds import Speculation
from minillm.text.tokenizer import Tokenizer

DrafterChoice = Model | Drafter | Callable[[], Drafter]  # what a user may pass as `drafter`


class Speculator:
    """How the requests to one model speculate.

    Attributes:
        model: the target, which verifies.
        drafter, k: as they were given.
    """

    def __init__(
        self,
        model: Model,
        drafter: DrafterChoice,
        k: int | str = "auto",
        many_requests: bool = False,
        cache_dtype: str | None = None,
    ) -> None:
        """Check the arguments.

        Args:
            model: the target, which verifies.
            drafter: a draft Model with the same tokens, `PromptLookup()`, another object that satisfies `Drafter`, or a
                function without arguments that returns a new one for each request.
            k: draft tokens in a round, or "auto".
            many_requests: whether several requests speculate at a time. An object that keeps the state of one request
                cannot serve them, so of Drafter objects only PromptLookup is accepted then.
            cache_dtype: of the caches of a draft model, as in `KVCache`.

        Raises:
            ValueError: a wrong argument, or a draft model whose tokens are not the model's.
        """
        check_model(model)
        _check_drafter(model, drafter, many_requests)
        self.model = model
        self.drafter = drafter
        self.k = check_k(k)
        self.cache_dtype = cache_dtype
        self._draft_cost = draft_step_cost(drafter, model) if isinstance(drafter, Model) else 0.0
        cost_of = model.ops.cost_of_rows
        self._costs = [k * self._draft_cost + cost_of(k + 1, model.weights) for k in range(LONGEST_DRAFT + 1)]

    @property
    def max_draft_tokens(self) -> int:
        """The most draft tokens of a round."""
        return LONGEST_DRAFT if self.k == "auto" else min(int(self.k), MAX_DRAFT_TOKENS)

    def begin(self, completion: Completion, tell: Tell = tell) -> Speculation:
        """Return the Speculation of a new request, with a drafter and a draft length of its own. `tell` hears of it.

        Raises:
            ValueError: the function that was given as `drafter` did not return a Drafter.
        """
        drafter = self._new_drafter(completion.max_cached_tokens)
        return Speculation(drafter, self._new_length(drafter), tell)

    def _new_length(self, drafter: Drafter) -> DraftLength:
        if self.k != "auto":
            return DraftLength(int(self.k))
        if drafter.free:
            return LookupLength(self._costs)
        return AdaptiveLength(self._costs, self._draft_cost)

    def _new_drafter(self, capacity: int) -> Drafter:
        if isinstance(self.drafter, Model):
            return ModelDrafter(self.drafter, capacity, self.model.config.vocab_size, self.cache_dtype)
        if _is_drafter(self.drafter):
            return self.drafter  # type: ignore[return-value]
        assert callable(self.drafter)
        drafter = self.drafter()
        if not _is_drafter(drafter):
            raise ValueError(
                f"the function given as drafter returned a {type(drafter).__name__}; expected an object with propose, "
                "truncate and free (see minillm.Drafter)"
            )
        return drafter


def _is_drafter(drafter: Any) -> bool:
    """Whether `drafter` is an object with the methods of Drafter. A class has them too, but it makes drafters."""
    return isinstance(drafter, Drafter) and not isinstance(drafter, type)


def _check_drafter(model: Model, drafter: Any, many_requests: bool) -> None:
    if isinstance(drafter, Model):
        _check_same_tokens(model, drafter)
    elif _is_drafter(drafter):
        if many_requests and not isinstance(drafter, PromptLookup):
            raise ValueError(
                f"drafter is a {type(drafter).__name__}, which serves one request at a time; pass a function that "
                "returns a new one for each request"
            )
    elif not callable(drafter):
        raise ValueError(
            f"drafter is of type {type(drafter).__name__}; expected a minillm.Model, a PromptLookup, an object with "
            "propose, truncate and free, or a function that returns one"
        )
    else:
        _check_without_arguments(drafter)


def _check_without_arguments(function: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # of some functions in C it is not known
        return
    try:
        signature.bind()
    except TypeError as problem:
        name = getattr(function, "__name__", type(function).__name__)
        raise ValueError(
            f"the function given as drafter is {name[:40]}, which cannot be called without arguments: {problem}"
        ) from None


def _check_same_tokens(model: Model, draft: Model) -> None:
    """Raise ValueError unless each id that both have means the same text in both.

    One of them may have more ids: many files are padded to more rows. Without a tokenizer only the sizes are compared.
    """
    first, second = draft.stored_tokenizer, model.stored_tokenizer
    sizes = draft.config.vocab_size, model.config.vocab_size
    same = sizes[0] == sizes[1] if first is None or second is None else first is second or _agree(first, second)
    if not same:
        raise ValueError(
            f"{draft.name} cannot draft for {model.name}: their vocabularies, of {sizes[0]} and {sizes[1]} tokens, "
            "are not the same; use a draft model with the same tokenizer, or prompt lookup, which works with any model"
        )


def _agree(first: Tokenizer, second: Tokenizer) -> bool:
    """Whether the two have tokens in common, and no id with two texts."""
    ids, other_ids = first.vocabulary, second.vocabulary
    if ids == other_ids:
        return True
    texts = {token: text for text, token in ids.items()}
    common = [(text, texts[token]) for text, token in other_ids.items() if token in texts]
    return bool(common) and all(text == other for text, other in common)


def draft_step_cost(draft: Model, target: Model) -> float:
    """Return the time of a decode step of the draft model, divided by that of the target."""
    steps = [model.ops.step_seconds(model.config, model.weights) for model in (draft, target)]
    return steps[0] / steps[1]
