"""Conversions between kinds of numbers, and the bits that numbers are made of."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from minillm.backends.compiled.vectors.arithmetic import repeated
from minillm.backends.compiled.vectors.registers import Vector


@intrinsic(prefer_literal=True)
def widen(_: Any, vector: Any, bits: Any) -> Any:
    """Return the integers of a vector in `bits` bits each, signed or unsigned as they were."""
    wide = Vector((types.Integer.from_bitwidth(bits.literal_value, vector.dtype.signed)), vector.lanes)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        extend = builder.sext if vector.dtype.signed else builder.zext
        return extend(args[0], context.get_value_type(wide))

    return wide(vector, bits), emit


@intrinsic
def to_float32(_: Any, vector: Any) -> Any:
    """Return the integers of a vector as float32 numbers."""
    result = Vector(types.float32, vector.lanes)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        convert = builder.sitofp if vector.dtype.signed else builder.uitofp
        return convert(args[0], context.get_value_type(result))

    return result(vector), emit


@intrinsic
def from_float16(_: Any, bits: Any) -> Any:
    """Return the float32 values of float16 numbers that are given as 16-bit patterns."""
    result = Vector(types.float32, bits.lanes)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        halves = builder.bitcast(args[0], ir.VectorType(ir.HalfType(), bits.lanes))
        return builder.fpext(halves, context.get_value_type(result))

    return result(bits), emit


@intrinsic
def as_float(_: Any, vector: Any) -> Any:
    """Return the float whose bit pattern each lane is."""
    result = Vector(types.float32 if vector.dtype.bitwidth == 32 else types.float64, vector.lanes)
    return result(vector), lambda context, builder, sig, args: builder.bitcast(args[0], context.get_value_type(result))


@intrinsic
def to_integer(_: Any, vector: Any) -> Any:
    """Return floats that are integers as signed integers of the same size."""
    result = Vector(types.Integer.from_bitwidth(vector.dtype.bitwidth, True), vector.lanes)
    return result(vector), lambda context, builder, sig, args: builder.fptosi(args[0], context.get_value_type(result))


def _with_number(name: str, doc: str) -> Any:
    """Return an intrinsic that combines each lane of a vector of integers with one number."""

    def function(_: Any, vector: Any, number: Any) -> Any:
        def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            number = context.cast(builder, args[1], sig.args[1], vector.dtype)
            return getattr(builder, name)(args[0], repeated(builder, number, args[0].type))

        return vector(vector, types.unliteral(number)), emit

    function.__doc__ = doc
    return intrinsic(function)


plus_number = _with_number("add", "Return the integers of each lane plus `number`.")
shift_left = _with_number("shl", "Return the bits of each lane, moved `number` places to the left.")
shift_right = _with_number("lshr", "Return the bits of each lane, moved `number` places to the right; zeros come in.")
bits_and = _with_number("and_", "Return the bits of each lane that are 1 in `number` too.")
