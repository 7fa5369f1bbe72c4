"""Blocks of a known prefix are compared by their own tokens, without the tokens before them."""

import minillm

ENGINE = "AIBrix"
KIND = "prefix cache"
THREAD = "https://github.com/vllm-project/aibrix/issues/2329"
TITLE = "BlockHashes cache keys can conflate distinct KV cache entries"
SEEN = "An answer can contain what belongs to the prompt of another user."
CAUSE = """
The keys of two entries were equal if the last block and the number of blocks were equal. What came before was not
compared, but keys and values depend on all tokens before them.
"""
PROPERTY = "requests_in_one_engine_are_as_if_alone"
MODULE, FUNCTION = "minillm.kv_cache.prefix", "PrefixBlock.__hash__"
PATCH = [
    (
        "        return self._hash\n",
        "        return hash(self.tokens)\n"
        "\n"
        "    def __eq__(self, other: object) -> bool:\n"
        "        return isinstance(other, PrefixBlock) and self.tokens == other.tokens\n",
    )
]


def answer(model):
    engine, lines = minillm.Engine(model, block_size=4), []
    italy, france = (f"The capital of {country} is a city. " for country in ("Italy", "France"))
    question = "It is a big city. The name of the city is"
    for prompt in (italy + question, france, france + question):
        request = engine.submit(prompt, 4)
        engine.run()
        lines.append(repr(request.text))
    return lines
