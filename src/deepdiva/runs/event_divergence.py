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


class _Numbers(NamedTuple):
    """All numbers of one step, as they were written down."""

    step: int
    tags: tuple[str, ...]
    epochs: tuple[int, ...]
    bits: bytes  # of all values, so that NaN equals itself, and 0.0 is not -0.0


def first_event_difference(
    a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]], *, before: int | None = None
) -> tuple[EventDifference | None, EventDifference | None]:
    """The first number that both runs have written down and that differs in any bit; and the first that only one has.

    The second is looked for only as far as the first.

    Args:
        a: The events of one run, in their order.
        b: Those of the other.
        before: The step from which on nothing is compared any more; None compares all.

    Raises:
        StorageError: Something is no event.
    """
    missing = None
    for ours, theirs in _side_by_side(a, b):
        step = (ours or theirs or _NOTHING).step
        if before is not None and step >= before:
            break
        if ours is not None and theirs is not None and ours[1:] == theirs[1:]:
            continue
        different, lacking = _compare(step, _entries(ours), _entries(theirs))
        missing = missing or lacking
        if different is not None:
            return different, missing
    return None, missing


_NOTHING = _Numbers(0, (), (), b"")
_Entries = dict[str, tuple[float, int]]


def _compare(step: int, a: _Entries, b: _Entries) -> tuple[EventDifference | None, EventDifference | None]:
    """Of the numbers of one step the first that differs, and the first that only one has."""
    different = missing = None
    for tag in dict.fromkeys([*a, *b]):
        ours, theirs = a.get(tag), b.get(tag)
        epoch = (ours or theirs or (0.0, 0))[1]
        found = EventDifference(step, epoch, tag, ours and ours[0], theirs and theirs[0])
        if ours is None or theirs is None:
            missing = missing or found
        elif struct.pack(">d", ours[0]) != struct.pack(">d", theirs[0]):
            different = different or found
    return different, missing


def _entries(numbers: _Numbers | None) -> _Entries:
    """Value and epoch by tag; of a tag that was written twice at one step the last."""
    if numbers is None:
        return {}
    values = struct.unpack(f">{len(numbers.tags)}d", numbers.bits)
    return dict(zip(numbers.tags, zip(values, numbers.epochs, strict=True), strict=True))


def _side_by_side(
    a: Iterable[Mapping[str, Any]], b: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[_Numbers | None, _Numbers | None]]:
    """What both runs wrote at every step that one of them has, in order."""
    ours, theirs = _by_step(a), _by_step(b)
    left, right = next(ours, None), next(theirs, None)
    while left is not None or right is not None:
        if left is not None and (right is None or left.step < right.step):
            yield left, None
            left = next(ours, None)
        elif right is not None and (left is None or right.step < left.step):
            yield None, right
            right = next(theirs, None)
        else:
            yield left, right
            left, right = next(ours, None), next(theirs, None)


def _by_step(events: Iterable[Mapping[str, Any]]) -> Iterator[_Numbers]:
    """All numbers of a step together, without the measures of the machine."""
    for step, group in groupby(events, key=_step):
        tags: list[str] = []
        values: list[float] = []
        epochs: list[int] = []
        for event in group:
            found, epoch = event.get("values"), event.get("epoch", 0)
            if not isinstance(found, dict) or not isinstance(epoch, int):
                raise StorageError(_NO_EVENT)
            kept = [tag for tag in found if not tag.startswith(SYSTEM)]
            tags += kept
            values += [found[tag] for tag in kept]
            epochs += [epoch] * len(kept)
        if tags:
            yield _Numbers(step, tuple(tags), tuple(epochs), _packed(values))


def _packed(values: list[Any]) -> bytes:
    try:
        return struct.pack(f">{len(values)}d", *values)
    except (struct.error, OverflowError) as error:
        raise StorageError(_NO_EVENT) from error


def _step(event: Any) -> int:
    step = event.get("step") if isinstance(event, dict) else None
    if not isinstance(step, int):
        raise StorageError(_NO_EVENT)
    return step
