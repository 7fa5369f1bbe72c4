"""Who listens hears what one request does, in order; who does not, changes nothing."""

import threading

import numpy as np
import pytest
from random_models import random_model
from test_checks import CONFIG

import minillm
from minillm import Sampling, completion, sampling, transformer
from minillm.events import DraftJudged, DraftProposed, DraftVerified, Drawn, PassBegun, TokenChosen, listening
from minillm.sampling import probabilities
from minillm.speculative import rounds

MODEL, _ = random_model(CONFIG, 0, "exact")
DRAFT, _ = random_model(CONFIG, 1, "exact")
PROMPT = [1, 2, 3, 4, 5]
WARM = Sampling(temperature=1.0, top_k=4, seed=3, ignore_eos=True)


def heard(function, *arguments, **options):
    """The function's result, and the events of it."""
    events = []
    with listening(events.append):
        return function(*arguments, **options), events


def names(events):
    return [type(event).__name__ for event in events]


def only(events, *kinds):
    return [event for event in events if isinstance(event, kinds)]


def rows_of(events):
    rows = [each for event in only(events, PassBegun) for each in event.sequences]
    return [(each.first, each.tokens, each.logit_rows) for each in rows]


@pytest.mark.parametrize("use_cache", [True, False])
def test_a_generation_tells_its_passes_and_its_tokens(use_cache):
    out, events = heard(minillm.generate, MODEL, PROMPT, 3, WARM, use_cache=use_cache)
    a_token = ["PassBegun", "PassEnded", "Drawn", "TokenChosen"]
    assert names(events) == ["Submitted", "Admitted", *3 * a_token, "Finished"]
    submitted, admitted = events[:2]
    assert submitted.prompt == tuple(PROMPT) and submitted.max_new_tokens == 3 and submitted.sampling is WARM
    assert (admitted.cache is None) == (not use_cache)
    assert (admitted.known_tokens, admitted.restored_tokens) == (0, 0)
    tokens = only(events, TokenChosen)
    assert [event.token for event in tokens] == out.tokens
    assert [event.finish_reason for event in tokens] == ["", "", "length"] and events[-1].reason == "length"
    assert {event.request for event in [submitted, admitted, *tokens, events[-1]]} == {submitted.request}


def test_a_pass_tells_which_tokens_are_at_which_positions():
    out, events = heard(minillm.generate, MODEL, PROMPT, 3, WARM)
    assert rows_of(events) == [(0, tuple(PROMPT), 1), (5, (out.tokens[0],), 1), (6, (out.tokens[1],), 1)]
    assert all(event.sequences[0].cache is events[1].cache for event in only(events, PassBegun))
    cache = minillm.KVCache(MODEL, 5)
    _, chunks = heard(minillm.prefill, MODEL, PROMPT, cache, chunk=2)
    assert rows_of(chunks) == [(0, (1, 2), 0), (2, (3, 4), 0), (4, (5,), 1)]


def test_what_was_drawn_can_be_worked_out_again():
    _, events = heard(minillm.generate, MODEL, PROMPT, 6, WARM)
    sequence, generator = list(PROMPT), np.random.default_rng(3)
    for drawn, chosen in zip(only(events, Drawn), only(events, TokenChosen), strict=True):
        assert np.array_equal(drawn.probs, probabilities(chosen.logits, WARM, sequence))
        assert drawn.number == generator.random() and drawn.token == chosen.token
        sequence.append(chosen.token)


def test_a_greedy_choice_draws_nothing():
    assert not only(heard(minillm.generate, MODEL, PROMPT, 3)[1], Drawn)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_round_tells_what_was_proposed_judged_and_chosen(temperature):
    given = Sampling(temperature=temperature, seed=3, ignore_eos=True)
    out, events = heard(minillm.speculative_generate, MODEL, DRAFT, PROMPT, 20, given, k=3)
    proposed, judged, chosen = only(events, DraftProposed), only(events, DraftJudged), only(events, TokenChosen)
    assert sum(len(event.tokens) for event in proposed) == out.proposed
    assert sum(event.accepted for event in judged) == out.accepted < len(judged)
    assert all(event.accepted == (event.number * event.q < event.p) for event in judged)
    assert [event.token for event in chosen] == out.tokens
    assert [event.origin for event in chosen].count("accepted") == out.accepted
    verified = only(events, DraftVerified)
    assert [event.proposed for event in verified] == [len(event.tokens) for event in proposed]
    assert sum(event.accepted for event in verified) == out.accepted
    passes = rows_of([event for event in only(events, PassBegun) if event.model is MODEL])
    assert [tokens[1:] for _, tokens, logit_rows in passes if logit_rows > 1] == [event.tokens for event in proposed]


def test_listening_changes_nothing():
    for run in (minillm.generate, lambda *given: minillm.speculative_generate(given[0], DRAFT, *given[1:], k=2)):
        out, _ = heard(run, MODEL, PROMPT, 8, WARM)
        assert out.tokens == run(MODEL, PROMPT, 8, WARM).tokens


def test_a_conversation_begins_with_the_tokens_that_its_cache_holds():
    cache = minillm.KVCache(MODEL, 8)
    minillm.prefill(MODEL, PROMPT[:3], cache)
    _, events = heard(list, minillm.Generation(MODEL, PROMPT, 2, cache=cache))
    assert events[1].known_tokens == 3
    assert events[2].sequences[0].first == 3


def test_the_inner_listener_hears_and_then_the_outer_one_again():
    outer, inner = [], []
    with listening(outer.append):
        with listening(inner.append):
            minillm.forward(MODEL, [1])
        assert names(inner) == ["PassBegun", "PassEnded"] and not outer
        minillm.forward(MODEL, [1])
    minillm.forward(MODEL, [1])
    assert names(outer) == names(inner)


def test_a_listener_does_not_hear_other_threads():
    _, events = heard(run_in_thread, minillm.forward, MODEL, [1])
    assert not events


def run_in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def test_without_a_listener_no_event_is_made_for_a_token(monkeypatch):
    """Free where nobody listens: the events of passes, draws and tokens are not even built."""
    kinds = {
        transformer: "PassBegun PassEnded Rows",
        completion: "TokenChosen",
        sampling: "Drawn",
        rounds: "DraftJudged",
    }
    for module, names_ in kinds.items():
        for name in names_.split():
            monkeypatch.setattr(module, name, None)  # which cannot be called
    minillm.generate(MODEL, PROMPT, 5, WARM)
    minillm.speculative_generate(MODEL, DRAFT, PROMPT, 20, WARM, k=3)
    with pytest.raises(TypeError):
        heard(minillm.generate, MODEL, PROMPT, 5, WARM)
