"""Properties of whole requests: several in one engine, end tokens, speculation.

A property takes Hypothesis's `data`, and raises AssertionError with the text of the counterexample.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import minillm
from minillm.support.wording import counted
from minillm.zoo.tiny_models import PLAIN, tiny_model

MOST_STEPS = 300  # of an engine with a few short requests; more means that it makes no progress
FEW_TOKENS = st.integers(1, 2)  # prompts of few different tokens begin alike, so they share blocks


@dataclass(frozen=True)
class Wanted:
    """What a user asks for: `samples` answers of `new_tokens` tokens to one prompt."""

    prompt: list[int]
    new_tokens: int
    samples: int
    seed: int

    def sampling(self, sample: int = 0) -> minillm.Sampling:
        """Return how sample number `sample` is drawn, as `Engine.submit_samples` says."""
        return minillm.Sampling(temperature=1.0, seed=self.seed + sample, ignore_eos=True)


WANTED = st.builds(
    Wanted, st.lists(FEW_TOKENS, min_size=1, max_size=7), st.integers(1, 5), st.integers(1, 3), st.integers(0, 9)
)


def requests_in_one_engine_are_as_if_alone(data: st.DataObject) -> None:
    """Each request in an engine must get the tokens that it gets alone, without a cache."""
    wanted = data.draw(st.lists(WANTED, min_size=1, max_size=3))
    engine = _engine(data, wanted)
    calls = [f"an engine with {counted(engine.pool.num_blocks, 'block')} of {counted(engine.pool.block_size, 'token')}"
             f" and at most {counted(engine.scheduler.max_batch_tokens, 'token')} in a step:"]  # fmt: skip
    requests = []
    with failing_after(calls):
        for one in wanted:
            calls.append(f"    submit_samples({one.prompt}, n={one.samples}, max_new_tokens={one.new_tokens}, "
                         f"temperature 1, seed={one.seed})")  # fmt: skip
            requests += engine.submit_samples(one.prompt, one.samples, one.new_tokens, one.sampling())
            _advance(engine, data.draw(st.integers(0, 4)), calls)
        _advance(engine, MOST_STEPS, calls)
        assert not engine.has_work, f"after {MOST_STEPS} steps requests are not finished"
    alone = [_alone(one, sample) for one in wanted for sample in range(one.samples)]
    for number, (request, tokens) in enumerate(zip(requests, alone, strict=True), start=1):
        if request.tokens != tokens:
            calls.append(f"answer {number} of {len(requests)} is {request.tokens}; alone it is {tokens}")
            raise AssertionError("\n".join(calls))


def an_end_token_ends_the_answer(data: st.DataObject) -> None:
    """Greedy answers must end at the first of the model's end tokens, whichever it is."""
    model, prompt = tiny_model(PLAIN), data.draw(_prompts())
    endless = minillm.naive_decode(model, prompt, 8)
    end = next((n for n, token in enumerate(endless, start=1) if token in PLAIN.eos_token_ids), 8)
    found = minillm.generate(model, prompt, 8).tokens
    if found != endless[:end]:
        ends = " and ".join(map(str, PLAIN.eos_token_ids))
        raise AssertionError(f"the end tokens are {ends}\ngenerate({prompt}, 8) is {found}; expected {endless[:end]}")


class RightOrWrong:
    """A drafter whose draft tokens are right or wrong as a list of booleans says.

    Attributes:
        free: it costs nothing, as `minillm.Drafter` says.
    """

    free = True

    def __init__(self, expected: Sequence[int], right: Sequence[bool]) -> None:
        self.expected, self.right = expected, list(right)

    def propose(
        self, sequence: Sequence[int], k: int, sampling: minillm.Sampling, generator: np.random.Generator
    ) -> minillm.Draft:
        """Return the next tokens of the expected sequence; those that shall be wrong are increased by 1."""
        tokens = [int(token) for token in self.expected[len(sequence) : len(sequence) + k]]
        drawn = [self.right.pop(0) if self.right else True for _ in tokens]
        return minillm.Draft(
            [t if right else (t + 1) % PLAIN.vocab_size for t, right in zip(tokens, drawn, strict=True)]
        )

    def truncate(self, length: int) -> None:
        """Do nothing: there is no state."""


def speculation_gives_the_greedy_text(data: st.DataObject) -> None:
    """Greedy speculative decoding must give the tokens of plain greedy decoding, with right and with wrong drafts."""
    model, prompt, k = tiny_model(PLAIN), data.draw(_prompts()), data.draw(st.integers(1, 3))
    right = data.draw(st.lists(st.booleans(), max_size=8))
    expected = minillm.generate(model, prompt, 8, use_cache=False).tokens
    drafter = RightOrWrong(prompt + minillm.naive_decode(model, prompt, 12), right)
    drafts = ", ".join("right" if each else "wrong" for each in right) or "right"
    calls = [f"drafts of {counted(k, 'token')}, {drafts}:", f"    speculative_generate({prompt}, 8)"]
    with failing_after(calls):
        found = minillm.speculative_generate(model, drafter, prompt, 8, k=k).tokens
    if found != expected:
        raise AssertionError("\n".join([*calls, f"the tokens are {found}; plain decoding gives {expected}"]))


def a_model_accepts_its_own_drafts(data: st.DataObject) -> None:
    """If a model drafts for itself greedily, all of its draft tokens must be accepted."""
    model, prompt, k = tiny_model(PLAIN), data.draw(_prompts()), data.draw(st.integers(1, 3))
    sampling = minillm.Sampling(ignore_eos=True)
    out = minillm.speculative_generate(model, model, prompt, 12, sampling, k=k)
    if out.accepted != out.proposed:
        raise AssertionError(
            f"the model drafts {counted(k, 'token')} a round for itself:\n    speculative_generate({prompt}, 12)\n"
            f"{out.accepted} of {counted(out.proposed, 'draft token')} were accepted; expected all"
        )


@contextmanager
def failing_after(calls: list[str]) -> Iterator[None]:
    """Turn every exception of the engine into an AssertionError with the calls before it."""
    try:
        yield
    except Exception as problem:
        raise AssertionError("\n".join([*calls, f"{type(problem).__name__}: {problem}"])) from None


def _prompts() -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(0, PLAIN.vocab_size - 1), min_size=1, max_size=4)


def _engine(data: st.DataObject, wanted: Sequence[Wanted]) -> minillm.Engine:
    """Return an engine in which the largest request fits; often it is so small that requests are preempted."""
    size = data.draw(st.sampled_from([1, 2, 4]))
    largest = max(-(-(len(one.prompt) + one.new_tokens - 1) // size) for one in wanted)
    blocks = largest + data.draw(st.sampled_from([40, 1, 0]))
    return minillm.Engine(tiny_model(PLAIN), size, blocks, data.draw(st.sampled_from([64, 4, 2])))


def _advance(engine: minillm.Engine, steps: int, calls: list[str]) -> None:
    done = 0
    while done < steps and engine.has_work:
        engine.step()
        done += 1
    if done:
        calls.append(f"    {counted(done, 'step')}")


def _alone(one: Wanted, sample: int) -> list[int]:
    sampling = one.sampling(sample)
    return minillm.generate(tiny_model(PLAIN), one.prompt, one.new_tokens, sampling, use_cache=False).tokens
