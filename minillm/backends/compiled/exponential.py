"""exp, for all lanes of a vector at once.

    exp(x) = 2**n * exp(r)        n = x / ln 2, rounded to an integer;  r = x - n ln 2, between -0.35 and 0.35

2**n is exact: n goes into the exponent bits of a float. exp(r) is the first terms of its series, 1 + r + r**2/2 + ...:
8 terms in float32, where the next one is below 6e-9, and 14 in float64. ln 2 is subtracted in two parts. The upper part
has zeros at its end, so n times it is exact, and the lower part makes up for what it lacks.

The series is computed from its last term on, so each term is one multiply-add (Horner's rule):

    series = 1 / 7!                     in float32
    for k in 6, 5, 4, 3, 2, 1, 0:
        series = series * r + 1 / k!
    result = series * 2**n              16 numbers in each step

The error is below 1 unit in the last place. Results below the smallest normal number become 0. Above 88 (709 in
float64) the result is infinite. The naive twin is `numpy.exp`.
"""

import math
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from minillm.backends.compiled.vectors import (
    as_float,
    multiply_add,
    nearest,
    plus_number,
    shift_left,
    splat,
    to_integer,
    where_less,
)


def exp(x: Any) -> Any:
    """Return e ** x for each lane."""


def _constants(dtype: Any) -> Any:
    """Return the dtype's 1 / ln 2, upper and lower part of -ln 2, least and greatest x, bits of the fraction, bias."""
    if dtype == types.float32:
        return np.float32, 0.693359375, -2.12194440e-4, -87.33654, 88.0, 23, 127, 7
    return np.float64, 0.693147180369123816490, 1.90821492927058770002e-10, -708.3964, 709.0, 52, 1023, 13


@overload(exp, strict=False)
def _exp(x: Any) -> Any:
    real, upper, lower, least, most, fraction, bias, degree = _constants(x.dtype)
    per_ln2, upper, lower = real(1 / math.log(2)), real(-upper), real(-lower)
    least, most, zero, infinity = real(least), real(most), real(0), real(np.inf)
    lanes = x.lanes
    terms = tuple(real(1 / math.factorial(k)) for k in range(degree, -1, -1))
    highest, others = terms[0], terms[1:]

    def compute(x: Any) -> Any:
        n = nearest(x * splat(per_ln2, lanes))
        r = multiply_add(n, splat(lower, lanes), multiply_add(n, splat(upper, lanes), x))
        series = splat(highest, lanes)
        for term in others:
            series = multiply_add(series, r, splat(term, lanes))
        power = as_float(shift_left(plus_number(to_integer(n), bias), fraction))
        result = where_less(x, splat(least, lanes), splat(zero, lanes), series * power)
        return where_less(splat(most, lanes), x, splat(infinity, lanes), result)

    return compute
