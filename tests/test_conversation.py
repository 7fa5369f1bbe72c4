"""Conversation: with the cache that its turns share, every answer is that of the naive path."""

import dataclasses

import pytest
from chat_templates import CHATML
from hypothesis import given
from hypothesis import strategies as st
from model_folder import TEXT_CONFIG
from random_models import random_model
from tiny_tokenizer import tiny_tokenizer
from unchecked import run_unchecked

import minillm
from minillm import Sampling, generation
from minillm.conversation import Conversation, ConversationTooLong, common_prefix

NO_TURNS = (
    "{% for message in messages %}{{ message.content }} {% endfor %}"  # an answer and a question may run together
)
NEWEST_FIRST = "{% for message in messages[::-1] %}{{ message.role }}{{ message.content }}{% endfor %}<|im_start|>"
SAMPLING = Sampling(temperature=1.0, seed=4, top_k=20)
LONG = Sampling(temperature=1.0, seed=4, ignore_eos=True)


def tiny_model(template=CHATML, backend="exact", context=TEXT_CONFIG.max_position_embeddings):
    config = dataclasses.replace(TEXT_CONFIG, max_position_embeddings=context)
    model, _ = random_model(config, 3, backend)
    return dataclasses.replace(model, stored_tokenizer=tiny_tokenizer(template))


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def naive_pieces(conversation, question):
    """The pieces of the answer, computed without any cache."""
    messages = [*conversation.messages, {"role": "user", "content": question}]
    limit, sampling = conversation.max_new_tokens, conversation.sampling
    return list(minillm.stream(conversation.model, messages, limit, sampling, use_cache=False))


def ask(conversation, question, pieces=None):
    """Ask and take `pieces` of the answer, by default all; they and the messages have to be those of the naive path."""
    before, expected = list(conversation.messages), naive_pieces(conversation, question)
    answer = conversation.stream(question)
    taken = list(answer) if pieces is None else [text for _, text in zip(range(pieces), answer, strict=False)]
    assert taken == expected[: len(taken)]
    assert pieces is not None or len(taken) == len(expected)
    turn = [{"role": "user", "content": question}, {"role": "assistant", "content": "".join(taken)}]
    assert conversation.messages == [*before, *(turn if taken or pieces is None else [])]


WORDS = st.text("abc é", min_size=1, max_size=6)
ACTIONS = st.one_of(
    st.tuples(st.just("ask"), WORDS),
    st.tuples(st.just("ask"), WORDS),
    st.tuples(st.just("close early"), WORDS, st.integers(0, 3)),
    st.tuples(st.just("reset")),
    st.tuples(st.just("reset with"), st.none() | WORDS),
    st.tuples(st.just("edit"), st.integers(0, 9), WORDS),
    st.tuples(st.just("too long")),
)


@given(
    template=st.sampled_from([CHATML, NO_TURNS, NEWEST_FIRST]),
    system=st.none() | WORDS,
    limit=st.integers(1, 6),
    sampling=st.builds(Sampling, temperature=st.sampled_from([0.0, 1.0, 3.0]), seed=st.integers(0, 9)),
    actions=st.lists(ACTIONS, min_size=2, max_size=6),
)
def test_every_answer_is_that_of_the_naive_path(template, system, limit, sampling, actions):
    """To the bit, on the exact backend; the cache begins with room for one token, so it also has to grow."""
    conversation = Conversation(tiny_model(template, context=400), system, limit, sampling)
    for action, *values in actions:
        if action in ("ask", "close early"):
            ask(conversation, *values)
        elif action == "reset":
            conversation.reset()
        elif action == "reset with":
            (conversation.system,) = values
            conversation.reset()
        elif action == "edit" and conversation.messages:
            number, text = values
            conversation.messages[number % len(conversation.messages)]["content"] = text
        elif action == "too long":
            before = list(conversation.messages)
            with pytest.raises(ConversationTooLong):
                conversation.stream("b" * 400)
            assert conversation.messages == before
    ask(conversation, "ab")


@pytest.fixture
def computed(monkeypatch):
    """How many prompt tokens each answer computed."""
    counts = []

    def prefill(model, tokens, cache, chunk):
        counts.append(len(tokens))
        return minillm.prefill(model, tokens, cache, chunk)

    monkeypatch.setattr(generation, "prefill", prefill)
    return counts


def test_only_the_new_tokens_are_computed(model, computed):
    """Of a second prompt: the new question, and the last token of the answer, which was never fed back."""
    checked = 0
    for seed in range(10):
        computed.clear()
        conversation = Conversation(model, "Be kind.", 2, Sampling(temperature=1.0, seed=seed, ignore_eos=True))
        first, second = conversation.answer("ab"), conversation.answer("x")
        new = second.prompt_tokens - first.prompt_tokens - len(first.tokens) + 1
        assert computed[0] == first.prompt_tokens > computed[1] >= new
        if (
            model.tokenizer.encode(first.text) == first.tokens
        ):  # else the template's text has other tokens from there on
            assert computed[1] == new
            checked += 1
    assert checked >= 3


def test_after_a_reset_the_system_message_is_not_computed_again(model, computed):
    conversation = Conversation(model, "Be very kind.", 2, SAMPLING)
    conversation.answer("ab")
    conversation.reset()
    conversation.answer("x")
    begins = len(model.tokenizer.apply_chat_template(conversation.messages[:1])) - len("<|im_start|>assistant\n")
    assert computed[1] < computed[0] - begins + 10


def test_the_same_question_again_computes_one_token(model, computed):
    conversation = Conversation(model, None, 2, SAMPLING)
    for _ in range(2):
        conversation.answer("ab")
        conversation.reset()
    assert computed[1] == 1


def test_an_answer_whose_last_token_comes_again_in_the_next_prompt(model):
    """It was never fed back, so the next turn computes it. The second question is short: the cache must not grow."""
    came_again = []
    for seed in range(3):
        conversation = Conversation(model, None, 1, Sampling(temperature=1.0, seed=seed, ignore_eos=True))
        ask(conversation, "a much longer question")
        cache, fed = conversation.cache, conversation.cached
        ask(conversation, "x")
        assert conversation.cache is cache
        prompt = model.tokenizer.apply_chat_template(conversation.messages[:3])
        came_again.append(model.tokenizer.decode([prompt[len(fed)]]) == conversation.messages[1]["content"])
    assert any(came_again)


def test_the_cache_grows_with_the_conversation_and_not_with_the_context():
    """A context of 10^15 tokens: no machine has the memory, and no conversation needs it."""
    conversation, capacities = Conversation(tiny_model(context=10**15), None, 6, SAMPLING), []
    for question in ("ab", "a long question: " + "b" * 100, "abc"):
        ask(conversation, question)
        capacities.append(conversation.cache.capacity)
    assert 1 < capacities[0] < capacities[1] == capacities[2] < 2000
    assert len(conversation.cached) <= conversation.cache.capacity


def test_an_answer_fills_the_context_and_no_more():
    model = tiny_model(context=40)
    conversation = Conversation(model, None, 10_000, LONG)
    output = conversation.answer("ab")
    assert output.finish_reason == "length"
    assert output.prompt_tokens + len(output.tokens) == model.config.max_position_embeddings + 1
    assert conversation.cache.capacity == model.config.max_position_embeddings
    with pytest.raises(ConversationTooLong, match=r"tokens, more than the model's context of 40$"):
        conversation.answer("c")


def test_an_answer_without_text_is_kept_too(model):
    """What would be its first text is a stop string, so no step has a text."""
    begins = Conversation(model, None, 1, SAMPLING).answer("ab").text
    conversation = Conversation(model, None, 6, dataclasses.replace(SAMPLING, stop=[begins]))
    assert begins and list(conversation.stream("ab")) == []
    assert conversation.messages == [{"role": "user", "content": "ab"}, {"role": "assistant", "content": ""}]


def test_a_long_conversation_is_read_from_its_first_message_on():
    conversation = Conversation(tiny_model(context=1000), "c", 1, SAMPLING)
    for turn in range(8):
        ask(conversation, "ab"[turn % 2])
    assert len(conversation.messages) == 17


def test_answer_is_what_stream_gives(model):
    streamed, whole = (Conversation(model, "Be kind.", 6, SAMPLING) for _ in range(2))
    for question in ("ab", "x"):
        text = "".join(streamed.stream(question))
        assert whole.answer(question).text == text == streamed.messages[-1]["content"]
    assert streamed.messages == whole.messages


@pytest.mark.parametrize("stride", ["307", pytest.param("151", marks=pytest.mark.slow)])
def test_a_turn_interrupted_anywhere_leaves_a_conversation_that_goes_on(stride):
    places = run_unchecked("interrupted_conversation.py", stride)
    assert places["forward pass"] > 10 < places["elsewhere"]


def test_an_interrupted_reader_keeps_what_was_answered(model):
    conversation, shown = Conversation(model, None, 12, LONG), []
    with pytest.raises(KeyboardInterrupt):
        for text in conversation.stream("ab"):
            shown.append(text)
            if len(shown) == 4:
                raise KeyboardInterrupt
    assert [message["content"] for message in conversation.messages] == ["ab", "".join(shown)]
    ask(conversation, "abc")


def test_an_answer_interrupted_before_its_first_text_is_not_kept(model, monkeypatch):
    """Its first token is half a character: it is in the cache, but nothing was shown."""

    def interrupt(*_):
        raise KeyboardInterrupt

    for seed in range(20):
        conversation = Conversation(model, None, 8, Sampling(temperature=2.0, seed=seed, ignore_eos=True))
        first = next(iter(generation.Generation(model, [{"role": "user", "content": "ab"}], 8, conversation.sampling)))
        if not first.text:
            break
    assert not first.text
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(generation, "decode_step", interrupt)
        conversation.answer("ab")
    assert (conversation.messages, len(conversation.cached) > 0) == ([], True)
    ask(conversation, "abc")


def test_a_later_question_ends_an_answer_that_is_still_open(model):
    conversation = Conversation(model, None, 8, LONG)
    first = conversation.stream("ab")
    begun = [next(first), next(first)]
    second = conversation.stream("abc")
    assert [message["content"] for message in conversation.messages] == ["ab", "".join(begun)]
    assert list(first) == []
    text = "".join(second)
    assert [message["content"] for message in conversation.messages] == ["ab", "".join(begun), "abc", text]
    fresh = Conversation(model, None, 8, LONG)
    fresh.messages = conversation.messages[:2]
    assert text == "".join(naive_pieces(fresh, "abc"))


def test_an_answer_that_nobody_began_to_read_leaves_no_trace(model):
    conversation = Conversation(model, None, 4, LONG)
    unread = conversation.stream("ab")
    ask(conversation, "abc")
    assert list(unread) == []
    assert conversation.messages[0]["content"] == "abc"


def test_a_reset_ends_an_answer_that_is_still_open(model):
    conversation = Conversation(model, "Be kind.", 8, LONG)
    answer = conversation.stream("ab")
    next(answer)
    conversation.reset()
    assert list(answer) == []
    assert conversation.messages == [{"role": "system", "content": "Be kind."}]
    ask(conversation, "abc")


def test_a_refused_question_changes_nothing_and_an_open_answer_goes_on(model):
    conversation = Conversation(model, None, 12, LONG)
    expected = naive_pieces(conversation, "ab")
    answer = conversation.stream("ab")
    begun, before = [next(answer)], list(conversation.messages)
    with pytest.raises(ConversationTooLong, match="takes 244 tokens, more than the model's context of 128"):
        conversation.stream("b" * 200)
    assert conversation.messages == before
    assert [*begun, *answer] == expected


def test_a_wrong_sampling_is_refused_and_can_be_mended(model):
    """It is found when the cache has been truncated for the new prompt, so an open answer cannot go on."""
    conversation = Conversation(model, None, 8, LONG)
    open_answer = conversation.stream("ab")
    begun = next(open_answer)
    conversation.sampling = Sampling(logprobs=9999)
    with pytest.raises(ValueError, match="logprobs is 9999"):
        conversation.stream("abc")
    assert list(open_answer) == []
    assert [message["content"] for message in conversation.messages] == ["ab", begun]
    conversation.sampling = LONG
    ask(conversation, "ab")


def test_a_model_that_cannot_chat_is_refused():
    with pytest.raises(ValueError, match=r"has no chat template; continue text with minillm\.generate"):
        Conversation(tiny_model(template=None))
    with pytest.raises(ValueError, match=r"has no tokenizer\.json"):
        Conversation(random_model(TEXT_CONFIG, 3)[0])
    with pytest.raises(ValueError, match="max_new_tokens is 0"):
        Conversation(tiny_model(), max_new_tokens=0)


@pytest.mark.parametrize(("cached", "prompt", "expected"), [
    ([], [1], 0), ([1], [1], 0), ([1, 2], [1, 2], 1), ([1, 2, 3], [1, 2, 4, 5], 2), ([1, 2], [1, 2, 3], 2),
    ([5], [1, 2], 0), ([1, 2, 3, 4], [1, 2], 1),
])  # fmt: skip
def test_at_least_one_token_of_the_prompt_is_left_to_run(cached, prompt, expected):
    assert common_prefix(cached, prompt) == expected
