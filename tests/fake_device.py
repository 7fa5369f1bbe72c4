"""A stand-in for a device: arrays over NumPy that refuse what CuPy's refuse, and a count of copies and launches.

`FakeArray` takes NumPy's functions over as CuPy's arrays do, through `__array_ufunc__` and `__array_function__`. It
refuses to become a NumPy array by itself, to meet one in an operation, and all that is not in UFUNCS and FUNCTIONS:
what stands there is checked against the real CuPy by tests/gpu. `FakeDevice` runs the kernels' twins.
"""

import weakref
from collections import Counter
from functools import cache
from types import SimpleNamespace

import numpy as np
from kernel_twins import TWINS, rows
from numpy.lib.mixins import NDArrayOperatorsMixin

from minillm.backends.cupy_device import OutOfMemory

# What may reach a device array, with the keywords that may come along.
UFUNCS = {"add": (), "multiply": ()}
FUNCTIONS = {"concatenate": ("axis",)}
METHODS = {"astype": ("copy",), "copy": (), "reshape": (), "transpose": (), "swapaxes": ()}


name_of = cache(str)  # of a dtype: NumPy takes long to find it, and it is asked for in every launch


class FakeArray(NDArrayOperatorsMixin):
    """An array on a FakeDevice. `data.ptr` is its address, as in CuPy."""

    def __init__(self, device, numbers):
        self.device, self.numbers = device, numbers
        self.data = SimpleNamespace(ptr=numbers.ctypes.data)
        for name in ("shape", "dtype", "ndim", "size", "itemsize", "nbytes", "strides", "flags"):
            setattr(self, name, getattr(numbers, name))

    @property
    def T(self):
        return FakeArray(self.device, self.numbers.T)

    def __len__(self):
        return len(self.numbers)

    def __iter__(self):
        return (FakeArray(self.device, row) if row.ndim else self.ask() for row in self.numbers)

    def __array__(self, *arguments, **options):
        raise TypeError("Implicit conversion to a NumPy array is not allowed; use to_host")

    def ask(self, *arguments):
        """CuPy lets a single number through, but waits for the device to be done: here that is an error."""
        raise AssertionError("the host waits for a number from the device")

    __bool__ = __int__ = __float__ = __index__ = item = tolist = ask

    def __getitem__(self, key):
        plain = self.device.unwrap_key(key)
        found = self.numbers[plain]
        if np.size(found) and not np.may_share_memory(found, self.numbers):
            return self.device.computed(lambda: self.numbers[plain])
        return FakeArray(self.device, found)

    def __setitem__(self, key, value):
        if not isinstance(value, FakeArray | int | float):
            raise TypeError(f"a value of {type(value).__name__} in an array on the device")
        plain = self.device.unwrap_key(key)
        self.device.do("setitem", lambda: self.numbers.__setitem__(plain, self.device.unwrap(value)))

    def __getattr__(self, name):
        if name not in METHODS:
            raise AttributeError(f"FakeArray has no {name}")
        return lambda *arguments, **options: self.device.method(self, name, arguments, options)

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        if method != "__call__" or ufunc.__name__ not in UFUNCS or set(options) - set(UFUNCS[ufunc.__name__]):
            raise TypeError(f"{ufunc.__name__} ({method}) is not among what was checked against CuPy")
        plain = [self.device.unwrap(value) for value in inputs]
        if out is not None:
            target = out[0].numbers
            self.device.do(ufunc.__name__, lambda: ufunc(*plain, out=target, **options))
            return out[0]
        return self.device.computed(lambda: ufunc(*plain, **options), ufunc.__name__)

    def __array_function__(self, function, types, arguments, options):
        name = function.__name__
        if name not in FUNCTIONS or set(options) - set(FUNCTIONS[name]):
            raise TypeError(f"numpy.{name} is not among what was checked against CuPy")
        plain = [[self.device.unwrap(x) for x in a] if isinstance(a, list | tuple) else self.device.unwrap(a)
                 for a in arguments]  # fmt: skip
        return self.device.computed(lambda: function(*plain, **options), name)


class FakeDevice:
    """What CuPyDevice is to CuPy's arrays.

    Attributes:
        sent, fetched: copies to the device and from it, in numbers of arrays.
        launches: by name. A replayed graph is one.
    """

    multiplies = True

    def __init__(self, memory=2**40):
        self.sent = self.fetched = 0
        self.launches = Counter()
        self.memory = memory
        self._arrays = weakref.WeakValueDictionary()
        self._recording = None

    def has(self, x):
        return isinstance(x, FakeArray)

    def unwrap(self, value):
        if isinstance(value, FakeArray):
            return value.numbers
        if isinstance(value, np.ndarray):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>: an array of the host next to one of the device")
        return value

    def unwrap_key(self, key):
        keys = key if isinstance(key, tuple) else (key,)
        plain = tuple(self.unwrap(part) for part in keys)
        if any(isinstance(part, list) for part in plain):
            raise TypeError("a list as an index is copied to the device")
        return plain if isinstance(key, tuple) else plain[0]

    def do(self, name, work):
        """One launch; remembered while a graph is captured."""
        work()
        if self._recording is not None:
            self._recording.append(work)
        else:
            self.launches[name] += 1

    def computed(self, work, name="getitem"):
        """A launch whose result is a new array."""
        result = np.array(work())
        self.do(name, lambda: np.copyto(result, work()))
        return self._own(result)

    def method(self, array, name, arguments, options):
        if set(options) - set(METHODS[name]):
            raise TypeError(f"{name} with {options} is not among what was checked against CuPy")
        result = getattr(array.numbers, name)(*arguments, **options)
        if result is array.numbers:
            return array
        if np.shares_memory(result, array.numbers) or not result.size:
            return FakeArray(self, result)
        return self.computed(lambda: getattr(array.numbers, name)(*arguments, **options), name)

    def _own(self, numbers):
        self._arrays[numbers.ctypes.data] = numbers
        return FakeArray(self, numbers)

    def _refuse_in_graph(self):
        assert self._recording is None, "a copy to or from the host while a graph is captured"

    def asarray(self, host):
        assert type(host) is np.ndarray
        self._refuse_in_graph()
        self.sent += 1
        return self._own(np.array(host))

    def overwrite(self, x, host):
        assert x.shape == host.shape and x.dtype == host.dtype
        self._refuse_in_graph()
        self.sent += 1
        x.numbers[...] = host

    def to_host(self, x):
        self._refuse_in_graph()
        self.fetched += 1
        return x.numbers.copy()

    def empty(self, shape, dtype):
        """Full of numbers that nobody should use."""
        needed = int(np.prod(shape, dtype=float)) * np.dtype(dtype).itemsize
        if needed > self.memory:
            raise OutOfMemory(needed, self.memory)
        empty = self.room(shape, dtype)
        empty.fill(np.nan if empty.dtype.kind == "f" else 77)
        return self._own(empty)

    def room(self, shape, dtype):
        return np.empty(shape, dtype)

    def zeros(self, shape, dtype):
        zeros = self.empty(shape, dtype)
        zeros.numbers[...] = 0
        return zeros

    def free_memory(self):
        return self.memory

    def launch(self, name, kinds, grid, arguments):
        """The kernel's twin."""
        assert all(type(size) is int and 0 < size for size in grid) and max(grid[1:], default=1) < 2**16
        assert not any(isinstance(argument, np.ndarray) for argument in arguments), "an array of the host"
        plain = [self.unwrap(argument) for argument in arguments]
        found = {name_of(x.dtype) for x in plain if isinstance(x, np.ndarray) and x.dtype != np.int64}
        allowed = {*kinds, "uint16"} if "bfloat16" in kinds else {*kinds}
        assert found - {"float64" if name == "cos_sin" else ""} <= allowed, f"{name} reads {found} as {allowed}"
        self.do(name, lambda: TWINS[name](*plain, numbers_at=self._arrays.__getitem__))

    def multiply(self, x, weight, out, add):
        assert x.dtype == weight.dtype and x.flags.c_contiguous and weight.flags.c_contiguous and out.flags.c_contiguous
        residual = out.numbers if add else None
        self.do("gemm", lambda: rows(x.numbers, weight.numbers, None, residual, out.numbers, 0, 0, 0, None))

    def capture(self, compute):
        """Records what is launched, and does exactly that again: decisions of the host stay as they were."""
        compute()  # as CuPyDevice
        self._recording = []
        try:
            result, recorded = compute(), self._recording
        finally:
            self._recording = None

        def replay():
            self.launches["graph"] += 1
            for work in recorded:
                work()
            return result.copy()

        return replay
