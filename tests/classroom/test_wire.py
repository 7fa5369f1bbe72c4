"""Values survive the wire, and nothing else gets through it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minillm.classroom.worker.wire import LENGTH_BYTES, LONGEST_HEADER, SIZES, Other, pack, unpack

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.builds(
        lambda name, shape, fill: np.full(shape, fill).astype(name),
        st.sampled_from(sorted(SIZES)),
        st.lists(st.integers(0, 3), max_size=4),
        st.integers(-100, 100),
    ),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def equal(one, other):
    """Equal in type, dtype and value; nan is equal to nan."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(equal(a, b) for a, b in zip(one, other, strict=True))
    return one == other or (one != one and other != other)


def body(frame):
    assert int.from_bytes(frame[:LENGTH_BYTES], "little") == len(frame) - LENGTH_BYTES
    return frame[LENGTH_BYTES:]


@given(VALUES)
def test_values_arrive_as_they_were(value):
    assert equal(unpack(body(pack(value))), value)


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda text: body(pack([1]))[:8] + text))
def test_garbage_is_refused_or_is_a_value(data):
    try:
        value = unpack(data)
    except ValueError:
        return
    assert pack(value)


@pytest.mark.parametrize(
    "header",
    [
        b'{"array": "float64", "shape": [-1]}',
        b'{"array": "float64", "shape": [0, 1e400]}',
        b'{"array": "float64", "shape": [99999999999999999999]}',
        b'{"array": "object", "shape": [1]}',
        b'{"array": ["float64"], "shape": [1]}',
        b'{"array": "float64", "shape": 3}',
        b'{"dict": [[1, 2, 3]]}',
        b"[" * 100_000,
        b'{"list": [' * 100_000,
        b"{}",
    ],
)
def test_headers_that_lie_are_refused(header):
    with pytest.raises(ValueError):
        unpack(len(header).to_bytes(8, "little") + header + bytes(64))


@pytest.mark.slow
def test_a_header_that_would_fill_the_memory_is_refused_unread():
    header = b'{"list": [' + b"[]," * (LONGEST_HEADER // 3) + b"[]]}"
    with pytest.raises(ValueError, match="header"):
        unpack(len(header).to_bytes(8, "little") + header)
    unpack(body(pack([[]] * (LONGEST_HEADER // 20))))


class Liar(np.ndarray):
    """Says that it is equal to everything."""

    def __eq__(self, other):
        return np.ones(self.shape, bool)


def test_only_exact_types_travel():
    found = unpack(body(pack([np.zeros(2).view(Liar), np.array([object()]), (x for x in ()), np.float64(2), {1: 2}])))
    assert found == [Other("Liar"), Other("array of object"), Other("generator"), 2.0, Other("dict")]


def test_byte_order_is_ours():
    assert equal(unpack(body(pack(np.array([1.5, 2], ">f8")))), np.array([1.5, 2]))
