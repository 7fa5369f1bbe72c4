"""Claims: print a sentence of the article with a verdict and the numbers from this run.

The article is "What is LLM inference" (see `lessons/README.md`). Each claim has a unique name.
"""

from minillm.support.terminal import wrapped

VERDICTS = ("true", "true if", "imprecise", "false", "not checkable")


def claim(name: str, quote: str, verdict: str, found: str) -> None:
    """Print a claim of the article, a verdict and the evidence.

    Args:
        name: the name of the claim, such as "kv-token-7b".
        quote: the article's words.
        verdict: one of VERDICTS. After "true if", `found` begins with the condition.
        found: the numbers found, or the correct value.

    Raises:
        ValueError: if the verdict is unknown.
    """
    if verdict not in VERDICTS:
        raise ValueError(f"verdict is {verdict!r}; expected one of {', '.join(VERDICTS)}")
    print(f"[{name}]")
    print(wrapped(f'The article: "{quote}"', indent="  "))
    joint = " " if verdict == "true if" else ": "
    print(wrapped(f"{verdict.capitalize()}{joint}{found}", indent="  "))
