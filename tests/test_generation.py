"""Generation: what stops it, what it reports, and that its parts agree with each other."""

import dataclasses
import inspect
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import make_ops, random_checkpoint
from test_checks import CONFIG, MODEL
from tiny_tokenizer import VOCAB_SIZE, llama2_tokenizer, tiny_tokenizer

import minillm
from minillm import Sampling, completion, transformer
from minillm.generation import Generation
from minillm.loading.build import build
from minillm.sampling import penalise


def text_model(chat_template=None, eos=(1,), context=64, backend="numpy"):
    """A random model that reads and writes bytes."""
    config = dataclasses.replace(
        CONFIG, vocab_size=VOCAB_SIZE, max_position_embeddings=context, eos_token_ids=eos, tie_word_embeddings=False
    )
    checkpoint = dataclasses.replace(random_checkpoint(config, 3), tokenizer=tiny_tokenizer(chat_template))
    ops = make_ops(backend)
    return build(checkpoint, ops, ops.choose_dtype("float64"))


TEXT_MODEL = text_model()
ON = Sampling(ignore_eos=True)
WARM = Sampling(temperature=1.0, seed=5, ignore_eos=True)


def test_an_end_of_sequence_token_ends_it_and_is_the_last():
    tokens = minillm.naive_decode(MODEL, [1, 2], 10)
    model = dataclasses.replace(MODEL, config=dataclasses.replace(CONFIG, eos_token_ids=(99, tokens[2])))
    out = minillm.generate(model, [1, 2], 10)
    first = tokens.index(tokens[2]) + 1
    assert (out.tokens, out.finish_reason) == (tokens[:first], "eos")
    assert minillm.generate(model, [1, 2], 10, ON).tokens == tokens


def test_the_text_leaves_the_end_of_sequence_token_out():
    tokens = minillm.generate(TEXT_MODEL, "ab", 6, WARM).tokens
    model = text_model(eos=(tokens[3],))
    out = minillm.generate(model, "ab", 6, dataclasses.replace(WARM, ignore_eos=False))
    assert out.tokens == tokens[: tokens.index(tokens[3]) + 1]
    assert out.finish_reason == "eos"


def test_an_empty_text_is_the_bos_alone():
    tokenizer = llama2_tokenizer()
    model = dataclasses.replace(text_model(), stored_tokenizer=tokenizer)
    bos = tokenizer.special_tokens["<s>"]
    expected = minillm.generate(model, [bos], 5, ON).tokens
    assert minillm.generate(model, "", 5, ON).tokens == expected
    engine = minillm.Engine(model)
    request = engine.submit("", 5, ON)
    engine.run()
    assert (request.tokens, request.completion.sequence[0]) == (expected, bos)
    with pytest.raises(ValueError, match="the prompt is empty, and the tokenizer has no BOS to begin with"):
        minillm.generate(TEXT_MODEL, "", 5)


def test_the_output_is_there_at_the_end_and_not_before():
    generation = Generation(TEXT_MODEL, "ab", 3, ON)
    seen = [generation.output] + [generation.output for _ in generation]
    assert seen[:3] == [None] * 3 and seen[3] is generation.output
    assert generation.output.tokens == minillm.generate(TEXT_MODEL, "ab", 3, ON).tokens


def test_max_new_tokens_ends_it():
    out = minillm.generate(TEXT_MODEL, "ab", 5, ON)
    assert (len(out.tokens), out.finish_reason) == (5, "length")


def test_the_end_of_the_context_ends_it():
    """16 tokens fit: 14 of the prompt, two that are fed back, and one more that need not be."""
    out = minillm.generate(MODEL, [1] * 14, 100, ON)
    assert (len(out.tokens), out.finish_reason) == (3, "length")


def test_a_prompt_that_fills_the_context_still_gives_one_token():
    assert len(minillm.generate(MODEL, [1] * 16, 5, ON).tokens) == 1


def test_a_stop_string_ends_it_and_is_not_in_the_text():
    text = minillm.generate(TEXT_MODEL, "ab", 20, WARM).text
    stop = text[4:7]
    out = minillm.generate(TEXT_MODEL, "ab", 20, dataclasses.replace(WARM, stop=[stop]))
    assert (out.text, out.finish_reason) == (text[: text.index(stop)], "stop")


@pytest.mark.parametrize("reason", ["length", "eos"])
def test_what_could_have_become_a_stop_string_is_told_at_the_end(reason, monkeypatch):
    ids = TEXT_MODEL.tokenizer.encode("so EN") + ([1] if reason == "eos" else [])
    chosen = iter(ids)
    monkeypatch.setattr(completion, "sample", lambda *_: next(chosen))
    out = minillm.generate(TEXT_MODEL, "ab", len(ids), Sampling(stop="END"))
    assert (out.text, out.finish_reason) == ("so EN", reason)


def test_the_penalty_looks_at_the_prompt_and_at_every_new_token():
    sampling = Sampling(repetition_penalty=1e9, ignore_eos=True)
    prompt = [1]
    assert minillm.naive_decode(MODEL, prompt, 3) == [1, 1, 1]
    tokens = minillm.generate(MODEL, prompt, 5, sampling).tokens
    sequence = list(prompt)
    for token in tokens:
        logits = penalise(minillm.forward(MODEL, sequence)[-1], 1e9, sequence)
        assert token == logits.argmax()
        sequence.append(token)
    assert len(set(sequence)) == 6


def test_stream_gives_no_empty_pieces():
    half_characters = Sampling(temperature=1.0, seed=3, ignore_eos=True)
    steps = []
    minillm.generate(TEXT_MODEL, "ab", 30, half_characters, on_step=steps.append)
    assert "" in [step.text for step in steps]  # a step may have no text of its own
    assert all(minillm.stream(TEXT_MODEL, "ab", 30, half_characters))


@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), stop=st.lists(st.sampled_from(["a", "!", "é", " b"]), max_size=2))
def test_streamed_pieces_join_to_the_text(seed, stop):
    sampling = Sampling(temperature=1.0, seed=seed, stop=stop)
    out = minillm.generate(TEXT_MODEL, "ab", 12, sampling)
    assert "".join(minillm.stream(TEXT_MODEL, "ab", 12, sampling)) == out.text


def test_the_text_continues_the_prompt_with_its_space(monkeypatch):
    """A Llama 2 tokenizer drops the space of a text's first word, and the answer's first word is not that."""
    tokenizer = llama2_tokenizer()
    model = dataclasses.replace(TEXT_MODEL, stored_tokenizer=tokenizer)
    chosen = iter(tokenizer.encode("é é")[3:])
    monkeypatch.setattr(completion, "sample", lambda *_: next(chosen))
    assert minillm.generate(model, "é", 3, ON).text == " é"


def test_stream_checks_its_arguments_at_once():
    with pytest.raises(ValueError, match="is empty"):
        minillm.stream(TEXT_MODEL, "")


def test_text_ids_and_messages_are_prompts():
    model = text_model("{% for m in messages %}{{ m.content }}{% endfor %}")
    text = minillm.generate(model, "abc", 4, ON)
    assert minillm.generate(model, model.tokenizer.encode("abc"), 4, ON).tokens == text.tokens
    assert minillm.generate(model, np.array(model.tokenizer.encode("abc")), 4, ON).tokens == text.tokens
    assert minillm.generate(model, [{"role": "user", "content": "abc"}], 4, ON).tokens == text.tokens


def test_the_beginning_token_comes_once_and_only_before_raw_text():
    tokenizer = llama2_tokenizer()
    tokenizer.chat_template = "{{ bos_token }}{{ messages[0].content }}"
    model = dataclasses.replace(TEXT_MODEL, stored_tokenizer=tokenizer)
    ids = tokenizer.encode("é")
    for prompt in ("é", [{"role": "user", "content": "é"}], [1, *ids]):
        assert Generation(model, prompt).prompt == [1, *ids]
    assert Generation(model, ids).prompt == ids


def test_log_probabilities_are_of_the_raw_logits():
    """Penalty, temperature and filters change the choice, not what is reported."""
    sampling = Sampling(temperature=3.0, top_k=4, repetition_penalty=2.0, seed=1, logprobs=3, ignore_eos=True)
    out = minillm.generate(MODEL, [1, 2], 5, sampling)
    sequence = [1, 2]
    assert [entry.token for entry in out.logprobs] == out.tokens
    for entry in out.logprobs:
        logits = minillm.forward(MODEL, sequence)[-1]
        expected = logits - np.log(np.exp(logits).sum())
        assert math.isclose(entry.logprob, expected[entry.token], rel_tol=1e-9)
        assert [token for token, _ in entry.best] == np.argsort(-expected)[:3].tolist()
        np.testing.assert_allclose([p for _, p in entry.best], np.sort(expected)[::-1][:3])
        sequence.append(entry.token)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(0, 12))
def test_the_largest_come_in_order_and_equal_ones_by_place(values, count):
    count = min(count, len(values))
    expected = np.argsort(-np.array(values, float), kind="stable")[:count]
    assert completion.largest(np.array(values, float), count).tolist() == expected.tolist()


def test_no_log_probabilities_unless_asked():
    assert minillm.generate(MODEL, [1], 2).logprobs == []
    assert minillm.generate(MODEL, [1], 2, Sampling(logprobs=0)).logprobs[0].best == ()


def test_all_log_probabilities_of_the_vocabulary_can_be_asked_for():
    vocab = MODEL.config.vocab_size
    [entry] = minillm.generate(MODEL, [1], 1, Sampling(logprobs=vocab)).logprobs
    assert sorted(token for token, _ in entry.best) == list(range(vocab))
    with pytest.raises(ValueError, match=f"logprobs is {vocab + 1}; expected an integer from 0 to {vocab}"):
        minillm.generate(MODEL, [1], 1, Sampling(logprobs=vocab + 1))


@pytest.mark.parametrize("options", [{"use_cache": False}, {"cache": minillm.KVCache(MODEL, 8)}], ids=["none", "own"])
def test_a_wrong_dtype_of_a_cache_is_refused_at_once_even_if_no_cache_is_made(options):
    with pytest.raises(ValueError, match="the cache's dtype is 'int4'; expected 'int8', or None"):
        Generation(MODEL, [1], 2, cache_dtype="int4", **options)


def test_without_a_limit_an_answer_may_have_256_tokens():
    """As the help of the commands says. All ways to generate have this default: `tests/batching/test_engine.py`."""
    assert Generation(minillm.load("story-draft"), [5]).completion.max_new_tokens == 256


def test_the_cache_is_reserved_for_what_can_come():
    out = minillm.generate(MODEL, [1, 2, 3], 4, ON)
    per_token = minillm.KVCache(MODEL, 1).nbytes
    assert out.kv_cache_bytes == per_token * 6  # the fourth new token is never fed back
    assert minillm.generate(MODEL, [1, 2, 3], 4, ON, use_cache=False).kv_cache_bytes == 0


def test_timings_fit_together():
    timings = minillm.generate(MODEL, [1, 2, 3], 5, ON).timings
    assert 0 < timings.prefill_s < timings.ttft_s  # the first token is chosen in between
    assert math.isclose(timings.tpot_s * 4, timings.decode_s)


def test_one_new_token_has_no_time_per_token():
    assert minillm.generate(MODEL, [1], 1).timings.tpot_s == 0.0


def test_every_step_is_told():
    steps = []
    out = minillm.generate(TEXT_MODEL, "ab", 5, ON, on_step=steps.append)
    assert [step.token for step in steps] == out.tokens
    assert "".join(step.text for step in steps) == out.text


def test_a_cache_that_holds_the_beginning_is_not_computed_again():
    prompt = [1, 2, 3, 4, 5]
    cache = minillm.KVCache(MODEL, 16)
    minillm.prefill(MODEL, prompt[:3], cache)
    tokens = [step.token for step in Generation(MODEL, prompt, 4, ON, cache=cache)]
    assert tokens == minillm.naive_decode(MODEL, prompt, 4)


@pytest.mark.parametrize("held", [2, 3])
def test_a_cache_that_leaves_nothing_of_the_prompt_to_run_is_refused(held):
    cache = minillm.KVCache(MODEL, 8)
    minillm.prefill(MODEL, [1, 2, 3][:held], cache)
    with pytest.raises(ValueError, match=rf"^cache.length is {held}; expected an integer from 0 to 1"):
        Generation(MODEL, [1, 2], 3, cache=cache)


def test_a_cache_of_another_model_is_refused_at_once():
    with pytest.raises(ValueError, match=r"^the cache was made for another model"):
        Generation(MODEL, [1, 2], 3, cache=minillm.KVCache(TEXT_MODEL, 8))


def test_a_seeded_request_draws_the_same_again_and_others_do_not():
    def draw(seed):
        return minillm.generate(MODEL, [1], 12, dataclasses.replace(WARM, temperature=5.0, seed=seed)).tokens

    assert draw(0) == draw(0) and draw(5) == draw(5)
    assert len({tuple(draw(seed)) for seed in (0, 1, 5, None, None)}) == 5  # None: from the system, new every time


def test_the_public_names():
    """What a user imports stays."""
    for name in ("load", "forward", "forward_batch", "KVCache", "prefill", "decode_step", "generate", "stream",
                 "naive_decode", "Sampling", "attention_weights", "reference", "Engine", "PagedKVCache", "BlockPool",
                 "StaticBatching"):  # fmt: skip
        assert name in minillm.__all__ and hasattr(minillm, name)


def test_a_generation_that_has_begun_is_not_run_again():
    generation = Generation(MODEL, [1, 2, 3], 4)
    next(iter(generation))
    with pytest.raises(ValueError, match="has begun already"):
        next(iter(generation))


def test_a_generation_whose_prefill_was_interrupted_is_run_again(monkeypatch):
    generation = Generation(MODEL, [1, 2, 3], 4, Sampling(ignore_eos=True))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(generation.completion, "add", interrupted)
        list(generation)
    assert [step.token for step in generation] == minillm.naive_decode(MODEL, [1, 2, 3], 4)


def interrupted(*arguments):
    raise KeyboardInterrupt


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("way", ["generate", "stream", "Generation", "drafter"])
def test_with_a_cache_every_token_is_computed_once(way, use_cache, monkeypatch):
    """Rows of all forward passes: the prompt and each fed token once, or the whole sequence for every token."""
    if way == "drafter" and not use_cache:
        pytest.skip("a drafter needs a cache")
    rows, batched = [], transformer.forward_batch

    def counted(model, batch, logit_rows=None):
        rows.extend(len(tokens) for tokens, _ in batch)
        return batched(model, batch, logit_rows)

    for module in ("prefill", "decode", "transformer", "speculative.generation"):
        monkeypatch.setattr(sys.modules[f"minillm.{module}"], "forward_batch", counted)
    ways = {
        "generate": lambda: minillm.generate(TEXT_MODEL, [3, 4, 5, 6, 7], 6, ON, use_cache=use_cache),
        "stream": lambda: list(minillm.stream(TEXT_MODEL, [3, 4, 5, 6, 7], 6, ON, use_cache)),
        "Generation": lambda: list(Generation(TEXT_MODEL, [3, 4, 5, 6, 7], 6, ON, use_cache)),
        "drafter": lambda: list(minillm.stream(TEXT_MODEL, [3, 4, 5, 6, 7], 6, ON, drafter=NoDraft(), k=1)),
    }
    ways[way]()
    assert rows == ([5, 1, 1, 1, 1, 1] if use_cache else [5, 6, 7, 8, 9, 10])


class NoDraft(minillm.PromptLookup):
    """Never finds anything."""

    def propose(self, sequence, k, sampling, generator):
        return minillm.Draft([])


def test_by_default_there_is_a_cache():
    for function in (minillm.generate, minillm.stream, Generation):
        assert inspect.signature(function).parameters["use_cache"].default is True


def test_a_prompt_that_changes_later_changes_nothing():
    """A list that the caller passes is copied, everywhere."""
    prompt, messages = [3, 4, 5], [{"role": "user", "content": "a"}]
    expected = minillm.generate(MODEL, [3, 4, 5], 5, ON).tokens
    engine, generation = minillm.Engine(MODEL), Generation(MODEL, prompt, 5, ON)
    request, completed = engine.submit(prompt, 5, ON), minillm.completion.Completion.of(MODEL, prompt, 5, ON)
    chat = text_model("{{ messages[0]['content'] }}")
    answer = Generation(chat, messages, 3, ON)
    prompt[:], messages[0]["content"] = [9, 9, 9, 9], "zzz"
    engine.run()
    list(generation)
    assert request.tokens == generation.output.tokens == expected
    assert completed.sequence == [3, 4, 5]
    assert answer.prompt == Generation(chat, [{"role": "user", "content": "a"}], 3, ON).prompt
    generation.output.tokens.append(0)
    assert generation.completion.tokens == expected
