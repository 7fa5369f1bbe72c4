"""The engine that is tested: its six functions, with a record of the calls.

A counterexample shows this record: the calls with their tokens, then what is wrong.
"""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np
from hypothesis import reject

from minillm.arrays import Array
from minillm.support.printable import one_line
from minillm.support.wording import counted
from minillm.verification.findings import Findings


class EngineUnderTest:
    """The six functions of an engine, with a record of the calls. A counterexample shows this record."""

    def __init__(
        self,
        make: Callable[[], Any],
        vocab_size: int,
        expected: Callable[[Sequence[int]], Array] | None,
        title: str,
        findings: Findings,
    ) -> None:
        """Wrap an engine.

        Args:
            make: returns an object with the functions.
            vocab_size: the size of the vocabulary.
            expected: returns the logits after the last token; None if the engine is compared with itself.
            title: a description of the model.
            findings: records what the search finds. It also has the tolerance.
        """
        if findings.time_is_up():
            reject()  # ends shrinking: no more examples are tried
        self.vocab_size, self.expected, self.findings = vocab_size, expected, findings
        self.calls = [title]
        self.caches: list[Any] = []
        self.tokens: Sequence[int] = ()
        self.engine = self._run("make_engine(config, weights)", make)

    def has(self, name: str) -> bool:
        """Return whether the engine has the function."""
        return callable(getattr(self.engine, name, None))

    def naive(self, tokens: Sequence[int]) -> Array:
        """Return the logits after the last token: the reference's, or the engine's own with an empty cache."""
        self.tokens = list(tokens)
        if self.expected is not None:
            return self.expected(tokens)
        cache = self._run("new_cache()", self.engine.new_cache)
        return self._logits(
            self._run(f"prefill({list(tokens)}, new_cache())", self.engine.prefill, list(tokens), cache)
        )

    def new_cache(self, capacity: int) -> Any:
        """Return an empty cache. The engine decides about its capacity."""
        return self._named(self._call(f"{self._next_name()} = new_cache()", self.engine.new_cache))

    def prefill(self, tokens: Sequence[int], cache: Any, chunk: int | None = None) -> Array:
        """Append tokens, `chunk` at a time."""
        for first in range(0, len(tokens), chunk or len(tokens)):
            part = list(tokens[first : first + (chunk or len(tokens))])
            logits = self._call(f"prefill({part}, {self._name(cache)})", self.engine.prefill, part, cache)
        return logits

    def decode(self, token: int, cache: Any) -> Array:
        """Append one token."""
        return self._call(f"decode({token}, {self._name(cache)})", self.engine.decode, token, cache)

    def batch(self, batch: Sequence[tuple[Sequence[int], Any]]) -> Array:
        """Append tokens to several caches at once."""
        shown = ", ".join(f"({list(tokens)}, {self._name(cache)})" for tokens, cache in batch)
        pairs = [(list(tokens), cache) for tokens, cache in batch]
        rows = self._call(f"batch([{shown}])", self.engine.batch, pairs)
        count = len(rows) if hasattr(rows, "__len__") else 0
        if count != len(batch):
            self._fail(f"batch returned {counted(count, 'row')} for {counted(len(batch), 'sequence')}")
        return rows

    def truncate(self, cache: Any, length: int) -> None:
        """Drop the tokens from index `length` on."""
        self._call(f"truncate({self._name(cache)}, {length})", self.engine.truncate, cache, length)

    def fork(self, cache: Any) -> Any:
        """Return a fork of a cache."""
        return self._named(self._call(f"{self._next_name()} = fork({self._name(cache)})", self.engine.fork, cache))

    def assert_same(self, found: Any, expected: Array) -> None:
        """Raise AssertionError if the logits differ by more than the tolerance."""
        logits = self._logits(found)
        difference = np.abs(logits - expected) / (np.abs(expected).max() or 1.0)  # relative, [vocab]
        wrong = ~(difference <= self.findings.tolerance)  # NaN is wrong, too
        if wrong.any():
            token = int(wrong.argmax())
            whose = "the reference's" if self.expected is not None else "one prefill's"
            text = f"the last logits are not {whose} for the tokens {list(self.tokens)}: "
            pair = f"at id {token} got {logits[token]:.6g}, expected {expected[token]:.6g}"
            self._fail(text + pair)
        self.findings.add_difference(float(difference.max()))

    def assert_length(self, cache: Any, length: int) -> None:
        """Do nothing: an engine has no function for the length of a cache."""

    def _logits(self, found: Any) -> Array:
        """Return the result of the engine as an array. Raise AssertionError if its shape is wrong."""
        try:
            logits = np.asarray(found, np.float64)
        except (TypeError, ValueError):
            self._fail(f"returned {type(found).__name__}; expected logits [vocab]")
        if logits.shape != (self.vocab_size,):
            shape = list(logits.shape)
            self._fail(f"returned logits of shape {shape}; expected [{self.vocab_size}]")
        return logits

    def _call(self, shown: str, function: Callable[..., Any], *arguments: Any) -> Any:
        self.calls.append(f"    {shown}")
        return self._run(shown, function, *arguments)

    def _run(self, shown: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except NotImplementedError as problem:  # the engine says that it cannot do this: not a wrong result
            self.findings.add_refusal(f"{shown}: {one_line(str(problem))}" if str(problem) else shown)
            reject()
        except (Exception, SystemExit) as problem:
            self._fail(f"{type(problem).__name__}: {problem}")

    def _fail(self, what: str) -> NoReturn:
        raise AssertionError(self.findings.add_failure([*self.calls, what])) from None

    def _named(self, cache: Any) -> Any:
        self.caches.append(cache)  # kept alive, so that the names stay unique
        return cache

    def _name(self, cache: Any) -> str:
        return next(chr(ord("a") + n) for n, known in enumerate(self.caches) if known is cache)

    def _next_name(self) -> str:
        return chr(ord("a") + len(self.caches))
