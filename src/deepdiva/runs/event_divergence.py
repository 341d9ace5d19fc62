"""The first event in which two runs differ, whatever the one has written down and the other has not."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from deepdiva.runs.events import SYSTEM
from deepdiva.runs.storage import StorageError

_NO_EVENT = "events.jsonl holds something that is no event"


@dataclass(frozen=True)
class EventDifference:
    """A number that is not the same in two runs; None where one has none."""

    step: int
    epoch: int
    tag: str
    a: float | None
    b: float | None


class _Entry(NamedTuple):
    """One number of an event."""

    value: float
    epoch: int

    @property
    def bits(self) -> bytes:
        """The value so that NaN equals itself, and 0.0 is not -0.0."""
        return struct.pack(">d", self.value)


Entries = dict[str, _Entry]


def first_event_difference(
    a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]], *, before: int | None = None
) -> EventDifference | None:
    """The first number that both runs have written down and that differs in any bit.

    Args:
        a: The events of one run, in their order.
        b: Those of the other.
        before: The step from which on nothing is compared any more; None compares all.

    Raises:
        StorageError: Something is no event.
    """
    for step, ours, theirs in _side_by_side(a, b):
        if before is not None and step >= before:
            return None
        for tag, (value, epoch) in ours.items():
            if tag in theirs and ours[tag].bits != theirs[tag].bits:
                return EventDifference(step, epoch, tag, value, theirs[tag].value)
    return None


def first_missing_event(a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]]) -> EventDifference | None:
    """The first number that only one of two runs has written down."""
    for step, ours, theirs in _side_by_side(a, b):
        for tag, (value, epoch) in ours.items():
            if tag not in theirs:
                return EventDifference(step, epoch, tag, value, None)
        for tag, (value, epoch) in theirs.items():
            if tag not in ours:
                return EventDifference(step, epoch, tag, None, value)
    return None


def _side_by_side(
    a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[int, Entries, Entries]]:
    """What both runs wrote at every step that one of them has, in order."""
    ours, theirs = _by_step(a), _by_step(b)
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        if left is not None and (right is None or left[0] < right[0]):
            yield *left, {}
            left = next(ours, None)
        elif right is not None and (left is None or right[0] < left[0]):
            yield right[0], {}, right[1]
            right = next(theirs, None)
        elif left is not None and right is not None:
            yield *left, right[1]
            left, right = next(ours, None), next(theirs, None)


def _by_step(events: Iterable[Mapping[str, Any]]) -> Iterator[tuple[int, Entries]]:
    """All numbers of a step together, without the measures of the machine."""
    for step, group in groupby(events, key=_step):
        entries: Entries = {}
        for event in group:
            entries |= _entries(event)
        if entries:
            yield step, entries


def _step(event: Any) -> int:
    step = event.get("step") if isinstance(event, dict) else None
    if not isinstance(step, int):
        raise StorageError(_NO_EVENT)
    return step


def _entries(event: Mapping[str, Any]) -> Entries:
    values, epoch = event.get("values"), event.get("epoch", 0)
    if not isinstance(values, dict) or not isinstance(epoch, int):
        raise StorageError(_NO_EVENT)
    try:
        return {tag: _Entry(float(value), epoch) for tag, value in values.items() if not tag.startswith(SYSTEM)}
    except (TypeError, ValueError, OverflowError) as error:
        raise StorageError(_NO_EVENT) from error
