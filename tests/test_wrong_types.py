"""Arguments of the wrong type are a one-line ValueError too, without any type checker.

The test run checks types in signatures itself and would be faster than the package's own checks, so these calls are
made in a process of their own, as a user's program makes them.
"""

import json
import subprocess
import sys

import pytest

CASES = {
    "minillm.forward(model, None)": "flat list",
    "minillm.forward(model, 3)": "flat list",
    "minillm.forward(model, [True])": "expected integers",
    "minillm.forward(model, [1.0])": "expected integers",
    "minillm.forward(model, ['a'])": "expected integers",
    "minillm.forward(model, 'text')": "flat list",
    "minillm.forward(model, [[1, 2]])": "flat list",
    "minillm.forward(model, [[1], [2, 3]])": "flat list",
    "minillm.forward(model, [1, None])": "expected integers",
    "minillm.forward(model, {1: 2})": "flat list",
    "minillm.forward(model, numpy.array([1.5]))": "expected integers",
    "minillm.forward(model, range(10**30))": "1000000000000000000000000000000 tokens are more than the model's context",
    "minillm.forward(model, range(10**30, 0, -1))": "tokens are more than the model's context",
    "minillm.forward(model, range(0))": "at least one",
    "minillm.forward(model, OnAnotherDevice())": "found an? OnAnotherDevice that NumPy cannot read",
    "minillm.decode_step(model, OnAnotherDevice(), cache)": "found a list that NumPy cannot read",
    "minillm.forward('model', [1])": "expected a minillm.Model",
    "minillm.forward_batch(model, [[1, 2]])": "batch",
    "minillm.forward_batch(model, [([1], None)])": "cache is of type",
    "minillm.forward_batch(model, 5)": "batch",
    "minillm.forward_batch(model, [([1], cache)], logit_rows=[1.0])": "logit_rows",
    "minillm.forward_batch(model, [([1], cache)], logit_rows=1)": "logit_rows",
    "minillm.prefill(model, [1], 'cache')": "expected a minillm.KVCache",
    "minillm.prefill(model, [1, 2], cache, chunk=1.5)": "chunk",
    "minillm.prefill(model, [1, 2], cache, chunk=True)": "chunk",
    "minillm.prefill(model, [1, 2], cache, chunk='2')": "chunk",
    "minillm.decode_step(model, 1.0, cache)": "expected integers",
    "minillm.decode_step(model, True, cache)": "expected integers",
    "minillm.decode_step(model, 'a', cache)": "expected integers",
    "minillm.decode_step(model, [1], cache)": "flat list",
    "minillm.decode_step(model, None, cache)": "expected integers",
    "minillm.naive_decode(model, [1], 1.5)": "max_new_tokens",
    "minillm.naive_decode(model, [1], None)": "max_new_tokens",
    "minillm.KVCache(model, 4.0)": "capacity",
    "minillm.KVCache(model, True)": "capacity",
    "minillm.KVCache(model, '4')": "capacity",
    "minillm.KVCache(model, None)": "capacity",
    "minillm.KVCache(None, 4)": "expected a minillm.Model",
    "minillm.KVCache(model, 4, dtype=numpy.int8)": "the cache's dtype is <class 'numpy.int8'>; expected 'int8'",
    "minillm.BlockPool(model, 4, dtype=8)": "the cache's dtype is 8; expected 'int8', or None for the model's own",
    "minillm.Engine(model, cache_dtype=True)": "the cache's dtype is True; expected 'int8', or None",
    "minillm.generate(model, [1], cache_dtype=['int8'])": r"the cache's dtype is \['int8'\]; expected 'int8', or None",
    "cache.truncate(1.0)": "length is 1.0; expected an integer",
    "cache.truncate(True)": "length is True; expected an integer",
    "cache.truncate(None)": "length is None; expected an integer",
    "minillm.attention_weights(model, [1], 1.0)": "layer",
    "minillm.attention_weights(model, [1], True)": "layer",
    "minillm.attention_weights(model, [1], '0')": "layer",
    "minillm.generate(model, None)": "expected text, token ids or chat messages",
    "minillm.generate(model, b'bytes')": "expected text, token ids or chat messages",
    "minillm.generate(model, {'role': 'user'})": "expected text, token ids or chat messages",
    "minillm.generate(model, 3.5)": "expected text, token ids or chat messages",
    "minillm.generate(model, [])": "at least one",
    "minillm.generate(model, [{'role': 'user', 'content': 3}])": "messages|tokenizer",
    "minillm.generate('story', [1])": "expected a minillm.Model",
    "minillm.generate(model, [1], '3')": "max_new_tokens",
    "minillm.generate(model, [1], None)": "max_new_tokens",
    "minillm.generate(model, [1], True)": "max_new_tokens",
    "minillm.generate(model, [1], 2, {'temperature': 1})": "expected a minillm.Sampling",
    "minillm.generate(model, [1], 2, minillm.Sampling(logprobs=999))": "logprobs",
    "minillm.stream(model, [1], 2, 'greedy')": "expected a minillm.Sampling",
    "minillm.generate(model, [1], 2, use_cache='no')": "use_cache is 'no'; expected True or False",
    "minillm.generate(model, [1], 2, on_step=3)": "on_step is 3; expected a function",
    "minillm.generate(model, [1], -10**5000)": "max_new_tokens is of type int and too large to show",
    "minillm.forward_batch(None, [([1], cache)])": "expected a minillm.Model",
    "minillm.KVCache(model, 10**5000)": "capacity is of type int and too large to show: not enough memory",
    "cache.truncate(numpy.ones((2, 2)))": "length is array",
    "minillm.Sampling(temperature=numpy.float32('nan'))": r"temperature is np.float32\(nan\)",
    "minillm.Sampling(ignore_eos='x' * 1000)": "ignore_eos",
    "tokenizer.encode(None)": "text is of type NoneType; expected str",
    "tokenizer.encode(b'bytes')": "text is of type bytes; expected str",
    "tokenizer.encode(['a'])": "text is of type list; expected str",
    "tokenizer.decode(3)": "ids is of type int; expected a list of token ids",
    "tokenizer.decode(None)": "ids is of type NoneType",
    "tokenizer.decode('ab')": "a token id is 'a'; expected an integer",
    "tokenizer.decode([1.5])": "a token id is 1.5; expected an integer",
    "tokenizer.decode([[1]])": r"a token id is \[1\]; expected an integer",
    "tokenizer.decode([None])": "a token id is None",
    "tokenizer.decode([1], skip_special_tokens='no')": "skip_special_tokens is 'no'",
    "tokenizer.apply_chat_template(None)": "messages",
    "tokenizer.apply_chat_template('hello')": "messages",
    "minillm.Engine(None)": "expected a minillm.Model",
    "minillm.Engine(model, block_size=None)": "block_size",
    "minillm.Engine(model, block_size=0)": "block_size",
    "minillm.Engine(model, num_blocks=1.5)": "num_blocks",
    "minillm.Engine(model, max_batch_tokens='8')": "max_batch_tokens",
    "minillm.Engine(model, preemption=None)": "expected one of recompute, swap",
    "minillm.Engine(model, preemption='nonsense')": "preemption is 'nonsense'; expected one of recompute, swap",
    "minillm.Engine(model, preemption=['swap'])": "expected one of recompute, swap",
    "minillm.load('story', dtype='float31')": "dtype is 'float31'; expected one of float32, float64",
    "minillm.load('story', dtype='int8')": "dtype is 'int8'; expected one of float32, float64; for weights in int8",
    "minillm.load('story', dtype=['int8'])": r"dtype is \['int8'\]; expected one of float32, float64",
    "minillm.load('story', weights='int9')": "the numpy backend: weights is 'int9'; expected one of float32, b",
    "minillm.load('story', weights=8)": "weights is 8; expected one of float32, bfloat16, int8, int4, stored",
    "minillm.load('story', weights=None)": "weights is None; expected one of float32, bfloat16, int8, int4, stored",
    "minillm.load('story', weights=['int8'])": r"weights is \['int8'\]; expected one of float32",
    "minillm.load('story', backend='nonsense')": "is 'nonsense'; expected one of numpy, plain, exact, compiled, cupy",
    "minillm.speculative_generate(model, lambda model: model, [1])": "is <lambda>, which cannot be called without arg",
    "minillm.Engine(model, drafter=minillm.skip_layers)": "is skip_layers, which cannot be called without arguments",
    "minillm.stream(model, [1], drafter=minillm.KVCache)": "is KVCache, which cannot be called without arguments: mis",
    "minillm.Conversation(chat, sampling=3)": "sampling is of type int; expected a minillm.Sampling",
    "minillm.Conversation(chat, sampling=minillm.Sampling(logprobs=999))": "logprobs is 999; expected an integer from",
    "minillm.Conversation(chat, system=3)": "system is 3; expected a text, or None",
    "minillm.Conversation(chat, max_new_tokens='3')": "max_new_tokens",
    "minillm.Conversation(None)": "expected a minillm.Model",
    "minillm.Conversation(chat).stream(3)": "expected content of type str, or a list of its parts; found 3",
    "minillm.score(model, None)": "expected text, token ids or chat messages",
    "minillm.BlockPool(model, 4, block_size='2')": "block_size",
    "minillm.naive_decode(model, [1], -1)": "max_new_tokens is -1; expected an integer of at least 0",
    "minillm.Engine(model, preemption='')": "preemption is ''; expected one of recompute, swap",
    "minillm.Engine(model, preemption='Swap')": "preemption is 'Swap'; expected one of recompute, swap",
    "minillm.Engine(model, drafter='lookup')": "drafter is of type str; expected a minillm.Model, a PromptLookup, an",
    "minillm.Engine(model, drafter=model, k=0)": "k is 0",
    "minillm.Engine(model).submit(7)": "expected text, token ids or chat messages",
    "minillm.Engine(model).submit([1], '3')": "max_new_tokens",
    "minillm.Engine(model).submit([1], 2, {'temperature': 1})": "expected a minillm.Sampling",
    "minillm.Engine(model).submit_samples([1], 0)": "n is 0; expected an integer of at least 1",
    "minillm.Engine(model).submit_samples([1], 2.0)": "n is",
    "minillm.Engine(model).cancel(None)": "expected what submit returned",
    "minillm.StaticBatching(model, '2')": "batch_size",
    "minillm.StaticBatching(model, 2).submit(None)": "expected text, token ids or chat messages",
    "minillm.load('story', backend=minillm.Model)": "exact, compiled, cupy, or an object derived from Plain",
    "minillm.Engine(model, num_blocks=10**15)": "num_blocks is 10+ and block_size is 16: not enough memory",
    "minillm.Engine(model, num_blocks=10**5000)": "num_blocks is of type int and too large to show and block_size",
    "minillm.Engine(model, block_size=10**30)": "num_blocks is 1 and block_size is 1000+: not enough memory: ",
    "minillm.BlockPool(model, 0)": "num_blocks",
    "minillm.BlockPool(None, 4)": "expected a minillm.Model",
    "minillm.PagedKVCache(None)": "expected a minillm.BlockPool",
    "minillm.PagedKVCache(minillm.BlockPool(model, 4)).truncate(True)": "length is True; expected an integer",
    "minillm.forward_batch(model, [([1] * 9, minillm.PagedKVCache(minillm.BlockPool(model, 2, 4)))])": "more blocks",
    "minillm.speculative_generate(model, None, [1])": "drafter is of type NoneType; expected a minillm.Model, a Prompt",
    "minillm.speculative_generate(model, 'lookup', [1])": "drafter is of type str",
    "minillm.stream(model, [1], use_cache=0, drafter=model)": "use_cache is 0; expected True or False",
    "minillm.stream(model, [1], drafter=3)": "drafter is of type int; expected a minillm.Model, a PromptLookup, an ob",
    "minillm.speculative_generate(model, dict, [1])": "the function given as drafter returned a dict; expected an obj",
    "minillm.speculative_generate(None, model, [1])": "expected a minillm.Model",
    "minillm.speculative_generate(model, model, [1], k=0)": "k is 0; expected an integer of at least 1",
    "minillm.speculative_generate(model, model, [1], k=2.0)": "k is 2.0",
    "minillm.speculative_generate(model, model, [1], k='most')": "k is 'most'; expected an integer of at least 1",
    "minillm.speculative_generate(model, model, [1], k=True)": "k is True",
    "minillm.skip_layers(model, 3)": "kept is 3; expected numbers of layers",
    "minillm.skip_layers(model, ['0'])": "layer is '0'",
    "minillm.skip_layers(None)": "expected a minillm.Model",
    "minillm.load(None)": "expected a name",
    "minillm.load(3)": "expected a name",
    "minillm.load('')": "expected a name",
    "minillm.load(b'story')": "expected a name",
    "minillm.load('smollm2', dtype=None)": "expected one of",
    "minillm.load('smollm2', dtype=[])": "expected one of",
    "minillm.load('smollm2', backend=None)": "expected one of",
    "minillm.load('nothing\\0here')": "model",
    "minillm.load('x' * 5000)": "model",
    "minillm.load('two\\nlines')": "model",
    "minillm.load(next(os.scandir(b'tests')))": "expected a name",
    "minillm.Sampling(temperature='hot')": "temperature",
    "minillm.Sampling(temperature=None)": "temperature",
    "minillm.Sampling(temperature=True)": "temperature",
    "minillm.Sampling(temperature=1j)": "temperature",
    "minillm.Sampling(temperature=10**400)": "temperature",
    "minillm.Sampling(temperature=numpy.ones(2))": "temperature",
    "minillm.Sampling(top_k=1.5)": "top_k",
    "minillm.Sampling(top_k='3')": "top_k",
    "minillm.Sampling(top_p='most')": "top_p",
    "minillm.Sampling(min_p=None)": "min_p",
    "minillm.Sampling(seed=1.5)": "seed",
    "minillm.Sampling(seed='x')": "seed",
    "minillm.Sampling(stop=3)": "stop",
    "minillm.Sampling(stop=[3])": "stop",
    "minillm.Sampling(stop=[''])": "stop",
    "minillm.Sampling(stop=b'x')": "stop",
    "minillm.Sampling(stop='\\ud800')": "expected text that UTF-8 can encode",
    "minillm.Sampling(stop={'a'})": "stop",
    "minillm.Sampling(top_k=-2)": "top_k",
    "minillm.Sampling(logprobs=True)": "logprobs",
    "minillm.Sampling(ignore_eos=1)": "ignore_eos",
    "minillm.Sampling(repetition_penalty='2')": "repetition_penalty",
}
PROGRAM = """
import json, sys
sys.path[:0] = ["tests", "tests/properties"]
import dataclasses, numpy, minillm, os
from model_folder import TEXT_CONFIG
from test_checks import CONFIG
from random_models import random_model
from tiny_tokenizer import tiny_tokenizer
class OnAnotherDevice:
    def __array__(self, dtype=None, copy=None):
        raise TypeError("can't convert cuda:0 device type tensor to numpy.\\nUse Tensor.cpu()")
results = {}
for case in json.load(sys.stdin):
    model, _ = random_model(CONFIG, 0)
    cache, tokenizer = minillm.KVCache(model, 8), tiny_tokenizer()
    chat = dataclasses.replace(random_model(TEXT_CONFIG, 0)[0], stored_tokenizer=tokenizer)
    try:
        eval(case)
        results[case] = ["nothing", ""]
    except Exception as problem:
        results[case] = [type(problem).__name__, str(problem)]
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def results(pytestconfig):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(list(CASES)), cwd=pytestconfig.rootpath,
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_type_is_one_line(results, case):
    kind, message = results[case]
    assert kind == "ValueError", message
    assert "\n" not in message and len(message) < 400
    import re

    assert re.search(CASES[case], message), message
