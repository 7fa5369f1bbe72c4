"""CuPyDevice: what the `cupy` backend needs of a GPU: memory, copies, launches, products and graphs.

It knows nothing of models. The tests replace it by a stand-in that does the same on the host and counts the launches.
"""

from collections.abc import Callable
from typing import Any
from warnings import warn

import numpy as np

from minillm.arrays import Array
from minillm.backends.kernels import THREADS, source
from minillm.support.install_hint import install_hint


class OutOfMemory(ValueError, MemoryError):
    """The device's memory is full. The arrays that were on the device are unchanged.

    The message says how many bytes were needed and how many are free.
    """

    def __init__(self, needed: int, free: int) -> None:
        problem = f"not enough memory on the device: {needed / 1e6:,.1f} MB needed, {free / 1e6:,.1f} MB free"
        super().__init__(f"{problem}; use a smaller model, batch or context")


class CuPyDevice:
    """The device that CuPy is using."""

    def __init__(self) -> None:
        """Find the device.

        Raises:
            OSError: CuPy is not installed, or finds no device.
        """
        try:
            import cupy
        except ImportError as problem:
            raise OSError(
                f"backend cupy needs CuPy, which cannot be imported ({_line(problem)}): {install_hint('gpu')}"
            ) from None
        try:
            cupy.cuda.runtime.getDeviceCount()
        except cupy.cuda.runtime.CUDARuntimeError as problem:
            raise OSError(f"backend cupy finds no CUDA device ({_line(problem)}); use backend numpy") from None
        self.cupy, self.pool = cupy, cupy.get_default_memory_pool()
        cupy.cuda.set_allocator(self._allocate)  # for all arrays of this process: CuPy allocates some by itself
        self.cublas = _cublas()
        self._modules: dict[tuple[str, str], Any] = {}

    def has(self, x: Any) -> bool:
        """Return whether this is an array on the device."""
        return isinstance(x, self.cupy.ndarray)

    def asarray(self, host: Array) -> Array:
        """Return a copy, on the device, of an array on the host."""
        return self.cupy.asarray(host)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an uninitialised array."""
        return self.cupy.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """Return an array of zeros."""
        return self.cupy.zeros(shape, dtype)

    def overwrite(self, x: Any, host: Array) -> None:
        """Copy an array on the host into an array of the same shape on the device."""
        x.set(host)

    def to_host(self, x: Array) -> Array:
        """Wait until the array is computed, then return a copy on the host."""
        return np.asarray(self.cupy.asnumpy(x))

    def free_memory(self) -> int:
        """Return the bytes that are free on the device, plus those that CuPy keeps for later arrays."""
        return int(self.cupy.cuda.runtime.memGetInfo()[0] + self.pool.free_bytes())

    @property
    def multiplies(self) -> bool:
        """Return whether `multiply` works. It needs cuBLAS."""
        return self.cublas is not None

    def launch(self, name: str, kinds: tuple[str, str], grid: tuple[int, ...], arguments: list[Any]) -> None:
        """Launch a kernel of kernels.cu. `kinds` are the dtypes of numbers and weights; None means no array."""
        if kinds not in self._modules:
            self._modules[kinds] = self.cupy.RawModule(code=source(*kinds), options=("--std=c++17",))
        kernel = self._modules[kinds].get_function(name)
        kernel(grid, (THREADS,), tuple(_TYPED.get(type(argument), _as_is)(argument) for argument in arguments))

    def multiply(self, x: Any, weight: Any, out: Any, add: bool) -> None:
        """Compute out = x @ weight.T, plus out if `add`. x is `[rows, inner]` and weight `[outs, inner]`, of one dtype.

        cuBLAS stores matrices column by column. To it the same memory is the product weight @ x.T.
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
        """Return a function that repeats in one launch what `compute` does now. If capturing fails, return `compute`.

        Nothing may be allocated while a graph is captured. So `compute` runs once before, in the same memory pool. The
        pool belongs to the graph, so its arrays always have the same addresses. `compute` must return the same numbers
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
        except (RuntimeError, MemoryError) as problem:  # CUDA raises the first; the second: not enough for the pool
            warn(
                f"a step is not captured as a CUDA graph, but launched kernel by kernel: {_line(problem)}", stacklevel=2
            )
            return compute

        def replay() -> Array:
            assert pool is not None  # keeps the pool alive as long as this function
            graph.launch()
            return result.copy()  # the next replay overwrites `result`

        return replay

    def _allocate(self, nbytes: int) -> Any:
        """Allocate the memory of an array. CuPy calls this for every array."""
        try:
            return self.pool.malloc(nbytes)
        except self.cupy.cuda.memory.OutOfMemoryError:
            free = self.free_memory()
        raise OutOfMemory(nbytes, free)  # after `except`: raised inside, it would keep CuPy's error alive


def _as_is(argument: Any) -> Any:
    return argument


# The types of a kernel's arguments: arrays are passed as addresses, numbers in 64 bits, None as the address 0.
_TYPED: dict[type, Callable[[Any], Any]] = {int: np.int64, float: np.float64, type(None): lambda _: np.int64(0)}


def _cublas() -> Any:
    """Return CuPy's bindings of cuBLAS, or None if cuBLAS is not installed."""
    try:
        from cupy_backends.cuda.libs import cublas
    except ImportError:
        return None
    return cublas


def _line(problem: BaseException) -> str:
    return " ".join(str(problem).split())
