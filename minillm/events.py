"""Events: what happens in a run, told as it happens. By default nobody listens, and then no event is made.

    events = []
    with listening(events.append):
        minillm.generate(model, "The capital of France is", max_new_tokens=2)

    [type(event).__name__ for event in events]
        Submitted  Admitted                  the request begins
        PassBegun  PassEnded  TokenChosen    prefill, and the first token
        PassBegun  PassEnded  TokenChosen    a decode step
        Finished

The code that tells says what it did, and knows nothing of what a listener does with that. An engine's `Statistics` is
such a listener. A request is named by its `Completion`, and a sequence's memory by its cache or block table: two events
with the same object are about the same thing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from minillm.arrays import Array, Float


class Event:
    """Something that happened."""


Tell = Callable[[Event], None]
_listener = ContextVar[Tell | None]("listener", default=None)
listener = _listener.get  # where every token passes: `if tell := listener(): tell(Drawn(...))`


def tell(event: Event) -> None:
    """Hand an event to the listener, if there is one. It has to return quickly, and must not raise."""
    if hear := listener():
        hear(event)


@contextmanager
def listening(hear: Tell) -> Iterator[None]:
    """Hand all events of the `with` block to `hear`: those of this thread, and not to a listener around the block.

    Example:
        >>> from minillm.events import TokenChosen, listening
        >>> events = []
        >>> with listening(events.append):
        ...     out = minillm.generate(minillm.load("story"), "The capital of France is", max_new_tokens=2)
        >>> [event.token for event in events if isinstance(event, TokenChosen)]
        [379, 1910]
    """
    before = _listener.set(hear)
    try:
        yield
    finally:
        _listener.reset(before)


# Requests


@dataclass(frozen=True)
class Submitted(Event):
    """A new request. All samples of one prompt have the same `group`; None outside an engine."""

    request: object
    prompt: tuple[int, ...]
    max_new_tokens: int
    sampling: object
    group: object


@dataclass(frozen=True)
class Admitted(Event):
    """A request begins or resumes: `cache` holds its first tokens from now on.

    Of them `known_tokens` were in the cache, in known blocks or in a fork, and `restored_tokens` were swapped in.
    `cache` is None for naive decoding.
    """

    request: object
    cache: object
    known_tokens: int
    restored_tokens: int


@dataclass(frozen=True)
class Preempted(Event):
    """A running request lost its blocks, and waits. `swapped_tokens` were copied out; with 0, all are recomputed."""

    request: object
    swapped_tokens: int


@dataclass(frozen=True)
class Finished(Event):
    """A request ended: its finish reason, or "cancelled"."""

    request: object
    reason: str


# Forward passes


@dataclass(frozen=True)
class Rows:
    """The rows of one sequence in a pass: `tokens` from position `first` on; the last `logit_rows` have logits."""

    cache: object
    first: int
    tokens: tuple[int, ...]
    logit_rows: int


@dataclass(frozen=True)
class PassBegun(Event):
    """A forward pass of a model, which may be a draft model, begins."""

    model: object
    sequences: tuple[Rows, ...]


@dataclass(frozen=True)
class PassEnded(Event):
    """The pass that began last has logits, and its tokens are in the caches."""

    model: object


@dataclass(frozen=True)
class StepEnded(Event):
    """A step of an engine: its pass, and the queues and blocks after it.

    Attributes:
        prefill_tokens, decode_tokens, draft_tokens: of the pass, as in `Statistics`.
        budget: the most tokens that it could have.
        running, waiting: numbers of requests.
        used_blocks: blocks in at least one table.
        table_blocks: entries of all tables.
        filled_slots: tokens in used blocks; shared ones count once.
    """

    prefill_tokens: int
    decode_tokens: int
    draft_tokens: int
    budget: int
    running: int
    waiting: int
    used_blocks: int
    table_blocks: int
    filled_slots: int


# Tokens


@dataclass(frozen=True)
class Drawn(Event):
    """A token was drawn from `probs`, where `number` fell; greedy choices draw nothing.

    It belongs to the event that comes next: `DraftProposed`, or `TokenChosen`.
    """

    probs: Float[Array, "vocab"]
    number: float
    token: int


@dataclass(frozen=True)
class TokenChosen(Event):
    """A request has a new token, chosen from `logits`; `text`, `origin` and `finish_reason` as in `Step`."""

    request: object
    token: int
    logits: Float[Array, "vocab"]
    text: str
    origin: str
    finish_reason: str


@dataclass(frozen=True)
class DraftProposed(Event):
    """A request has draft tokens, with the distributions that they were drawn from; None if each was certain."""

    request: object
    tokens: tuple[int, ...]
    probs: Sequence[Float[Array, "vocab"]] | None


@dataclass(frozen=True)
class DraftJudged(Event):
    """A draft token was accepted because `number` * q < p, or else rejected; p and q are its probabilities."""

    token: int
    p: float
    q: float
    number: float
    accepted: bool


@dataclass(frozen=True)
class DraftVerified(Event):
    """A round with draft tokens ended: `accepted` of the `proposed` ones became tokens."""

    request: object
    proposed: int
    accepted: int


# Blocks of a paged cache


@dataclass(frozen=True)
class BlocksTaken(Event):
    """A table took free or evicted blocks, which follow those that it has."""

    table: object
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class BlocksShared(Event):
    """A new table begins with blocks of `source`, from which it was forked; None: with known blocks, a prefix hit."""

    table: object
    blocks: tuple[int, ...]
    source: object


@dataclass(frozen=True)
class BlockCopied(Event):
    """A table has to write a shared block: it took `block`, a copy, and released `source` (copy-on-write)."""

    table: object
    source: int
    block: int


@dataclass(frozen=True)
class BlocksReleased(Event):
    """A table gave its last blocks back. A block in no other table is cached if its tokens are known, else free."""

    table: object
    blocks: tuple[int, ...]


@dataclass(frozen=True)
class BlockPublished(Event):
    """A full block holds known tokens now: other sequences may begin with it."""

    table: object
    block: int


@dataclass(frozen=True)
class BlockUnpublished(Event):
    """The tokens of a used block are not known any more, because it will be written."""

    pool: object
    block: int


@dataclass(frozen=True)
class BlockEvicted(Event):
    """A cached block is free, because blocks ran out: its tokens are not known any more."""

    pool: object
    block: int
