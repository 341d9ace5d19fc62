"""The events of a run, every number with its step, epoch and time: written as truth, mirrored, read and digested."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepdiva.runs.lines import LineLog, read_lines
from deepdiva.runs.storage import Storage, canonical_json
from deepdiva.runs.tensorboard import Mirror

SYSTEM = "system/"
"""Tags that start so measure the machine (time, memory): they are no part of a run's digest."""

Event = Mapping[str, Any]
"""Numbers of one step: `{"step": int, "epoch": int, "values": {tag: float}, "time": seconds since 1970}`."""


class EventLog:
    """Writes events to `events.jsonl`, the truth, and to TensorBoard, its mirror.

    Args:
        path: The file `events.jsonl`.
        storage: Where changes go.
        mirror: The TensorBoard files; None for a run without.
    """

    def __init__(self, path: Path, storage: Storage, mirror: Mirror | None = None) -> None:
        self._log = LineLog(path, storage)
        self._mirror = mirror

    def append(self, events: Sequence[Event]) -> None:
        """Take a block of events; they reach the disk within a few seconds."""
        self._log.append(events)
        if self._mirror is not None:
            self._mirror.scalars(events)

    def flush(self) -> None:
        """Hand everything to the operating system: it survives a kill of this process."""
        self._log.flush()
        if self._mirror is not None:
            self._mirror.flush()

    def sync(self) -> int:
        """Wait until the disk holds all events so far (the mirror can be rebuilt); gives the size of the log."""
        return self._log.sync()


def read_events(path: Path, tag: str | None = None) -> Iterator[dict[str, Any]]:
    """All events of an `events.jsonl`, or those that carry `tag`."""
    return (event for event in read_lines(path) if tag is None or tag in event["values"])


def series(path: Path, tag: str) -> tuple[list[int], list[float]]:
    """Steps and values of one tag, as a curve needs them."""
    pairs = [(event["step"], event["values"][tag]) for event in read_events(path, tag)]
    return [step for step, _ in pairs], [value for _, value in pairs]


def metrics_digest(path: Path) -> str:
    """SHA-256 of what a repetition must give again: all events without their times and measures of the machine."""
    digest = hashlib.sha256()
    for event in read_events(path):
        values = {tag: value for tag, value in event["values"].items() if not tag.startswith(SYSTEM)}
        if values:
            text = canonical_json({"step": event["step"], "epoch": event["epoch"], "values": values})
            digest.update(f"{text}\n".encode())
    return digest.hexdigest()
