"""Vectors: the registers of the processor that hold several numbers, as values that a compiled loop can use.

A processor with AVX2 has 16 registers of 8 float32 numbers, and one instruction multiplies and adds all 8:

    x[i], x[i], ...  x[i]            splat(x[i])
      *     *          *
    w[0]  w[1]  ...  w[7]            load(w, (i, 0), 8)
      +     +          +
    a[0]  a[1]  ...  a[7]            the accumulators: multiply_add(splat(x[i], 8), load(...), a)

A compiler finds such instructions in plain loops only sometimes, and it may then add in another order. Here they are
written out, so the order of operations is the one on the page, on every processor. A `Vector` may have more lanes than
a register: the compiler then takes several registers. `Block` is the same for several rows: one vector a row.

numba knows neither type. Both are defined here, and each function says which instruction of LLVM (the compiler under
numba) it stands for. `multiply_add` rounds once (LLVM's `fma`), for scalars as for vectors. So a lane of a vector has
the bits of the scalar loop.
"""

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, overload, register_model

I32 = ir.IntType(32)


class Vector(types.Type):
    """The type of `lanes` numbers of one dtype."""

    def __init__(self, dtype: types.Type, lanes: int) -> None:
        self.dtype, self.lanes = dtype, lanes
        super().__init__(f"Vector({dtype}, {lanes})")


class Block(types.Type):
    """The type of one vector for each of `rows` rows: accumulators that stay in registers."""

    def __init__(self, dtype: types.Type, rows: int, lanes: int) -> None:
        self.dtype, self.rows, self.lanes = dtype, rows, lanes
        super().__init__(f"Block({dtype}, {rows}, {lanes})")


def _vector_ir(manager: Any, dtype: types.Type, lanes: int) -> ir.Type:
    return ir.VectorType(manager.lookup(dtype).get_value_type(), lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, _vector_ir(manager, vector.dtype, vector.lanes))


@register_model(Block)
class _BlockModel(models.PrimitiveModel):
    def __init__(self, manager: Any, block: Block) -> None:
        one_row = _vector_ir(manager, block.dtype, block.lanes)
        super().__init__(manager, block, ir.ArrayType(one_row, block.rows))


# --- memory ------------------------------------------------------------------------------------------------------


def _index_type(index: types.Type) -> types.Type:
    return types.UniTuple(types.intp, len(index)) if isinstance(index, types.BaseTuple) else types.intp


def _address(context: Any, builder: Any, array: Any, index: Any, row: int, to: ir.Type) -> Any:
    """Return the address of array[index[0] + row, index[1], ...] as one of `to`; array and index are (type, value)."""
    (array_type, array), (index_type, index) = array, index
    array = context.make_array(array_type)(context, builder, array)
    index = cgutils.unpack_tuple(builder, index) if isinstance(index_type, types.BaseTuple) else [index]
    index = [builder.add(index[0], index[0].type(row)), *index[1:]]
    place = cgutils.get_item_pointer(context, builder, array_type, array, index, wraparound=False, boundscheck=False)
    return builder.bitcast(place, to.as_pointer())


def _typed(sig: Any, args: Any) -> list[tuple[Any, Any]]:
    return list(zip(sig.args, args, strict=True))


def _bytes(dtype: types.Type) -> int:
    return int(dtype.bitwidth) // 8  # the alignment of a vector in memory: that of one number


@intrinsic
def number(_: Any, array: Any, index: Any) -> Any:
    """Return array[index]. Unlike Python's brackets, it does not look whether an index counts from the end."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _address(context, builder, *_typed(sig, args), 0, context.get_value_type(array.dtype))
        return builder.load(address)

    return array.dtype(array, _index_type(index)), emit


@intrinsic(prefer_literal=True)
def load(_: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Return the `lanes` numbers that begin at array[index] and follow each other in memory."""
    vector = Vector(array.dtype, lanes.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _address(context, builder, *_typed(sig, args)[:2], 0, context.get_value_type(vector))
        return builder.load(address, align=_bytes(vector.dtype))

    return vector(array, _index_type(index), lanes), emit


@intrinsic
def store(_: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write the vector to array[index] and the numbers that follow it."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _address(context, builder, *_typed(sig, args)[:2], 0, args[2].type)
        builder.store(args[2], address, align=_bytes(vector.dtype))
        return context.get_dummy_value()

    return types.none(array, _index_type(index), vector), emit


@intrinsic(prefer_literal=True)
def load_chosen_rows(_: Any, array: Any, chosen: Any, first: Any, column: Any, rows: Any, lanes: Any) -> Any:
    """Return a block: vector r begins at array[chosen[first + r], column]."""
    block = Block(array.dtype, rows.literal_value, lanes.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        result = ir.Constant(context.get_value_type(block), ir.Undefined)
        pair = types.UniTuple(types.intp, 2)
        for row in range(block.rows):
            place = _address(context, builder, (sig.args[1], args[1]), (types.intp, args[2]), row, ir.IntType(64))
            index = context.make_tuple(builder, pair, [builder.load(place), args[3]])
            address = _address(context, builder, (sig.args[0], args[0]), (pair, index), 0, result.type.element)
            result = builder.insert_value(result, builder.load(address, align=_bytes(block.dtype)), row)
        return result

    return block(array, chosen, types.intp, types.intp, rows, lanes), emit


@intrinsic(prefer_literal=True)
def load_rows(_: Any, array: Any, index: Any, rows: Any, lanes: Any) -> Any:
    """Return a block: vector r begins at array[index[0] + r, index[1], ...]."""
    block = Block(array.dtype, rows.literal_value, lanes.literal_value)

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        result = ir.Constant(context.get_value_type(block), ir.Undefined)
        for row in range(block.rows):
            address = _address(context, builder, *_typed(sig, args)[:2], row, result.type.element)
            result = builder.insert_value(result, builder.load(address, align=_bytes(block.dtype)), row)
        return result

    return block(array, _index_type(index), rows, lanes), emit


@intrinsic
def store_rows(_: Any, array: Any, index: Any, block: Any) -> Any:
    """Write vector r of the block to array[index[0] + r, index[1], ...]."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        for row in range(block.rows):
            address = _address(context, builder, *_typed(sig, args)[:2], row, args[2].type.element)
            builder.store(builder.extract_value(args[2], row), address, align=_bytes(block.dtype))
        return context.get_dummy_value()

    return types.none(array, _index_type(index), block), emit


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
    """Return the array of this shape, and of the dtype of `like`, that lies at an address."""
    result = types.Array(like.dtype, len(shape), "C")

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        numbers = builder.inttoptr(args[1], context.get_data_type(like.dtype).as_pointer())
        return _array(context, builder, result, numbers, cgutils.unpack_tuple(builder, args[2]))

    return result(like, types.intp, types.UniTuple(types.intp, len(shape))), emit


@intrinsic
def address_of(_: Any, array: Any, index: Any) -> Any:
    """Return the address of array[index]."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _address(context, builder, *_typed(sig, args), 0, ir.IntType(8))
        return builder.ptrtoint(address, ir.IntType(64))

    return types.intp(array, _index_type(index)), emit


def _array(context: Any, builder: Any, array_type: Any, numbers: Any, shape: Any) -> Any:
    """Return numba's description of an array whose numbers lie one after another."""
    array = context.make_array(array_type)(context, builder)
    itemsize = context.get_constant(types.intp, _bytes(array_type.dtype))
    steps = [itemsize]
    for size in reversed(shape[1:]):
        steps.insert(0, builder.mul(steps[0], size))
    context.populate_array(array, data=numbers, shape=shape, strides=steps, itemsize=itemsize, meminfo=None)
    return array._getvalue()


# --- arithmetic --------------------------------------------------------------------------------------------------


def _splat(builder: Any, value: Any, vector: ir.Type) -> Any:
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
        return _splat(builder, args[0], context.get_value_type(sig.return_type))

    return Vector(value, lanes.literal_value)(value, lanes), emit


@intrinsic(prefer_literal=True)
def zeros(_: Any, like: Any, lanes: Any) -> Any:
    """Return a vector of zeros, of the dtype of the array `like`."""
    vector = Vector(like.dtype, lanes.literal_value)
    return vector(like, lanes), lambda context, builder, sig, args: ir.Constant(context.get_value_type(vector), None)


@intrinsic(prefer_literal=True)
def zero_rows(_: Any, like: Any, rows: Any, lanes: Any) -> Any:
    """Return a block of zeros, of the dtype of the array `like`."""
    block = Block(like.dtype, rows.literal_value, lanes.literal_value)
    return block(like, rows, lanes), lambda context, builder, sig, args: ir.Constant(
        context.get_value_type(block), None
    )


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
            address = _address(context, builder, *_typed(sig, args)[1:3], row, args[3].type.element)
            factor = _splat(builder, builder.load(address), args[3].type)
            total = _call(builder, "fma", args[3].type, [factor, args[3], builder.extract_value(result, row)])
            result = builder.insert_value(result, total, row)
        return result

    return block(block, array, _index_type(index), vector), emit


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
def larger(_: Any, a: Any, b: Any) -> Any:
    """Return the larger number of each lane, and b where a is not a number."""

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", *args), *args)

    return a(a, a), emit


@intrinsic
def smaller(_: Any, a: Any, b: Any) -> Any:
    """Return the smaller number of each lane, and b where a is not a number."""

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args), *args)

    return a(a, a), emit


@intrinsic
def where_less(_: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    """Return `then` in the lanes where a < b, `otherwise` in the others, also where a or b is not a number."""

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", *args[:2]), *args[2:])

    return a(a, a, a, a), emit


@intrinsic
def square_root(_: Any, a: Any) -> Any:
    """Return the square root of each lane, correctly rounded."""
    return a(a), lambda context, builder, sig, args: _call(builder, "sqrt", args[0].type, args)


@intrinsic
def nearest(_: Any, a: Any) -> Any:
    """Round each lane to the nearest integer, and of two to the even one."""
    return a(a), lambda context, builder, sig, args: _call(builder, "rint", args[0].type, args)


# --- lanes -------------------------------------------------------------------------------------------------------


def _lanes(builder: Any, vector: Any, chosen: Any) -> Any:
    mask = ir.Constant(ir.VectorType(I32, len(chosen)), list(chosen))
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined), mask)


@intrinsic(prefer_literal=True)
def part(_: Any, vector: Any, first: Any, lanes: Any) -> Any:
    """Return the `lanes` lanes of the vector from lane `first` on."""
    chosen = range(first.literal_value, first.literal_value + lanes.literal_value)

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _lanes(builder, args[0], chosen)

    return Vector(vector.dtype, lanes.literal_value)(vector, first, lanes), emit


def _halve(builder: Any, vector: Any, combine: Any) -> Any:
    """Combine the upper half of the lanes with the lower half until one lane is left."""
    while vector.type.count > 1:
        half = vector.type.count // 2
        vector = combine(_lanes(builder, vector, range(half)), _lanes(builder, vector, range(half, 2 * half)))
    return builder.extract_element(vector, I32(0))


@intrinsic
def lane_sum(_: Any, vector: Any) -> Any:
    """Return the sum of the lanes, added as a tree: lane 0 and 8, 1 and 9, ...; then 0 and 4, ... for 16 lanes."""

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _halve(builder, args[0], builder.fadd)

    return vector.dtype(vector), emit


@intrinsic
def lane_max(_: Any, vector: Any) -> Any:
    """Return the largest lane."""

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _halve(builder, args[0], lambda a, b: builder.select(builder.fcmp_ordered(">", a, b), a, b))

    return vector.dtype(vector), emit


@intrinsic
def transpose(_: Any, block: Any) -> Any:
    """Return the block with rows and lanes swapped; both are 8, or another power of two.

    Each step doubles the size of the squares that are already transposed: it swaps the upper right part of every
    square of 2, then 4, then 8 with its lower left part. 24 instructions move 64 numbers:

        a b | c d        a e | c g        a e | i m
        e f | g h   ->   b f | d h   ->   b f | j n
        ----+----        ----+----        ----+----
        i j | k l        i m | k o        c g | k o
        m n | o p        j n | l p        d h | l p
    """
    size = block.rows

    def emit(_: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = [builder.extract_value(args[0], row) for row in range(size)]
        step = 1
        while step < size:
            kept = [lane + size - step if lane & step else lane for lane in range(size)]
            moved = [lane + size if lane & step else lane + step for lane in range(size)]
            for row in range(size):
                if not row & step:
                    pair = rows[row], rows[row + step]
                    for place, chosen in ((row, kept), (row + step, moved)):
                        mask = ir.Constant(ir.VectorType(I32, size), chosen)
                        rows[place] = builder.shuffle_vector(*pair, mask)
            step *= 2
        result = args[0]
        for row in range(size):
            result = builder.insert_value(result, rows[row], row)
        return result

    return block(block), emit


# --- kinds of numbers --------------------------------------------------------------------------------------------


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
def as_bits(_: Any, vector: Any) -> Any:
    """Return the bit pattern of each lane as a signed integer of the same size."""
    result = Vector(types.Integer.from_bitwidth(vector.dtype.bitwidth, True), vector.lanes)
    return result(vector), lambda context, builder, sig, args: builder.bitcast(args[0], context.get_value_type(result))


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
            return getattr(builder, name)(args[0], _splat(builder, number, args[0].type))

        return vector(vector, types.unliteral(number)), emit

    function.__doc__ = doc
    return intrinsic(function)


plus_number = _with_number("add", "Return the integers of each lane plus `number`.")
shift_left = _with_number("shl", "Return the bits of each lane, moved `number` places to the left.")
shift_right = _with_number("lshr", "Return the bits of each lane, moved `number` places to the right; zeros come in.")
bits_and = _with_number("and_", "Return the bits of each lane that are 1 in `number` too.")


@intrinsic
def bits_or(_: Any, a: Any, b: Any) -> Any:
    """Return the bits that are 1 in a or in b."""
    return a(a, b), lambda context, builder, sig, args: builder.or_(*args)


# --- several threads ---------------------------------------------------------------------------------------------


@intrinsic
def add_and_get_old(_: Any, array: Any, index: Any, amount: Any) -> Any:
    """Add to a number in memory in one step that no other thread interrupts, and return what it was before."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _address(context, builder, *_typed(sig, args)[:2], 0, args[2].type)
        return builder.atomic_rmw("add", address, args[2], "acq_rel")

    return array.dtype(array, _index_type(index), array.dtype), emit


@intrinsic
def seen_by_all(_: Any, array: Any, index: Any) -> Any:
    """Return a number in memory, and with it everything that other threads wrote before they changed it."""

    def emit(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address = _address(context, builder, *_typed(sig, args), 0, context.get_value_type(array.dtype))
        return builder.load_atomic(address, "acquire", _bytes(array.dtype))

    return array.dtype(array, _index_type(index)), emit
