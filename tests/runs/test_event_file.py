"""Event files: the bytes that TensorBoard's own library would write, up to how it spells a step."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c

from deepdiva.runs.event_file import encode_scalars, encode_value, opening


def unpack(data: bytes) -> list[Event]:
    """The events in the bytes of a file, all checksums checked."""
    events = []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        assert struct.unpack("<I", data[8:12]) == (masked_crc32c(data[:8]),)
        assert struct.unpack("<I", data[12 + length : 16 + length]) == (masked_crc32c(body),)
        events.append(Event.FromString(body))
        data = data[16 + length :]
    return events


TAGS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=150)
VALUES = st.dictionaries(TAGS, st.floats(width=32), min_size=1, max_size=5)
EVENTS = st.builds(
    lambda step, values, time: {"step": step, "epoch": 0, "values": values, "time": time},
    st.integers(0, 2**35 - 1),
    VALUES,
    st.floats(0, 1e10),
)


@given(st.lists(EVENTS, max_size=5))
def test_scalars_read_back_in_their_order(events):
    for event, read in zip(events, unpack(encode_scalars(events)), strict=True):
        assert (read.step, read.wall_time) == (event["step"], event["time"])
        values = {value.tag: value.simple_value for value in read.summary.value}
        assert struct.pack(f"{len(values)}f", *values.values()) == struct.pack(
            f"{len(values)}f", *event["values"].values()
        )
        assert list(values) == list(event["values"])


def test_events_of_different_kinds_keep_their_places():
    events = [
        {"step": step, "epoch": 0, "values": {"a": 1.0} if step % 3 else {"b": 2.0, "a": 3.0}, "time": 5.0}
        for step in range(50)
    ]
    assert [event.step for event in unpack(encode_scalars(events))] == list(range(50))


def test_an_event_without_values_is_one_too():
    (event,) = unpack(encode_scalars([{"step": 3, "epoch": 0, "values": {}, "time": 5.0}]))
    assert event.step == 3


@pytest.mark.parametrize(("value", "kept"), [(1e300, math.inf), (-1e300, -math.inf), (1e-300, 0.0), (7, 7.0)])
def test_numbers_that_32_bits_cannot_hold_become_the_nearest_that_they_can(value, kept):
    (event,) = unpack(encode_scalars([{"step": 1, "epoch": 0, "values": {"a": value}, "time": 5.0}]))
    assert event.summary.value[0].simple_value == kept


def test_scalars_of_numpy_will_do():
    values = {"a": np.float32(0.5), "b": np.int64(3), "c": True}
    (event,) = unpack(encode_scalars([{"step": np.int64(1), "epoch": 0, "values": values, "time": 5.0}]))
    assert [value.simple_value for value in event.summary.value] == [0.5, 3.0, 1.0]


def test_any_other_value_is_framed_as_it_is():
    value = Summary.Value(tag="text", image=Summary.Image(height=1, width=2))
    (event,) = unpack(encode_value(value, step=4, wall_time=5.0))
    assert event == Event(step=4, wall_time=5.0, summary=Summary(value=[value]))


def test_a_file_opens_with_its_version_and_a_start():
    version, start = unpack(opening())
    assert version.file_version == "brain.Event:2"
    assert start.session_log.status == start.session_log.START
