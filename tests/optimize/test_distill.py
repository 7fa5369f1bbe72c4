"""A student trained on its teacher's distribution comes to agree with it."""

import numpy as np
import pytest
from training.trainable import random_parameters

from minillm.optimize.distill import distillation_loss
from minillm.training.losses import cross_entropy
from minillm.training.network import Network
from minillm.training.optimizer import Schedule
from minillm.training.parameters import initialise, llama_config
from minillm.training.trainer import Trainer

CONFIG = llama_config(9, 8, 12, 1, 2, 1, 32)


def rows() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 9, (32, 9))


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


def test_the_teacher_is_not_changed_and_share_one_is_the_text_alone():
    teacher = random_parameters(CONFIG, seed=1)
    before = teacher.vector.copy()
    inputs, targets = rows()[:, :-1], rows()[:, 1:]
    logits = np.random.default_rng(1).normal(size=(32 * 8, 9))
    mixed, d_mixed = distillation_loss(teacher, text_share=1.0)(logits.copy(), inputs, targets, 256)
    text, d_text = cross_entropy(logits.copy(), targets.ravel(), 256)
    assert np.array_equal(teacher.vector, before)
    assert mixed == pytest.approx(text) and np.allclose(d_mixed, d_text, atol=1e-12)


def test_a_share_outside_0_to_1_is_refused():
    with pytest.raises(ValueError, match="from 0 to 1"):
        distillation_loss(random_parameters(CONFIG, 0), 1.5)
