"""Engine: who runs when, what ends a request, and how one is refused."""

import dataclasses
import inspect

import numpy as np
import pytest
from test_checks import BAD_TOKENS, CONFIG, MODEL
from test_generation import TEXT_MODEL
from tiny_tokenizer import llama2_tokenizer
from unchecked import run_unchecked

import minillm
from minillm import Engine, Sampling, StaticBatching
from minillm.completion import DEFAULT_NEW_TOKENS

ON = Sampling(ignore_eos=True)
WARM = Sampling(temperature=1.0, seed=5, ignore_eos=True)


def alone(prompt, new_tokens, sampling=ON, model=MODEL):
    return minillm.generate(model, prompt, new_tokens, sampling, use_cache=False).tokens


def test_a_request_leaves_as_soon_as_it_is_done():
    """The article's example: 100 and 10 tokens take 100 and 10 steps, not 100 both (see test_static_batching)."""
    model = dataclasses.replace(MODEL, config=dataclasses.replace(CONFIG, max_position_embeddings=128))
    engine = Engine(model)
    long, short = engine.submit([1, 2], 100, ON), engine.submit([3], 10, ON)
    engine.step()
    assert (long.latency_steps, long.first_token_step, long.finished_step) == (None, 1, None)
    engine.run()
    assert (long.latency_steps, short.latency_steps) == (100, 10)
    assert (len(long.tokens), len(short.tokens)) == (100, 10)


def test_one_that_arrives_later_starts_at_once():
    engine = Engine(MODEL)
    engine.submit([1, 2], 10, ON)
    for _ in range(4):
        engine.step()
    later = engine.submit([3], 3, ON)
    engine.run()
    assert (later.arrived_step, later.first_token_step, later.finished_step) == (4, 5, 7)


def test_decoding_never_waits_for_a_long_prompt():
    """Stall-free: while the prompt of 12 runs in chunks, the other request gets a token in every step."""
    engine = Engine(MODEL, max_batch_tokens=4)
    first = engine.submit([1], 10, ON)
    engine.step()
    long = engine.submit([2] * 12, 2, ON)
    for step in range(4):
        engine.step()
        assert len(first.tokens) == step + 2
    assert len(long.tokens) == 1  # three tokens in each of four steps
    assert engine.statistics.prefill_tokens == 12


def test_one_step_may_hold_decodes_and_prefills_up_to_the_budget():
    engine = Engine(MODEL, max_batch_tokens=6)
    decoding = engine.submit([1], 10, ON)
    engine.step()
    short, long = engine.submit([2] * 3, 10, ON), engine.submit([3] * 4, 10, ON)
    plan = engine.scheduler.schedule()
    assert [(entry.request, len(entry.rows), entry.logit_rows) for entry in plan] == [
        (decoding, 1, 1), (short, 3, 1), (long, 2, 0)
    ]  # fmt: skip


def test_nobody_overtakes_the_first_in_the_queue():
    """A small request would fit, but the big one before it has waited longer."""
    engine = Engine(MODEL, block_size=2, num_blocks=8)
    engine.submit([1] * 6, 8, ON)
    engine.step()
    big, small = engine.submit([2] * 12, 2, ON), engine.submit([3], 1, ON)
    engine.step()
    assert engine.scheduler.running[1:] == [] and list(engine.scheduler.waiting) == [big, small]
    engine.run()
    assert big.first_token_step <= small.first_token_step


def test_a_big_request_is_not_starved_by_small_ones():
    engine = Engine(MODEL, block_size=2, num_blocks=8)
    engine.submit([1] * 2, 3, ON)
    big = engine.submit([2] * 14, 2, ON)
    for _ in range(12):
        engine.submit([3, 4], 3, ON)
        engine.step()
    assert big.finished


@pytest.mark.parametrize("preemption", ["recompute", "swap"])
def test_the_latest_gives_way_when_blocks_run_out(preemption):
    engine = Engine(MODEL, block_size=2, num_blocks=6, preemption=preemption)
    requests = [engine.submit([number + 1] * 3, 8, WARM) for number in range(3)]
    engine.step()
    assert engine.scheduler.running == requests
    while not engine.statistics.preemptions:
        engine.step()
    assert engine.scheduler.running == requests[:2] and list(engine.scheduler.waiting) == requests[2:]
    engine.run()
    for number, request in enumerate(requests):
        assert request.tokens == alone([number + 1] * 3, 8, WARM)
    assert [request.finished_step for request in requests] == sorted(request.finished_step for request in requests)
    assert (engine.statistics.swapped_tokens > 0) == (preemption == "swap")


def test_swapping_computes_nothing_again():
    def run(preemption):
        engine = Engine(MODEL, block_size=2, num_blocks=6, preemption=preemption)
        for number in range(3):
            engine.submit([number + 1] * 3, 8, ON)
        engine.run()
        assert engine.statistics.preemptions
        return engine.statistics.prefill_tokens + engine.statistics.decode_tokens

    once = 3 * (3 + 7)  # prompt and fed-back tokens
    assert run("swap") == once < run("recompute")


@pytest.mark.parametrize("length", range(1, 13))
@pytest.mark.parametrize("preemption", ["recompute", "swap"])
def test_preemption_at_every_length(preemption, length):
    """Among them those that end exactly at a block's boundary, before and after the last token was fed back."""
    engine = Engine(MODEL, block_size=4, num_blocks=8, preemption=preemption)
    request = engine.submit([1, 2, 3], 13, WARM)
    while len(request.tokens) < length:
        engine.step()
    engine.scheduler.preempt(request)
    assert engine.pool.used == 0
    engine.run()
    assert request.tokens == alone([1, 2, 3], 13, WARM)


class InterruptedCopy(type(MODEL.ops)):
    """Ctrl-C at the next array that is copied to the device."""

    armed = False

    def array(self, values, dtype=None):
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt
        return super().array(values, dtype)


def test_an_interrupted_swap_in_is_made_again():
    model = dataclasses.replace(MODEL, ops=InterruptedCopy())
    engine = Engine(model, block_size=2, num_blocks=8, preemption="swap")
    requests = [engine.submit([1, 2, 3], 5, WARM) for _ in range(2)]
    engine.step()
    for request in reversed(requests):
        engine.scheduler.preempt(request)
    model.ops.armed = True
    with pytest.raises(KeyboardInterrupt):
        engine.step()
    assert list(engine.scheduler.waiting) == requests and engine.pool.used  # where it was interrupted
    engine.run()
    assert [request.tokens for request in requests] == [alone([1, 2, 3], 5, WARM)] * 2
    assert engine.pool.used == 0


@pytest.mark.parametrize("new_tokens", [1, 2, 3, 5, 6])
def test_the_last_token_at_a_block_boundary_takes_no_block(new_tokens):
    """Three of the prompt, and all new ones but the last, which is never fed back."""
    blocks = -(-(3 + new_tokens - 1) // 4)
    engine = Engine(MODEL, block_size=4, num_blocks=blocks)
    request = engine.submit([1, 2, 3], new_tokens, ON)
    engine.run()
    assert request.tokens == alone([1, 2, 3], new_tokens)
    assert engine.statistics.preemptions == 0


def test_equal_beginnings_are_computed_once():
    engine = Engine(MODEL, block_size=4)
    prompt = [1, 2, 3, 4, 5, 6, 7, 8]
    first = engine.submit(prompt, 1, ON)
    engine.run()
    others = [engine.submit(prompt + end, 2, ON) for end in ([], [9], [9, 9])]
    engine.run()
    assert engine.statistics.prefix_tokens == 4 + 8 + 8  # of a prompt that is known to its end, one block runs again
    assert first.tokens == alone(prompt, 1)
    for end, request in zip(([], [9], [9, 9]), others, strict=True):
        assert request.tokens == alone(prompt + end, 2)


def test_a_prompt_known_to_its_last_token_in_a_full_pool():
    """The pool holds just this prompt: its last block must be computed in a block that it gives up itself."""
    engine = Engine(MODEL, block_size=4, num_blocks=2)
    for _ in range(3):
        request = engine.submit([1, 2, 3, 4, 5, 6, 7, 8], 1, ON)
        engine.run()
        assert request.tokens == alone([1, 2, 3, 4, 5, 6, 7, 8], 1)
    assert engine.statistics.prefix_tokens == 8


def test_samples_share_the_blocks_of_their_prompt():
    engine = Engine(MODEL, block_size=4)
    samples = engine.submit_samples([1, 2, 3, 4, 5, 6], 4, 5, WARM)
    engine.step()
    assert engine.pool.used == 2  # the first computes the prompt, the others wait for it
    engine.step()
    assert [request.cache.table[0] for request in samples] == [samples[0].cache.table[0]] * 4
    assert engine.pool.used == 1 + 4
    engine.run()
    assert engine.statistics.prefix_tokens == 3 * 5  # all of the prompt but the token that gives the logits
    for number, request in enumerate(samples):
        assert request.tokens == alone([1, 2, 3, 4, 5, 6], 5, dataclasses.replace(WARM, seed=5 + number))


@pytest.mark.parametrize("preemption", ["recompute", "swap"])
def test_a_preempted_sample_comes_back_to_the_prompt_it_shares_and_to_its_own_tokens(preemption):
    """The fork of another sample also holds that one's tokens: only the prompt is common."""
    engine = Engine(MODEL, block_size=4, preemption=preemption)
    hot = dataclasses.replace(WARM, temperature=5.0)
    samples = engine.submit_samples([1, 2, 3, 4, 5, 6], 2, 6, hot)
    while len(samples[1].tokens) < 2:
        engine.step()
    engine.scheduler.preempt(samples[1])
    before = engine.statistics.prefix_tokens
    engine.step()
    assert engine.statistics.prefix_tokens - before == 6
    assert samples[0].tokens[0] != samples[1].tokens[0]
    engine.run()
    for number, request in enumerate(samples):
        assert request.tokens == alone([1, 2, 3, 4, 5, 6], 6, dataclasses.replace(hot, seed=5 + number))


def test_samples_with_a_seed_differ():
    samples = Engine(MODEL).submit_samples([1, 2], 4, 8, WARM)
    assert len({request.completion.sampling.seed for request in samples}) == 4


def test_cancelled_samples_leave_the_others_alone():
    engine = Engine(MODEL, block_size=2)
    samples = engine.submit_samples([1, 2, 3, 4, 5], 3, 5, WARM)
    engine.cancel(samples[0])  # before the prompt was computed
    engine.step()
    engine.cancel(samples[1])  # while the third waits for it
    engine.run()
    assert samples[2].tokens == alone([1, 2, 3, 4, 5], 5, dataclasses.replace(WARM, seed=7))
    assert engine.pool.used == 0


@pytest.mark.parametrize("when", ["waiting", "prefill", "decode", "preempted", "swapped", "finished"])
def test_cancelling_frees_everything_at_once(when):
    engine = Engine(MODEL, block_size=2, max_batch_tokens=4, preemption="swap" if when == "swapped" else "recompute")
    other = engine.submit([5], 6, WARM)
    request = engine.submit([1, 2, 3, 4, 5], 3, ON)
    steps = {"waiting": 0, "prefill": 1, "decode": 3, "preempted": 3, "swapped": 3, "finished": 9}[when]
    for _ in range(steps):
        engine.step()
    if when in ("preempted", "swapped"):
        engine.scheduler.preempt(request)
    assert (request.swapped is not None) == (when == "swapped")
    tokens = request.tokens
    engine.cancel(request)
    engine.cancel(request)  # once more changes nothing
    assert request.finish_reason == ("length" if when == "finished" else "cancelled")
    assert (request.tokens, request.swapped, request.cache.table) == (tokens, None, [])
    assert all(event.request is other for event in engine.events())
    assert other.tokens == alone([5], 6, WARM)
    assert engine.pool.used == 0
    assert engine.statistics.cancelled == (when != "finished")


def test_nothing_is_heard_of_a_request_cancelled_in_the_middle_of_a_step():
    engine = Engine(MODEL)
    first, second = engine.submit([1], 4, ON), engine.submit([2], 4, ON)
    heard = []
    for event in engine.events():
        heard.append(event.request)
        engine.cancel(second)
    assert heard == [first] * 4


def test_submitting_inside_the_loop_of_events():
    engine = Engine(MODEL)
    requests = [engine.submit([1], 2, ON)]
    for event in engine.events():
        if event.step.finish_reason and len(requests) < 4:
            requests.append(engine.submit([1, *event.request.tokens], 2, ON))
    assert [request.finish_reason for request in requests] == ["length"] * 4
    assert requests[3].tokens == alone(requests[3].completion.sequence[:-2], 2)


def test_breaking_off_the_loop_loses_no_event():
    engine = Engine(MODEL)
    requests = [engine.submit([number], 3, ON) for number in (1, 2, 3)]
    heard = [next(engine.events()) for _ in range(4)] + engine.step() + list(engine.events())
    for request in requests:
        assert [event.step.token for event in heard if event.request is request] == request.tokens


def test_the_same_prompt_twice_is_two_requests():
    engine = Engine(MODEL)
    first, second = engine.submit([1, 2], 5, WARM), engine.submit([1, 2], 5, WARM)
    engine.run()
    assert first is not second and first.tokens == second.tokens == alone([1, 2], 5, WARM)


def test_end_of_sequence_ends_a_request():
    tokens = alone([1, 2], 10)
    model = dataclasses.replace(MODEL, config=dataclasses.replace(CONFIG, eos_token_ids=(99, tokens[2])))
    engine = Engine(model)
    request, goes_on = engine.submit([1, 2], 10), engine.submit([1, 2], 10, ON)
    engine.run()
    assert (request.tokens, request.finish_reason) == (tokens[: tokens.index(tokens[2]) + 1], "eos")
    assert (goes_on.tokens, goes_on.finish_reason) == (tokens, "length")


def test_the_context_limits_new_tokens():
    engine = Engine(MODEL, block_size=4, num_blocks=4)
    request = engine.submit([1] * 14, 100, ON)
    engine.run()
    assert (len(request.tokens), request.finish_reason) == (3, "length")


def test_a_stop_string_ends_one_request_only():
    text = minillm.generate(TEXT_MODEL, [5, 6], 12, WARM).text
    engine = Engine(TEXT_MODEL)
    stopped = engine.submit([5, 6], 12, dataclasses.replace(WARM, stop=[text[3:5]]))
    other = engine.submit([5, 6], 12, WARM)
    engine.run()
    assert (stopped.text, stopped.finish_reason) == (text[: text.index(text[3:5])], "stop")
    assert (other.text, other.finish_reason) == (text, "length")


def test_what_can_never_fit_is_refused_with_its_arithmetic():
    engine = Engine(MODEL, block_size=4, num_blocks=3)
    expected = "5 tokens of the prompt and 8 of 9 new ones need 13 slots, which are 4 blocks of 4, but the pool has 3"
    with pytest.raises(ValueError, match=expected + "; pass num_blocks=4, or fewer max_new_tokens"):
        engine.submit([1] * 5, 9, ON)
    assert not engine.has_work
    engine.submit([1] * 5, 8, ON)


def test_samples_that_can_never_fit_are_all_refused():
    engine = Engine(MODEL, block_size=4, num_blocks=3)
    with pytest.raises(ValueError, match="4 blocks of 4"):
        engine.submit_samples([1] * 5, 3, 9, ON)
    assert not engine.has_work


@pytest.mark.parametrize("case", BAD_TOKENS)
def test_bad_tokens_are_refused_at_submit(case):
    tokens, expected = BAD_TOKENS[case]
    engine = Engine(MODEL)
    with pytest.raises(ValueError, match=expected) as caught:
        engine.submit(tokens)
    assert "\n" not in str(caught.value) and not engine.has_work


def test_a_request_of_another_engine_cannot_be_cancelled():
    request = Engine(MODEL).submit([1])
    with pytest.raises(ValueError, match="not submitted to this engine"):
        Engine(MODEL).cancel(request)
    assert not request.finished


def test_damaged_weights_end_a_step_not_the_books():
    engine = Engine(dataclasses.replace(MODEL, final_norm=MODEL.final_norm * np.nan))
    request = engine.submit([1, 2, 3])
    for _ in range(2):
        with pytest.raises(ValueError, match="not all finite numbers"):
            engine.step()
    engine.cancel(request)
    assert engine.pool.used == 0 and not engine.has_work


def test_nothing_to_do_is_no_step():
    engine = Engine(MODEL)
    assert engine.step() == [] and list(engine.events()) == []
    engine.run()
    assert engine.statistics.steps == 0


def test_the_defaults_are_those_of_the_docstring():
    engine = Engine(MODEL)
    assert (engine.pool.block_size, engine.pool.num_blocks) == (16, 16_384 // 16)
    assert (engine.scheduler.max_batch_tokens, engine.scheduler.swap, engine.speculator) == (512, False, None)
    assert minillm.BlockPool(MODEL, 2).block_size == 16


def test_by_default_the_pool_holds_a_whole_context():
    config = dataclasses.replace(CONFIG, max_position_embeddings=100_000)
    assert Engine(dataclasses.replace(MODEL, config=config), block_size=16).pool.num_blocks == 6250
    assert Engine(MODEL, block_size=3).pool.num_blocks == 5462  # 16,384 tokens, rounded up


def test_the_fill_of_blocks_is_counted():
    engine = Engine(MODEL, block_size=4)
    engine.submit([1, 2, 3, 4, 5], 4, ON)
    engine.run()  # 5, 6, 7 and 8 tokens in two blocks
    assert (engine.statistics.used_blocks, engine.statistics.filled_slots) == (8, 26)


def test_logits_that_are_no_numbers_stop_nobody_else():
    """Whoever arrived later goes on, and each step tells of the one that cannot."""
    damaged = MODEL.embedding.copy()
    damaged[7] = np.nan
    engine = Engine(dataclasses.replace(MODEL, embedding=damaged))
    _, bad, last = [engine.submit(prompt, 4, Sampling(ignore_eos=True)) for prompt in ([1, 2], [7], [3])]
    heard = []
    for _ in range(4):
        with pytest.raises(ValueError, match="not all finite numbers"):
            engine.step()
    with pytest.raises(ValueError, match="not all finite numbers"):
        for event in engine.events():
            heard.append(event)
    assert (bad.tokens, len(last.tokens), last.finish_reason) == ([], 4, "length")
    assert [event.step.token for event in heard if event.request is last] == last.tokens


@pytest.mark.parametrize(
    ("stride", "fewest"), [("2999", 10), pytest.param("997", 25, marks=pytest.mark.slow)], ids=["coarse", "fine"]
)
def test_an_interrupted_step_loses_nothing(stride, fewest):
    places = run_unchecked("batching/interrupted_engine.py", stride)
    assert min(places["forward pass"], places["elsewhere"]) > fewest


@pytest.mark.parametrize("make", [Engine, lambda model: StaticBatching(model, 2)], ids=["engine", "static"])
def test_submit_takes_text_messages_and_ids_exactly_as_generate_does(make):
    """With a tokenizer that adds a BOS to raw text: `encode` leaves it out, so its ids give another answer."""
    tokenizer = llama2_tokenizer()
    tokenizer.chat_template = "{{ bos_token }}{{ messages[0].content }}"
    model = dataclasses.replace(TEXT_MODEL, stored_tokenizer=tokenizer)
    for prompt in ("é", [{"role": "user", "content": "é!"}], [1, *tokenizer.encode("é")], tokenizer.encode("é")):
        batching = make(model)
        request = batching.submit(prompt, 6, ON)
        batching.run()
        expected = minillm.generate(model, prompt, 6, ON)
        assert (request.tokens, request.text) == (expected.tokens, expected.text)
        assert request.completion.prompt_tokens == expected.prompt_tokens
    engine = Engine(model)
    assert engine.submit("é", 1).completion.sequence[0] == 1  # the BOS
    assert engine.submit_samples("é", 2, 1)[1].completion.sequence[0] == 1


def test_all_ways_to_generate_have_one_default_for_new_tokens():
    functions = (
        minillm.generate, minillm.stream, minillm.speculative_generate, minillm.Generation.__init__,
        Engine.submit, Engine.submit_samples, StaticBatching.submit, minillm.Conversation.__init__,
    )  # fmt: skip
    assert {inspect.signature(each).parameters["max_new_tokens"].default for each in functions} == {DEFAULT_NEW_TOKENS}


def test_a_request_is_waiting_running_and_finished_or_cancelled():
    engine = Engine(MODEL, block_size=2, num_blocks=8)
    first, second = engine.submit([1] * 12, 4, ON), engine.submit([2] * 12, 4, ON)
    assert (first.status, second.status, first.finish_reason) == ("waiting", "waiting", "")
    engine.step()
    assert (first.status, second.status, first.finish_reason) == ("running", "waiting", "")
    engine.cancel(second)
    assert (second.status, second.finish_reason, second.finished) == ("cancelled", "cancelled", True)
    engine.run()
    assert (first.status, first.finish_reason, first.completion.finish_reason) == ("finished", "length", "length")


def test_a_preempted_request_waits_again():
    engine = Engine(MODEL, block_size=1, num_blocks=12)
    first, second = engine.submit([1] * 4, 8, ON), engine.submit([2] * 4, 8, ON)
    seen = set()
    while engine.has_work:
        engine.step()
        seen.add((first.status, second.status))
    assert engine.statistics.preemptions and ("running", "waiting") in seen
