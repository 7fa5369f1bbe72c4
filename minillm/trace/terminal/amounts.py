"""Amounts: numbers as several views print them, and bars."""

from minillm.support.wording import rounded

PREFIXES = ("", "k", "M", "G", "T", "P")


def percent(share: float) -> str:
    """Return a share of 1 in percent, with the digits that matter.

    Example:
        >>> from minillm.trace.terminal.amounts import percent
        >>> percent(0.97), percent(0.0123), percent(0.00002), percent(1e-9), percent(1)
        ('97%', '1.2%', '0.002%', '<0.001%', '100%')
    """
    hundred = 100 * share
    if hundred == 0 or hundred >= 9.95:
        return f"{hundred:.0f}%"
    if hundred >= 0.1:
        return f"{hundred:.1f}%"
    return f"{hundred:.3f}%" if hundred >= 0.001 else "<0.001%"


def amount(number: float, unit: str) -> str:
    """Return a number in powers of 1000, with three digits.

    Example:
        >>> from minillm.trace.terminal.amounts import amount
        >>> amount(24_448_512, "FLOPs"), amount(30_720, "B"), amount(5, "B")
        ('24.4 MFLOPs', '30.7 kB', '5 B')
    """
    power = 0
    while number >= 999.5 and power < len(PREFIXES) - 1:
        number, power = number / 1000, power + 1
    return f"{rounded(number)} {PREFIXES[power]}{unit}"


def bar(share: float, columns: int) -> str:
    """Return a bar for a share of 1. What is not 0 has at least one column."""
    return "█" * max(round(min(share, 1.0) * columns), 1 if share > 0 else 0)
