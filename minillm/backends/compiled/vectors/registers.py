"""Types: a vector of numbers, and a block of several vectors, as numba is told of them."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import models, register_model


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


def _llvm_vector(manager: Any, dtype: types.Type, lanes: int) -> ir.Type:
    return ir.VectorType(manager.lookup(dtype).get_value_type(), lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, _llvm_vector(manager, vector.dtype, vector.lanes))


@register_model(Block)
class _BlockModel(models.PrimitiveModel):
    def __init__(self, manager: Any, block: Block) -> None:
        one_row = _llvm_vector(manager, block.dtype, block.lanes)
        super().__init__(manager, block, ir.ArrayType(one_row, block.rows))
