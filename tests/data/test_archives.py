from __future__ import annotations

import errno
import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from original_sets import packed

from deepdiva.data.archives import gunzip, unpack
from deepdiva.errors import UserError
from deepdiva.runs.storage import System

MOST = 1 << 20


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    folder = tmp_path / "outer" / "inside"
    folder.mkdir(parents=True)
    return folder


def archive_of(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "set.tar.gz"
    path.write_bytes(content)
    return path


def with_entry(change: Callable[[tarfile.TarInfo], None], content: bytes = b"x") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        good = tarfile.TarInfo("good.txt")
        good.size = 4
        archive.addfile(good, io.BytesIO(b"good"))
        entry = tarfile.TarInfo("bad.txt")
        entry.size = len(content)
        change(entry)
        archive.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
    return buffer.getvalue()


def named(name: str) -> Callable[[tarfile.TarInfo], None]:
    def change(entry: tarfile.TarInfo) -> None:
        entry.name = name

    return change


def of_type(kind: bytes, target: str = "") -> Callable[[tarfile.TarInfo], None]:
    def change(entry: tarfile.TarInfo) -> None:
        entry.type, entry.linkname, entry.size = kind, target, 0

    return change


def test_files_and_folders_come_out_as_they_went_in(tmp_path, inside):
    files = {"a/one.bin": bytes(range(256)) * 9000, "a/b/two.txt": b"", "./three": b"3"}
    archive = archive_of(tmp_path, packed(files))
    assert unpack(archive, inside, most_bytes=1 << 22) == ["a/one.bin", "a/b/two.txt", "three"]
    for name, content in files.items():
        assert (inside / name).read_bytes() == content
    assert [path.name for path in (tmp_path / "outer").iterdir()] == ["inside"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (named("../escaped"), r"out of the folder: \.\./escaped"),
        (named("a/../../escaped"), "out of the folder"),
        (named("/etc/escaped"), "out of the folder"),
        (named("..\\escaped"), "out of the folder"),
        (named("good.txt"), "two entries of one name"),
        (named("good.txt/under"), "a folder in the place of a file"),
        (of_type(tarfile.SYMTYPE, "/etc/passwd"), "a link: bad.txt"),
        (of_type(tarfile.SYMTYPE, "good.txt"), "a link"),
        (of_type(tarfile.LNKTYPE, "../../secret"), "a link"),
        (of_type(tarfile.FIFOTYPE), "neither a file nor a folder"),
        (of_type(tarfile.CHRTYPE), "neither a file nor a folder"),
    ],
)
def test_entries_that_could_do_harm_are_refused(tmp_path, inside, change, said):
    archive = archive_of(tmp_path, with_entry(change))
    with pytest.raises(UserError, match=said) as caught:
        unpack(archive, inside, most_bytes=MOST)
    assert str(archive) in caught.value.message
    assert {path.name for path in tmp_path.rglob("*")} <= {"outer", "inside", "set.tar.gz", "good.txt"}


def test_a_link_made_by_an_earlier_entry_leads_nowhere(tmp_path, inside):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        link = tarfile.TarInfo("way")
        link.type, link.linkname = tarfile.SYMTYPE, ".."
        archive.addfile(link)
        entry = tarfile.TarInfo("way/escaped")
        archive.addfile(entry, io.BytesIO(b""))
    with pytest.raises(UserError, match="a link: way"):
        unpack(archive_of(tmp_path, buffer.getvalue()), inside, most_bytes=MOST)
    assert not (tmp_path / "outer" / "escaped").exists()


def test_more_than_expected_is_refused(tmp_path, inside):
    archive = archive_of(tmp_path, packed({"zeros": bytes(50 << 20)}))
    assert archive.stat().st_size < 100_000
    with pytest.raises(UserError, match="holds more than the 1,048,576 bytes"):
        unpack(archive, inside, most_bytes=MOST)
    assert sum(path.stat().st_size for path in inside.rglob("*")) <= 3 * MOST


def test_a_header_that_grows_without_end_is_refused(tmp_path, inside):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("a")
        entry.pax_headers = {"comment": "z" * (20 << 20)}
        archive.addfile(entry, io.BytesIO(b""))
    with pytest.raises(UserError, match="holds more than"):
        unpack(archive_of(tmp_path, buffer.getvalue()), inside, most_bytes=MOST)


def test_too_many_entries_are_refused(tmp_path, inside):
    archive = archive_of(tmp_path, packed({f"{place}": b"" for place in range(9)}))
    with pytest.raises(UserError, match="more than 8 entries"):
        unpack(archive, inside, most_bytes=MOST, most_files=8)


def test_a_truncated_archive_is_named_wherever_it_ends(tmp_path, inside):
    content = packed({"a": bytes(range(256)) * 20, "b": b"end"})
    for end in range(0, len(content), 7):
        archive = archive_of(tmp_path, content[:end])
        with pytest.raises(UserError, match=r"set\.tar\.gz (is truncated|is damaged)") as caught:
            unpack(archive, inside, most_bytes=MOST)
        assert end < 12 or "truncated" in caught.value.message
        for path in inside.iterdir():
            path.unlink()


def test_a_tar_that_ends_early_inside_a_whole_gzip_is_truncated(tmp_path, inside):
    whole = gzip.decompress(packed({"a": bytes(5000)}))
    archive = archive_of(tmp_path, gzip.compress(whole[:3000]))
    with pytest.raises(UserError, match="is truncated"):
        unpack(archive, inside, most_bytes=MOST)


def test_a_changed_byte_is_noticed(tmp_path, inside):
    content = bytearray(packed({"a": bytes(range(256)) * 20}))
    content[-6] ^= 1  # in the checksum, which stands behind all entries
    with pytest.raises(UserError, match="is damaged"):
        unpack(archive_of(tmp_path, bytes(content)), inside, most_bytes=MOST)


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive at all", gzip.compress(b""), gzip.compress(b"no tar" * 999)],
    ids=["empty", "text", "packed nothing", "packed text"],
)
def test_what_is_no_archive_is_said_to_be_none(tmp_path, inside, content):
    with pytest.raises(UserError, match=r"is truncated|is damaged|holds no files"):
        unpack(archive_of(tmp_path, content), inside, most_bytes=MOST)


def test_a_full_disk_is_named(tmp_path, inside):
    class Full(System):
        def write(self, descriptor: int, data: memoryview) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match="no space left") as caught:
        unpack(archive_of(tmp_path, packed({"a": b"1"})), inside, most_bytes=MOST, system=Full())
    assert "free some space" in (caught.value.hint or "")


def test_gunzip_has_a_limit():
    assert gunzip(gzip.compress(b"abc"), "x.gz", most_bytes=3) == b"abc"
    with pytest.raises(UserError, match=r"x\.gz holds more than the 1,000 bytes"):
        gunzip(gzip.compress(bytes(1 << 24)), "x.gz", most_bytes=1000)
    with pytest.raises(UserError, match=r"x\.gz is truncated"):
        gunzip(gzip.compress(b"abcdefgh")[:-3], "x.gz", most_bytes=1000)
