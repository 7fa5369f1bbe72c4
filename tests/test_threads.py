"""What threads may share: an engine, a static batching and a conversation. They take turns, and answers stay right."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_checks import MODEL
from test_conversation import LONG, tiny_model

import minillm
from minillm import Sampling
from minillm.generation import Generation

ON = Sampling(ignore_eos=True)
PROMPTS = [[1 + number % 11, 1 + number % 7] for number in range(24)]
EXPECTED = [minillm.generate(MODEL, prompt, 6, ON).tokens for prompt in PROMPTS]


def together(tasks):
    """Run the tasks in as many threads, which begin at once; return their results."""
    begin = threading.Barrier(len(tasks))

    def run(task):
        begin.wait(30)
        return task()

    with ThreadPoolExecutor(len(tasks)) as threads:
        return list(threads.map(run, tasks))


@pytest.mark.parametrize("drafter", [None, minillm.PromptLookup()], ids=["plain", "speculative"])
def test_threads_that_run_one_engine_take_turns(drafter):
    engine = minillm.Engine(MODEL, block_size=2, num_blocks=20, drafter=drafter)

    def work(number):
        def submit_and_run():
            requests = [engine.submit(prompt, 6, ON) for prompt in PROMPTS[number::4]]
            return requests, [event for _ in requests for event in (list(engine.events()) + engine.step())]

        return submit_and_run

    outcomes = together([work(number) for number in range(4)])
    engine.run()
    for number, (requests, _) in enumerate(outcomes):
        assert [request.tokens for request in requests] == EXPECTED[number::4]
    events = [event for _, some in outcomes for event in some]
    assert len(events) == sum(map(len, EXPECTED))  # each is given to one of the threads
    assert engine.pool.used == 0


def test_a_request_may_be_cancelled_by_another_thread():
    engine = minillm.Engine(MODEL, block_size=2, num_blocks=20)
    requests = [engine.submit(prompt, 6, ON) for prompt in PROMPTS]
    together([engine.run, lambda: [engine.cancel(request) for request in requests[::2]], engine.run])
    assert [request.tokens for request in requests[1::2]] == EXPECTED[1::2]
    assert all(request.finished for request in requests)
    assert engine.pool.used == 0


def test_threads_that_run_static_batches_take_turns():
    batching = minillm.StaticBatching(MODEL, 3)
    requests = [batching.submit(prompt, 6, ON) for prompt in PROMPTS]
    together([batching.run] * 3)
    assert [request.tokens for request in requests] == EXPECTED


def test_answers_of_one_conversation_take_turns():
    conversation = minillm.Conversation(tiny_model(context=2000), None, 6, LONG)
    outputs = together([lambda word=word: conversation.answer(word).text for word in ("ab", "c", "abc")])
    asked = [message["content"] for message in conversation.messages[::2]]
    assert sorted(asked) == ["ab", "abc", "c"]
    assert sorted(message["content"] for message in conversation.messages[1::2]) == sorted(outputs)
    fresh = minillm.Conversation(conversation.model, None, 6, LONG)
    assert [fresh.answer(question).text for question in asked] == [m["content"] for m in conversation.messages[1::2]]


def test_a_question_of_another_thread_ends_an_answer_between_two_tokens():
    conversation = minillm.Conversation(tiny_model(context=2000), None, 40, LONG)
    stream = conversation.stream("ab")
    together([lambda: list(stream), lambda: conversation.answer("abc")])
    questions = [message["content"] for message in conversation.messages if message["role"] == "user"]
    assert questions[-1] == "abc"
    fresh = minillm.Conversation(conversation.model, None, 40, LONG)
    fresh.messages = conversation.messages[:-2]
    assert fresh.answer("abc").text == conversation.messages[-1]["content"]


def test_one_generation_has_one_reader():
    generation = Generation(MODEL, [1, 2], 6, ON)
    first = iter(generation)
    steps = [next(first)]
    with pytest.raises(ValueError, match="has begun already, and runs once; make a new one"):
        next(iter(generation))
    assert [step.token for step in [*steps, *first]] == minillm.generate(MODEL, [1, 2], 6, ON).tokens
    started, go_on = threading.Event(), threading.Event()
    slow = Generation(MODEL, [1, 2], 6, ON)
    slow._first_logits = lambda: (started.set(), go_on.wait(30), minillm.forward(MODEL, [1, 2])[-1])[-1]
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(lambda: next(iter(slow)))
        assert started.wait(30)
        with pytest.raises(ValueError, match="has begun already"):
            next(iter(slow))
        go_on.set()
        assert reading.result().token == steps[0].token
