"""Work shared out to forked processes: for Python code that threads cannot run side by side."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, NoReturn, TypeVar

from deepdiva.data.files import default_threads, in_threads
from deepdiva.errors import RunFailed

Item = TypeVar("Item")
Result = TypeVar("Result")

LENGTH_BYTES = 8


def shared_out(
    work: Callable[[Item], Result], items: Sequence[Item], *, workers: int | None = None
) -> Iterator[Result]:
    """`work` of every item, in the order of the items: in processes where forking is safe, otherwise in threads.

    Args:
        work: A function without effects outside of what it returns.
        items: What to work on; a few milliseconds each.
        workers: How many work at the same time; None takes as many as there are cores, up to 8.
    """
    count = min(default_threads() if workers is None else workers, len(items))
    if count > 1 and can_fork():
        return in_processes(work, items, workers=count)
    return in_threads(work, items, threads=count)


def can_fork() -> bool:
    """Whether a forked process would find nothing locked: no thread of Python, and no torch with threads of its own."""
    return sys.platform == "linux" and "torch" not in sys.modules and threading.active_count() == 1


def in_processes(work: Callable[[Item], Result], items: Sequence[Item], *, workers: int) -> Iterator[Result]:
    """`work` of every item, in the order of the items, in `workers` forked processes.

    Each process takes every n-th item and writes its results into a pipe of its own, which holds it back when it is
    too far ahead. A process whose reader is gone ends by itself.

    Raises:
        RunFailed: A process was killed, for example for want of memory.
    """
    pipes: list[BinaryIO] = []
    children: list[int] = []
    try:
        for number in range(workers):
            reading, writing = os.pipe()
            with warnings.catch_warnings():
                # Python warns of threads that libraries such as OpenBLAS keep; those are made to be forked.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                for pipe in pipes:
                    os.close(pipe.fileno())
                os.close(reading)
                _serve(work, items[number::workers], writing)
            os.close(writing)
            pipes.append(os.fdopen(reading, "rb"))
            children.append(child)
        for place in range(len(items)):
            yield _receive(pipes[place % workers])
    finally:
        for pipe in pipes:
            pipe.close()
        for child in children:
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


def _serve(work: Callable[[Item], Result], items: Sequence[Item], writing: int) -> NoReturn:
    """The life of a forked process."""
    try:
        # Ctrl-C reaches all processes; this one is ended by the one that reads.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with os.fdopen(writing, "wb") as pipe:
            for item in items:
                done, message = _done(work, item)
                pipe.write(len(message).to_bytes(LENGTH_BYTES, "big") + message)
                if not done:
                    break
    finally:
        # Nothing of what the first process has begun may be finished twice: files, locks, handlers.
        os._exit(0)


def _done(work: Callable[[Item], Result], item: Item) -> tuple[bool, bytes]:
    """Whether the work could be done, and a message with its result or with what went wrong."""
    try:
        return True, pickle.dumps((True, work(item)), pickle.HIGHEST_PROTOCOL)
    except Exception:
        return False, pickle.dumps((False, traceback.format_exc()))


def _receive(pipe: BinaryIO) -> Any:
    size = int.from_bytes(pipe.read(LENGTH_BYTES), "big")
    message = pipe.read(size)
    if not size or len(message) < size:
        raise RunFailed("a process that read images was killed", "often for want of memory: use fewer --workers")
    done, result = pickle.loads(message)
    if not done:
        raise RuntimeError(f"a process that read images failed:\n{result}")
    return result
