"""Ctrl-C at many places of a conversation's second turn: the turns after it get what they get on the naive path.

Run as a program, which is told the stride from place to place: the shape checker would take most of the time, and has
places of its own. A prime hits other places in every layer and step.
"""

import dataclasses
import json
import sys
from collections import Counter
from contextlib import suppress

from chat_templates import CHATML
from interrupts import CtrlC, hear_interrupts
from model_folder import TEXT_CONFIG
from random_models import random_model
from tiny_tokenizer import tiny_tokenizer

import minillm
from minillm.conversation import Conversation

MODEL = dataclasses.replace(random_model(TEXT_CONFIG, 3, "exact")[0], stored_tokenizer=tiny_tokenizer(CHATML))
SAMPLING = minillm.Sampling(temperature=1.0, seed=4, ignore_eos=True)


def begun():
    """A conversation after its first turn, whose second turn needs a larger cache."""
    conversation = Conversation(MODEL, None, 3, SAMPLING)
    conversation.answer("ab")
    return conversation


def interrupted_turn(conversation, interrupt):
    """Ask a second question; what was shown before the interrupt is in the messages, and nothing else has changed."""
    before, shown = list(conversation.messages), []
    with suppress(KeyboardInterrupt), interrupt:
        for text in conversation.stream("c" * 30):
            shown.append(text)
    *earlier, question, answer = conversation.messages if len(conversation.messages) == 4 else [*before, None, None]
    assert earlier == before
    if shown or answer:
        assert question["content"] == "c" * 30 and answer["content"].startswith("".join(shown))


if __name__ == "__main__":
    hear_interrupts()
    places, never = Counter(), CtrlC()
    interrupted_turn(begun(), never)
    for number in range(1, never.count, int(sys.argv[1])):
        conversation, interrupt = begun(), CtrlC(number)
        interrupted_turn(conversation, interrupt)
        messages = [*conversation.messages, {"role": "user", "content": "abc"}]
        naive = minillm.generate(MODEL, messages, 3, SAMPLING, use_cache=False)
        assert conversation.answer("abc").text == naive.text, f"event {number}, in {interrupt.callers}"
        places["forward pass" if "forward_batch" in interrupt.callers else "elsewhere"] += 1
    print(json.dumps(places))
