"""The array types of signatures: `Float[Array, "tokens dim"]` says what an array holds and how its axes are called.

The shapes are documentation for the reader and are checked on every call of the test run (jaxtyping and beartype);
outside the tests they cost nothing. Source: jaxtyping's documentation, "Array annotations".
"""

from typing import TYPE_CHECKING, Any, TypeAlias

from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[Any]
else:
    Array = Any  # judged by .shape and .dtype, so that arrays that live on a GPU pass too

__all__ = ["Array", "Bool", "Float", "Int"]
