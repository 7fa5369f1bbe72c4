"""What a wrong result usually means. Each sentence is checked: the logits are compared with those of the mistake."""

from collections.abc import Iterator

import numpy as np

from minillm.arrays import Array
from minillm.verification.comparison import relative_difference
from minillm.verification.edited_cache import Pair, appended
from minillm.verification.engine_under_test import EngineUnderTest
from minillm.verification.failure import EngineFailed
from minillm.verification.replay import Pairs, Replay, Step, sequences

MOST = 3  # sentences
MODEL = (
    "One prefill of the same tokens is wrong, too: look at the model (norms and their epsilon, heads, RoPE and its "
    "theta, mask), or at numbers that are rounded on their way into the cache, not at the calls."
)
MODEL_ALONE = (
    "One token in a new cache is wrong: look at weights, norms, the MLP, at which heads share keys and values, and at "
    "values that are rounded on their way into the cache. At position 0, RoPE and the mask change nothing."
)
DROPPED = (
    "These are the logits with the dropped tokens still in the cache and in its length.",
    "The dropped tokens are still attended to: their keys are not masked.",
    "The new tokens have positions after the dropped ones: the position was not set back.",
)
LATER = (
    "Two prefills of these tokens into a new cache are wrong, too: look at positions and at the mask of a pass after "
    "the first one, and at what the first one leaves in the cache, not at other calls."
)
BETWEEN = (
    "The same calls are right if no other cache is made, filled and deleted between them, as for the expected logits: "
    "look at what new_cache, prefill and release of one cache change in the others."
)
EVERYWHERE = (MODEL, MODEL_ALONE, LATER, BETWEEN)  # what is wrong shows in most properties


def explanation(step: Step, engine: EngineUnderTest) -> str:
    """Return a sentence about the first wrong result: which mistake gives exactly these logits, or what it needs.

    Args:
        step: the first wrong result.
        engine: the engine, in a new example.
    """
    if not np.isfinite(step.found).all() and np.isfinite(step.expected).all():
        return _of_no_number(step)
    if engine.expected is None and right_without_reference(step, engine):
        return BETWEEN
    replay = Replay(engine)
    different: list[tuple[Pairs, str]] = []
    for pairs, sentence in mistakes(step):
        if all(pairs != others for others, _ in different):  # the first sentence about these pairs
            different.append((pairs, sentence))
    found = [sentence for pairs, sentence in different if _gives(replay, pairs, step.found)]
    return "\nOr: ".join(found[:MOST]) or _by_its_calls(step, replay)


def _gives(replay: Replay, pairs: Pairs, found: Array) -> bool:
    """Return whether these tokens at these positions give the logits `[vocab]`."""
    try:
        logits = replay.expected(pairs)
    except EngineFailed:  # the engine is its own reference
        return False
    return logits is not None and bool(relative_difference(found, logits).max() <= replay.engine.tolerance)


def mistakes(step: Step) -> Iterator[tuple[Pairs, str]]:
    """Yield (token, position) lists that an engine with a mistake computes the logits for, and the mistake."""
    before, new, right = step.before, step.new, step.pairs
    if len(right) > 1:
        yield right[:-1], "These are the logits before the last token: is it appended after the pass, or the row n - 2?"
    if step.dropped:
        kept = step.dropped[: len(step.dropped) - len(new)]
        after = appended(kept, new)[-len(new) :]
        lists = [*kept, *after], [*kept, *right[-len(new) :]], [*before, *after]
        yield from zip(lists, DROPPED, strict=True)
    if before:
        yield appended([], new), "These are the logits of the new tokens alone: the cached ones are not attended to."
        again = [Pair(token, position) for position, token in enumerate(new)]
        yield [*before, *again], "The positions of the new tokens begin at 0 again: the RoPE offset is missing."
        for by, word in ((1, "late"), (-1, "early")):
            moved = [Pair(token, position + by) for token, position in right[-len(new) :]]
            yield [*before, *moved], f"The positions of the new tokens are 1 too {word}: the RoPE offset is off by one."
        seen = [*before[:-1], *right[-len(new) :]]
        yield (
            right[1:],
            "The first token is not attended to: a window or a mask is too short, or its row was overwritten.",
        )
        yield (
            appended(before[:-1], new),
            "The new tokens overwrite the one before them, and have positions 1 too early.",
        )
        yield seen, "The token before the new ones is not attended to: it was never written, or it is masked."
    for name, pairs in step.others.items():
        if pairs:
            yield pairs, f"These are the logits of the sequence {name}: rows or caches are exchanged."
            yield appended(pairs, new), f"The tokens of the cache {name} are used: the caches share memory."
            yield [*pairs, *right[-len(new) :]], f"The tokens of the cache {name} are attended to, too."


def _of_no_number(step: Step) -> str:
    lengths = {len(tokens) for tokens, _ in sequences(step.call)}
    if len(lengths) > 1:
        return (
            "NaN in a batch of different lengths: usually a row of padding whose keys are all masked (softmax of -inf)."
        )
    return "The logits are not finite: usually a softmax over -inf only, a division by 0, or an overflow in 16 bits."


def _by_its_calls(step: Step, replay: Replay) -> str:
    """Say what the difference needs: whether the tokens alone are right, and which calls come before."""
    alone = right_alone(step, replay)
    if alone is None:
        return ""
    if not alone:
        return MODEL_ALONE if len(step.pairs) == 1 else MODEL
    if step.before and wrong_in_two_passes(step, replay.engine):
        return LATER
    names = ("batch", "reorder", "restore", "copy_prefix", "fork", "shift", "remove", "keep", "release", "truncate")
    if step.call.name == "batch":
        rows = list(sequences(step.call))
        uneven = "of different lengths " if len({len(tokens) for tokens, _ in rows}) > 1 else ""
        return f"The sequence alone is right: in a batch {uneven}look at padding, the mask, and each row's positions."
    edits = list(dict.fromkeys(call.name for call in step.calls if call.name in names))
    if edits:
        leave = f"{' and '.join(edits)} {'leave' if len(edits) > 1 else 'leaves'}"
        return f"One prefill of the same tokens is right: look at what {leave} in the cache, and at positions."
    return "One prefill of the same tokens is right: look at positions and at the mask of a pass after the first one."


def right_without_reference(step: Step, engine: EngineUnderTest) -> bool:
    """Return whether the calls alone are right: without the expected logits that the engine computes between them."""
    replay = Replay(engine)
    try:
        results = [replay.make(call) for call in step.calls]
    except (EngineFailed, KeyError):
        return False
    row = [cache.name for _, cache in sequences(step.call)].index(step.cache)
    found = results[-1][row] if step.call.returns == "rows" else results[-1]
    return bool(relative_difference(found, step.expected).max() <= engine.tolerance)


def wrong_in_two_passes(step: Step, engine: EngineUnderTest) -> bool:
    """Return whether a new cache gives a wrong result, too, if the same tokens come in two prefills."""
    try:
        cache = engine.new_cache(0)
        engine.prefill([token for token, _ in step.before], cache)
        logits = engine.prefill(step.new, cache)
    except EngineFailed:
        return False
    return bool(relative_difference(logits, step.expected).max() > engine.tolerance)


def right_alone(step: Step, replay: Replay) -> bool | None:
    """Return whether one prefill of the same tokens is right; None if positions are edited or a call fails."""
    engine = replay.engine
    try:
        expected = replay.expected(appended([], [token for token, _ in step.pairs]))
        if expected is None or relative_difference(step.expected, expected).max() > engine.tolerance:
            return None
        logits = engine.prefill([token for token, _ in step.pairs], engine.new_cache(0))
    except EngineFailed:
        return None
    return bool(relative_difference(logits, expected).max() <= engine.tolerance)
