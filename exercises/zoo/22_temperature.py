"""The temperature is applied after top-p has chosen its tokens."""

import numpy as np

import minillm
from minillm.sampling import probabilities
from minillm.support.wording import counted

ENGINE = "MLC LLM"
KIND = "order of sampling steps"
THREAD = "https://github.com/mlc-ai/mlc-llm/pull/951"
TITLE = "[BugFix] Correct Order of Temperature and Top_P in Sample Function"
SEEN = "The same temperature and top-p give bolder or duller text than in other engines."
CAUSE = """
Two callers of the same library applied temperature and top-p in different orders. Temperature first changes which
tokens top-p keeps.
"""
PROPERTY = "top_p_keeps_the_smallest_set_that_reaches_p"
MODULE, FUNCTION = "minillm.sampling", "probabilities"
PATCH = [
    (
        "    kept = ranked[_keep(probs[ranked], sampling)]\n",
        "    raw = np.exp(logits - logits.max())\n    kept = ranked[_keep((raw / raw.sum())[ranked], sampling)]\n",
    )
]


def answer(model):
    logits = minillm.forward(model, model.tokenizer.encode("Once upon a time, there was a"))[-1]
    lines = []
    for temperature in (0.5, 1.0, 2.0):
        sampling = minillm.Sampling(temperature=temperature, top_p=0.9)
        kept = int(np.count_nonzero(probabilities(logits, sampling)))
        lines.append(f"temperature {temperature}, top-p 0.9: {counted(kept, 'token')} kept")
    return lines
