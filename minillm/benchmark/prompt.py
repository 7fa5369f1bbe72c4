"""The prompt of a benchmark: English text in the model's own tokens, repeated to the length needed."""

from minillm.loading.checkpoint import Checkpoint

TEXT = """\
A language model reads a text as a row of tokens and says, for every token that it knows, how likely it is to come
next. To write, it takes one of the likely ones, puts it after the text and reads again. Most of what it computes on
the way does not change when the text grows: the keys and the values of the tokens that were there before stay as they
are. An engine that keeps them, instead of computing them again, does in a minute what would otherwise take an hour, and
pays for it with memory. The first reading of the whole prompt is limited by how fast the machine multiplies; every
token after that is limited by how fast it reads the weights. To find out whether an engine is fast, one must therefore
measure the machine first.
"""


def benchmark_prompt(checkpoint: Checkpoint, tokens: int) -> list[int]:
    """Return `tokens` token ids; for a model without a tokenizer they count up from 0."""
    size = checkpoint.config.vocab_size
    known = list(range(size)) if checkpoint.tokenizer is None else checkpoint.tokenizer.encode(TEXT)
    ids = [token for token in known if token < size]
    return (ids * (tokens // len(ids) + 1))[:tokens]
