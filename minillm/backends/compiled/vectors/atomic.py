"""Numbers in memory that several threads read and write at the same time."""

from typing import Any

from numba.extending import intrinsic

from minillm.backends.compiled.vectors.memory import address_in, bytes_of, index_type, typed


@intrinsic
def add_and_get_old(_: Any, array: Any, index: Any, amount: Any) -> Any:
    """Add to a number in memory in one step that no other thread interrupts, and return what it was before."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = address_in(context, builder, typed(sig, args)[:2], args[2].type)
        return builder.atomic_rmw("add", address, args[2], "acq_rel")

    return array.dtype(array, index_type(index), array.dtype), emit


@intrinsic
def seen_by_all(_: Any, array: Any, index: Any) -> Any:
    """Return a number in memory, and with it everything that other threads wrote before they changed it."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = address_in(context, builder, typed(sig, args), context.get_value_type(array.dtype))
        return builder.load_atomic(address, "acquire", bytes_of(array.dtype))

    return array.dtype(array, index_type(index)), emit
