"""A static batch: prompts of different lengths in one array.

Where the engine does it: `StaticBatching` in minillm/batching/static_batching.py runs a batch until all its requests
are finished. It needs no padding, because the engine's batches are ragged. Where a batch must be one array, short
prompts are padded. Then the program must know which entries are real tokens. (Libraries often pad on the left, so that
the last column has the last token of every prompt. Here the padding is on the right.)
"""

# %% learner
import numpy as np


def static_batch(prompts: list[list[int]], pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put prompts into one array, padded on the right.

    prompts: lists of token ids, each with at least one token.
    pad: the id to pad with. The same id may also occur in a prompt.
    returns: (tokens, mask, last). tokens: [batch, longest], int. mask: [batch, longest], bool: True where the token
        belongs to the prompt, False where it is padding. last: [batch], int: the index of the last token of each
        prompt. The logits of this row give the next token.
    """
    # %% solution
    lengths = np.array([len(prompt) for prompt in prompts])
    mask = np.arange(lengths.max()) < lengths[:, None]  # [batch, longest]
    tokens = np.full(mask.shape, pad)
    tokens[mask] = np.concatenate(prompts)
    return tokens, mask, lengths - 1


# %% hints
HINTS = (
    "The lengths are enough: they say which entries are real tokens and where each prompt ends. The values of the "
    "tokens do not, because the pad id may also be an ordinary token.",
    "lengths is [batch]; np.arange(longest) < lengths[:, None] is [batch, longest].",
    "1. compute the lengths; 2. mask: index < length; 3. make an array full of pad ids, and write each prompt into its "
    "row; 4. last = lengths - 1.",
    "mask = np.arange(lengths.max()) < lengths[:, None]",
)


# %% check
LESSON = 8
CONCEPTS = ("batching",)


def cases(random):
    yield {"prompts": [[5]], "pad": 0}
    yield {"prompts": [[5], [6]], "pad": 0}
    yield {"prompts": [[5], [6, 7]], "pad": 0}
    yield {"prompts": [[5, 0], [6, 7, 8]], "pad": 0}
    for _ in range(5):
        batch = int(random.integers(2, 5))
        prompts = [random.integers(0, 9, length).tolist() for length in random.integers(1, 7, batch)]
        yield {"prompts": prompts, "pad": 3}


def rows_are_the_prompts(inputs, result, run):
    """In every row, the tokens where the mask is True must be the prompt."""
    tokens, mask, _ = result
    return all(row[seen].tolist() == prompt for row, seen, prompt in zip(tokens, mask, inputs["prompts"], strict=True))


def last_is_the_prompts_last(inputs, result, run):
    """The token at index `last` must be the last token of the prompt."""
    tokens, _, last = result
    return all(tokens[i, last[i]] == prompt[-1] for i, prompt in enumerate(inputs["prompts"]))


PROPERTIES = (rows_are_the_prompts, last_is_the_prompts_last)
