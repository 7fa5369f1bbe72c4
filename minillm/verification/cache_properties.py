"""Properties of every engine with a KV cache: each schedule gives the logits of the naive path.

Each property tries one operation. `cache_schedules.py` tries any sequence of operations.
"""

from hypothesis import assume
from hypothesis import strategies as st

from minillm.verification.drawing import capacity, sized_lists, token_lists
from minillm.verification.edited_cache import Pair, appended, is_plain, removed, shifted
from minillm.verification.engine_protocol import Engine

LARGEST_SHIFT = 3  # positions
FEW = 2  # tokens that an edit in a row of edits drops at most
EDITS = ("shift", "remove", "truncate")


def prefill_is_naive(engine: Engine, data: st.DataObject) -> None:
    """Prefill into an empty cache must give the reference's logits."""
    prompt = data.draw(sized_lists(engine, 12))
    cache = engine.new_cache(capacity(engine))
    engine.assert_same(engine.prefill(prompt, cache), engine.naive(prompt))
    engine.assert_length(cache, len(prompt))


def cached_decoding_is_naive_decoding(engine: Engine, data: st.DataObject) -> None:
    """Decoding token by token with the cache must give the same as computing the whole sequence each time."""
    prompt = data.draw(sized_lists(engine, 12))
    continuation = data.draw(token_lists(engine.vocab_size, 8))
    cache = engine.new_cache(capacity(engine))
    engine.prefill(prompt, cache)
    for count, token in enumerate(continuation, start=1):
        engine.assert_same(engine.decode(token, cache), engine.naive(prompt + continuation[:count]))


def chunked_prefill_is_whole_prefill(engine: Engine, data: st.DataObject) -> None:
    """Prefill in several passes must give the same as in one pass."""
    first, prompt = data.draw(sized_lists(engine, 8, min_size=0)), data.draw(sized_lists(engine, 24))
    cache = engine.new_cache(capacity(engine))
    if first:  # of any size: so a later chunk can be longer, and begin anywhere
        engine.prefill(first, cache)
    chunk = data.draw(st.integers(max(1, len(prompt) // 20), max(25, len(prompt) + 1)))
    prompt = first + prompt
    engine.assert_same(engine.prefill(prompt[len(first) :], cache, chunk), engine.naive(prompt))
    engine.assert_length(cache, len(prompt))


def truncated_tokens_were_never_there(engine: Engine, data: st.DataObject) -> None:
    """After truncate, the cache must behave as if the dropped tokens had never been appended."""
    kept, dropped = data.draw(sized_lists(engine, 8)), data.draw(sized_lists(engine, 8))
    cache = engine.new_cache(capacity(engine))
    tokens = kept + dropped
    engine.prefill(tokens, cache)
    runs_then = [*data.draw(st.lists(st.booleans(), max_size=3)), True]  # whether a pass follows each truncation
    for runs in runs_then:
        tokens = tokens[: data.draw(st.just(len(kept)) | st.integers(0, len(tokens)))]
        engine.truncate(cache, len(tokens))
        if runs:
            later = data.draw(small(engine))
            tokens += later
            engine.assert_same(engine.prefill(later, cache), engine.naive(tokens))


def forks_are_independent(engine: Engine, data: st.DataObject) -> None:
    """Tokens that are appended to one fork must not change the other one."""
    shared, left, right = data.draw(sized_lists(engine, 8)), data.draw(small(engine)), data.draw(small(engine))
    first = engine.new_cache(capacity(engine))
    engine.prefill(shared, first)
    second = engine.fork(first)
    engine.assert_same(engine.prefill(left, first), engine.naive(shared + left))
    engine.assert_same(engine.prefill(right, second), engine.naive(shared + right))
    engine.assert_same(engine.prefill([0], first), engine.naive([*shared, *left, 0]))


def a_copy_is_complete_at_once(engine: Engine, data: st.DataObject) -> None:
    """A fork must have its tokens before its next pass, too: it may be saved first, or its original emptied."""
    tokens, later = data.draw(sized_lists(engine, 8)), data.draw(small(engine))
    original = engine.new_cache(capacity(engine))
    engine.prefill(tokens, original)
    copy = engine.fork(original)
    possible = [name for name in ("save", "truncate", "release") if engine.has(name)]
    for name in data.draw(st.lists(st.sampled_from(possible), unique=True)) if possible else []:
        if name == "save" and engine.has("restore"):
            copy = engine.restore(engine.save(copy))
        elif name == "truncate":
            engine.truncate(original, 0)
        elif name == "release":
            engine.release(original)
            break
    engine.assert_same(engine.prefill(later, copy), engine.naive(tokens + later))


def a_batch_is_its_sequences_one_by_one(engine: Engine, data: st.DataObject) -> None:
    """A batch of sequences of different lengths must give the same as each sequence alone."""
    cached = data.draw(st.lists(sized_lists(engine, 10, min_size=0), min_size=1, max_size=4))
    new = [data.draw(token_lists(engine.vocab_size, 6)) for _ in cached]
    caches = [engine.new_cache(capacity(engine)) for _ in cached]
    for tokens, cache in zip(cached, caches, strict=True):
        if tokens:
            engine.prefill(tokens, cache)
    logits = engine.batch(list(zip(new, caches, strict=True)))
    assert len(logits) == len(cached)
    for row, before, tokens, cache in zip(logits, cached, new, caches, strict=True):
        engine.assert_same(row, engine.naive(before + tokens))
        engine.assert_length(cache, len(before) + len(tokens))
    for before, tokens, cache in zip(cached, new, caches, strict=True):  # what the batch has left in each cache
        engine.assert_same(engine.prefill([0], cache), engine.naive([*before, *tokens, 0]))


def a_copied_prefix_is_its_tokens(engine: Engine, data: st.DataObject) -> None:
    """A copy of a prefix must behave as if its tokens had been prefilled, and must leave the original as it was."""
    tokens, left, right = data.draw(sized_lists(engine, 8)), data.draw(small(engine)), data.draw(small(engine))
    length = data.draw(st.integers(0, len(tokens)))
    original = engine.new_cache(capacity(engine))
    engine.prefill(tokens, original)
    copy = engine.copy_prefix(original, length)
    engine.assert_length(copy, length)
    engine.assert_same(engine.prefill(left, copy), engine.naive(tokens[:length] + left))
    engine.assert_same(engine.prefill(right, original), engine.naive(tokens + right))


def later_tokens_keep_their_positions(engine: Engine, data: st.DataObject) -> None:
    """After remove, a model with one layer must see the tokens that are left, at the positions that they had."""
    tokens = data.draw(editable_tokens(engine))
    begin = data.draw(st.integers(0, len(tokens)))
    end = data.draw(st.integers(begin, len(tokens)))
    cache = engine.new_cache(capacity(engine))
    engine.prefill(tokens, cache)
    engine.remove(cache, begin, end)
    check_edited(engine, cache, removed(appended([], tokens), begin, end), data.draw(small(engine)))


def shifted_tokens_have_other_positions(engine: Engine, data: st.DataObject) -> None:
    """After shift, a model with one layer must see the tokens at their new positions."""
    tokens = data.draw(editable_tokens(engine))
    begin = data.draw(st.integers(0, len(tokens) - 1))
    by = data.draw(st.integers(0, LARGEST_SHIFT))
    cache = engine.new_cache(capacity(engine))
    engine.prefill(tokens, cache)
    engine.shift(cache, begin, by)
    check_edited(engine, cache, shifted(appended([], tokens), begin, by), data.draw(small(engine)))


def removed_last_tokens_were_never_there(engine: Engine, data: st.DataObject) -> None:
    """After the last tokens are removed, the cache must behave as if they had never been appended."""
    kept, dropped = data.draw(sized_lists(engine, 8)), data.draw(sized_lists(engine, 8))
    later = data.draw(small(engine))
    cache = engine.new_cache(capacity(engine))
    engine.prefill(kept + dropped, cache)
    engine.remove(cache, len(kept), len(kept + dropped))
    engine.assert_same(engine.prefill(later, cache), engine.naive(kept + later))


def shifts_that_cancel_change_nothing(engine: Engine, data: st.DataObject) -> None:
    """A shift of all tokens, or one there and back, must change no logits: RoPE depends on distances only."""
    tokens, later = data.draw(sized_lists(engine, 8)), data.draw(small(engine))
    begin, by = data.draw(st.integers(0, len(tokens) - 1)), data.draw(st.integers(0, LARGEST_SHIFT))
    cache = engine.new_cache(capacity(engine))
    engine.prefill(tokens, cache)
    engine.shift(cache, begin, by)
    if begin:
        engine.shift(cache, begin, -by)
    engine.assert_same(engine.prefill(later, cache), engine.naive(tokens + later))


def a_cache_without_its_beginning_moves_forward(engine: Engine, data: st.DataObject) -> None:
    """Tokens that are shifted into the place of removed ones must behave as if they were prefilled there."""
    tokens = data.draw(editable_tokens(engine))
    begin = data.draw(st.integers(0, len(tokens) - 1))
    end = data.draw(st.integers(begin, len(tokens) - 1))
    cache = engine.new_cache(capacity(engine))
    engine.prefill(tokens, cache)
    engine.remove(cache, begin, end)
    engine.shift(cache, begin, begin - end)
    check_edited(engine, cache, appended([], tokens[:begin] + tokens[end:]), data.draw(small(engine)))


def a_kept_cache_is_the_only_one(engine: Engine, data: st.DataObject) -> None:
    """After keep, one cache must be as it was, and the others empty."""
    prompts = data.draw(st.lists(sized_lists(engine, 8), min_size=1, max_size=3))
    caches = [engine.new_cache(capacity(engine)) for _ in prompts]
    for tokens, cache in zip(prompts, caches, strict=True):
        engine.prefill(tokens, cache)
    kept = data.draw(st.integers(0, len(prompts) - 1))
    engine.keep(caches[kept])
    for number, (tokens, cache) in enumerate(zip(prompts, caches, strict=True)):
        before = tokens if number == kept else []
        engine.assert_same(engine.prefill([0], cache), engine.naive([*before, 0]))


def reordered_caches_are_those_that_were_chosen(engine: Engine, data: st.DataObject) -> None:
    """After reorder, as in beam search, each cache must be the one that was chosen, and independent of the others."""
    prompts = data.draw(st.lists(sized_lists(engine, 8), min_size=1, max_size=3))
    order = data.draw(st.lists(st.integers(0, len(prompts) - 1), min_size=len(prompts), max_size=len(prompts)))
    caches = [engine.new_cache(capacity(engine)) for _ in prompts]
    for tokens, cache in zip(prompts, caches, strict=True):
        engine.prefill(tokens, cache)
    for token, (cache, chosen) in enumerate(zip(engine.reorder(caches, order), order, strict=True)):
        engine.assert_same(engine.prefill([token], cache), engine.naive([*prompts[chosen], token]))


def a_restored_cache_is_the_saved_one(engine: Engine, data: st.DataObject) -> None:
    """A state must stay as it was saved. Tokens that later replace or follow its own, in any cache, are not in it."""
    tokens, left, right = data.draw(sized_lists(engine, 8)), data.draw(small(engine)), data.draw(small(engine))
    kept = len(tokens)
    if engine.has("truncate"):  # else nothing overwrites the memory of saved tokens
        kept = data.draw(st.just(kept) | st.integers(0, kept))
    original = engine.new_cache(capacity(engine))
    engine.prefill(tokens, original)
    state = engine.save(original)
    if kept < len(tokens):
        engine.truncate(original, kept)
    engine.assert_same(engine.prefill(left, original), engine.naive(tokens[:kept] + left))
    for _ in range(2):
        restored = engine.restore(state)
        engine.assert_length(restored, len(tokens))
        engine.assert_same(engine.prefill(right, restored), engine.naive(tokens + right))
        if kept < len(tokens):
            engine.truncate(restored, kept)
            engine.assert_same(engine.prefill(left, restored), engine.naive(tokens[:kept] + left))


def edits_in_a_row_add_up(engine: Engine, data: st.DataObject) -> None:
    """Edits without a pass between them must add up, and a cache that is saved directly after one must have it."""
    cached = appended([], data.draw(editable_tokens(engine, 6)))
    cache = engine.new_cache(capacity(engine))
    engine.prefill([token for token, _ in cached], cache)
    possible = [name for name in EDITS if engine.has(name)]
    in_turn = data.draw(st.permutations(possible) | st.sampled_from([[name] for name in possible]))
    saved = engine.has("save") and engine.has("restore") and data.draw(st.booleans())
    for number in range(data.draw(st.integers(3, 6))):
        cached = draw_edit(engine, cache, cached, in_turn[number % len(in_turn)], data)
        if saved and data.draw(st.booleans()):
            cache = engine.restore(engine.save(cache))
    check_edited(engine, cache, cached, data.draw(small(engine)))


def released_caches_leave_nothing_behind(engine: Engine, data: st.DataObject) -> None:
    """After release, a new cache must be empty, and the other caches as they were."""
    gone, other, new = data.draw(sized_lists(engine, 8)), data.draw(small(engine)), data.draw(small(engine))
    first, second = engine.new_cache(capacity(engine)), engine.new_cache(capacity(engine))
    engine.prefill(gone, first)
    engine.prefill(other, second)
    engine.release(first)
    third = engine.new_cache(capacity(engine))
    engine.assert_same(engine.prefill(new, third), engine.naive(new))
    engine.assert_same(engine.prefill([0], second), engine.naive([*other, 0]))


def small(engine: Engine) -> st.SearchStrategy[list[int]]:
    """Return a strategy for a few tokens."""
    return token_lists(engine.vocab_size, 8)


def is_editable(engine: Engine) -> bool:
    """Return whether removal and shift have an exact meaning: the model has one layer and no sliding window."""
    return engine.config is not None and engine.config.sliding_windows == (None,)


def editable_tokens(engine: Engine, min_size: int = 1) -> st.SearchStrategy[list[int]]:
    """Return a strategy for the tokens of a cache that is edited. Examples with other models are left out."""
    assume(is_editable(engine))
    return sized_lists(engine, 8, min_size)


def draw_edit(engine: Engine, cache: object, cached: list[Pair], kind: str, data: st.DataObject) -> list[Pair]:
    """Shift, remove or truncate tokens of a cache, a few of them, so that more edits can follow. Return its pairs."""
    if not cached:
        return cached
    begin = data.draw(st.integers(0, len(cached) - 1))
    if kind == "shift":
        by = data.draw(shifts(cached, begin)) or LARGEST_SHIFT
        engine.shift(cache, begin, by)
        return shifted(cached, begin, by)
    if kind == "remove":
        end = data.draw(st.integers(begin + 1, min(begin + FEW, len(cached))))
        engine.remove(cache, begin, end)
        return removed(cached, begin, end)
    length = max(begin, len(cached) - FEW)
    engine.truncate(cache, length)
    return cached[:length]


def shifts(cached: list[Pair], begin: int) -> st.SearchStrategy[int]:
    """Return a strategy for shifts that leave the tokens from index `begin` on after the ones before."""
    before = cached[begin - 1].position if begin else -1
    return st.integers(before + 1 - cached[begin].position, LARGEST_SHIFT)


def check_edited(engine: Engine, cache: object, cached: list[Pair], new: list[int]) -> None:
    """Append tokens to an edited cache, and compare the logits with those of its (token, position) pairs."""
    after = appended(cached, new)
    logits = engine.prefill(new, cache)
    expected = engine.naive([token for token, _ in after]) if is_plain(after) else engine.edited(after)
    if expected is not None:
        engine.assert_same(logits, expected)
