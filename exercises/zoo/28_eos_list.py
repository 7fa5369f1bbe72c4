"""Of several end tokens only the first ends an answer."""

from dataclasses import replace

import minillm

ENGINE = "vLLM"
KIND = "end tokens"
THREAD = "https://github.com/vllm-project/vllm/issues/4180"
TITLE = "[Usage]: Llama 3 8B Instruct Inference"
SEEN = "Llama 3 answers, and then does not stop until the limit of tokens."
CAUSE = """
Llama 3 has two end tokens: one ends a text, the other a turn of a conversation. The engine took the one of the
tokenizer's settings, and the model ended its turns with the other.
"""
PROPERTY = "an_end_token_ends_the_answer"
MODULE, FUNCTION = "minillm.completion", "Completion.append"
PATCH = [("if token in self.eos_token_ids:", "if token in self.eos_token_ids[:1]:")]


def answer(model):
    [period] = model.tokenizer.encode(".")  # as if it ended a turn
    chat = replace(model, config=replace(model.config, eos_token_ids=(0, period)))
    return [repr(minillm.generate(chat, "Once upon a time", 24).text)]
