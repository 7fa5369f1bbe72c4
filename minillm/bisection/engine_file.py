"""An engine in a file, as `pytest --minillm-engine` takes it: only its logits can be seen.

The file defines `make_engine(config, weights)`, which gets the model of the comparison, or the functions themselves,
with weights of its own and either VOCAB_SIZE or MODEL. It runs in a process of its own.

`FILE.py:NAME` is the engine that the file's `engines()` yields under this name. In place of FILE.py, the name of a
shipped adapter will do.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minillm.arrays import Array, Float
from minillm.bisection.foreign_engine import ForeignEngine
from minillm.bisection.observed import AFTER_LAYERS, NOTHING, OPERATIONS, Observed, Place, RowKey, Wanted, canonical
from minillm.bisection.replay import Part, replay
from minillm.bisection.schedule import Schedule
from minillm.loading import open_checkpoint
from minillm.support.checks import shown
from minillm.support.printable import one_line
from minillm.verification.adapter import read_adapter
from minillm.verification.engine_process import EngineProcess
from minillm.verification.shipped_adapters import FOLDER, adapter_names

LOGITS = Place(AFTER_LAYERS, OPERATIONS.index("logits"))


@dataclass(frozen=True)
class FileRunner:
    """A schedule on an engine in a file."""

    engine: ForeignEngine
    schedule: Schedule
    vocab_size: int

    def greedy(self, prompt: list[int], new_tokens: int) -> list[int]:
        """Return the prompt and the most probable tokens after it, without the last one."""
        tokens = list(prompt)
        machine = FileMachine(self.engine, self.vocab_size, NOTHING)
        cache = machine.new_cache()
        first = 0
        while len(tokens) < len(prompt) + new_tokens - 1:
            [logits] = machine.run([Part(0, first, tokens[first:], cache)])
            first = len(tokens)
            tokens.append(int(np.argmax(logits)))
        machine.release_all()
        return tokens

    def observe(self, tokens: list[int], prompt_tokens: int, wanted: Wanted) -> Observed:
        """Run the schedule."""
        machine = FileMachine(self.engine, self.vocab_size, wanted)
        replay(self.schedule, tokens, prompt_tokens, machine)
        machine.release_all()
        return machine.observed


@contextmanager
def opened(named: str, model: str, schedule: Schedule) -> Iterator[FileRunner]:
    """Load the file, and provide its engine.

    Args:
        named: the path of the file or the name of a shipped adapter, and after a colon the name of an engine.
        model: the name of the model whose config and weights `make_engine` gets.
        schedule: the schedule to run.

    Raises:
        ValueError: the file does not load, or a required function is missing.
        OSError: the file cannot be read.
    """
    file, name = _parts(named)
    path = FOLDER / f"{file}.py" if file in adapter_names() else Path(file)
    path.open("rb").close()  # a missing file is said to be one
    with closing(_process(path, file)) as process:
        adapter = read_adapter(_chosen(process.described, file, name), file)
        vocab_size = adapter.vocab_size
        if adapter.made or adapter.model:
            vocab_size = open_checkpoint(model if adapter.made else adapter.model or "").config.vocab_size
        engine = ForeignEngine(process, adapter, named, model)
        for function in ("new_cache", "prefill"):
            if not engine.has(function):
                raise ValueError(f"{named}: {function} is missing; expected new_cache and prefill, or make_engine")
        yield FileRunner(engine, schedule, vocab_size)


def _process(path: Path, file: str) -> EngineProcess:
    try:
        return EngineProcess(path)
    except ValueError as problem:
        raise ValueError(str(problem).replace(str(path), file)) from None


def _parts(named: str) -> tuple[str, str]:
    """Return the file, and the name of the engine in it; "" if none is named."""
    file, _, name = named.rpartition(".py:")
    if file:
        return f"{file}.py", name
    file, _, name = named.partition(":")
    return (named, "") if named.endswith(".py") else (file, name)


def _chosen(described: list[dict[str, Any]], file: str, name: str) -> dict[str, Any]:
    """Return the engine of `engines()` with this name, or the file itself if there is none."""
    if not described[0]["listed"]:
        if name:
            raise ValueError(f"{file} has one engine, without a name; leave out :{name}, or define engines()")
        return described[0]
    named = {engine["name"]: engine for engine in described}
    if name not in named:
        names = ", ".join(f"{file}:{known}" for known in named)
        raise ValueError(f"{file} has {_no_engine(name)}; expected one of {one_line(names)}")
    return named[name]


def _no_engine(name: str) -> str:
    return f"no engine {shown(name)}" if name else "several engines"


class FileMachine:
    """An engine in a file, as schedules use it (`replay.Machine`)."""

    def __init__(self, engine: ForeignEngine, vocab_size: int, wanted: Wanted) -> None:
        self.engine, self.name, self.vocab_size, self.wanted = engine, engine.name, vocab_size, wanted
        self.observed = Observed(float(np.finfo(np.float32).eps))
        self._caches: list[Any] = []  # that are not released yet

    def prepare(self, schedule: Schedule, longest: int, caches: int) -> None:
        """Refuse what the functions of a file cannot say."""
        for asked, word in ((schedule.block_size, "block"), (schedule.cache_dtype, "int8")):
            if asked:
                raise ValueError(f"{schedule}: {word} is a setting of minillm's own caches; {self.name} has its own")

    def new_cache(self) -> Any:
        """Return an empty cache."""
        return self._kept("new_cache")

    def run(self, parts: Sequence[Part]) -> Float[Array, "parts vocab"]:
        """Run one pass, and record the logits."""
        if len(parts) > 1:
            logits = self._array(self.engine.call("batch", [(p.tokens, p.cache) for p in parts], returns="rows"))
        else:
            logits = self._array([self._one(*parts)])
        if logits.shape != (len(parts), self.vocab_size):
            raise ValueError(
                f"{self.name} returned logits of shape {list(logits.shape)}; expected {[len(parts), self.vocab_size]}"
            )
        self._record(parts, logits)
        return logits

    def truncate(self, cache: Any, length: int) -> None:
        """Drop tokens."""
        self.engine.call("truncate", cache, length)

    def fork(self, cache: Any) -> Any:
        """Copy a cache."""
        return self._kept("fork", cache)

    def copy_prefix(self, cache: Any, length: int) -> Any:
        """Copy the first tokens of a cache."""
        return self._kept("copy_prefix", cache, length)

    def free(self, cache: Any) -> None:
        """Release the cache, if the engine has a function for that: a new one takes its place."""
        self._caches = [other for other in self._caches if other is not cache]
        if self.engine.has("release"):
            self.engine.call("release", cache)
        self.engine.drop(cache)

    def swap(self, cache: Any) -> Any:
        """Save the cache, release it, and restore what was saved."""
        saved = self.engine.call("save", cache, returns="cache")
        self.free(cache)
        restored = self._kept("restore", saved)
        self.engine.drop(saved)
        return restored

    def release_all(self) -> None:
        """Release all caches: an engine may have room for a few, and the next run needs others."""
        for cache in list(self._caches):
            self.free(cache)

    def _kept(self, function: str, *arguments: Any) -> Any:
        """Call a function that returns a cache, and remember to release it."""
        self._caches.append(self.engine.call(function, *arguments, returns="cache"))
        return self._caches[-1]

    def _one(self, part: Part) -> Any:
        """Run the tokens of one sequence: a single one after others is decoded, if the engine has a decode."""
        if len(part.tokens) == 1 and part.first and self.engine.has("decode"):
            return self.engine.call("decode", part.tokens[0], part.cache, returns="logits")
        return self.engine.call("prefill", part.tokens, part.cache, returns="logits")

    def _array(self, logits: Any) -> Float[Array, "parts vocab"]:
        """Return what the engine returned as an array of numbers."""
        try:
            return np.asarray(logits, np.float64)
        except (TypeError, ValueError) as problem:
            raise ValueError(f"{self.name}: its logits: {one_line(f'{type(problem).__name__}: {problem}')}") from None

    def _record(self, parts: Sequence[Part], logits: Float[Array, "parts vocab"]) -> None:
        counted = [part for part in parts if part.sequence is not None]
        step = self.observed.begin_pass([(part.sequence or 0, part.first, len(part.tokens)) for part in counted])
        self.observed.row_bytes = logits[0].nbytes
        for part, row in zip(parts, canonical(logits), strict=True):
            if part.sequence is not None:
                key = RowKey(step, part.sequence, part.first + len(part.tokens) - 1)
                self.observed.add(key, LOGITS, row, key in self.wanted.rows)
