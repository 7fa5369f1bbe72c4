"""How much a model changes when its weights are rounded: three figures, over the tokens of a text.

    perplexity     exp(-mean of ln q(token | tokens before))           how improbable the text is to the model
    KL divergence  mean over positions of sum_v p(v) (ln p(v) - ln q(v))    nats; 0 if q predicts what p predicts
    agreement      share of positions where p and q have the same most probable token

p is what the reference predicts, and q what the model with rounded weights predicts. Perplexity can fall by chance: the
text is one sample. The KL divergence compares all probabilities at every position, so it cannot be below 0.

A long text is cut into windows of at most 512 tokens, which do not overlap. Each begins with an empty cache, so its
first token is not scored. All models see a chunk of a window before the next chunk is computed, so the logits of only
one chunk are in memory: those of the reference and those of one other model.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from minillm.arrays import Array, Float
from minillm.kv_cache.contiguous import KVCache
from minillm.model import Model
from minillm.support.progress import Report
from minillm.transformer import forward_batch

WINDOW, CHUNK = 512, 128  # tokens


@dataclass(frozen=True)
class Accuracy:
    """The three figures of one model."""

    perplexity: float
    kl_divergence: float
    agreement: float


@dataclass
class Sums:
    """What is added up over the windows.

    Attributes:
        logprobs: of the scored tokens.
        divergences: of all positions.
        agreed: positions with the same most probable token.
    """

    logprobs: list[float] = field(default_factory=list)
    divergences: list[float] = field(default_factory=list)
    agreed: int = 0

    def accuracy(self) -> Accuracy:
        """Return the means."""
        positions = len(self.divergences)
        with np.errstate(over="ignore"):  # a text that is all but impossible has infinite perplexity
            perplexity = float(np.exp(-math.fsum(self.logprobs) / len(self.logprobs)))
        return Accuracy(perplexity, math.fsum(self.divergences) / positions, self.agreed / positions)


def log_softmax(logits: Float[Array, "tokens vocab"]) -> Float[Array, "tokens vocab"]:
    """Return the logarithm of each row's probabilities, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def kl_divergence(p: Float[Array, "tokens vocab"], q: Float[Array, "tokens vocab"]) -> Float[Array, "tokens"]:
    """Return sum_v p(v) (ln p(v) - ln q(v)) of each row. Both are given as log-probabilities."""
    return (np.exp(p) * (p - q)).sum(axis=1)


def compare_accuracy(
    models: Mapping[str, Model], tokens: Sequence[int], report: Report = lambda step, done, total: None
) -> dict[str, Accuracy]:
    """Return the figures of each model; the first is the reference.

    Args:
        models: of one architecture, by name.
        tokens: the text, at least 2 tokens.
        report: called with the progress.
    """
    sums = {name: Sums() for name in models}
    reference = next(iter(models.values()))
    for first, window in windows(tokens, min(WINDOW, reference.config.max_position_embeddings)):
        report("comparing predictions", first, len(tokens))
        caches = {name: KVCache(model, len(window)) for name, model in models.items()}
        for start in range(0, len(window), CHUNK):
            chunk, targets = window[start : start + CHUNK], window[start + 1 : start + CHUNK + 1]
            predictions = (_predictions(model, chunk, caches[name]) for name, model in models.items())
            _add(sums.values(), predictions, targets)
    return {name: each.accuracy() for name, each in sums.items()}


def windows(tokens: Sequence[int], size: int) -> Iterator[tuple[int, Sequence[int]]]:
    """Yield where each window begins, and its tokens. A single token at the end is left out: it is not scored."""
    for first in range(0, len(tokens) - 1, size):
        yield first, tokens[first : first + size]


def _predictions(model: Model, chunk: Sequence[int], cache: KVCache) -> Float[Array, "tokens vocab"]:
    logits = model.ops.to_host(forward_batch(model, [(list(chunk), cache)], [len(chunk)]))
    return log_softmax(np.asarray(logits))


def _add(sums: Iterable[Sums], predictions: Iterator[Float[Array, "tokens vocab"]], targets: Sequence[int]) -> None:
    """Add up one chunk. The first of the predictions are those of the reference."""
    p = None
    for each, q in zip(sums, predictions, strict=True):
        p = q if p is None else p
        each.logprobs += q[np.arange(len(targets)), targets].tolist()
        each.divergences += kl_divergence(p, q).tolist()
        each.agreed += int((p.argmax(axis=1) == q.argmax(axis=1)).sum())
