"""What a cache can keep: the beginning that the new prompt has in common with it.

Where the engine does it: `common_prefix` in minillm/cli/chat.py, then `KVCache.truncate`. The next turn of a
conversation begins as the last one did, so most of the cache stays of use; the rest has to be truncated.
"""


# %% learner
def kv_cache_truncate(cached: list[int], prompt: list[int]) -> int:
    """To what length the cache has to be truncated before the rest of the prompt runs.

    cached: the token ids whose keys and values the cache holds.
    prompt: the new prompt, at least one token.
    returns: how many first tokens agree; but at least one token of the prompt is left to run, since only a token that
        runs has logits.
    """
    # %% solution
    length = 0
    while length < min(len(cached), len(prompt) - 1) and cached[length] == prompt[length]:
        length += 1
    return length


# %% hints
HINTS = (
    "A token's keys and values depend on all tokens before it. So from the first token that differs on, nothing of the "
    "cache is of use, even if later tokens are the same.",
    "Two lists of ids; the answer is one number from 0 to len(prompt) - 1.",
    "1. begin with 0; 2. while both have a token there, and they are equal, one more; 3. never all of the prompt.",
    "while length < min(len(cached), len(prompt) - 1) and cached[length] == prompt[length]:",
)


# %% check
LESSON = 6
CONCEPTS = ("prefill", "prefix_caching")


def cases(random):
    pairs = [
        ([], [1]), ([1], [1]), ([1], [2]), ([1], [1, 2]), ([1, 2], [1]), ([1, 2], [1, 2]), ([1, 2, 3], [1, 9, 3, 4]),
        ([2, 3], [1, 2, 3]), ([1, 2, 3, 4], [1, 2, 3, 4]), ([1, 2, 3, 4, 5], [1, 2, 3, 7, 8]), ([5, 6], [5, 6, 7, 8]),
    ]  # fmt: skip
    for cached, prompt in pairs:
        yield {"cached": cached, "prompt": prompt}
    for _ in range(6):
        lengths = random.integers(1, 9, 2)
        cached, prompt = (random.integers(0, 2, length).tolist() for length in lengths)
        yield {"cached": cached, "prompt": prompt}


def something_is_left_to_run(inputs, result, run):
    """At least one token of the prompt is left to run."""
    return result < len(inputs["prompt"])


def what_is_kept_agrees(inputs, result, run):
    """All tokens kept are those of the prompt."""
    return inputs["cached"][:result] == inputs["prompt"][:result]


PROPERTIES = (something_is_left_to_run, what_is_kept_agrees)
