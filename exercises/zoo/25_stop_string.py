"""A stop string that is spread over several tokens is not found."""

import minillm

ENGINE = "llama.cpp"
KIND = "stop strings"
THREAD = "https://github.com/ggml-org/llama.cpp/issues/11538"
TITLE = "Misc. bug: llama-server ignores the stop parameter"
SEEN = "The server ignores the parameter `stop`: the stop string is shown, and the answer goes on."
CAUSE = """
A change of the server broke stop strings that are spread over several tokens. The text of a token must be kept back
while it can be the beginning of a stop string.
"""
PROPERTY = "nothing_of_a_stop_string_is_shown"
MODULE, FUNCTION = "minillm.text.text_stream", "TextStream._release"
PATCH = [("end = len(self.pending) - (0 if final else self._possible_stop())", "end = len(self.pending)")]


def answer(model):
    sampling = minillm.Sampling(stop=(" there was a",))
    return [repr(list(minillm.stream(model, "Once upon a time,", 12, sampling)))]
