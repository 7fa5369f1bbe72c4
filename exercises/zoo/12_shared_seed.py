"""All requests draw from one random generator."""

import minillm
from minillm.support.wording import counted

ENGINE = "vLLM"
KIND = "seeds"
THREAD = "https://github.com/vllm-project/vllm/issues/51226"
TITLE = "[Bug]: seed is ignored on CPU when another request in the batch has no seed"
SEEN = "A request with a seed gives another text as soon as somebody else's request is in the same batch."
CAUSE = """
On the CPU the tokens of the whole batch were drawn from one generator if any request was without a seed. So what a
request drew depended on the others.
"""
PROPERTY = "requests_in_one_engine_are_as_if_alone"
MODULE, FUNCTION = "minillm.batching.engine", "Engine._new_request"
PATCH = [
    (
        "        self._check_fits(completion)\n",
        "        self._check_fits(completion)\n"
        '        completion.generator = vars(self).setdefault("generator", completion.generator)\n',
    )
]


def answer(model):
    lines, sampling = [], minillm.Sampling(temperature=1.0, seed=42)
    for others in (0, 1):
        engine = minillm.Engine(model)
        request, *_ = [engine.submit("Once upon a time", 8, sampling) for _ in range(1 + others)]
        engine.run()
        lines.append(f"seed 42, {counted(others, 'other request')}: {request.text!r}")
    return lines
