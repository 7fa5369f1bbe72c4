"""Properties of `generate` and `stream`: no option changes an answer, except where two tokens are tied.

An engine has options: chunked prefill, pages, a budget of tokens in each pass, several answers of a prompt. Each
request must get the answer that it gets alone with the plainest options. Decoding is greedy. Two options may round
differently: so the answers may part at a near tie. After it, each token must be one that the expected logits choose.

Two options have a meaning of their own. `n` is the number of answers of each prompt. `eos` is a token id or a list of
them: an answer ends with the first such token (or before it). The plainest values are 1 and None.
"""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from minillm.verification.answers import check_answers, check_greedy, check_rest, check_stream
from minillm.verification.drawing import sized_lists, token_lists
from minillm.verification.engine_protocol import Engine

MOST_NEW_TOKENS = 8


def plain_answers_are_greedy(engine: Engine, data: st.DataObject) -> None:
    """With the plainest options, each token must be the one with the largest expected logit."""
    prompt, limit = data.draw(sized_lists(engine, 8)), data.draw(st.integers(1, MOST_NEW_TOKENS))
    check_greedy(engine, prompt, limit)


def an_answer_goes_on_from_its_own_tokens(engine: Engine, data: st.DataObject) -> None:
    """The answer to a prompt and the first tokens of its answer must be the rest of the answer."""
    prompt, limit = data.draw(sized_lists(engine, 8)), data.draw(st.integers(2, MOST_NEW_TOKENS))
    # The engine's logits are not needed. So this also tests decoding where only `generate` can be called.
    check_rest(engine, prompt, limit, data.draw(st.integers(1, limit - 1)))


def options_change_no_answer(engine: Engine, data: st.DataObject) -> None:
    """Each of several requests must get the answer that it gets alone with the plainest options."""
    limit = data.draw(st.integers(1, MOST_NEW_TOKENS))
    check_answers(engine, data.draw(prompts(engine)), limit, draw_options(engine, data))


def an_engine_can_be_used_again(engine: Engine, data: st.DataObject) -> None:
    """An answer must not depend on the requests before: nothing of them may be left in the engine."""
    limit = data.draw(st.integers(1, MOST_NEW_TOKENS))
    first = data.draw(prompts(engine))
    later = data.draw(st.permutations(first)) if data.draw(st.booleans()) else data.draw(prompts(engine, first[0]))
    options = draw_options(engine, data)
    for requests in (first, later, first):
        check_answers(engine, requests, limit, options)


def a_stream_is_the_answer(engine: Engine, data: st.DataObject) -> None:
    """The streamed tokens must be the tokens of the answer."""
    prompt, limit = data.draw(sized_lists(engine, 8)), data.draw(st.integers(1, MOST_NEW_TOKENS))
    options = draw_options(engine, data)
    if "n" in options:
        options["n"] = 1
    check_stream(engine, prompt, limit, options)


def prompts(engine: Engine, beginning: Sequence[int] = ()) -> st.SearchStrategy[list[list[int]]]:
    """Return a strategy for several prompts. Some repeat themselves: drafts from the prompt need it.

    So do pages that are found by their content. Some prompts have a common beginning, as prefix caches need it.
    """
    repeated = st.builds(list.__mul__, token_lists(engine.vocab_size, 4), st.integers(2, 5))
    shared = st.just(list(beginning)) if beginning else sized_lists(engine, 6)
    alike = st.builds(
        lambda first, rests: [first + rest for rest in rests],
        shared, st.lists(token_lists(engine.vocab_size, 4), min_size=1, max_size=3),
    )  # fmt: skip
    return st.lists(sized_lists(engine, 8) | repeated, min_size=1, max_size=3) | alike


def draw_options(engine: Engine, data: st.DataObject) -> dict[str, Any]:
    """Return a value for each of the engine's options."""
    return {name: data.draw(st.sampled_from(list(values))) for name, values in engine.options.items()}
