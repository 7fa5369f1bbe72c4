"""A stream shows halves of characters."""

from minillm.text.text_stream import TextStream

ENGINE = "llama.cpp"
KIND = "UTF-8"
THREAD = "https://github.com/ggml-org/llama.cpp/issues/4036"
TITLE = "The server output some unicode characters as <?>"
SEEN = "With streaming, emoji and Chinese characters become question marks. Without streaming they are right."
CAUSE = """
A character of several bytes can be spread over two tokens. The server noticed that only if the first of them was a
token of a single byte, which is not so in all vocabularies.
"""
PROPERTY = "pieces_are_the_text_of_all_tokens"
MODULE, FUNCTION = "minillm.text.text_stream", "TextStream._decode"
PATCH = [
    ('        elif not final and now.endswith("\\ufffd"):\n            certain -= 1\n', ""),
]


def answer(model):
    stream = TextStream(model.tokenizer)
    pieces = [stream.push(token) for token in model.tokenizer.encode("A smile: 😀!")]
    return [repr([*pieces, stream.finish()])]
