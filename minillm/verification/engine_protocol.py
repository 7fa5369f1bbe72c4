"""Engine: what the properties ask of an engine under test.

The properties speak only to this protocol. So they run on an engine in a process of its own, and on minillm's engine in
the process of the tests. The operations are capabilities: a property calls one only where `engine.has(name)`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from minillm.arrays import Array
from minillm.config import ModelConfig
from minillm.verification.edited_cache import Pair

Draw = Callable[[Sequence[float]], int]
Options = Mapping[str, Any]


class Engine(Protocol):
    """An engine under test. A cache can be of any type.

    Attributes:
        vocab_size: tokens in the vocabulary.
        config: the architecture of the model; None if it is not known.
        sizes: the sizes of its pages and windows, around which lengths are drawn.
        options: for each option of `generate` the values to draw from. The first one is the plainest.
        tolerance: how far logits may be from those expected, relative to the largest expected logit.
    """

    vocab_size: int
    config: ModelConfig | None
    sizes: Sequence[int]
    options: Mapping[str, Sequence[Any]]
    tolerance: float

    def has(self, name: str) -> bool:
        """Return whether the engine has the operation.

        It has "naive" if the expected logits are known, and "edited" if those of a cache with gaps are.
        """

    def naive(self, tokens: Sequence[int]) -> Array:
        """Return the logits `[vocab]` after the last token, computed without a cache: the expected result."""

    def edited(self, cached: Sequence[Pair]) -> Array | None:
        """Return the expected logits `[vocab]` after the last pair of an edited cache; None if they are not known."""

    def new_cache(self, capacity: int) -> Any:
        """Return an empty cache with room for `capacity` tokens."""

    def prefill(self, tokens: Sequence[int], cache: Any, chunk: int | None = None) -> Array:
        """Append tokens, at most `chunk` per pass. Return the logits `[vocab]` after the last one."""

    def decode(self, token: int, cache: Any) -> Array:
        """Append one token. Return the logits `[vocab]` after it."""

    def batch(self, batch: Sequence[tuple[Sequence[int], Any]]) -> Array:
        """Append new tokens to several caches. Return the logits `[sequences, vocab]` after the last token of each."""

    def truncate(self, cache: Any, length: int) -> None:
        """Drop all tokens from index `length` on."""

    def fork(self, cache: Any) -> Any:
        """Return an independent cache with the same tokens."""

    def copy_prefix(self, cache: Any, length: int) -> Any:
        """Return a new cache with the first `length` tokens."""

    def remove(self, cache: Any, begin: int, end: int) -> None:
        """Drop the tokens from index `begin` to `end` - 1. The positions of the later ones stay."""

    def shift(self, cache: Any, begin: int, by: int) -> None:
        """Add `by` to the positions of the tokens from index `begin` on."""

    def keep(self, cache: Any) -> None:
        """Empty all other caches."""

    def reorder(self, caches: Sequence[Any], order: Sequence[int]) -> Sequence[Any]:
        """Return caches of which the i-th is what `caches[order[i]]` was. The given ones are not used again."""

    def save(self, cache: Any) -> Any:
        """Return a state that does not change any more. The cache stays as it is."""

    def restore(self, state: Any) -> Any:
        """Return a new cache with the tokens that were saved."""

    def release(self, cache: Any) -> None:
        """Free a cache, which is not used again."""

    def generate(self, prompts: Sequence[Sequence[int]], options: Options) -> Sequence[Any]:
        """Return `n` answers of each prompt, one prompt after another: (tokens, log-probabilities or None, finish)."""

    def stream(self, prompt: Sequence[int], options: Options) -> Sequence[Any]:
        """Return the tokens of an answer as they came, one by one or in lists of several."""

    def sample(self, logits: Sequence[float], options: Options, draw: Draw) -> int:
        """Return a token. `draw(weights)` returns an index, with the probabilities `weights`."""

    def assert_same(self, found: Array, expected: Array) -> None:
        """Raise AssertionError if the logits differ by more than the tolerance."""

    def assert_length(self, cache: Any, length: int) -> None:
        """Raise AssertionError if the cache does not have `length` tokens. Do nothing if its length is not known."""

    def fail(self, message: str) -> None:
        """Raise AssertionError with the calls of this example and the message."""

    def add_difference(self, relative: float) -> None:
        """Record a difference within the tolerance, relative to the largest logit."""

    def add_tie(self, message: str) -> None:
        """Record that another token was chosen, whose logit is equal up to the tolerance."""

    def add_end(self, ended: bool) -> None:
        """Record an answer that an end token may end, and whether one did."""
