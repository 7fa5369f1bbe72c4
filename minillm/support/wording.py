"""Words of messages: numbers with their nouns, rounded numbers, and what an OSError says."""

from decimal import Decimal

SHOWN, BEFORE_DIFFERENCE = 60, 20  # characters of two long texts


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun. The plural is by default the noun with an s.

    >>> counted(1, "answer"), counted(2, "answer"), counted(2, "copy", "copies")
    ('1 answer', '2 answers', '2 copies')
    """
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def rounded(value: float | int) -> str:
    """Return a number with three significant digits, never with an exponent.

    >>> rounded(1083.4), rounded(0.0826389), rounded(0.0000123), rounded(8.0)
    ('1,080', '0.0826', '0.0000123', '8')
    """
    return f"{Decimal(f'{value:.3g}'):,f}"


def failure_text(problem: OSError) -> str:
    """Return the file and what is wrong with it, without the error number.

    >>> failure_text(FileNotFoundError(2, "No such file or directory", "x.json"))
    'x.json: No such file or directory'
    """
    if not problem.strerror:
        return str(problem)
    return f"{problem.filename}: {problem.strerror}" if problem.filename else problem.strerror


def around_difference(one: str, other: str) -> tuple[str, str]:
    """Return at most 60 characters of two texts, with the first in which they differ.

    >>> around_difference("a" * 100 + "b", "a" * 100 + "c")
    ('...aaaaaaaaaaaaaaaaaaaab', '...aaaaaaaaaaaaaaaaaaaac')
    """
    same = next((n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    first = max(0, same - BEFORE_DIFFERENCE)
    end = first + SHOWN
    one, other = (f"{'...' * (first > 0)}{text[first:end]}{'...' * (len(text) > end)}" for text in (one, other))
    return one, other
