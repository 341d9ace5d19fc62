"""Line logs: a torn end is passed over, damage is named, and what was synchronised is never lost."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.runs.lines import LineLog, cut, intact_size, read_lines, records_around
from deepdiva.runs.storage import Storage, StorageError

RECORDS = [{"step": step, "name": "ü" * step, "value": step / 3} for step in range(12)]


def written(path, records=RECORDS):
    log = LineLog(path)
    log.append(records)
    log.flush()
    return path


def test_records_read_back(tmp_path):
    assert list(read_lines(written(tmp_path / "log"))) == RECORDS


def test_a_line_is_a_checksum_and_one_json_text(tmp_path):
    assert written(tmp_path / "log", [{"b": 1, "a": 0.5}]).read_bytes() == b'4b93cecc {"a":0.5,"b":1}\n'


def test_no_file_is_no_records(tmp_path):
    assert list(read_lines(tmp_path / "log")) == []
    assert intact_size(tmp_path / "log") == 0


def test_every_torn_end_is_passed_over_and_continued(tmp_path):
    path = written(tmp_path / "log")
    whole = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        intact = sum(end <= size for end in ends)
        assert list(read_lines(path)) == RECORDS[:intact]
        log = LineLog(path)
        log.append([{"step": -1}])
        log.flush()
        assert list(read_lines(path)) == [*RECORDS[:intact], {"step": -1}]


@pytest.mark.parametrize("rest", [b"\0" * 500, b"\0" * 50 + b"\n" + b"\0" * 50, b"\n", b"garbage\n\n"])
def test_garbage_at_the_end_is_a_torn_end(tmp_path, rest):
    path = written(tmp_path / "log")
    with path.open("ab") as file:
        file.write(rest)
    assert list(read_lines(path)) == RECORDS


@given(st.data())
def test_any_changed_byte_with_an_intact_line_behind_it_is_named(tmp_path_factory, data):
    path = written(tmp_path_factory.mktemp("logs") / "log")
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, content.rindex(b"\n", 0, -1) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    number = path.read_bytes()[:place].count(b"\n") + 1
    with pytest.raises(StorageError, match=rf"log, line {number}: .* checksum"):
        list(read_lines(path))


def test_damage_is_found_before_anything_is_appended(tmp_path):
    path = written(tmp_path / "log")
    path.write_bytes(path.read_bytes().replace(b'"step":3', b'"step":4'))
    with pytest.raises(StorageError, match="line 4"):
        LineLog(path)


def test_records_wait_until_the_clock_says_so(tmp_path):
    path = tmp_path / "log"
    patient, hasty = LineLog(path, flush_seconds=1000), LineLog(tmp_path / "hasty", flush_seconds=-1)
    patient.append(RECORDS)
    hasty.append(RECORDS)
    assert not path.exists()
    assert len(list(read_lines(tmp_path / "hasty"))) == 12
    patient.flush()
    assert len(list(read_lines(path))) == 12


def written_one_by_one(path):
    """All records at `path`; the size of the log before each of them, and at the end."""
    log, places = LineLog(path), []
    for record in RECORDS:
        places.append(log.sync())
        log.append([record])
    return [*places, log.sync()]


def test_a_log_is_cut_to_where_it_was_synchronised(tmp_path):
    path = tmp_path / "log"
    places = written_one_by_one(path)
    with path.open("ab") as file:
        file.write(b"torn")
    for count in reversed(range(12)):
        cut(path, places[count], Storage())
        assert list(read_lines(path)) == RECORDS[:count]
    cut(tmp_path / "none", 0, Storage())


def test_the_records_before_and_after_a_place(tmp_path):
    path = tmp_path / "log"
    *places, end = written_one_by_one(path)
    assert records_around(path, 0) == (None, RECORDS[0])
    assert records_around(path, places[5]) == (RECORDS[4], RECORDS[5])
    assert records_around(path, end) == (RECORDS[-1], None)
    assert records_around(tmp_path / "none", 0) == (None, None)
    assert path.stat().st_size == end


@pytest.mark.parametrize("size", [7, 10_000])
def test_a_log_without_the_place_of_the_checkpoint_is_refused(tmp_path, size):
    path = written(tmp_path / "log")
    with pytest.raises(StorageError, match=f"no record ends at byte {size}"):
        cut(path, size, Storage())


def test_a_log_of_a_run_that_has_ended_has_no_torn_end(tmp_path):
    path = written(tmp_path / "log")
    size = path.stat().st_size
    assert list(read_lines(path, size=size)) == RECORDS
    for damage in (b"", b"torn"):
        path.write_bytes(path.read_bytes()[: size - 5] + damage)
        with pytest.raises(StorageError, match=f"and {size:,} were written"):
            list(read_lines(path, size=size))


@pytest.mark.parametrize("text", [b"[1]", b"{", b"[" * 100_000, b"1"])
def test_a_line_that_fits_its_checksum_and_is_no_record(tmp_path, text):
    (tmp_path / "log").write_bytes(b"%08x %b\n" % (zlib.crc32(text), text))
    with pytest.raises(StorageError, match="was not written by DeepDIVA"):
        list(read_lines(tmp_path / "log"))


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(StorageError, match="line 1: longer than 16,777,216 bytes"):
        list(read_lines(tmp_path / "log"))


def tell_a_story(log, seen):
    """Append in blocks, synchronise twice; `seen` collects how many records were promised to be safe."""
    for place in range(0, 12, 3):
        log.append(RECORDS[place : place + 3])
        log.flush()
        if place % 6 == 3:
            log.sync()
            seen.append(place + 3)


def test_a_kill_at_any_call_loses_nothing_that_was_flushed(disks, tmp_path):
    system = disks.FaultySystem()
    tell_a_story(LineLog(tmp_path / "count", Storage(system)), [])
    for at in range(system.count):
        path, seen = tmp_path / f"{at}", []
        with contextlib.suppress(disks.Killed):
            tell_a_story(LineLog(path, Storage(disks.FaultySystem(at, "kill"))), seen)
        records = list(read_lines(path))
        assert records == RECORDS[: len(records)]
        assert len(records) >= max(seen, default=0)


@pytest.mark.parametrize("fault", ["ENOSPC", "EIO", "short"])
def test_an_error_at_any_call_keeps_the_log_whole_and_waiting_records_for_later(disks, tmp_path, fault):
    system = disks.FaultySystem()
    tell_a_story(LineLog(tmp_path / "count", Storage(system)), [])
    for at in range(system.count):
        path = tmp_path / f"{fault}-{at}"
        log = LineLog(path, Storage(disks.FaultySystem(at, fault)))
        for place in range(0, 12, 3):
            log.append(RECORDS[place : place + 3])
            with contextlib.suppress(StorageError):
                log.sync()
        log.sync()
        assert list(read_lines(path)) == RECORDS


def survives_power_cuts(disks, folder, storage_of):
    folder.mkdir()
    tape, path, seen, marks = disks.Tape(), folder / "log", [], [(0, 0)]
    log = LineLog(path, storage_of(tape))
    for place in range(0, 12, 3):
        log.append(RECORDS[place : place + 3])
        log.sync() if place % 6 == 3 else log.flush()
        marks += [(len(tape.calls), place + 3)] if place % 6 == 3 else []
    for number, (end, disk) in enumerate(disks.power_cuts(tape.calls)):
        promised = max(count for calls, count in marks if calls <= end)
        copy = folder / f"{number}"
        copy.write_bytes(disk.get(path) or b"")
        records = list(read_lines(copy))
        seen.append(records == RECORDS[: len(records)] and len(records) >= promised)
    return all(seen)


def test_a_power_cut_loses_nothing_that_was_synchronised(disks, tmp_path):
    assert survives_power_cuts(disks, tmp_path / "disk", Storage)


class Forgetful(Storage):
    def sync(self, path):
        pass


def test_the_test_of_power_cuts_notices_a_log_that_is_not_synchronised(disks, tmp_path):
    assert not survives_power_cuts(disks, tmp_path / "disk", Forgetful)
