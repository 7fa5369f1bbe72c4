"""A static batch: prompts of different lengths in one array.

Where the engine does it: `StaticBatching` in minillm/batching/static_batching.py answers a batch together; its rows
need no padding, since the engine's batches are ragged. Where a batch is one array, short prompts are filled up, and
everything depends on knowing which entries are real.
"""

# %% learner
import numpy as np


def static_batch(prompts: list[list[int]], pad: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay prompts into one array, filled up on the right.

    prompts: lists of token ids, each at least one.
    pad: the id to fill up with. It may occur in a prompt as well.
    returns: (tokens, mask, last): tokens [batch, longest], int; mask [batch, longest], bool: True where the token is
        the prompt's; last [batch], int: in each row, the place of the prompt's last token, whose logits are wanted.
    """
    # %% solution
    lengths = np.array([len(prompt) for prompt in prompts])
    mask = np.arange(lengths.max()) < lengths[:, None]  # [batch, longest]
    tokens = np.full(mask.shape, pad)
    tokens[mask] = np.concatenate(prompts)
    return tokens, mask, lengths - 1


# %% hints
HINTS = (
    "The lengths say everything: which entries are real, and where each prompt ends. The values of the tokens say "
    "nothing, since the pad may be an ordinary token.",
    "lengths is [batch]; np.arange(longest) < lengths[:, None] is [batch, longest].",
    "1. lengths; 2. mask: place < length; 3. an array full of pads, with each prompt written into its row; 4. last = "
    "lengths - 1.",
    "mask = np.arange(lengths.max()) < lengths[:, None]",
)


# %% check
LESSON = 7
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
    """The tokens under the mask are the prompt's, in every row."""
    tokens, mask, _ = result
    return all(row[seen].tolist() == prompt for row, seen, prompt in zip(tokens, mask, inputs["prompts"], strict=True))


def last_is_the_prompts_last(inputs, result, run):
    """The token at `last` is the last of the prompt, never a pad."""
    tokens, _, last = result
    return all(tokens[i, last[i]] == prompt[-1] for i, prompt in enumerate(inputs["prompts"]))


PROPERTIES = (rows_are_the_prompts, last_is_the_prompts_last)
