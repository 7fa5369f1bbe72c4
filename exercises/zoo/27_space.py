"""A stream loses the spaces between words, because each token is decoded alone."""

import json

from minillm.text.text_stream import TextStream
from minillm.text.tokenizer import Tokenizer

ENGINE = "transformers"
KIND = "detokenizer"
THREAD = "https://github.com/huggingface/transformers/issues/22710"
TITLE = "Llama: Generating text token by token removes whitespaces"
SEEN = "A stream of LLaMA has no spaces between its words. The whole text, decoded at once, has them."
CAUSE = """
The decoder of LLaMA drops the space of a text's first word. If every token is decoded by itself, every word is a first
word.
"""
PROPERTY = "pieces_are_the_text_of_all_tokens"
MODULE, FUNCTION = "minillm.text.text_stream", "TextStream._move_window"
PATCH = [
    (
        "self.window_start, self.window_end, self.returned = self.window_end, len(self.ids), len(last)",
        "self.window_start, self.window_end, self.returned = len(self.ids), len(self.ids), 0",
    )
]


def answer(_):
    words = ["▁The", "▁queen", "▁is", "▁here"]  # story's decoder drops no space: this is one in LLaMA's style
    decoder = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    model = {"type": "WordLevel", "vocab": {word: number for number, word in enumerate(words)}, "unk_token": "▁The"}
    stream = TextStream(Tokenizer(json.dumps({"version": "1.0", "model": model, "decoder": decoder}).encode()))
    return [repr("".join(map(stream.push, range(len(words)))) + stream.finish())]
