"""The engine that is tested: its functions, with a record of the calls.

A counterexample shows the record: the calls with their tokens, then what is wrong. A call is recorded before it is
made, so that an engine that never returns leaves a counterexample, too.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn, Protocol

import numpy as np

from minillm.arrays import Array
from minillm.config import ModelConfig
from minillm.support.printable import safe
from minillm.support.wording import counted
from minillm.verification.adapter import Adapter
from minillm.verification.calls import Call
from minillm.verification.comparison import relative_difference
from minillm.verification.edited_cache import Pair, edited_logits
from minillm.verification.engine_protocol import Draw, Options
from minillm.verification.failure import CRASHED, HUNG, RAISED, WRONG, Failure
from minillm.verification.findings import Findings
from minillm.verification.handles import Handle
from minillm.verification.models import random_weights
from minillm.verification.refusals import Halfway, Refused

OUT_OF_MEMORY = "This is how a system ends a process that takes too much memory."
UNNAMED = "new_cache()"  # the cache in which the engine computes its own reference


class Transport(Protocol):
    """How requests reach the engine's side (`session.py`): in this process, or in a process of its own.

    Attributes:
        described: what the session says of its engines.
    """

    described: list[dict[str, Any]]

    def ask(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        """Return the answer of the session, or {"crashed": how, "output": lines}, or {"hung": seconds}."""

    def refresh(self) -> None:
        """Before a new search: leave nothing of an engine that has crashed or hung."""

    def renew(self) -> None:
        """Leave nothing of the examples before, if the engine has a process of its own."""

    def close(self) -> None:
        """End the engine's side."""


class EngineUnderTest:
    """One engine in one example, with a record of the calls. A counterexample shows this record.

    Attributes:
        adapter: what the file says of the engine.
        vocab_size: the size of the vocabulary.
        config: the model for make_engine; None if the engine has its own.
        options, tolerance, sizes: see `Engine`.
        record: the calls so far.
    """

    def __init__(
        self,
        transport: Transport,
        adapter: Adapter,
        config: ModelConfig | None,
        expected: Callable[[Sequence[int]], Array] | None,
        title: str,
        findings: Findings,
    ) -> None:
        """Begin an example with an engine.

        Args:
            transport: reaches the engine.
            adapter: what the file says of the engine.
            config: the model for make_engine; None if the engine has its own.
            expected: returns the logits after the last token; None if the engine is compared with itself.
            title: a description of the model.
            findings: records what the search finds. It also has the tolerance.
        """
        findings.add_example()
        self.adapter, self.expected, self.findings = adapter, expected, findings
        self.vocab_size = config.vocab_size if config is not None else adapter.vocab_size
        self.config, self.tolerance = config, adapter.tolerance
        self.options: Mapping[str, Sequence[Any]] = adapter.options
        windows = config.sliding_windows if config is not None else ()
        self.sizes: Sequence[int] = sorted({size for size in (adapter.page, adapter.window, *windows) if size})
        self.title, self.record, self.tokens = title, list[Call](), list[int]()
        self._transport, self._handles, self._dropped = transport, 0, list[int]()
        fields = asdict(config) if config is not None else None
        begin = {"do": "begin", "engine": adapter.name, "config": fields}
        self._ask("make_engine(config, weights)", begin)

    def has(self, name: str) -> bool:
        """Return whether the engine has the function."""
        return self.adapter.has(name)

    def call(self, name: str, *arguments: Any, returns: str | None = None) -> Any:
        """Call a function of the engine, and return its result.

        Args:
            name: its name.
            arguments: lists, tuples and dicts of numbers, texts, arrays, handles of caches, and functions.
            returns: "logits", `[vocab]`; "rows", `[sequences, vocab]`, one for each item of the first argument;
                "cache" (or a saved state), a `Handle`; "caches", a list of handles, as many as the last argument has
                items; "value", anything else; None if the function returns nothing.

        Raises:
            AssertionError: if it fails, or returns something else.
            Refused: if the engine refuses it. It leaves the record.
        """
        count = {"cache": 1, "caches": len(arguments[-1]) if returns == "caches" else 0}.get(returns or "", 0)
        call = Call(name, arguments, returns, self._new_handles(count))
        value = self._recorded(call)
        if returns == "logits":
            return self._logits(value)
        if returns == "rows":
            return self._rows(value, len(arguments[0]), name)
        return value if returns == "value" else call.result

    def naive(self, tokens: Sequence[int]) -> Array:
        """Return the logits after the last token: the reference's, or the engine's own with an empty cache."""
        self.tokens = list(tokens)
        if self.expected is not None:
            return self.expected(tokens)
        [cache] = self._new_handles(1, UNNAMED)
        self._made(Call("new_cache", (), "cache", [cache]))
        again = Call("prefill", (list(tokens), cache), "logits")
        logits = self._logits(self._recorded(again))
        self.record.pop()
        self._dropped.append(cache.number)
        return logits

    def new_cache(self, capacity: int = 0) -> Handle:
        """Return an empty cache. The engine decides about its capacity."""
        return self.call("new_cache", returns="cache")

    def prefill(self, tokens: Sequence[int], cache: Handle, chunk: int | None = None) -> Array:
        """Append tokens, `chunk` at a time."""
        for first in range(0, len(tokens), chunk or len(tokens)):
            part = list(tokens[first : first + (chunk or len(tokens))])
            try:
                logits = self.call("prefill", part, cache, returns="logits")
            except Refused:
                if first:
                    raise Halfway from None
                raise
        return logits

    def decode(self, token: int, cache: Handle) -> Array:
        """Append one token."""
        return self.call("decode", token, cache, returns="logits")

    def batch(self, batch: Sequence[tuple[Sequence[int], Handle]]) -> Array:
        """Append tokens to several caches at once."""
        return self.call("batch", [(list(tokens), cache) for tokens, cache in batch], returns="rows")

    def truncate(self, cache: Handle, length: int) -> None:
        """Drop the tokens from index `length` on."""
        self.call("truncate", cache, length)

    def fork(self, cache: Handle) -> Handle:
        """Return a fork of a cache."""
        return self.call("fork", cache, returns="cache")

    def copy_prefix(self, cache: Handle, length: int) -> Handle:
        """Return a new cache with the first `length` tokens."""
        return self.call("copy_prefix", cache, length, returns="cache")

    def remove(self, cache: Handle, begin: int, end: int) -> None:
        """Drop the tokens from index `begin` to `end` - 1."""
        self.call("remove", cache, begin, end)

    def shift(self, cache: Handle, begin: int, by: int) -> None:
        """Add `by` to the positions of the tokens from index `begin` on."""
        self.call("shift", cache, begin, by)

    def keep(self, cache: Handle) -> None:
        """Empty all other caches."""
        self.call("keep", cache)

    def reorder(self, caches: Sequence[Handle], order: Sequence[int]) -> Sequence[Handle]:
        """Return caches of which the i-th is what `caches[order[i]]` was."""
        return self.call("reorder", list(caches), list(order), returns="caches")

    def save(self, cache: Handle) -> Handle:
        """Return a state of a cache."""
        return self.call("save", cache, returns="cache")

    def restore(self, state: Handle) -> Handle:
        """Return a new cache with a saved state."""
        return self.call("restore", state, returns="cache")

    def release(self, cache: Handle) -> None:
        """Free a cache."""
        self.call("release", cache)

    def generate(self, prompts: Sequence[Sequence[int]], options: Options) -> Sequence[Any]:
        """Return the answers of several prompts."""
        return self.call("generate", [list(prompt) for prompt in prompts], dict(options), returns="value")

    def stream(self, prompt: Sequence[int], options: Options) -> Sequence[Any]:
        """Return the pieces of a streamed answer."""
        return self.call("stream", list(prompt), dict(options), returns="value")

    def sample(self, logits: Sequence[float], options: Options, draw: Draw) -> Any:
        """Return a token. Several calls that only draw otherwise are one call of the record."""
        if self.record and self.record[-1].arguments[:2] == (logits, options):
            self.record.pop()
        return self.call("sample", list(logits), dict(options), draw, returns="value")

    def edited(self, cached: Sequence[Pair]) -> Array | None:
        """Return the reference's logits after the last pair of an edited cache."""
        if self.expected is None or self.config is None:
            return None
        self.tokens = [token for token, _ in cached]
        return edited_logits(self.config, random_weights(self.config), cached)

    def assert_same(self, found: Array, expected: Array) -> None:
        """Raise AssertionError if the logits differ by more than the tolerance."""
        difference = relative_difference(found, expected)
        self.findings.add_difference(float(difference.max()))
        if difference.max() > self.tolerance:
            token = int((difference > self.tolerance).argmax())
            whose = "the reference's" if self.expected is not None else "one prefill's"
            text = f"the last logits are not {whose} for the tokens {list(self.tokens)}: "
            pair = f"at id {token} got {found[token]:.6g}, expected {expected[token]:.6g}"
            worst = f"off by {difference.max():.1e} of the largest logit; the tolerance is {self.tolerance:.1e}"
            self.fail(f"{text}{pair}\n{worst}")

    def add_difference(self, relative: float) -> None:
        """Record a difference, relative to the largest logit."""
        self.findings.add_difference(relative)

    def add_tie(self, message: str) -> None:
        """Record that another token was chosen, whose logit is equal up to the tolerance."""
        self.findings.add_tie(message)

    def add_end(self, ended: bool) -> None:
        """Record an answer that an end token may end, and whether one did."""
        self.findings.add_end(ended)

    def assert_length(self, cache: Any, length: int) -> None:
        """Do nothing: an engine has no function for the length of a cache."""

    def fail(self, what: str, verdict: str = WRONG, kind: str = "") -> NoReturn:
        """Raise EngineFailed with the record and what is wrong."""
        failure = Failure(verdict, what, self.title, tuple(self.record), self.config, kind)
        self.findings.add_failure(failure)
        raise RAISED[verdict](failure) from None

    def _recorded(self, call: Call) -> Any:
        self.record.append(call)
        try:
            return self._made(call)
        except Refused:
            self.record.pop()
            raise

    def _made(self, call: Call) -> Any:
        numbers = [handle.number for handle in call.handles]
        request = {"do": "call", "name": call.name, "arguments": list(call.arguments), "returns": call.returns}
        return self._ask(str(call), {**request, "numbers": numbers}).get("value")

    def _ask(self, shown: str, request: dict[str, Any]) -> dict[str, Any]:
        begun = time.monotonic()
        seconds = self.findings.seconds_for_a_call(self.adapter.call_seconds)
        answer = self._transport.ask({**request, "drop": self._dropped}, seconds)
        self._dropped = []
        if "refused" in answer:
            why = safe(answer["refused"])
            self.findings.add_refusal(f"{shown}: {why}" if why else shown)
            raise Refused
        if "error" in answer:
            place = f" ({answer['place']})" if answer["place"] else ""
            self.fail(f"{answer['error']}: {safe(answer['message'])}{place}", kind=answer["error"])
        if "crashed" in answer:
            killed = [OUT_OF_MEMORY] * answer["crashed"].startswith("signal SIGKILL")
            told = [f"crashed: the engine's process ended with {answer['crashed']}", *killed, *answer["output"]]
            self.fail("\n".join(told), CRASHED, answer["crashed"])
        if "hung" in answer:
            self.fail(f"hung: no result within {answer['hung']:g} seconds", HUNG)
        self.findings.add_seconds(time.monotonic() - begun)
        return answer

    def _new_handles(self, count: int, name: str = "") -> list[Handle]:
        """Return handles with the next numbers. Those of the record have the next letters as their names."""
        named = sum(len(call.handles) for call in self.record)
        first, self._handles = self._handles, self._handles + count
        return [Handle(first + n, name or _letters(named + n)) for n in range(count)]

    def _rows(self, value: Any, count: int, name: str) -> Array:
        rows = len(value) if hasattr(value, "__len__") else 0
        if rows != count:
            self.fail(f"{name} returned {counted(rows, 'row')} for {counted(count, 'sequence')}")
        return np.stack([self._logits(row) for row in value])

    def _logits(self, value: Any) -> Array:
        """Return the result of the engine as an array. Raise AssertionError if its shape is wrong."""
        if value is None:
            self.fail("returned None; expected logits [vocab]")
        try:
            logits = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            self.fail(f"returned {getattr(value, 'type_name', type(value).__name__)}; expected logits [vocab]")
        if logits.shape != (self.vocab_size,):
            last = ": only those after the last token" * (logits.ndim > 1)
            self.fail(f"returned logits of shape {list(logits.shape)}; expected [{self.vocab_size}]{last}")
        return logits


def _letters(number: int) -> str:
    """Return a, b, ..., z, a1, b1, ..."""
    turn, letter = divmod(number, 26)
    return chr(ord("a") + letter) + (str(turn) if turn else "")
