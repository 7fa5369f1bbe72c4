"""The array types of signatures: `Float[Array, "tokens dim"]` says what an array holds and how its axes are called.

The shapes are documentation for the reader and are checked on every call of the test run (jaxtyping and beartype).
Outside the tests nothing looks at them, so jaxtyping, a tenth of a second, is not even imported then.
Source: jaxtyping's documentation, "Array annotations".
"""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
else:
    Array = Any  # judged by .shape and .dtype, so that arrays that live on a GPU pass too

    if "jaxtyping" in sys.modules:  # someone checks shapes: the test run, or a reader's own
        from jaxtyping import Bool, Float, Int
    else:

        class _Unchecked:
            """Takes the place of a jaxtyping annotation: says nothing."""

            def __class_getitem__(cls, shape: Any) -> Any:
                return Any

        Bool = Float = Int = _Unchecked

Tokens = Sequence[int] | Int[Array, "_"]  # token ids, as a list or as an array

__all__ = ["Array", "Bool", "Float", "Int", "Tokens"]
