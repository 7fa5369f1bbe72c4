"""`minillm chat` with piped input: turns, reset, system message, JSON; and the cache that is kept between turns."""

import dataclasses
import json

import pytest

import minillm
from minillm import Sampling, generation
from minillm.cli.chat import Conversation, common_prefix

SAMPLING = Sampling(temperature=1.0, seed=4, top_k=20)


@pytest.fixture
def chat(finish, model_folder):
    """The messages of a conversation whose user types these lines."""

    def run(lines, *arguments):
        typed = "".join(f"{line}\n" for line in lines).encode()
        result = finish("chat", "--model", model_folder, "--json", *arguments, input=typed)
        assert (result.code, result.err) == (0, "")
        return json.loads(result.out)["messages"]

    return run


def test_every_line_is_answered(chat):
    messages = chat(["a", "", "b"], "--max-new-tokens", 2)
    assert [message["role"] for message in messages] == ["user", "assistant"] * 2
    assert [message["content"] for message in messages[::2]] == ["a", "b"]


def test_the_system_message_is_first_and_stays_after_a_reset(chat):
    messages = chat(["a", "/reset", "b", "/exit", "c"], "--system", "Be kind.", "--max-new-tokens", 2)
    assert [message["content"] for message in messages[:2]] == ["Be kind.", "b"]
    assert len(messages) == 3


def test_no_input_is_an_empty_conversation(chat):
    assert chat([]) == []


def test_the_answers_are_printed_one_after_the_other(finish, raw_model_folder, model_folder):
    result = finish("chat", "--model", model_folder, "--max-new-tokens", 2, input=b"a\nb\n")
    assert (result.code, result.err) == (0, "")
    assert result.out.count("\n") >= 2 and "> " not in result.out


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (b"a" * 300 + b"\n", "the conversation takes 319 tokens, more than the model's context of 128"),
        (b"a\nb\nc\nd\ne\nf\ng\n", "more than the model's context of 128; begin again with /reset"),
        (b"\xff\n", "standard input: expected text in UTF-8"),
    ],
    ids=["a long question", "a long conversation", "no text"],
)
def test_what_cannot_be_answered_is_one_line(finish, model_folder, typed, expected):
    command = ("chat", "--model", model_folder, "--json", "--max-new-tokens", 20)
    result = finish(*command, input=typed, env={"PYTHONIOENCODING": "utf-8"})
    assert (result.code, result.out) == (2, "")
    assert expected in result.err and result.err.count("\n") == 1


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_what_is_no_text_is_said_to_be_none(finish, model_folder, errors):
    """The second is what Python does in the C locale: bytes that are no UTF-8 come in as halves of characters."""
    result = finish("chat", "--model", model_folder, input=b"\xff\n", env={"PYTHONIOENCODING": f"utf-8:{errors}"})
    assert (result.code, result.err) == (2, "minillm: standard input: expected text in UTF-8\n")


@pytest.fixture(scope="module")
def model(model_folder):
    return minillm.load(model_folder)


def answers(conversation, questions):
    for question in questions:
        conversation.answer(question, lambda text: None)
    return conversation.messages


def test_the_kept_cache_changes_no_answer(model):
    """Each answer is what a fresh request with the whole conversation gives."""
    messages = answers(Conversation(model, None, 6, SAMPLING), ["ab", "abc", "x"])
    for turn in (1, 3, 5):
        fresh = minillm.generate(model, messages[:turn], 6, SAMPLING)
        assert messages[turn]["content"] == fresh.text


def test_an_answer_whose_last_token_comes_again_in_the_next_prompt(model):
    """The last token of an answer was never fed to the cache, so it is computed in the next turn.

    The second question is short: for a long one the cache would be made anew, and hold nothing of the first turn.
    """
    came_again = []
    for seed in range(3):
        conversation = Conversation(model, None, 1, Sampling(temperature=1.0, seed=seed, ignore_eos=True))
        answers(conversation, ["a much longer question"])
        cache, fed = conversation.cache, conversation.cached
        messages = answers(conversation, ["x"])
        assert conversation.cache is cache
        assert messages[3]["content"] == minillm.generate(model, messages[:3], 1, conversation.sampling).text
        prompt = model.tokenizer.apply_chat_template(messages[:3])
        came_again.append(model.tokenizer.decode([prompt[len(fed)]]) == messages[1]["content"])
    assert any(came_again)


def test_only_the_new_tokens_are_computed(model, monkeypatch):
    """Of every prompt, what the cache does not hold yet: the new question, and the last token of the answer."""
    computed = []

    def prefill(model, tokens, cache, chunk):
        computed.append(len(tokens))
        return minillm.prefill(model, tokens, cache, chunk)

    monkeypatch.setattr(generation, "prefill", prefill)
    conversation = Conversation(model, "Be kind.", 2, SAMPLING)
    messages = answers(conversation, ["ab", "x"])
    first, second = (len(model.tokenizer.apply_chat_template(messages[:count])) for count in (2, 4))
    assert computed[0] == first
    assert computed[1] <= second - first


def test_the_cache_grows_with_the_conversation_and_not_with_the_context(model_folder):
    """A context of a million million tokens: no machine has the memory, and no conversation needs it."""
    model = minillm.load(model_folder)
    model = dataclasses.replace(model, config=dataclasses.replace(model.config, max_position_embeddings=10**15))
    conversation = Conversation(model, None, 6, SAMPLING)
    messages = answers(conversation, ["ab", "a long question: " + "b" * 100, "abc"])
    assert len(conversation.cached) <= conversation.cache.capacity < 2000
    for turn in (1, 3, 5):
        assert messages[turn]["content"] == minillm.generate(model, messages[:turn], 6, SAMPLING).text


@pytest.mark.parametrize(("cached", "prompt", "expected"), [
    ([], [1], 0), ([1], [1], 0), ([1, 2], [1, 2], 1), ([1, 2, 3], [1, 2, 4, 5], 2), ([1, 2], [1, 2, 3], 2),
    ([5], [1, 2], 0),
])  # fmt: skip
def test_at_least_one_token_of_the_prompt_is_left_to_run(cached, prompt, expected):
    assert common_prefix(cached, prompt) == expected


def test_a_stopped_answer_stays_in_the_conversation(model):
    """Ctrl-C comes as KeyboardInterrupt, here while the third piece is shown; the next answer must not suffer."""
    conversation, shown = Conversation(model, None, 30, Sampling(temperature=1.0, seed=4, ignore_eos=True)), []

    def show(text):
        shown.append(text)
        if len(shown) == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        conversation.answer("ab", show)
    assert [message["content"] for message in conversation.messages] == ["ab", "".join(shown)]
    conversation.answer("abc", lambda text: None)
    fresh = minillm.generate(model, conversation.messages[:3], 30, conversation.sampling)
    assert conversation.messages[3]["content"] == fresh.text


def test_a_question_that_is_refused_changes_nothing(model):
    conversation = Conversation(model, None, 4, SAMPLING)
    before = list(answers(conversation, ["ab"]))
    with pytest.raises(ValueError, match="more than the model's context"):
        conversation.answer("b" * 200, lambda text: None)
    assert conversation.messages == before
    conversation.answer("abc", lambda text: None)
    assert conversation.messages[3]["content"] == minillm.generate(model, conversation.messages[:3], 4, SAMPLING).text
