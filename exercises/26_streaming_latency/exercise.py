"""Streaming latency: time to first token, time per token, longest pause.

Where the engine does it: `Timings` in minillm/generation.py, and `Record` in minillm/estimate/virtual_clock.py. They
are what a person who reads along waits for; the field calls the first two TTFT and TPOT.
"""


# %% learner
def streaming_latency(sent: float, came: list[float]) -> tuple[float, float, float]:
    """Time to first token, mean time per token after the first, and the longest pause between two tokens.

    sent: when the request was sent, in seconds on the same clock as:
    came: when each token came; at least one, in ascending order; several may come together.
    returns: (ttft, tpot, pause), in seconds. After a single token there is nothing to wait for: 0.0 for the last two.
    """
    # %% solution
    gaps = [came[number + 1] - came[number] for number in range(len(came) - 1)]
    if not gaps:
        return came[0] - sent, 0.0, 0.0
    return came[0] - sent, sum(gaps) / len(gaps), max(gaps)


# %% hints
HINTS = (
    "The wait for the first token has other causes (network, queue, prefill) than the waits after it (decode), so it "
    "counts in the first number and in no other.",
    "n tokens have n - 1 gaps between them; all three results are single numbers.",
    "1. first token minus sent; 2. the gaps between neighbours; 3. their mean, and their largest; 4. if there is no "
    "gap, 0.0 for both.",
    "gaps = [came[number + 1] - came[number] for number in range(len(came) - 1)]",
)


# %% check
import numpy as np  # noqa: E402

LESSON = 11
CONCEPTS = ("latency",)


def cases(random):
    yield {"sent": 1.0, "came": [3.0]}
    yield {"sent": 0.0, "came": [1.0, 3.0]}
    yield {"sent": 2.0, "came": [7.0, 8.0]}
    yield {"sent": 2.0, "came": [4.0, 5.0, 8.0]}
    yield {"sent": 1.0, "came": [2.0, 2.0, 2.0, 5.0]}  # several at once, as in speculative decoding
    yield {"sent": 1.0, "came": [2.0, 3.0, 8.0, 8.5, 9.0]}  # a pause: somebody else's prefill
    for tokens in (6, 8, 10):
        sent = float(random.integers(0, 10))
        yield {"sent": sent, "came": (sent + 0.5 + np.cumsum(random.integers(0, 9, tokens) / 4)).tolist()}


def the_parts_make_up_the_whole(inputs, result, run):
    """First token, plus the gaps after it, is the time until the last token."""
    ttft, tpot, _ = result
    came = inputs["came"]
    return abs(ttft + tpot * (len(came) - 1) - (came[-1] - inputs["sent"])) < 1e-9


def the_clock_may_begin_at_any_time(inputs, result, run):
    """The same on a clock that is 100 seconds ahead."""
    later = run(sent=inputs["sent"] + 100.0, came=[time + 100.0 for time in inputs["came"]])
    return all(abs(one - other) < 1e-9 for one, other in zip(later, result, strict=True))


def a_longer_queue_is_seen_in_the_first_token_only(inputs, result, run):
    """Sent a second earlier, the first token took a second more; all else is the same."""
    earlier = run(sent=inputs["sent"] - 1.0)
    return abs(earlier[0] - result[0] - 1.0) < 1e-9 and earlier[1:] == result[1:]


PROPERTIES = (
    the_parts_make_up_the_whole,
    the_clock_may_begin_at_any_time,
    a_longer_queue_is_seen_in_the_first_token_only,
)
