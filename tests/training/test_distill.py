"""A student trained on its teacher's distribution comes to agree with it."""

import numpy as np
import pytest
from training.trainable import random_parameters

from minillm.training.distill import Favourites, distillation_loss, favourites_loss, projected_embedding
from minillm.training.losses import cross_entropy
from minillm.training.network import Network
from minillm.training.optimizer import Schedule
from minillm.training.parameters import initialise, llama_config
from minillm.training.trainer import Trainer

CONFIG = llama_config(9, 8, 12, 1, 2, 1, 32)


def rows() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 9, (32, 9))


@pytest.mark.slow
def test_a_distilled_student_is_nearer_to_its_teacher_than_one_trained_on_the_text():
    teacher = random_parameters(CONFIG, seed=1, dtype=np.float32)
    wanted, _ = Network(teacher, 32, 8).forward(rows()[:, :-1])
    agreement = []
    for loss in ({}, {"loss": distillation_loss(teacher)}):
        run = Trainer(initialise(CONFIG, 2), Schedule(150, 0.02, warmup_steps=5), rows(), 16, **loss)
        for _ in range(150):
            run.step()
        logits, _ = Network(run.parameters, 32, 8).forward(rows()[:, :-1])
        agreement.append((logits.argmax(axis=1) == wanted.argmax(axis=1)).mean())
    text, distilled = agreement
    assert distilled > 0.8 and distilled > text + 0.2


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_loss_is_smallest_at_the_teachers_own_distribution(temperature):
    teacher = random_parameters(CONFIG, seed=1)
    before = teacher.vector.copy()
    inputs, targets = rows()[:, :-1], rows()[:, 1:]
    teachers, _ = Network(teacher, 32, 8).forward(inputs)
    loss = distillation_loss(teacher, temperature)
    _, at_the_teachers = loss(teachers / temperature, inputs, targets, 256)
    _, elsewhere = loss(teachers / temperature * 1.1, inputs, targets, 256)
    assert np.abs(at_the_teachers).max() < 1e-12 < 1e-5 < np.abs(elsewhere).max()
    assert np.array_equal(teacher.vector, before)


def test_at_a_low_temperature_only_the_favourite_counts():
    teacher = random_parameters(CONFIG, seed=1)
    inputs, targets = rows()[:, :-1], rows()[:, 1:]
    favourites = Network(teacher, 32, 8).forward(inputs)[0].argmax(axis=1)
    logits = np.random.default_rng(1).normal(size=(32 * 8, 9))
    sharp, d_sharp = distillation_loss(teacher, 1e-9)(logits.copy(), inputs, targets, 256)
    text, d_text = cross_entropy(logits.copy(), favourites, 256)
    assert sharp == pytest.approx(text) and np.allclose(d_sharp, d_text, atol=1e-12)


def asked(teacher, kept: int) -> Favourites:
    """The teacher's favourites after every input of `rows`."""
    logits, _ = Network(teacher, 32, 8).forward(rows()[:, :-1])
    tokens = np.argsort(logits)[:, -kept:]
    return Favourites(tokens.reshape(32, 8, kept), np.take_along_axis(logits, tokens, axis=1).reshape(32, 8, kept))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_a_teacher_that_was_asked_before_teaches_the_same(temperature):
    teacher = random_parameters(CONFIG, seed=1)
    loss, remembered = (
        distillation_loss(teacher, temperature),
        favourites_loss(rows()[:, :-1], asked(teacher, 9), temperature),
    )
    some = rows()[[7, 3, 30]]  # in any order
    logits = np.random.default_rng(1).normal(size=(3 * 8, 9))
    wanted, d_wanted = loss(logits.copy(), some[:, :-1], some[:, 1:], 24)
    found, d_found = remembered(logits.copy(), some[:, :-1], some[:, 1:], 24)
    assert found == pytest.approx(wanted, rel=1e-12)
    np.testing.assert_allclose(d_found, d_wanted, rtol=0, atol=1e-12)


def test_what_is_not_kept_has_no_probability():
    teacher, some = random_parameters(CONFIG, seed=1), rows()[:1]
    loss = favourites_loss(rows()[:, :-1], asked(teacher, 4))
    _, gradient = loss(np.full((8, 9), -np.log(9)), some[:, :-1], some[:, 1:], 1)
    assert ((gradient < 1 / 9 - 1e-9).sum(axis=1) == 4).all()  # pulled up; all others are pushed down
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-12)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(temperature):
    teacher = random_parameters(CONFIG, 0)
    for loss in (
        lambda: distillation_loss(teacher, temperature),
        lambda: favourites_loss(rows()[:, :-1], asked(teacher, 2), temperature),
    ):
        with pytest.raises(ValueError, match="expected a number above 0"):
            loss()


def test_a_projected_embedding_keeps_what_differs_most():
    """Rows of rank 2, turned and moved: two numbers a row are enough for all distances."""
    generator = np.random.default_rng(0)
    embedding = generator.normal(size=(30, 2)) @ generator.normal(size=(2, 6)) + generator.normal(size=6)
    smaller = projected_embedding(embedding, 2)
    assert smaller.std() == pytest.approx(0.02)

    def distances(rows):
        return np.linalg.norm(rows[:, None] - rows, axis=2)

    ratio = distances(smaller)[0, 1] / distances(embedding)[0, 1]
    np.testing.assert_allclose(distances(smaller), ratio * distances(embedding), rtol=0, atol=1e-9)
