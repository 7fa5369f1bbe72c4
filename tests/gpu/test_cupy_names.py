"""What the fake device lets through, and what the real one is asked for, is in the real CuPy with those arguments."""

import inspect
import operator
import re

import check_gpu
import cupy
import numpy as np
import pytest
from fake_device import FUNCTIONS, METHODS, UFUNCS, FakeDevice

from minillm.backends import get_backend
from minillm.backends.cupy_device import CuPyDevice, OutOfMemory


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs(name):
    assert isinstance(getattr(cupy, name), cupy.ufunc)
    assert not UFUNCS[name], "keywords of ufuncs: look them up"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    assert set(FUNCTIONS[name]) <= set(inspect.signature(getattr(cupy, name)).parameters)


@pytest.mark.parametrize("name", METHODS)
def test_methods(name):
    signature = getattr(cupy.ndarray, name).__doc__.split(")")[0]  # compiled: the first line of its text says it
    assert all(re.search(rf"\b{keyword}\b", signature) for keyword in METHODS[name])


def test_what_cupy_lacks_is_not_let_through():
    missing = [name for name in ("matvec", "vecmat") if not hasattr(cupy, name)]
    assert missing == ["matvec", "vecmat"]
    array = FakeDevice().asarray(np.ones((2, 2)))
    for name in missing:
        with pytest.raises(TypeError, match="is not among what was checked against CuPy"):
            getattr(np, name)(array, array)


def test_the_device_offers_what_the_fake_one_does():
    def signatures(device):
        public = {name: value for name, value in vars(device).items() if inspect.isfunction(value) and name[0] != "_"}
        return {name: list(inspect.signature(value).parameters) for name, value in public.items()}

    real, fake = signatures(CuPyDevice), signatures(FakeDevice)
    assert real == {name: fake[name] for name in real}


def test_names_that_the_device_uses():
    """Those of `cupy` and `cupy.cuda` as they stand in its source, and the arguments that are given by name."""
    code = inspect.getsource(CuPyDevice)
    names = set(re.findall(r"self\.cupy\.([\w.]+)", code)) | {f"cuda.{n}" for n in re.findall(r"\bcuda\.(\w+)", code)}
    names = {name for name in names if not name.endswith(".cuda")}
    names |= {f"cuda.{name}" for name in re.findall(r"\bcupy\.cuda\.([\w.]+)", code)}  # in the constructor
    assert {"RawModule", "cuda.MemoryPool", "cuda.set_allocator", "cuda.runtime.memGetInfo"} <= names
    for name in names:
        found = cupy
        for part in name.split("."):
            found = getattr(found, part)
    assert all(hasattr(cupy.cuda.Stream, name) for name in ("begin_capture", "end_capture", "synchronize"))
    assert all(hasattr(cupy.ndarray, name) for name in ("set", "data", "strides", "itemsize", "flags"))
    assert issubclass(cupy.cuda.memory.OutOfMemoryError, MemoryError)
    assert issubclass(cupy.cuda.runtime.CUDARuntimeError, RuntimeError)


def test_names_that_check_gpu_uses():
    code = inspect.getsource(check_gpu)
    names = set(re.findall(r"cupy\.([\w.]+)\(", code))
    assert {"cuda.Event", "cuda.get_elapsed_time", "cuda.runtime.getDeviceProperties"} <= names
    for name in names:
        assert operator.attrgetter(name)(cupy)
    assert all(hasattr(cupy.cuda.Event, name) for name in ("record", "synchronize"))


def test_any_allocation_of_cupy_says_what_was_needed_and_what_is_free(monkeypatch):
    """Also what it makes by itself: a copy, the wanted rows."""
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", lambda: 1)
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (1_000_000, 2_000_000))
    try:
        device = CuPyDevice()
        device.pool = FullPool
        for make in (lambda: device.empty((2**20,), np.float32), lambda: cupy.ndarray((2**20,), np.float32)):
            with pytest.raises(OutOfMemory, match=r"on the device: 4\.2 MB needed, 1\.5 MB free; use a smaller"):
                make()
    finally:
        cupy.cuda.set_allocator(cupy.get_default_memory_pool().malloc)


class FullPool:
    @staticmethod
    def malloc(nbytes):
        raise cupy.cuda.memory.OutOfMemoryError(nbytes, 500_000, 0)

    @staticmethod
    def free_bytes():
        return 500_000


def test_cublas_comes_with_the_extra_and_takes_these_arguments():
    from cupy_backends.cuda.libs import cublas

    assert cublas.gemmEx.__doc__.split(")")[0].count(",") == 18
    assert (cublas.CUBLAS_OP_N, cublas.CUBLAS_OP_T) == (0, 1)


def test_without_a_driver_one_line_says_so():
    if cupy.cuda.is_available():
        pytest.skip("there is a device")
    with pytest.raises(OSError, match=r"^backend cupy finds no CUDA device \(.*\); use backend numpy$"):
        get_backend("cupy")
