"""Arithmetic of all lanes at once. Every operation rounds as that of a single number does."""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from minillm.backends.compiled.vectors.memory import address_in, index_type, typed
from minillm.backends.compiled.vectors.registers import Vector

I32 = ir.IntType(32)


def repeated(builder: Any, value: Any, vector: ir.Type) -> Any:
    """Return LLVM's value of a vector whose lanes all have this value."""
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, value, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, vector.count), None))


def _call(builder: Any, name: str, result: ir.Type, args: Any) -> Any:
    """Call LLVM's own function `name` for this type: llvm.fma.f32, or llvm.fma.v16f32 for 16 lanes."""
    one = result.element if isinstance(result, ir.VectorType) else result
    lanes = f"v{result.count}" if isinstance(result, ir.VectorType) else ""
    full_name = f"llvm.{name}.{lanes}f{32 if isinstance(one, ir.FloatType) else 64}"
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [a.type for a in args]), full_name
    )
    return builder.call(function, args)


@intrinsic(prefer_literal=True)
def splat(_: Any, value: Any, lanes: Any) -> Any:
    """Return a vector whose lanes all have this value."""
    value = types.unliteral(value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return repeated(builder, args[0], context.get_value_type(sig.return_type))

    return Vector(value, lanes.literal_value)(value, lanes), emit


@intrinsic(prefer_literal=True)
def zeros(_: Any, like: Any, lanes: Any) -> Any:
    """Return a vector of zeros, of the dtype of the array `like`."""
    vector = Vector(like.dtype, lanes.literal_value)
    return vector(like, lanes), lambda context, builder, sig, args: ir.Constant(context.get_value_type(vector), None)


@intrinsic
def multiply_add(_: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _call(builder, "fma", args[2].type, args)

    return c(c, c, c), emit


@intrinsic
def multiply_add_rows(_: Any, block: Any, array: Any, index: Any, vector: Any) -> Any:
    """Return the block with array[index[0] + r, ...] * vector added to its row r."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        result = args[0]
        for row in range(block.rows):
            address = address_in(context, builder, typed(sig, args)[1:3], args[3].type.element, row)
            factor = repeated(builder, builder.load(address), args[3].type)
            total = _call(builder, "fma", args[3].type, [factor, args[3], builder.extract_value(result, row)])
            result = builder.insert_value(result, total, row)
        return result

    return block(block, array, index_type(index), vector), emit


def _operator(function: Any, name: str) -> None:
    """Let a + b, a - b, a * b and a / b work for two vectors of one type."""

    @intrinsic
    def apply(_: Any, a: Any, b: Any) -> Any:
        return a(a, b), lambda context, builder, sig, args: getattr(builder, name)(*args)

    @overload(function, strict=False)
    def choose(a: Any, b: Any) -> Any:
        return (lambda a, b: apply(a, b)) if isinstance(a, Vector) and a == b else None


for _function, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_function, _name)


@intrinsic
def where_less(_: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    """Return `then` in the lanes where a < b, `otherwise` in the others, also where a or b is not a number."""

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args[:2]), *args[2:])

    return a(a, a, a, a), emit


@intrinsic
def nearest(_: Any, a: Any) -> Any:
    """Round each lane to the nearest integer, and of two to the even one."""
    return a(a), lambda context, builder, sig, args: _call(builder, "rint", args[0].type, args)
