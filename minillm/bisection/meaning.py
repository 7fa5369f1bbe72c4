"""What a difference usually means: rounding, a coarser number format, or another computation."""

from minillm.bisection.observed import AS_RUN
from minillm.bisection.search import Found
from minillm.support.wording import rounded

ROUNDING_UNITS = 256  # of the dtype's relative rounding error: a sum of some hundred terms in another order
EXPECTED = ("rounding", "no difference", "int8 cache")  # by backends and caches: the exact one has no rounding
STRUCTURAL = 1e-3  # relative: no order of additions in float32 or float64 changes this much


def kind_of(found: Found) -> str:
    """Return "equal", "rounding", "coarse" or "structural", by the first difference."""
    if found.first is None:
        return "equal"
    if found.first.largest <= ROUNDING_UNITS * max(found.a.epsilon, found.b.epsilon):
        return "rounding"
    return "structural" if found.first.largest > STRUCTURAL else "coarse"


def meaning(found: Found, expected: str) -> str:
    """Return what the first difference usually means, in one or two sentences; "" if there is none.

    Args:
        found: the result of the search.
        expected: one of EXPECTED.
    """
    if found.first is None:
        return ""
    if expected == "int8 cache":
        return "One of the two caches stores keys and values in 8 bits, so what attention reads differs by about 1%."
    if expected == "no difference":
        return "On the exact backend no schedule changes a bit: this is not rounding but an error in the code."
    epsilon = max(found.a.epsilon, found.b.epsilon)
    times = f"{rounded(found.first.largest / epsilon)} times the rounding error of the numbers ({epsilon:.1e})"
    place = found.first.place
    if place.name == AS_RUN:
        times += ". The observed operations are equal: look at threads, or at the one call for all layers"
    match kind_of(found):
        case "rounding":
            return f"Rounding: the difference is {times}. The same sums were added up in another order."
        case "structural":
            return (
                f"Structural: the difference is {times}. No order of additions explains that: expect another position, "
                "mask, cache entry, weight or formula."
            )
    return (
        f"More than rounding of one operation: the difference is {times}. Expect a coarser number format, such as "
        "int8, an approximate function, or a small error in a formula."
    )
