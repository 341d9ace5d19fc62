"""The bytes of TensorBoard's event files, quick enough for every step.

The usual writer takes 40 µs a scalar, most of it in a pure-Python checksum. Here the events that carry the same tags
are one table of bytes: one serialised event is the pattern, and numpy fills in times, steps, values and checksums.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from deepdiva.runs.checksum import masked_crc32c

if TYPE_CHECKING:
    import numpy as np
    from tensorboard.compat.proto.summary_pb2 import Summary

_HEADER = 12  # a record begins with its length (8 bytes) and the checksum of that, and ends with its own
_STEP_BYTES = 5  # protobuf holds seven bits a byte: enough for 34 billion steps
_LARGE_STEP = 1 << 28  # the smallest number that takes five bytes by itself


def opening() -> bytes:
    """What an event file begins with; the second event makes a running TensorBoard forget an earlier file's points."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    now = time.time()
    version = Event(wall_time=now, file_version="brain.Event:2")
    start = Event(wall_time=now, session_log=SessionLog(status=SessionLog.START))
    return _framed(version.SerializeToString()) + _framed(start.SerializeToString())


def encode_value(value: Summary.Value, *, step: int, wall_time: float) -> bytes:
    """One event with one value of any kind."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    return _framed(Event(wall_time=wall_time, step=step, summary=Summary(value=[value])).SerializeToString())


def encode_scalars(events: Sequence[Mapping[str, Any]]) -> bytes:
    """Events of scalars as a run logs them, in their order."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, event in enumerate(events):
        alike.setdefault(tuple(event["values"]), []).append(place)
    encoded = [b""] * len(events)
    for tags, places in alike.items():
        table = _encode_alike(tags, [events[place] for place in places])
        size = len(table) // len(places)
        for row, place in enumerate(places):
            encoded[place] = table[row * size : (row + 1) * size]
    return b"".join(encoded)


def _encode_alike(tags: tuple[str, ...], events: Sequence[Mapping[str, Any]]) -> bytes:
    """Events that all carry the same tags."""
    import numpy as np

    pattern, layout = _pattern(tags)
    buffer = bytearray(pattern * len(events))
    rows = np.frombuffer(buffer, dtype=layout)  # a view: a copy would leave out the bytes between the fields
    steps = np.array([event["step"] for event in events], dtype=np.int64)
    shifts, more = np.array([0, 7, 14, 21, 28]), np.array([128, 128, 128, 128, 0])
    rows["time"] = [event["time"] for event in events]
    rows["step"] = (steps[:, None] >> shifts) & 127 | more
    values = np.array([list(event["values"].values()) for event in events], dtype=np.float64)
    with np.errstate(over="ignore"):  # TensorBoard keeps 32 bits
        for place in range(len(tags)):
            rows[f"value {place}"] = values[:, place]
    table = np.frombuffer(buffer, dtype=np.uint8).reshape(len(events), -1)
    rows["checksum"] = masked_crc32c(table[:, _HEADER:-4])
    return bytes(buffer)


@lru_cache(maxsize=256)
def _pattern(tags: tuple[str, ...]) -> tuple[bytes, np.dtype[np.void]]:
    """One framed event with these tags, and where in it the parts stand that differ from event to event."""
    import numpy as np
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=tag, simple_value=1.0) for tag in tags]
    summary = Summary(value=values)
    data = Event(wall_time=1.0, step=_LARGE_STEP, summary=summary).SerializeToString()
    # Field by field: a byte of key before time (8 bytes) and step, then the summary, which ends the event; each value
    # has a key and a length of its own before it, and ends in its number.
    ends = accumulate(Summary(value=[value]).ByteSize() for value in values)
    first = _HEADER + len(data) - summary.ByteSize()
    fields = {
        "time": ("<f8", _HEADER + 1),
        "step": ((np.uint8, _STEP_BYTES), _HEADER + 10),
        "checksum": ("<u4", _HEADER + len(data)),
        **{f"value {place}": ("<f4", first + end - 4) for place, end in enumerate(ends)},
    }
    record = _framed(data)
    formats, offsets = zip(*fields.values(), strict=True)
    layout = {"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": len(record)}
    return record, np.dtype(layout)  # type: ignore[call-overload]


def _framed(data: bytes) -> bytes:
    header = struct.pack("<Q", len(data))
    return header + _checksum(header) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    import numpy as np

    return struct.pack("<I", int(masked_crc32c(np.frombuffer(data, dtype=np.uint8)[None])[0]))
