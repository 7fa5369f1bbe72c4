"""A small model multiplies on one BLAS thread, others on all of them; afterwards the number is what it was."""

from threading import Barrier, Thread

import pytest
from random_models import random_model
from threadpoolctl import ThreadpoolController

import minillm
from minillm.backends import blas_threads
from minillm.backends.blas_threads import blas_libraries, is_small, one_blas_thread
from minillm.training.parameters import llama_config

CONFIG = llama_config(20, 8, 8, layers=2, heads=2, kv_heads=1, context=64)


def numbers():
    return [library.num_threads for library in blas_libraries()]


@pytest.fixture
def three():
    """The library has three threads, whatever the environment says; the number for each library."""
    with ThreadpoolController().limit(limits=3):
        assert set(numbers()) == {3}
        yield numbers()


@pytest.fixture(params=["plain", "numpy", "exact"])
def spied(request, monkeypatch):
    """A small model, and a list of the numbers of threads at each product of its passes."""
    model, _ = random_model(CONFIG, 0, request.param)
    seen, linear = [], type(model.ops).linear
    monkeypatch.setattr(type(model.ops), "linear", lambda *args: seen.append(numbers()) or linear(*args))
    return model, seen


def test_a_small_model_multiplies_on_one_thread(three, spied):
    model, seen = spied
    minillm.forward(model, [1, 2, 3])
    assert len(seen) >= 8
    assert all(found == [1] * len(three) for found in seen)
    assert numbers() == three


def test_a_large_model_multiplies_on_all_threads(three, spied, monkeypatch):
    monkeypatch.setattr(blas_threads, "SMALL_MODEL", 0)
    model, seen = spied
    minillm.forward(model, [1, 2, 3])
    assert seen and all(found == three for found in seen)


def test_the_bundled_models_are_small_and_smollm2_is_not():
    from minillm.estimate.models import find_model

    assert is_small(minillm.load("story").config) and is_small(minillm.load("story-draft").config)
    assert not is_small(find_model("smollm2-135m"))


def test_a_pass_that_fails_ends_the_limit(three):
    with pytest.raises(ZeroDivisionError), one_blas_thread():
        _ = 1 // 0
    assert numbers() == three


def test_the_last_of_several_passes_ends_the_limit(three):
    """Each would otherwise restore what it found: the second one finds 1."""
    first_is_in, second_is_in, first_is_out = Barrier(2), Barrier(2), Barrier(2)
    found = []

    def other():
        first_is_in.wait(60)
        with one_blas_thread():
            second_is_in.wait(60)
            first_is_out.wait(60)
            found.append(numbers())

    thread = Thread(target=other)
    thread.start()
    with one_blas_thread():
        first_is_in.wait(60)
        second_is_in.wait(60)
    first_is_out.wait(60)
    thread.join(60)
    assert found == [[1] * len(three)]
    assert numbers() == three
