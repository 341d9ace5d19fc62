"""Ctrl-C and a scheduler's signals end a run at the end of a step, not in the middle of one."""

from __future__ import annotations

import functools
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Ctrl-C, the end that every scheduler announces, and the warnings of Slurm (USR1), LSF and Grid Engine (USR2)."""
CTRL_C_EXIT_CODE = 130
REQUEUE_EXIT_CODE = 75
"""What `EX_TEMPFAIL` of sysexits.h is: nothing is wrong, and the same command again goes on."""
_ASKED_EVERY = 1.0  # seconds between two looks whether the parent still lives


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end.

    Args:
        number: The signal.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.exit_code = CTRL_C_EXIT_CODE if number == signal.SIGINT else REQUEUE_EXIT_CODE


class Interruption:
    """While it is entered, the first signal only sets `requested`; a second SIGINT interrupts at once.

    Args:
        at_once: Whether the first signal interrupts at once too: there is no step to be ended.
    """

    def __init__(self, *, at_once: bool = False) -> None:
        self.requested: signal.Signals | None = None
        self._at_once = at_once
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interruption:
        # Only the main thread may set handlers; elsewhere the signals keep their meaning.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> None:
        """Raises `Interrupted` if a signal came."""
        if self.requested is not None:
            raise Interrupted(self.requested)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        is_first, received = self.requested is None, signal.Signals(number)
        if is_first:
            self.requested = received
        if self._at_once if is_first else received == signal.SIGINT:
            raise Interrupted(received)


def ended_at_once(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """The function, ended by the first of the signals: what it made for a time is removed, whichever it is."""

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        with Interruption(at_once=True):
            return function(*args, **kwargs)

    return call


def leave_to_parent() -> None:
    """For a process that works for a run: it goes on through the signals, which reach every process of a job.

    The run needs its workers to end a step, and ends them itself: SIGTERM counts when the parent sent it. A worker
    whose parent was killed ends by itself, whatever it is busy with.
    """
    import multiprocessing  # not by commands that only read, which import this module too

    for number in SIGNALS:
        if number != signal.SIGTERM:
            signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigtimedwait"):  # macOS does not tell who sent a signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    above = os.getppid()
    run = multiprocessing.parent_process()  # not the one above where a fork server stands between them
    threading.Thread(target=_end_with_parent, args=(run.pid if run and run.pid else above, above), daemon=True).start()


def _end_with_parent(run: int, above: int) -> None:
    """Ends this process when `run` sends SIGTERM, or when `run` or the process above this one has ended."""
    while os.getppid() == above and _exists(run):
        if hasattr(signal, "sigtimedwait"):
            received = signal.sigtimedwait({signal.SIGTERM}, _ASKED_EVERY)
            if received is not None and received.si_pid == run:
                break
        else:
            time.sleep(_ASKED_EVERY)
    os._exit(0)


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError:
        return False
    return True
