"""A drawn schedule against naive decoding, as `minillm bisect` compares them: every operation of every row."""

from dataclasses import replace
from functools import partial

from hypothesis import strategies as st
from random_models import token_lists

import minillm
from minillm.bisection.local import greedy_tokens, observe
from minillm.bisection.report import place_name
from minillm.bisection.schedule import Schedule
from minillm.bisection.search import search
from minillm.bisection.strategies import schedules

NAIVE, WHOLE_INT8 = Schedule(naive=True), Schedule(cache_dtype="int8")


def assert_bisect_finds_nothing(model: minillm.Model, data: st.DataObject, cache_dtype: str | None, name: str) -> None:
    """Draw a prompt and a schedule. A failure has the command that repeats it on the shipped model `name`.

    A cache in int8 is compared with the usual schedule in int8: naive decoding has no cache.
    """
    prompt = data.draw(token_lists(model.config.vocab_size, 12), "prompt")
    new_tokens = data.draw(st.integers(1, 6), "new tokens")
    drawn = data.draw(schedules(len(prompt), len(prompt) + new_tokens - 1), "schedule")
    if cache_dtype:
        drawn = replace(drawn, cache_dtype=None if drawn.naive else cache_dtype)
    expected = NAIVE if drawn.cache_dtype is None else WHOLE_INT8
    tokens = greedy_tokens(model, prompt, new_tokens)
    found = search(*(partial(observe, model, one, tokens, len(prompt)) for one in (drawn, expected)))
    assert found.different == 0, "\n".join(
        [
            f"position {found.first.pair.a.position}, {place_name(found.first.place)}",
            f"minillm bisect '{drawn} @{model.ops.name}' '{expected} @{model.ops.name}' --model {name} "
            f"--tokens {','.join(map(str, prompt))} --max-new-tokens {new_tokens}",
        ]
    )
