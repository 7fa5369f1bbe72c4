"""Claims: a sentence of the article, and what the run in front of the reader says about it.

The article is "What is LLM inference" (see `lessons/README.md`); each claim has a name, under which `lessons` and
later chapters speak of it.
"""

import textwrap

VERDICTS = ("true", "true if", "imprecise", "false", "not checkable")


def claim(name: str, quote: str, verdict: str, found: str) -> None:
    """Print a claim of the article with a verdict and what it rests on.

    Args:
        name: of the claim, such as "kv-token-7b".
        quote: the article's words.
        verdict: one of VERDICTS; "true if" is completed by `found`, which begins with the condition.
        found: the figures that were found, or the better value.

    Raises:
        ValueError: an unknown verdict.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"verdict is {verdict!r}; expected one of {', '.join(VERDICTS)}")
    print(f"[{name}]")
    print(_indented(f'The article: "{quote}"'))
    joint = " " if verdict == "true if" else ": "
    print(_indented(f"{verdict.capitalize()}{joint}{found}"))


def _indented(text: str) -> str:
    flat = " ".join(text.split())
    return textwrap.fill(
        flat, 78, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
