"""Entries are made safely among processes that start at once, are killed, or have no locks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepdiva.data import cache, decode, draft
from deepdiva.data.arrays import ArraySplits
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.streaming import Streamed


def only_entry() -> cache.Entry:
    (entry,) = cache.entries()
    return entry


def _load(root: Path, ready: Any, decoded: Any) -> None:
    decoding = decode.Decoding.decode

    def count(self: decode.Decoding, content: bytes) -> decode.Pixels:
        with decoded.get_lock():
            decoded.value += 1
        return decoding(self, content)

    decode.Decoding.decode = count  # type: ignore[method-assign]
    ready.wait()
    splits = load_image_folder(root)
    assert not isinstance(splits.train, Streamed)


def test_of_runs_that_start_at_once_one_decodes(root: Path):
    processes = multiprocessing.get_context("fork")
    ready, decoded = processes.Barrier(4), processes.Value("i", 0)
    started = [processes.Process(target=_load, args=(root, ready, decoded)) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * 4
    assert decoded.value == 18
    assert len(cache.entries()) == 1


def _build_slowly(root: Path, begun: Any) -> None:
    adding = draft.Draft.add

    def add(self: draft.Draft, images: decode.Pixels) -> None:
        adding(self, images)
        begun.set()
        time.sleep(60)

    draft.Draft.add = add  # type: ignore[method-assign]
    load_image_folder(root)


def test_what_a_killed_build_leaves_is_removed_later(root: Path, monkeypatch: pytest.MonkeyPatch):
    processes = multiprocessing.get_context("fork")
    begun = processes.Event()
    process = processes.Process(target=_build_slowly, args=(root, begun))
    process.start()
    assert begun.wait(30)
    monkeypatch.setattr(cache, "YOUNG_SECONDS", -1.0)
    cache.remove_leftovers()
    assert len(list(cache.directory().glob(".building*"))) == 1  # it is alive
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert cache.entries() == []
    assert not isinstance(load_image_folder(root).train, Streamed)
    assert not list(cache.directory().glob(".building*"))


def test_without_locks_the_first_to_end_is_believed(
    root: Path, monkeypatch: pytest.MonkeyPatch, contents: Callable[[ArraySplits], list[Any]]
):
    def refuse(handle: int, mode: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(cache.fcntl, "flock", refuse)
    expected = contents(load_image_folder(root))
    assert contents(load_image_folder(root)) == expected
    other = draft.Draft()
    other.add(np.zeros((18, 1, 5, 4), dtype=np.uint8))
    other.publish(only_entry().key, source="x", root="y", shape=(18, 1, 5, 4), decoding="z")
    assert contents(load_image_folder(root)) == expected
