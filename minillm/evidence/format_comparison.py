"""The formats of a model's weights, compared in one record: memory, speed and accuracy."""

from collections.abc import Sequence
from typing import Any

from minillm.benchmark.formats import measure_formats
from minillm.evidence.lesson_text import lesson_text
from minillm.evidence.quantization import WINDOW, compare_accuracy
from minillm.loading import Checkpoint, open_checkpoint
from minillm.loading.load import load
from minillm.support.progress import Report


def compare_formats(
    model: str, backend: str, formats: Sequence[str], tokens: int, text: str | None, report: Report
) -> dict[str, Any]:
    """Measure every format; the first is the reference of the accuracy.

    Args:
        model, backend: as in `load`.
        formats: values of `load(weights=...)`.
        tokens: how many of the text's tokens are used at most.
        text: what is scored; None for the prose of the lessons.
        report: called with the progress.

    Raises:
        ValueError: the model cannot be loaded, or the text has fewer than 2 tokens.
        OSError: a file cannot be read.
    """
    checkpoint = open_checkpoint(model)
    ids = _token_ids(checkpoint, lesson_text() if text is None else text, tokens)
    costs = measure_formats(model, backend, formats, report)  # in other processes, before this one loads anything
    models = {weights: load(model, backend, weights=weights) for weights in formats}
    accuracies = compare_accuracy(models, ids, report)
    rows = [
        {
            "weights": weights,
            "resident_bytes": costs[weights].resident_bytes,
            "tokens_per_s": costs[weights].tokens_per_s.record(),
            "perplexity": accuracies[weights].perplexity,
            "kl_divergence": accuracies[weights].kl_divergence,
            "agreement": accuracies[weights].agreement,
        }
        for weights in formats
    ]
    config = checkpoint.config
    setting = {"model": model, "backend": backend, "tokens": len(ids), "vocab_size": config.vocab_size}
    return setting | {"window": min(WINDOW, config.max_position_embeddings), "formats": rows}


def _token_ids(checkpoint: Checkpoint, text: str, most: int) -> list[int]:
    """Return the first `most` tokens of the text.

    Raises:
        ValueError: the model has no tokenizer, or the text has fewer than 2 tokens.
    """
    if checkpoint.tokenizer is None:
        raise ValueError(f"{checkpoint.name} has no tokenizer, so it cannot read a text")
    ids = checkpoint.tokenizer.encode(text)[:most]
    if len(ids) < 2:
        raise ValueError(f"the text has {len(ids)} tokens; expected at least 2, because the first is not scored")
    return ids
