"""An engine in its own process: every way it can misbehave is one line, and it never outlives its use."""

import signal

import pytest

from minillm.benchmark.engine_process import Generated


def test_an_engine_that_works(stand_in):
    assert stand_in("works").generate([5, 6, 7], 2) == Generated(0.003, 0.2, (1, 1, 1), 1_000_000)


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("dies at start", "stand-in ended by itself, with exit code 3"),
        ("prints at start", "stand-in answered b'Loading.*expected one JSON object"),
        ("dies when asked", "stand-in ended by itself, with exit code 4"),
        ("fails", "stand-in failed: RuntimeError: out of memory"),
        ("says a list", "expected one JSON object"),
        *[
            (behaviour, "stand-in answered .*expected seconds, tokens and memory")
            for behaviour in ("says nothing", "says NaN", "takes no time", "says text for tokens",
                              "says too few tokens", "says no memory")
        ],
    ],
)  # fmt: skip
def test_an_engine_that_misbehaves_is_one_line(stand_in, behaviour, expected):
    with pytest.raises(ValueError, match=expected) as caught:
        stand_in(behaviour).generate([0, 1, 2, 3], 2)
    assert "\n" not in str(caught.value)


def test_figures_are_finite_numbers_of_these_names(stand_in):
    assert stand_in("measures").figures({}, "matmul", "bandwidth") == [6e9, 4e9]
    for behaviour, name in (("measures", "memory"), ("says NaN", "prefill_s")):
        with pytest.raises(ValueError, match=f"expected {name}"):
            stand_in(behaviour).figures({}, name)


@pytest.mark.parametrize("behaviour", ["hangs", "says half a line"])
def test_an_engine_that_hangs_is_given_up(stand_in, behaviour):
    with pytest.raises(ValueError, match="did not answer within 1 seconds"):
        stand_in(behaviour, timeout=1.0).generate([0], 2)


def test_an_engine_that_has_ended_between_two_questions(stand_in):
    for number, says in ((signal.SIGKILL, "ended by itself, with exit code -9"),
                         (signal.SIGILL, "instructions that this processor lacks")):  # fmt: skip
        works = stand_in("works")
        works.process.send_signal(number)
        works.process.wait()
        with pytest.raises(ValueError, match=says):
            works.generate([0], 2)


def test_no_engine_outlives_its_use(stand_in):
    with stand_in("works") as works:
        assert works.process.poll() is None
    assert works.process.poll() == -9


def test_the_number_of_threads_is_in_its_environment(stand_in):
    for threads in (1, 3):
        assert stand_in("tells its threads", threads=threads).figures({}, "threads") == [threads]
