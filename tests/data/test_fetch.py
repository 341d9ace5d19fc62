from __future__ import annotations

import errno
import hashlib
import socket
from pathlib import Path

import pytest
from original_sets import random

from deepdiva.data.catalog import Published
from deepdiva.data.fetch import BLOCK, fetch
from deepdiva.errors import UserError
from deepdiva.runs.storage import System

CONTENT = random(3 * BLOCK + 123, seed=1).tobytes()
FILE = Published("file.bin", len(CONTENT), hashlib.md5(CONTENT).hexdigest())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder / FILE.name


class Full(System):
    """A disk with room for some bytes only."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = super().write(descriptor, data[: self.room])
        self.room -= written
        return written


def get(target: Path, *places: str, **given) -> list[float]:
    pauses: list[float] = []
    fetch(FILE, target, places, pause=pauses.append, **given)
    return pauses


def listed(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def test_a_file_comes_whole_and_progress_is_told(site, target):
    site.files["a/file.bin"] = CONTENT
    told: list[tuple[str, int, int]] = []
    get(target, f"{site.address}/a/file.bin", report=lambda *news: told.append(news))
    assert target.read_bytes() == CONTENT
    assert listed(target) == ["file.bin"]
    assert told[-1] == ("file.bin", len(CONTENT), len(CONTENT))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


def test_a_broken_connection_goes_on_where_it_ended(site, target):
    site.files["file.bin"] = CONTENT
    site.faults["file.bin"] = [("cut", 1000), ("cut", BLOCK), ("cut", 0)]
    pauses = get(target, f"{site.address}/file.bin")
    assert target.read_bytes() == CONTENT
    ranges = [None, "bytes=1000-", f"bytes={1000 + BLOCK}-", f"bytes={1000 + BLOCK}-"]
    assert [wanted for _, wanted in site.asked] == ranges
    assert len(pauses) == 3


def test_a_later_call_goes_on_where_an_earlier_one_was_stopped(site, target):
    site.files["file.bin"] = CONTENT

    def stop(name: str, done: int, total: int) -> None:
        if done > BLOCK:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(target, f"{site.address}/file.bin", report=stop)
    assert listed(target) == ["file.bin.part"]
    kept = (target.parent / "file.bin.part").stat().st_size
    assert kept > BLOCK
    get(target, f"{site.address}/file.bin")
    assert site.asked[-1] == ("file.bin", f"bytes={kept}-")
    assert target.read_bytes() == CONTENT
    assert listed(target) == ["file.bin"]


def test_a_server_without_ranges_begins_anew(site, target):
    site.files["file.bin"] = CONTENT
    site.faults["file.bin"] = [("cut", 5000), ("whole",)]
    get(target, f"{site.address}/file.bin")
    assert target.read_bytes() == CONTENT


def test_another_range_than_asked_for_is_not_appended(site, target):
    site.files["file.bin"] = CONTENT
    site.faults["file.bin"] = [("cut", 5000), ("shifted",)]
    get(target, f"{site.address}/file.bin")
    assert target.read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == [None, "bytes=5000-", None]


def test_a_part_of_something_else_is_fetched_anew(site, target):
    site.files["file.bin"] = CONTENT
    (target.parent / "file.bin.part").write_bytes(b"of another file")
    get(target, f"{site.address}/file.bin")
    assert target.read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == ["bytes=15-", None]


@pytest.mark.parametrize("extra", [b"", b"too much"])
def test_a_part_that_is_whole_needs_no_network_unless_it_is_too_long(site, target, extra):
    site.files["file.bin"] = CONTENT
    (target.parent / "file.bin.part").write_bytes(CONTENT + extra)
    get(target, f"{site.address}/file.bin")
    assert target.read_bytes() == CONTENT
    assert len(site.asked) == (1 if extra else 0)


def test_a_wrong_checksum_leaves_nothing(site, target):
    site.files["file.bin"] = b"x" * len(CONTENT)
    with pytest.raises(UserError, match=r"file\.bin could not be downloaded") as caught:
        get(target, f"{site.address}/file.bin")
    found = hashlib.md5(site.files["file.bin"]).hexdigest()
    assert f"its MD5 is {found}, {FILE.md5} was published" in caught.value.message
    assert listed(target) == []


def test_places_are_tried_in_order(site, target, tmp_path):
    site.files |= {"wrong/file.bin": b"x" * len(CONTENT), "short/file.bin": b"page", "right/file.bin": CONTENT}
    site.faults["busy/file.bin"] = [("status", 503)] * 9
    names = ("none", "wrong", "short", "busy", "right", "never")
    pauses = get(target, str(tmp_path / "absent"), *(f"{site.address}/{name}/file.bin" for name in names))
    assert target.read_bytes() == CONTENT
    asked = [path.partition("/")[0] for path, _ in site.asked]
    assert asked == ["none", "wrong", "short", *["busy"] * 5, "right"]
    assert pauses == [0.5, 1, 2, 4]


def test_every_place_is_named_when_none_has_the_file(site, target, tmp_path):
    site.files["wrong/file.bin"] = b"page"
    places = [f"{site.address}/gone/file.bin", f"{site.address}/wrong/file.bin", str(tmp_path / "file.bin")]
    with pytest.raises(UserError) as caught:
        get(target, *places)
    text = str(caught.value)
    for place, why in zip(places, ("answers 404", "has 4 bytes where", "cannot be read"), strict=True):
        assert f"{place}: {why}" in text
    assert "--mirror" in text
    assert listed(target) == []


def test_what_came_is_kept_when_the_connection_never_comes_back(site, target):
    site.files["file.bin"] = CONTENT
    site.faults["file.bin"] = [("cut", 2000), *[("cut", 0)] * 9]
    with pytest.raises(UserError) as caught:
        get(target, f"{site.address}/file.bin")
    assert "goes on after the 2.0 kB that are here" in (caught.value.hint or "")
    assert listed(target) == ["file.bin.part"]


def test_nobody_listens(target):
    with pytest.raises(UserError, match="refuses the connection"):
        get(target, "http://127.0.0.1:9/file.bin")
    assert listed(target) == []


def test_a_server_that_does_not_exist_is_asked_once(target, monkeypatch):
    def unknown(*words: object) -> None:
        asked.append(words)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    asked: list[object] = []
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(UserError, match="cannot be reached: Name or service not known"):
        get(target, "http://nowhere.invalid/file.bin")
    assert len(asked) == 1


def test_a_server_that_never_stops_is_stopped(site, target):
    site.files["file.bin"] = CONTENT
    site.faults["file.bin"] = [("endless",)]
    with pytest.raises(UserError, match="sends more than the"):
        get(target, f"{site.address}/file.bin")
    assert target.parent.joinpath("file.bin.part").stat().st_size <= len(CONTENT)


def test_a_file_on_this_machine_is_a_place_too(target, tmp_path):
    (tmp_path / "copy.bin").write_bytes(CONTENT)
    (target.parent / "file.bin.part").write_bytes(CONTENT[:777])
    get(target, str(tmp_path / "copy.bin"))
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("room", [0, 1000, BLOCK, 2 * BLOCK + 17])
def test_a_full_disk_leaves_nothing(site, target, room):
    site.files["file.bin"] = CONTENT
    with pytest.raises(UserError, match="no space left") as caught:
        get(target, f"{site.address}/file.bin", system=Full(room))
    assert "--to" in (caught.value.hint or "")
    assert listed(target) == []


def test_a_disk_that_is_full_at_the_last_moment_leaves_nothing(site, target):
    class Late(System):
        def fsync(self, descriptor: int) -> None:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    site.files["file.bin"] = CONTENT
    with pytest.raises(UserError, match="quota"):
        get(target, f"{site.address}/file.bin", system=Late())
    assert listed(target) == []
