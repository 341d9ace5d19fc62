"""Only files that are asked for are read, only those with their SHA-256, and no archive takes all memory or time."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import tracemalloc

import pytest

from deepdiva.runs import source_archive
from deepdiva.runs.source_archive import read_sources


def sha(data):
    return hashlib.sha256(data).hexdigest()


def packed(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                content = b""
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def read(make_run):
    def call(archive, wanted):
        name, files = ("a", {"code/source.tar.gz": archive}) if archive is not None else ("without", {})
        return read_sources(make_run(name, files=files), wanted)

    return call


def test_what_is_asked_for_and_proved(read):
    archive = packed([("a.py", b"a"), ("b.py", b"b"), ("c.py", b"c")])
    wanted = {"c.py": sha(b"c"), "a.py": sha(b"a"), "b.py": sha(b"other"), "d.py": sha(b"d")}
    assert read(archive, wanted) == {"a.py": b"a", "c.py": b"c"}
    assert read(archive, {}) == {}
    assert read(None, wanted) == {}


def test_a_link_is_no_content(read):
    assert read(packed([("a.py", "/etc/passwd")]), {"a.py": sha(b"")}) == {}


def test_a_large_file_is_left_out(read, monkeypatch):
    monkeypatch.setattr(source_archive, "FILE_LIMIT", 10)
    assert read(packed([("a.py", b"a" * 11)]), {"a.py": sha(b"a" * 11)}) == {}


@pytest.mark.parametrize("cut", [0, 1, 20, 60, -1])
def test_a_damaged_archive_gives_what_came_before(read, cut):
    archive = packed([("a.py", b"a" * 2000)])[:cut]
    assert set(read(archive, {"a.py": sha(b"a" * 2000)})) <= {"a.py"}
    assert read(b"no archive", {"a.py": ""}) == {}


def test_an_archive_made_to_fill_the_memory_is_read_to_a_limit(read, monkeypatch):
    monkeypatch.setattr(source_archive, "TOTAL_LIMIT", 2**20)
    bomb = gzip.compress(packed_header("a.py", 2**40) + bytes(2**26), 9)
    tracemalloc.start()
    try:
        assert read(bomb, {"z.py": ""}) == {}
        assert tracemalloc.get_traced_memory()[1] < 2**25  # half of what is packed in it
    finally:
        tracemalloc.stop()


def packed_header(name, size):
    member = tarfile.TarInfo(name)
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT)
