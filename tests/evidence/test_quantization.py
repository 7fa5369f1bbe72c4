"""What rounding changes: the figures by hand, and over windows as over whole passes."""

import hashlib
import math

import numpy as np
import pytest
from model_folder import TEXT_CONFIG
from random_models import random_checkpoint

import minillm
from minillm.backends.plain import Plain
from minillm.benchmark import formats as formats_module
from minillm.benchmark.engine_format import resident_bytes
from minillm.benchmark.formats import measure_formats
from minillm.evidence.claims.losses import losses
from minillm.evidence.lesson_text import lesson_text
from minillm.evidence.quantization import WINDOW, compare_accuracy, kl_divergence, log_softmax, windows
from minillm.loading.build import build

TOKENS = [int(token) for token in np.random.default_rng(0).integers(0, TEXT_CONFIG.vocab_size, 300)]


def logs(*rows):
    return np.log(np.array(rows))


def test_the_divergence_of_a_coin_by_hand():
    """A fair coin taken for one that shows heads nine times of ten: 0.5 ln(0.5/0.9) + 0.5 ln(0.5/0.1)."""
    fair, bent = logs([0.5, 0.5]), logs([0.9, 0.1])
    assert kl_divergence(fair, bent)[0] == pytest.approx(0.5108256)
    assert kl_divergence(bent, fair)[0] == pytest.approx(0.3680642)  # the other way round it is not the same
    assert kl_divergence(bent, bent)[0] == 0


def test_probabilities_of_large_logits_do_not_overflow():
    rows = log_softmax(np.array([[1000.0, 1000.0, 1000.0 + math.log(2)]], np.float32))
    assert np.exp(rows)[0] == pytest.approx([0.25, 0.25, 0.5], rel=1e-4)


def test_windows_do_not_overlap_and_a_last_token_alone_is_left_out():
    assert [(first, list(window)) for first, window in windows(range(7), 3)] == [(0, [0, 1, 2]), (3, [3, 4, 5])]
    assert [(first, list(window)) for first, window in windows(range(5), 3)] == [(0, [0, 1, 2]), (3, [3, 4])]


@pytest.fixture(scope="module")
def models():
    """The same weights in float64 and in three formats, with a context of 128: shorter than the text."""
    checkpoint = random_checkpoint(TEXT_CONFIG, 1)
    return {w: build(checkpoint, Plain(), np.dtype(np.float64), w) for w in ("float32", "bfloat16", "int8", "int4")}


def naive(reference, model):
    """Perplexity, divergence and agreement from whole passes over each window, number by number."""
    size, logprobs, divergences, agreed = TEXT_CONFIG.max_position_embeddings, [], [], []
    for first in range(0, len(TOKENS), size):
        window = TOKENS[first : first + size]
        for at, (ours, theirs) in enumerate(
            zip(minillm.forward(model, window), minillm.forward(reference, window), strict=True)
        ):
            q, p = (np.exp(row) / np.exp(row).sum() for row in (ours, theirs))
            divergences.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
            agreed.append(p.argmax() == q.argmax())
            if at + 1 < len(window):
                logprobs.append(math.log(q[window[at + 1]]))
    return math.exp(-np.mean(logprobs)), np.mean(divergences), np.mean(agreed)


@pytest.mark.slow
def test_the_figures_are_those_of_whole_passes(models):
    found = compare_accuracy(models, TOKENS)
    for name, model in models.items():
        perplexity, divergence, agreement = naive(models["float32"], model)
        assert found[name].perplexity == pytest.approx(perplexity, rel=1e-9), name
        assert found[name].kl_divergence == pytest.approx(divergence, abs=1e-12), name
        assert found[name].agreement == agreement, name


def test_fewer_bits_lose_more_and_the_reference_nothing(models):
    found = compare_accuracy(models, TOKENS[:200])
    assert (found["float32"].kl_divergence, found["float32"].agreement) == (0, 1)
    losses = [found[name].kl_divergence for name in models]
    assert losses == sorted(losses) and losses[1] > 0
    assert found["int4"].agreement < 1


@pytest.mark.slow
def test_rounding_story_loses_little_and_four_bits_more_than_eight():
    """story is stored in 16 bits, so that int8 and int4 both round; the text is one that it has written itself."""
    found = losses("story", 500)
    print({weights: f"{each.kl_divergence:.5f}" for weights, each in found.items()})
    assert 0 < found["int8"].kl_divergence <= 0.002 < found["int4"].kl_divergence <= 0.05


def test_the_perplexity_of_one_window_is_that_of_score(models):
    text = TOKENS[:100]
    assert compare_accuracy(models, text)["int8"].perplexity == pytest.approx(
        minillm.score(models["int8"], text).perplexity
    )


def test_progress_counts_tokens(models):
    said = []
    compare_accuracy({"float32": models["float32"]}, TOKENS, lambda *each: said.append(each))
    assert said == [("comparing predictions", first, 300) for first in (0, 128, 256)]


def test_the_text_stays_the_same():
    """The figures of docs/quantization-accuracy.md are of this text, and of windows of 512 tokens."""
    digest = hashlib.sha256(lesson_text().encode()).hexdigest()
    assert (digest[:16], len(lesson_text()), WINDOW) == ("0b5717ef9b37c696", 38_052, 512)


def test_memory_and_speed_are_measured_in_processes(tmp_path_factory, monkeypatch):
    from model_folder import save_model_folder

    monkeypatch.setattr(formats_module, "ROUNDS", 1)
    folder, said = str(save_model_folder(tmp_path_factory.mktemp("tiny"))), []
    found = measure_formats(folder, "numpy", ["int8"], lambda *each: said.append(each))
    assert list(found) == ["int8"] and found["int8"].tokens_per_s.median > 0
    assert said == [("loading in int8", 0, 1), ("decoding in int8", 0, 1)]


def test_a_process_that_fails_is_named():
    with pytest.raises(ValueError, match=r"^no-such-model in int8 failed: ValueError: no model 'no-such-model'"):
        measure_formats("no-such-model", "numpy", ["int8"], lambda *_: None)


def test_resident_memory_counts_what_is_touched():
    before = resident_bytes()
    kept = np.ones(50_000_000, np.uint8)
    assert 45e6 < resident_bytes() - before < 60e6
    del kept


@pytest.mark.slow
def test_memory_of_the_bundled_model_shrinks_with_the_bits():
    """11 MB of weights in float32; a few megabytes are its tokenizer and what Python keeps."""
    found = measure_formats("story", "numpy", ["float32", "bfloat16", "int8", "int4"], lambda *_: None)
    memory = [found[weights].resident_bytes for weights in found]
    assert memory == sorted(memory, reverse=True)
    assert 11e6 < memory[0] < 20e6 and memory[2] < 0.5 * memory[0]
