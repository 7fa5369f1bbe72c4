"""The other end of `peer.py`: what runs inside a peer's process."""

import json
import os
import sys
from collections.abc import Callable

Measure = Callable[[int, int], tuple[float, float]]  # context, new tokens -> seconds of prefill, of decode


def answer_requests(load: Callable[[str, int], Measure]) -> None:
    """Load the model that the command line names, then answer requests until the input ends.

    The pipe is kept for answers alone: whatever a library prints goes to stderr.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def tell(answer: dict[str, float | str]) -> None:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()

        try:
            measure = load(sys.argv[1], int(sys.argv[2]))
            tell({})
            for line in sys.stdin:
                request = json.loads(line)
                prefill, decode = measure(request["context"], request["new_tokens"])
                tell({"prefill_s": prefill, "decode_s": decode})
        except Exception as problem:  # of whatever kind: the parent says it in one line
            tell({"error": f"{type(problem).__name__}: {problem}"})
