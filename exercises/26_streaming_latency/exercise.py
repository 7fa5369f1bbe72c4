"""Streaming latency: time to first token, time per token, longest pause.

Where the engine does it: `Timings` in minillm/generation.py, and `Record` in minillm/estimate/virtual_clock.py. A user
who reads a completion while it is generated waits for these times. The first two are called TTFT and TPOT.
"""


# %% learner
def streaming_latency(sent: float, received: list[float]) -> tuple[float, float, float]:
    """Return the time to first token, the mean time per later token, and the longest pause between two tokens.

    sent: the time at which the request was sent, in seconds.
    received: the time at which each token arrived, on the same clock, in ascending order. There is at least one token.
        Several tokens may arrive at the same time.
    returns: (ttft, tpot, pause), in seconds. If there is only one token, tpot and pause are 0.0.
    """
    # %% solution
    gaps = [received[number + 1] - received[number] for number in range(len(received) - 1)]
    if not gaps:
        return received[0] - sent, 0.0, 0.0
    return received[0] - sent, sum(gaps) / len(gaps), max(gaps)


# %% hints
HINTS = (
    "The wait for the first token has other causes (network, queue, prefill) than the later waits (decode). So it "
    "counts only in the first number.",
    "n tokens have n - 1 gaps between them; all three results are single numbers.",
    "1. the time of the first token minus sent; 2. the gaps between consecutive tokens; 3. their mean and their "
    "maximum; 4. if there is no gap, 0.0 for both.",
    "gaps = [received[number + 1] - received[number] for number in range(len(received) - 1)]",
)


# %% check
import numpy as np  # noqa: E402

LESSON = 12
CONCEPTS = ("latency",)


def cases(random):
    yield {"sent": 1.0, "received": [3.0]}
    yield {"sent": 0.0, "received": [1.0, 3.0]}
    yield {"sent": 2.0, "received": [7.0, 8.0]}
    yield {"sent": 2.0, "received": [4.0, 5.0, 8.0]}
    yield {"sent": 1.0, "received": [2.0, 2.0, 2.0, 5.0]}  # three at the same time, as in speculative decoding
    yield {"sent": 1.0, "received": [2.0, 3.0, 8.0, 8.5, 9.0]}  # a pause: the prefill of another request
    for tokens in (6, 8, 10):
        sent = float(random.integers(0, 10))
        yield {"sent": sent, "received": (sent + 0.5 + np.cumsum(random.integers(0, 9, tokens) / 4)).tolist()}


def the_parts_make_up_the_whole(inputs, result, run):
    """ttft plus all gaps must be the time from sending to the last token."""
    ttft, tpot, _ = result
    received = inputs["received"]
    return abs(ttft + tpot * (len(received) - 1) - (received[-1] - inputs["sent"])) < 1e-9


def the_clock_may_start_at_any_time(inputs, result, run):
    """A clock that is 100 seconds ahead must give the same result."""
    later = run(sent=inputs["sent"] + 100.0, received=[time + 100.0 for time in inputs["received"]])
    return all(abs(one - other) < 1e-9 for one, other in zip(later, result, strict=True))


def a_longer_queue_changes_only_ttft(inputs, result, run):
    """If the request is sent a second earlier, ttft must be a second longer. tpot and pause must not change."""
    earlier = run(sent=inputs["sent"] - 1.0)
    return abs(earlier[0] - result[0] - 1.0) < 1e-9 and earlier[1:] == result[1:]


PROPERTIES = (
    the_parts_make_up_the_whole,
    the_clock_may_start_at_any_time,
    a_longer_queue_changes_only_ttft,
)
