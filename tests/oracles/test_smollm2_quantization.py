"""What rounding the weights of the registry's real model loses, on the beginning of the lessons' prose."""

import pytest

import minillm
from minillm.evidence.lesson_text import lesson_text
from minillm.evidence.quantization import compare_accuracy

TOKENS = 512
LARGEST = {"bfloat16": 2e-4, "int8": 2e-3, "int4": 0.05}  # KL divergence from float32, in nats


@pytest.mark.slow
def test_each_format_loses_little():
    models = {weights: minillm.load("smollm2", weights=weights) for weights in ("float32", *LARGEST)}
    text = models["float32"].tokenizer.encode(lesson_text())[:TOKENS]
    found = compare_accuracy(models, text)
    for weights, largest in LARGEST.items():
        assert found[weights].kl_divergence < largest, weights
        assert found[weights].perplexity < found["float32"].perplexity * (1.1 if weights == "int4" else 1.02)
    assert found["int8"].agreement > 0.97 and found["int4"].agreement > 0.82
