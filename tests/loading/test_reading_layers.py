"""Layers are read by two threads: in order, with the first problem, and by one thread where a backend asks for it."""

from threading import current_thread

import numpy as np
import pytest

from minillm.backends.cupy import CuPy
from minillm.backends.plain import Plain
from minillm.loading import build, open_checkpoint
from minillm.parallel.backend import OnRanks


class Recorder(Plain):
    """Records which thread prepares a matrix."""

    def __init__(self):
        self.threads = []

    def prepare(self, parts):
        self.threads.append(current_thread().name)
        return super().prepare(parts)


class InOrder(Recorder):
    prepares_side_by_side = False


def built(ops, checkpoint):
    return build.build(checkpoint, ops, np.dtype(np.float32))


@pytest.mark.parametrize("ops", [Recorder(), InOrder()], ids=lambda ops: type(ops).__name__)
def test_each_layer_is_in_its_place(ops):
    checkpoint = open_checkpoint("story")
    model = built(ops, checkpoint)
    assert len(model.layer_weights) == 6
    for number, layer in enumerate(model.layer_weights):
        stored = checkpoint.tensors[f"model.layers.{number}.mlp.down_proj.weight"].read()
        assert np.array_equal(layer.down, stored.T), number


def test_a_backend_that_prepares_in_order_is_called_by_one_thread_at_a_time():
    ops = InOrder()
    built(ops, open_checkpoint("story"))
    assert len(set(ops.threads)) == 2  # the first layer's, and that of all others
    assert not CuPy.prepares_side_by_side and not OnRanks.prepares_side_by_side and Plain.prepares_side_by_side


@pytest.mark.parametrize("damaged", [[0, 3], [1, 2, 3, 4, 5], [2, 5]])
def test_the_first_layer_that_cannot_be_read_is_named(damaged):
    checkpoint = open_checkpoint("story")
    for number in damaged:
        del checkpoint.tensors[f"model.layers.{number}.mlp.down_proj.weight"]
    with pytest.raises(ValueError, match=rf"tensor model\.layers\.{damaged[0]}\.mlp\.down_proj\.weight is missing"):
        built(Plain(), checkpoint)


def test_no_layer_is_begun_after_one_that_cannot_be_read(monkeypatch):
    read = []
    original = build._layer

    def layer(reader, config, number):
        read.append(number)
        if number == 1:
            raise ValueError("damaged")
        return original(reader, config, number)

    monkeypatch.setattr(build, "_layer", layer)
    with pytest.raises(ValueError, match="damaged"):
        built(InOrder(), open_checkpoint("story"))
    assert read[:2] == [0, 1] and len(read) <= 3  # one may have begun before the problem was seen
