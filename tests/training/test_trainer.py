"""Training runs: they learn, they resume to the bit, and refuse a checkpoint of another run."""

import dataclasses

import numpy as np
import pytest

from minillm.training.optimizer import Schedule
from minillm.training.parameters import check_trainable, initialise, llama_config
from minillm.training.trainer import Trainer, next_token_loss

CONFIG = llama_config(16, 16, 24, 2, 4, 2, 32)


def trainer(steps=12, seed=0, threads=2, dtype=np.float32, recipe="") -> Trainer:
    """Rows that count up from a random start: soon learned."""
    starts = np.random.default_rng(5).integers(0, 16, (40, 1))
    rows = (starts + np.arange(13)) % 16
    schedule = Schedule(steps, 0.02, warmup_steps=3)
    return Trainer(initialise(CONFIG, seed, dtype), schedule, rows, 4, threads=threads, recipe=recipe)


def test_the_loss_falls_to_that_of_a_learned_rule():
    run = trainer(steps=60)
    losses = [run.step().loss for _ in range(60)]
    assert losses[0] == pytest.approx(np.log(16), abs=0.2)  # before training: uniform
    assert losses[-1] < 0.3


def test_batches_follow_one_another_and_start_over_behind_the_last_row():
    read = []

    def watched_loss(logits, inputs, targets, count):
        read.append((inputs[:, 0].tolist(), targets[:, 0].tolist()))
        return next_token_loss(logits, inputs, targets, count)

    rows = np.arange(5)[:, None] + np.arange(4)  # each begins with its own number
    run = Trainer(initialise(CONFIG, 0), Schedule(3, 0.02), rows, 2, watched_loss, threads=1)
    for _ in range(3):
        run.step()
    assert read == [([0, 1], [1, 2]), ([2, 3], [3, 4]), ([4, 0], [5, 1])]


def test_a_step_reports_how_many_tokens_were_inputs():
    assert trainer().step().tokens == 4 * 12


def test_matrices_that_add_to_the_residual_stream_start_smaller():
    tensors = initialise(llama_config(16, 64, 96, 3, 4, 2, 32), seed=0).tensors
    for part, expected in {
        "self_attn.q_proj": 0.02,
        "self_attn.o_proj": 0.02 / np.sqrt(2 * 3),
        "mlp.up_proj": 0.02,
        "mlp.down_proj": 0.02 / np.sqrt(2 * 3),
    }.items():
        deviations = [tensor.std() for name, tensor in tensors.items() if f"{part}.weight" in name]
        assert deviations == pytest.approx([expected] * 3, rel=0.1)


@pytest.mark.parametrize("stop_after", [1, 5, 11])
def test_a_stopped_and_resumed_run_gives_the_same_bits(tmp_path, stop_after):
    whole, part = trainer(), trainer()
    for _ in range(12):
        whole.step()
    for _ in range(stop_after):
        part.step()
    part.save(tmp_path / "state.npz")
    resumed = trainer()
    resumed.resume(tmp_path / "state.npz")
    while resumed.step_number < 12:
        resumed.step()
    assert np.array_equal(resumed.parameters.vector, whole.parameters.vector)
    assert resumed.losses == whole.losses
    assert [file.name for file in tmp_path.iterdir()] == ["state.npz"]


def test_shares_of_a_batch_add_up_to_the_whole():
    one, two = trainer(threads=1, dtype=np.float64), trainer(threads=2, dtype=np.float64)
    for _ in range(3):
        one.step()
        two.step()
    np.testing.assert_allclose(one.losses, two.losses, rtol=1e-9)
    np.testing.assert_allclose(one.parameters.vector, two.parameters.vector, rtol=0, atol=1e-6)


@pytest.mark.parametrize("other", [{"steps": 13}, {"seed": 1}, {"recipe": "another loss"}])
def test_a_checkpoint_of_another_run_is_refused(tmp_path, other):
    run = trainer()
    run.step()
    run.save(tmp_path / "state.npz")
    with pytest.raises(ValueError, match="a different recipe"):
        trainer(**other).resume(tmp_path / "state.npz")


@pytest.mark.parametrize("kept", [0, 1, 200, -1])
def test_a_damaged_checkpoint_is_refused(tmp_path, kept):
    run, file = trainer(), tmp_path / "state.npz"
    run.save(file)
    file.write_bytes(file.read_bytes()[:kept] if kept >= 0 else b"x" + file.read_bytes()[1:-1])
    with pytest.raises(ValueError, match=r"state\.npz: damaged; remove it"):
        trainer().resume(file)


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="multiple of 3"):
        trainer(threads=3)


def test_architectures_without_a_backward_pass_are_refused():
    for change in ({"attention_bias": True}, {"qk_norm": True}, {"sliding_windows": (4, None)}):
        with pytest.raises(ValueError, match="expected a Llama without them"):
            check_trainable(dataclasses.replace(CONFIG, **change))
