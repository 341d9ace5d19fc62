"""The first signal is noted, the second Ctrl-C is heeded at once, and afterwards all is as before."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from deepdiva.engine.interrupt import SIGNALS, Interrupted, Interruption, leave_to_parent


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_only_waits_for_the_check(number: signal.Signals):
    with Interruption() as interruption:
        interruption.check()
        os.kill(os.getpid(), number)
        assert interruption.requested == number
        with pytest.raises(KeyboardInterrupt, match=number.name):
            interruption.check()


@pytest.mark.parametrize("number", SIGNALS)
def test_a_scheduler_is_told_to_try_again_and_a_person_is_not(number: signal.Signals):
    with Interruption() as interruption:
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted) as caught:
            interruption.check()
    assert caught.value.exit_code == (130 if number == signal.SIGINT else 75)


@pytest.mark.parametrize("number", SIGNALS)
def test_where_there_is_no_step_to_be_ended_the_first_signal_is_enough(number: signal.Signals):
    with Interruption(at_once=True), pytest.raises(Interrupted, match=number.name):
        os.kill(os.getpid(), number)


def test_what_follows_the_first_signal_is_only_disturbed_by_a_person():
    with Interruption(at_once=True):
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGTERM)  # Slurm's, when the run ends too slowly
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_worker_goes_on_through_every_signal_that_is_not_its_parents():
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        leave_to_parent()
        for number in SIGNALS:
            os.kill(os.getpid(), number)
        while signal.sigpending():  # a second SIGTERM would be lost in the one that waits
            time.sleep(0.01)
        os.write(writer, b"alive")
        time.sleep(60)
        os._exit(1)
    assert os.read(reader, 5) == b"alive"
    os.kill(child, signal.SIGINT)
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(reader)
    os.close(writer)


def test_a_worker_does_not_outlive_a_parent_that_was_killed():
    reader, writer = os.pipe()
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            leave_to_parent()
            os.write(writer, b"alive")
        time.sleep(600)
        os._exit(1)
    os.close(writer)
    assert os.read(reader, 5) == b"alive"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert os.read(reader, 1) == b""  # nobody is left who could write
    os.close(reader)


@pytest.mark.parametrize("first", SIGNALS)
def test_a_second_ctrl_c_interrupts_at_once(first: signal.Signals):
    with Interruption():
        os.kill(os.getpid(), first)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_scheduler_may_repeat_itself():
    with Interruption() as interruption:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.requested == signal.SIGTERM


def test_handlers_are_put_back_also_after_an_error():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(LookupError), Interruption():
        assert signal.getsignal(signal.SIGINT) != before[0]
        raise LookupError
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_outside_the_main_thread_signals_keep_their_meaning():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Interruption() as interruption:
            interruption.check()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
