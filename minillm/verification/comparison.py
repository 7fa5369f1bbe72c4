"""When are two results the same? Logits of the same weights differ by the rounding of the engine's dtype.

A number is rounded to within one part in 2^11 in float16, for example: the unit roundoff (Higham, "Accuracy and
Stability of Numerical Algorithms", section 2.1). A pass through a model rounds many times, and the errors add up to
several units. The tolerance of a dtype is UNITS times the unit roundoff, relative to the largest logit. UNITS was
measured: see tests/verification/test_comparison.py.

Two tokens are tied if the tolerance could have exchanged their logits. Then either may be the answer.
"""

from collections.abc import Sequence

import numpy as np

from minillm.arrays import Array, Float

ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
UNITS = 64
TOLERANCE = 1e-4  # of an engine that names neither TOLERANCE nor DTYPE: float32, with a wide margin


def tolerance_of(dtype: str) -> float:
    """Return the tolerance that the rounding of a dtype explains, relative to the largest logit.

    Raises:
        ValueError: an unknown dtype.

    Example:
        >>> tolerance_of("float16")
        0.03125
    """
    if dtype not in ROUNDOFF:
        raise ValueError(f"DTYPE is {dtype!r}; expected one of {', '.join(ROUNDOFF)}")
    return UNITS * ROUNDOFF[dtype]


def scale(expected: Float[Array, "vocab"]) -> float:
    """Return the largest absolute logit, or 1 if all are 0."""
    return float(np.abs(expected).max()) or 1.0


def relative_difference(found: Float[Array, "vocab"], expected: Float[Array, "vocab"]) -> Float[Array, "vocab"]:
    """Return the differences, relative to the largest expected logit. A number that is not finite differs by inf."""
    difference = np.abs(found - expected) / scale(expected)
    return np.where(np.isfinite(difference), difference, np.inf)


def tie_gap(expected: Float[Array, "vocab"], token: int) -> float:
    """Return how far a token's logit is below the largest one, relative to the largest absolute logit.

    Each of two logits may be off by the tolerance. So a gap of at most twice the tolerance is a tie.
    """
    return float(expected.max() - expected[token]) / scale(expected)


def proposal(differences: Sequence[float], tolerance: float) -> str:
    """Return what to write into an adapter whose rounding is coarser than its tolerance, or "".

    An engine with a bug is right in some examples and far off in others. An engine that rounds to fewer bits is off by
    about the same factor in all of them.

    Args:
        differences: the largest relative difference of each comparison in a search.
        tolerance: the tolerance of the engine.
    """
    if len(differences) < 3 or max(differences) <= tolerance:
        return ""
    for dtype in ("float32", "float16", "bfloat16"):  # from fine to coarse
        unit = ROUNDOFF[dtype]
        if max(differences) <= tolerance_of(dtype) and np.median(differences) >= unit / 4:
            return (
                f"all results are off by {min(differences):.0e} to {max(differences):.0e} of the largest logit, which "
                f'rounding to {dtype} explains; if the engine computes in {dtype}, write DTYPE = "{dtype}" '
                f'(tolerance {tolerance_of(dtype):.0e}), or REFERENCE = "self"'
            )
    return ""
