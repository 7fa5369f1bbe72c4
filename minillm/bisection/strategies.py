"""Schedules for Hypothesis: any schedule that fits a number of tokens. A failing one shrinks to a short one."""

from hypothesis import strategies as st

from minillm.bisection.schedule import Operation, Schedule

MOST_GUESSES = 3


@st.composite
def schedules(
    draw: st.DrawFn, prompt_tokens: int, tokens: int, most_operations: int = 5, settings: bool = True
) -> Schedule:
    """Draw a schedule that `plan` accepts for this prompt and these tokens.

    Args:
        draw: Hypothesis's.
        prompt_tokens: the number of tokens in the prompt.
        tokens: the number of all tokens, at least `prompt_tokens`.
        most_operations: the most operations before the rest of the tokens run.
        settings: whether it may have blocks, other sequences, an int8 cache or no cache.

    Example:
        >>> from hypothesis import given
        >>> from minillm.bisection.schedule import parse
        >>> @given(schedules(prompt_tokens=5, tokens=8))
        ... def test_a_line_is_the_schedule(schedule):
        ...     assert parse(str(schedule)) == schedule
        >>> test_a_line_is_the_schedule()
    """
    naive = settings and draw(st.integers(0, 9)) == 9
    block_size = draw(st.none() | st.integers(1, 5)) if settings and not naive else None
    others = draw(st.integers(0, 3)) if settings else 0
    operations: list[Operation] = []
    length = 0
    for _ in range(draw(st.integers(0, most_operations))):
        names = _possible(length, prompt_tokens, tokens, naive, block_size is not None)
        if not names:
            break
        operation = draw(_operation(draw(st.sampled_from(names)), length, tokens))
        operations.append(operation)
        length = _length_after(operation, length, prompt_tokens, tokens)
    return Schedule(tuple(operations), block_size, others, None, naive)


def _possible(length: int, prompt_tokens: int, tokens: int, naive: bool, paged: bool) -> list[str]:
    names = ["decode", "prefill"] if length < tokens else []
    names += ["chunk"] if length < prompt_tokens else []
    names += [] if naive else ["truncate", "guess", "fork", "copy", "preempt"]
    return [*names, "swap"] if paged and length else names


@st.composite
def _operation(draw: st.DrawFn, name: str, length: int, tokens: int) -> Operation:
    left = tokens - length
    match name:
        case "decode":
            return Operation(name, (draw(st.integers(1, left)),))
        case "prefill":
            first = draw(st.integers(1, left))
            second = draw(st.integers(0, left - first))
            return Operation(name, (first, second) if second else (first,))
        case "chunk":
            return Operation(name, (draw(st.integers(1, 4)),))
        case "truncate" | "copy":
            return Operation(name, (draw(st.integers(0, length)),))
        case "guess":
            return Operation(name, (draw(st.integers(1, MOST_GUESSES)),))
    return Operation(name)


def _length_after(operation: Operation, length: int, prompt_tokens: int, tokens: int) -> int:
    match operation.name:
        case "decode" | "prefill":
            return length + sum(operation.numbers)
        case "chunk":
            return prompt_tokens
        case "truncate" | "copy":
            return operation.numbers[0]
    return length
