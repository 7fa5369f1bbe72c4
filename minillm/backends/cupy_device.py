"""CuPyDevice: what the `cupy` backend asks of a GPU. Memory, copies, launches, products, and graphs; nothing of models.

The tests have another one, which does the same on the host and counts.
"""

from collections.abc import Callable
from typing import Any
from warnings import warn

import numpy as np

from minillm.arrays import Array
from minillm.backends.kernels import THREADS, source

INSTALL = "pip install 'minillm-numpy[gpu]'"


class OutOfMemory(ValueError, MemoryError):
    """The device's memory is full; says what was needed and what is free. Whatever was there before is as it was."""

    def __init__(self, needed: int, free: int) -> None:
        """Both in bytes."""
        problem = f"the device has no memory for {needed / 1e6:,.1f} MB more: {free / 1e6:,.1f} MB are free"
        super().__init__(f"{problem}; use a smaller model, batch or context")


class CuPyDevice:
    """The device that CuPy uses at present."""

    def __init__(self) -> None:
        """Find it.

        Raises:
            OSError: CuPy is not installed, or there is no device.
        """
        try:
            import cupy
        except ImportError as problem:
            raise OSError(f"backend cupy needs CuPy, which cannot be imported ({_line(problem)}): {INSTALL}") from None
        try:
            cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as problem:
            raise OSError(f"backend cupy finds no CUDA device ({_line(problem)}); use backend numpy") from None
        self.cupy, self.pool = cupy, cupy.get_default_memory_pool()
        cupy.cuda.set_allocator(self._allocate)  # for all arrays of this process, as those that CuPy makes by itself
        self.cublas = _cublas()
        self._modules: dict[tuple[str, str], Any] = {}

    def has(self, x: Any) -> bool:
        """Whether this is an array that lies here."""
        return isinstance(x, self.cupy.ndarray)

    def asarray(self, host: Array) -> Array:
        """A copy of a host's array."""
        return self.cupy.asarray(host)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of whatever lies there."""
        return self.cupy.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array of zeros."""
        return self.cupy.zeros(shape, dtype)

    def overwrite(self, x: Any, host: Array) -> None:
        """Copy a host's array of the same shape over one that lies here."""
        x.set(host)

    def to_host(self, x: Array) -> Array:
        """Wait until it is computed, and copy it."""
        return np.asarray(self.cupy.asnumpy(x))

    def free_memory(self) -> int:
        """Bytes that nobody has, or that CuPy keeps for what comes next."""
        return int(self.cupy.cuda.runtime.memGetInfo()[0] + self.pool.free_bytes())

    @property
    def multiplies(self) -> bool:
        """Whether `multiply` works: not without cuBLAS."""
        return self.cublas is not None

    def launch(self, name: str, kinds: tuple[str, str], grid: tuple[int, ...], arguments: list[Any]) -> None:
        """Start a kernel of kernels.cu for these kinds of numbers and weights; None is no array."""
        if kinds not in self._modules:
            self._modules[kinds] = self.cupy.RawModule(code=source(*kinds), options=("--std=c++17",))
        kernel = self._modules[kinds].get_function(name)
        kernel(grid, (THREADS,), tuple(_TYPED.get(type(argument), _as_is)(argument) for argument in arguments))

    def multiply(self, x: Any, weight: Any, out: Any, add: bool) -> None:
        """out = x @ weight.T (+ out): x `[rows, inner]` and weight `[outs, inner]`, of one dtype.

        cuBLAS counts rows and columns the other way round, so it is told of weight @ x.T.
        """
        cublas, dtype = self.cublas, str(weight.dtype)
        cuda = {"float32": 0, "float64": 1, "float16": 2, "uint16": 14}  # cudaDataType_t: R_32F, R_64F, R_16F, R_16BF
        compute = 70 if dtype == "float64" else 68  # cublasComputeType_t: 64F, 32F
        one, beta = np.array(1, out.dtype), np.array(add, out.dtype)
        (rows, inner), outs = x.shape, len(weight)
        handle = self.cupy.cuda.device.get_cublas_handle()
        cublas.gemmEx(
            handle, cublas.CUBLAS_OP_T, cublas.CUBLAS_OP_N, outs, rows, inner, one.ctypes.data,
            weight.data.ptr, cuda[dtype], inner, x.data.ptr, cuda[dtype], inner, beta.ctypes.data,
            out.data.ptr, cuda[str(out.dtype)], outs, compute, -1,
        )  # fmt: skip

    def capture(self, compute: Callable[[], Array]) -> Callable[[], Array]:
        """A function that does on the device what `compute` does now, in one launch; or `compute`, if that fails.

        Nothing may be allocated while a graph is captured, so `compute` runs once before, in the same pool of memory.
        The pool stays the graph's: whatever it computes always lies at the same places. `compute` must give the same
        when it runs twice.
        """
        cuda = self.cupy.cuda
        pool, stream = cuda.MemoryPool(), cuda.Stream(non_blocking=True)
        cuda.get_current_stream().synchronize()
        try:
            with cuda.using_allocator(pool.malloc), stream:
                compute()
                stream.begin_capture()
                try:
                    result = compute()
                finally:
                    graph = stream.end_capture()
                stream.synchronize()
        except (RuntimeError, MemoryError) as problem:  # the first are CUDA's; the second: no room for the pool
            warn(
                f"a step is not captured as a CUDA graph, but launched kernel by kernel: {_line(problem)}", stacklevel=2
            )
            return compute

        def replay() -> Array:
            assert pool is not None  # and so it is kept
            graph.launch()
            return result.copy()  # the next replay overwrites it

        return replay

    def _allocate(self, nbytes: int) -> Any:
        """What CuPy asks for the memory of an array."""
        try:
            return self.pool.malloc(nbytes)
        except self.cupy.cuda.memory.OutOfMemoryError:
            free = self.free_memory()
        raise OutOfMemory(nbytes, free)  # not inside `except`, where the error would keep what it was raised in


def _as_is(argument: Any) -> Any:
    return argument


# How a kernel gets its arguments: arrays as addresses, numbers with 64 bits, None as the address 0.
_TYPED: dict[type, Callable[[Any], Any]] = {int: np.int64, float: np.float64, type(None): lambda _: np.int64(0)}


def _cublas() -> Any:
    """cuBLAS as CuPy binds it; None if it is not installed."""
    try:
        from cupy_backends.cuda.libs import cublas
    except ImportError:
        return None
    return cublas


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())
