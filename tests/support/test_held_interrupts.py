"""Ctrl-C within a `with` block is raised at its end for any handler, and only in the main thread."""

import signal
from threading import Thread

import pytest

from minillm.support.interrupts import defer_interrupts


@pytest.fixture(autouse=True)
def heard():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def test_the_block_is_done_whole_and_the_first_interrupt_raised_at_its_end():
    done, told = [], []
    with pytest.raises(KeyboardInterrupt) as caught, defer_interrupts(told.append):
        press_ctrl_c()
        press_ctrl_c()
        done.append(len(told))
    assert done == [2] and told[0] is caught.value
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_that_raises_nothing_is_called_at_once():
    heard = []
    signal.signal(signal.SIGINT, lambda *arguments: heard.append(arguments[0]))
    with defer_interrupts():
        press_ctrl_c()
        assert heard == [signal.SIGINT]


def test_blocks_within_blocks_raise_at_the_end_of_the_outermost():
    done = []
    with pytest.raises(KeyboardInterrupt), defer_interrupts():
        with defer_interrupts():
            press_ctrl_c()
        done.append("behind the inner one")
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_within_is_raised_where_nothing_was_heard():
    with pytest.raises(ZeroDivisionError), defer_interrupts():
        1 / 0  # noqa: B018
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_what_is_not_handled_in_python_stays_as_it_is(handler):
    signal.signal(signal.SIGINT, handler)
    with defer_interrupts():
        assert signal.getsignal(signal.SIGINT) == handler


def test_another_thread_has_nothing_to_hold():
    found = []

    def work():
        with defer_interrupts():
            found.append(signal.getsignal(signal.SIGINT))

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
