"""Any object with the methods of Drafter drafts: it changes how many passes are made, never the greedy text."""

import sys

import numpy as np
import pytest
from test_checks import MODEL
from test_generation import TEXT_MODEL

import minillm
from minillm import Draft, Drafter, Engine, PromptLookup, Sampling
from minillm.speculative import Speculator, speculator

ON = Sampling(ignore_eos=True)


class Fives:
    """Always proposes token 5."""

    def __init__(self, free=True):
        self.free = free

    def propose(self, sequence, k, sampling, generator):
        return Draft([5] * k)

    def truncate(self, length):
        pass


class Remembering(Fives):
    """Keeps state: it knows the sequence so far, and notices if it is asked for another one."""

    def __init__(self):
        super().__init__(free=False)
        self.known, self.truncated = [], 0

    def propose(self, sequence, k, sampling, generator):
        assert sequence[: len(self.known)] == self.known
        draft = minillm.naive_decode(MODEL, sequence, k)
        self.known = [*sequence, *draft]
        return Draft(draft)

    def truncate(self, length):
        self.known = self.known[:length]
        self.truncated += 1


def test_a_drafter_is_known_by_its_methods():
    assert isinstance(Fives(), Drafter) and isinstance(PromptLookup(), Drafter)
    assert not isinstance(MODEL, Drafter)


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("k", [1, 4, "auto"])
def test_greedy_text_is_that_of_naive_decoding(free, k):
    out = minillm.speculative_generate(MODEL, Fives(free), [1, 2, 3], 12, ON, k)
    assert out.tokens == minillm.naive_decode(MODEL, [1, 2, 3], 12)
    assert out.accepted <= out.proposed and (k == "auto" or out.proposed)


def test_a_drafter_that_keeps_state():
    drafter = Remembering()
    out = minillm.speculative_generate(MODEL, drafter, [1, 2, 3], 12, ON, 3)
    assert out.tokens == minillm.naive_decode(MODEL, [1, 2, 3], 12)
    assert out.accepted == out.proposed > 0 and drafter.truncated == out.rounds


def test_more_tokens_than_were_asked_for_are_cut_off():
    class Eager(Fives):
        def propose(self, sequence, k, sampling, generator):
            return Draft([5] * (k + 100))

    out = minillm.speculative_generate(MODEL, Eager(), [1, 2, 3], 12, ON, 2)
    assert out.tokens == minillm.naive_decode(MODEL, [1, 2, 3], 12)
    assert out.proposed <= 2 * out.rounds


def test_an_engine_makes_a_drafter_for_each_request():
    made = []

    def drafter():
        made.append(Remembering())
        return made[-1]

    engine = Engine(MODEL, drafter=drafter, k=3)
    prompts = [1, 2, 3], [4, 5], [1, 2, 3]
    requests = [engine.submit(list(prompt), 9, ON) for prompt in prompts]
    engine.run()
    assert len(made) == 3
    for request, prompt in zip(requests, prompts, strict=True):
        assert request.tokens == minillm.naive_decode(MODEL, list(prompt), 9)
    assert engine.statistics.accepted_tokens == engine.statistics.draft_tokens > 0


def test_classes_are_functions_that_make_drafters():
    engine = Engine(MODEL, drafter=PromptLookup, k=3)
    request = engine.submit([1, 2, 1], 9, ON)
    engine.run()
    assert request.tokens == minillm.speculative_generate(MODEL, Fives, [1, 2, 1], 9, ON, 3).tokens


def test_an_object_that_serves_one_request_is_refused_by_an_engine():
    with pytest.raises(ValueError, match="drafter is a Fives, which serves one request at a time; pass a function"):
        Engine(MODEL, drafter=Fives())
    Engine(MODEL, drafter=PromptLookup())  # keeps no state


class Incomplete:
    free = True

    def propose(self, sequence, k, sampling, generator):
        return Draft([])


@pytest.mark.parametrize("wrong", [None, 3, "lookup", Incomplete(), Draft([1])])
def test_another_object_is_refused_in_one_line(wrong):
    expected = r"is of type \w+; expected a minillm\.Model, a PromptLookup, an object with propose, [^\n]*$"
    with pytest.raises(ValueError, match=expected):
        speculator._check_drafter(MODEL, wrong, False)


def test_a_function_that_returns_something_else():
    with pytest.raises(ValueError, match="returned a Incomplete; expected an object with propose, truncate and free"):
        Speculator(MODEL, Incomplete).begin(minillm.Generation(MODEL, [1]).completion)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.8, seed=4), Sampling(stop=["b"], ignore_eos=True)])
@pytest.mark.parametrize("drafter", [TEXT_MODEL, PromptLookup(), Fives()])
@pytest.mark.parametrize("k", [2, "auto"])
def test_stream_gives_the_text_of_speculative_generate(sampling, drafter, k):
    texts = list(minillm.stream(TEXT_MODEL, "ab", 20, sampling, drafter=drafter, k=k))
    assert all(texts)
    assert "".join(texts) == minillm.speculative_generate(TEXT_MODEL, drafter, "ab", 20, sampling, k).text


def test_stream_speculates():
    """Few passes of the model for a text that its own draft gets right."""
    passes = []

    def counted(*arguments):
        passes.append(arguments)
        return forward_batch(*arguments)

    module = sys.modules["minillm.speculative.generation"]
    forward_batch = module.forward_batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "forward_batch", counted)
        list(minillm.stream(TEXT_MODEL, "ab", 21, ON, drafter=TEXT_MODEL, k=4))
    assert len(passes) == 4  # 1 token from the prompt's pass, then 5 from each round


def test_stream_checks_its_arguments_at_once():
    with pytest.raises(ValueError, match="use_cache is False, but a drafter needs a cache"):
        minillm.stream(MODEL, [1], use_cache=False, drafter=PromptLookup())
    with pytest.raises(ValueError, match="k is 0"):
        minillm.stream(MODEL, [1], drafter=PromptLookup(), k=0)


def test_an_interrupted_drafter_is_truncated_and_its_random_numbers_are_drawn_again():
    class Interrupted(Remembering):
        def propose(self, sequence, k, sampling, generator):
            generator.random()
            draft = super().propose(sequence, k, sampling, generator)
            if not self.truncated:
                raise KeyboardInterrupt
            return draft

    completion = minillm.Generation(MODEL, [1, 2, 3], 12, Sampling(1.0, seed=3, ignore_eos=True)).completion
    completion.append(4, np.zeros(MODEL.config.vocab_size))
    drafter = Interrupted()
    speculation = Speculator(MODEL, drafter, 3).begin(completion)
    before = completion.generator.bit_generator.state
    with pytest.raises(KeyboardInterrupt):
        speculation.propose(completion)
    assert completion.generator.bit_generator.state == before
    assert drafter.known == completion.sequence[:-1] and speculation.draft is None
    assert speculation.propose(completion) == minillm.naive_decode(MODEL, completion.sequence, 3)
