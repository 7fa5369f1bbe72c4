"""What a cache can keep: the tokens with which both the cache and the new prompt begin.

Where the engine does it: `common_prefix` in minillm/conversation.py, then `KVCache.truncate`. The next turn of a
conversation begins with the same tokens as the last one, so most of the cache can be reused; what follows is truncated.
"""


# %% learner
def kv_cache_truncate(cached: list[int], prompt: list[int]) -> int:
    """Return the length to which the cache is truncated before the remaining tokens of the prompt run.

    cached: the token ids whose keys and values the cache holds.
    prompt: the new prompt, at least one token.
    returns: the number of tokens, counted from the first, that are equal in both. At least one token of the prompt is
        left to run, because only a token that runs has logits.
    """
    # %% solution
    length = 0
    while length < min(len(cached), len(prompt) - 1) and cached[length] == prompt[length]:
        length += 1
    return length


# %% hints
HINTS = (
    "A token's keys and values depend on all tokens before it. So nothing in the cache can be reused from the first "
    "token that differs on, even if later tokens are equal.",
    "Two lists of ids in; one integer from 0 to len(prompt) - 1 out.",
    "1. begin with length 0; 2. while both have a token at that index and the two are equal, add 1; 3. stop before the "
    "last token of the prompt.",
    "while length < min(len(cached), len(prompt) - 1) and cached[length] == prompt[length]:",
)


# %% check
LESSON = 7
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
    """The tokens that are kept are those of the prompt."""
    return inputs["cached"][:result] == inputs["prompt"][:result]


PROPERTIES = (something_is_left_to_run, what_is_kept_agrees)


def engine(cached, prompt):
    from minillm.conversation import common_prefix

    return common_prefix(cached, prompt)
