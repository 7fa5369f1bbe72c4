"""After a round with several accepted tokens the cache has only one more token."""

import minillm

ENGINE = "transformers"
KIND = "speculative decoding"
THREAD = "https://github.com/huggingface/transformers/pull/30068"
TITLE = 'Fix on "cache position" for assisted generation'
SEEN = "With an assistant model the greedy text differs from the text without one. It should be the same, only faster."
CAUSE = """
After each pass the position in the cache was moved on by one token, as in plain decoding. A round of speculation may
accept several tokens.
"""
PROPERTY = "speculation_gives_the_greedy_text"
MODULE, FUNCTION = "minillm.speculative.generation", "SpeculativeGeneration._next_steps"
PATCH = [
    (
        "tokens = [*completion.sequence[cache.length :], *draft_tokens]",
        "before, tokens = cache.length, [completion.sequence[-1], *draft_tokens]",
    ),
    (
        "cache.truncate(len(completion.sequence) - 1)  # all but the last token, which the next round feeds",
        "cache.truncate(before + 1)  # as if a round gave one token",
    ),
]


def answer(model):
    draft = minillm.load("story-draft", "plain")
    return [repr(minillm.speculative_generate(model, draft, "Once upon a time", 40, k=4).text)]
