"""The array types in signatures: `Float[Array, "tokens dim"]` is an array of floats with these two axes.

Shapes are documentation for the reader, and the test run checks them at every call (jaxtyping and beartype). Outside
the tests they are only shown, by `help()` for example, so jaxtyping is not imported: it would take 0.1 s.
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

        class _Shown:
            """Stands in for a jaxtyping annotation: it is shown by `help()`, and nothing checks it."""

            def __init__(self, text: str) -> None:
                self._text = text

            def __getitem__(self, array_and_shape: tuple[Any, str]) -> "_Shown":
                return _Shown(f'{self._text}[Array, "{array_and_shape[1]}"]')

            def __or__(self, other: Any) -> "_Shown":
                return _Shown(f"{self} | {other}")

            def __ror__(self, other: Any) -> "_Shown":
                return _Shown(f"{other} | {self}")

            def __repr__(self) -> str:
                return self._text

        Bool, Float, Int = _Shown("Bool"), _Shown("Float"), _Shown("Int")

Tokens = Sequence[int] | Int[Array, "_"]  # token ids, as a list or as an array

__all__ = ["Array", "Bool", "Float", "Int", "Tokens"]
