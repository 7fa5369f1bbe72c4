"""One model serves several threads and several asyncio tasks: every answer is the one it gives alone."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from test_checks import MODEL
from test_generation import TEXT_MODEL

import minillm
from minillm import Sampling

WORK = [([1 + n % 5, 2, 3][: 1 + n % 3], 4 + n % 6, Sampling(n % 2, seed=n, ignore_eos=True)) for n in range(24)]


def generated(prompt, new, sampling):
    return minillm.generate(MODEL, prompt, new, sampling).tokens


def in_an_engine(prompt, new, sampling):
    engine = minillm.Engine(MODEL, block_size=2)
    request = engine.submit(prompt, new, sampling)
    engine.run()
    return request.tokens


def naive(prompt, new, sampling):
    return minillm.generate(MODEL, prompt, new, sampling, use_cache=False).tokens


@pytest.mark.parametrize("answer", [generated, in_an_engine, naive])
def test_threads_on_one_model(answer):
    """Eight threads, each with a cache or an engine of its own."""
    expected = [generated(*work) for work in WORK]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda work: answer(*work), WORK)) == expected


def test_threads_that_stream_text_from_one_tokenizer():
    def text(prompt):
        return "".join(minillm.stream(TEXT_MODEL, prompt, 12, Sampling(1, seed=3)))

    prompts = ["ab", "é€", "<s>", "漢字", "a b c", "\n\n"] * 3
    alone = list(map(text, prompts))
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(text, prompts)) == alone


def test_an_engine_under_asyncio():
    """Requests come from several tasks while one task makes the steps, between which the others run."""
    expected, engine = [generated(*work) for work in WORK], minillm.Engine(MODEL, block_size=2)

    async def ask(number):
        await asyncio.sleep(0.001 * (number % 7))
        request = engine.submit(*WORK[number])
        while not request.finished:
            await asyncio.sleep(0)
        return request.tokens

    async def serve():
        while True:
            engine.step()
            await asyncio.sleep(0)

    async def main():
        server = asyncio.create_task(serve())
        answers = await asyncio.gather(*map(ask, range(len(WORK))))
        server.cancel()
        return answers

    assert asyncio.run(main()) == expected
