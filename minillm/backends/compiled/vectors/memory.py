"""Memory: vectors and blocks from and to arrays; arrays on the stack, and arrays at an address."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minillm.backends.compiled.vectors.registers import Block, Vector


def index_type(index: types.Type) -> types.Type:
    """Return the type in which an intrinsic takes an index: 64-bit integers, of any width."""
    return types.UniTuple(types.intp, len(index)) if isinstance(index, types.BaseTuple) else types.intp


def address_in(context: Any, builder: Any, place: Any, to: ir.Type, row: int = 0) -> Any:
    """Return the address of array[index[0] + row, index[1], ...] as one of `to`.

    Args:
        context, builder: LLVM's, as numba hands them to an intrinsic.
        place: array and index, each a pair (numba's type, LLVM's value).
        to: the LLVM type of what lies there.
        row: a constant.
    """
    (array_type, array), (index_type, index) = place
    array = context.make_array(array_type)(context, builder, array)
    index = cgutils.unpack_tuple(builder, index) if isinstance(index_type, types.BaseTuple) else [index]
    index = [builder.add(index[0], index[0].type(row)), *index[1:]]
    place = cgutils.get_item_pointer(context, builder, array_type, array, index, wraparound=False, boundscheck=False)
    return builder.bitcast(place, to.as_pointer())


def typed(sig: Any, args: Any) -> list[tuple[Any, Any]]:
    """Return each argument of an intrinsic as a pair (numba's type, LLVM's value)."""
    return list(zip(sig.args, args, strict=True))


def bytes_of(dtype: types.Type) -> int:
    """Return the bytes of one number. A vector in memory is aligned to them, not to its own size."""
    return int(dtype.bitwidth) // 8


@intrinsic
def number(_: Any, array: Any, index: Any) -> Any:
    """Return array[index]. Unlike Python's brackets, it does not look whether an index counts from the end."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = address_in(context, builder, typed(sig, args), context.get_value_type(array.dtype))
        return builder.load(address)

    return array.dtype(array, index_type(index)), emit


@intrinsic
def prefetch(_: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of array[index], which may be beyond the array's end, and go on without waiting for it."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = address_in(context, builder, typed(sig, args), ir.IntType(8))
        word = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [address.type, word, word, word]), "llvm.prefetch.p0"
        )
        builder.call(function, [address, word(0), word(3), word(1)])  # to read; into all caches; data, not code
        return context.get_dummy_value()

    return types.none(array, index_type(index)), emit


@intrinsic(prefer_literal=True)
def load(_: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Return the `lanes` numbers that begin at array[index] and follow each other in memory."""
    vector = Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = address_in(context, builder, typed(sig, args)[:2], context.get_value_type(vector))
        return builder.load(address, align=bytes_of(vector.dtype))

    return vector(array, index_type(index), lanes), emit


@intrinsic
def store(_: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write the vector to array[index] and the numbers that follow it."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = address_in(context, builder, typed(sig, args)[:2], args[2].type)
        builder.store(args[2], address, align=bytes_of(vector.dtype))
        return context.get_dummy_value()

    return types.none(array, index_type(index), vector), emit


@intrinsic(prefer_literal=True)
def load_chosen_rows(_: Any, array: Any, chosen: Any, first: Any, column: Any, rows: Any, lanes: Any) -> Any:
    """Return a block: vector r begins at array[chosen[first + r], column]."""
    block = Block(array.dtype, rows.literal_value, lanes.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        result = ir.Constant(context.get_value_type(block), ir.Undefined)
        pair = types.UniTuple(types.intp, 2)
        for row in range(block.rows):
            place = address_in(context, builder, [(sig.args[1], args[1]), (types.intp, args[2])], ir.IntType(64), row)
            index = context.make_tuple(builder, pair, [builder.load(place), args[3]])
            address = address_in(context, builder, [(sig.args[0], args[0]), (pair, index)], result.type.element)
            result = builder.insert_value(result, builder.load(address, align=bytes_of(block.dtype)), row)
        return result

    return block(array, chosen, types.intp, types.intp, rows, lanes), emit


@intrinsic(prefer_literal=True)
def load_rows(_: Any, array: Any, index: Any, rows: Any, lanes: Any) -> Any:
    """Return a block: vector r begins at array[index[0] + r, index[1], ...]."""
    block = Block(array.dtype, rows.literal_value, lanes.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        result = ir.Constant(context.get_value_type(block), ir.Undefined)
        for row in range(block.rows):
            address = address_in(context, builder, typed(sig, args)[:2], result.type.element, row)
            result = builder.insert_value(result, builder.load(address, align=bytes_of(block.dtype)), row)
        return result

    return block(array, index_type(index), rows, lanes), emit


@intrinsic
def store_rows(_: Any, array: Any, index: Any, block: Any) -> Any:
    """Write vector r of the block to array[index[0] + r, index[1], ...]."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for row in range(block.rows):
            address = address_in(context, builder, typed(sig, args)[:2], args[2].type.element, row)
            builder.store(builder.extract_value(args[2], row), address, align=bytes_of(block.dtype))
        return context.get_dummy_value()

    return types.none(array, index_type(index), block), emit


@intrinsic(prefer_literal=True)
def stack_array(_: Any, like: Any, shape: Any) -> Any:
    """Return an uninitialised array of the dtype of `like` on the stack of this thread; it lives until the call ends.

    Arrays that NumPy makes lie on the heap: each has to be allocated, counted and freed.
    """
    sizes = [size.literal_value for size in shape.types]
    result = types.Array(like.dtype, len(sizes), "C")

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        one = context.get_data_type(like.dtype)
        numbers = cgutils.alloca_once(builder, one, size=int(np.prod(sizes)))
        numbers.align = 64  # a cache line
        return _array(context, builder, result, numbers, [context.get_constant(types.intp, size) for size in sizes])

    return result(like, shape), emit


@intrinsic
def array_at(_: Any, like: Any, address: Any, shape: Any) -> Any:
    """Return the array of this shape that lies at an address, of the dtype of `like`, an array or np.int8, say."""
    result = types.Array(like.dtype, len(shape), "C")

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        numbers = builder.inttoptr(args[1], context.get_data_type(like.dtype).as_pointer())
        return _array(context, builder, result, numbers, cgutils.unpack_tuple(builder, args[2]))

    return result(like, types.intp, types.UniTuple(types.intp, len(shape))), emit


@intrinsic
def address_of(_: Any, array: Any, index: Any) -> Any:
    """Return the address of array[index]."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = address_in(context, builder, typed(sig, args), ir.IntType(8))
        return builder.ptrtoint(address, ir.IntType(64))

    return types.intp(array, index_type(index)), emit


def _array(context: Any, builder: Any, array_type: Any, numbers: Any, shape: Any) -> Any:
    """Return numba's description of an array whose numbers lie one after another."""
    array = context.make_array(array_type)(context, builder)
    itemsize = context.get_constant(types.intp, bytes_of(array_type.dtype))
    steps = [itemsize]
    for size in reversed(shape[1:]):
        steps.insert(0, builder.mul(steps[0], size))
    context.populate_array(array, data=numbers, shape=shape, strides=steps, itemsize=itemsize, meminfo=None)
    return array._getvalue()
