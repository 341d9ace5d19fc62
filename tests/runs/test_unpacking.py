"""The copy of the source comes out as it went in, and what was packed to harm comes to nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile

import pytest

from deepdiva.errors import UserError
from deepdiva.runs import unpacking
from deepdiva.runs.storage import StorageError
from deepdiva.runs.unpacking import ARCHIVE, RECORD, members, read_code, unpack


def member(name, data=b"", **facts):
    found = tarfile.TarInfo(name)
    found.size = len(data)
    for key, value in facts.items():
        setattr(found, key, value)
    return found, data


def entry(data=b"", **facts):
    return {"mode": "644", "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), **facts}


@pytest.fixture
def pack(tmp_path):
    """Writes a folder `code/` with these members and entries."""

    def call(packed, files, form=tarfile.GNU_FORMAT):
        code = tmp_path / "run" / "code"
        code.mkdir(parents=True)
        with tarfile.open(code / ARCHIVE, "w:gz", format=form, encoding="utf-8", errors="surrogateescape") as archive:
            for found, data in packed:
                archive.addfile(found, io.BytesIO(data))
        (code / RECORD).write_text(json.dumps({"files": files}))
        return code

    return call


def link(target):
    return {"type": tarfile.SYMTYPE, "linkname": target}


def test_files_modes_and_links_come_out(pack, tmp_path):
    code = pack(
        [member("a/run.sh", b"x", mode=0o755), member("b.py", b"yy"), member("a/link", **link("../b.py"))],
        {"a/run.sh": entry(b"x", mode="755"), "b.py": entry(b"yy"), "a/link": {"link": "../b.py"}},
    )
    out = tmp_path / "out"
    assert unpack(code, out) == ["a/link", "a/run.sh", "b.py"]
    assert (out / "a" / "link").read_bytes() == b"yy"
    assert os.access(out / "a" / "run.sh", os.X_OK)
    assert not os.access(out / "b.py", os.X_OK)
    assert [name for name, _ in members(code, read_code(code)["files"])] == ["a/run.sh", "b.py", "a/link"]
    with pytest.raises(UserError, match="is not empty"):
        unpack(code, out)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/tmp/evil", "a//b", "./a", "a/", "", "a\0b", ".."])
def test_a_name_that_leads_out_is_refused(pack, tmp_path, name):
    code = pack([member(name.replace("\0", "") or "x", b"1")], {name: entry(b"1")})
    with pytest.raises(StorageError, match="leads out of its folder"):
        unpack(code, tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize("target", ["/etc", "../..", "..", "a/../../x"])
def test_a_link_that_leads_out_is_not_made(pack, tmp_path, target):
    code = pack([member("link", **link(target)), member("b", b"1")], {"link": {"link": target}, "b": entry(b"1")})
    with pytest.raises(StorageError, match="a link that leads out of its folder: 'link'"):
        unpack(code, tmp_path / "out")
    assert not (tmp_path / "out" / "link").is_symlink()
    unpack(code, tmp_path / "trusted", follow=True)
    assert (tmp_path / "trusted" / "link").is_symlink()


def test_links_that_lead_out_together_are_not_made(pack, tmp_path):
    """Each looks harmless: `a/b/up` leads to the top, so `a/b/up/..` is above it."""
    links = {"a/b/up": "../..", "out": "a/b/up/.."}
    code = pack([member(name, **link(to)) for name, to in links.items()], {n: {"link": to} for n, to in links.items()})
    with pytest.raises(StorageError, match="'out'"):
        unpack(code, tmp_path / "folder")
    assert not any(path.is_symlink() for path in (tmp_path / "folder").rglob("*"))


def test_nothing_is_written_through_a_link(pack, tmp_path):
    (tmp_path / "victim").mkdir()
    files = {"a": {"link": str(tmp_path / "victim")}, "a/evil": entry(b"1")}
    code = pack([member("a", **link(str(tmp_path / "victim"))), member("a/evil", b"1")], files)
    with pytest.raises(StorageError, match="cannot both be"):
        unpack(code, tmp_path / "out", follow=True)
    assert not list((tmp_path / "victim").iterdir())


@pytest.mark.parametrize(
    "facts",
    [
        {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3},
        {"type": tarfile.FIFOTYPE},
        {"type": tarfile.DIRTYPE},
        {"type": tarfile.GNUTYPE_SPARSE},
    ],
    ids=["hard link", "device", "pipe", "folder", "sparse"],
)
def test_only_files_and_links_come_out(pack, tmp_path, facts):
    code = pack([member("a", **facts)], {"a": entry()})
    with pytest.raises(StorageError):
        unpack(code, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_in_place_of_a_link_and_a_link_in_place_of_a_file(pack, tmp_path):
    code = pack([member("a", b"1")], {"a": {"link": "b"}})
    with pytest.raises(StorageError, match="not the link that it should be"):
        unpack(code, tmp_path / "out")


@pytest.mark.parametrize(
    ("packed", "files"),
    [([("a", b"1"), ("a", b"1")], ["a"]), ([("a", b"1"), ("b", b"1")], ["a"]), ([("a", b"1")], ["a", "b"])],
    ids=["twice", "more", "fewer"],
)
def test_other_files_than_listed(pack, tmp_path, packed, files):
    code = pack([member(*each) for each in packed], {name: entry(b"1") for name in files})
    with pytest.raises(StorageError, match="does not hold the files"):
        unpack(code, tmp_path / "out")


def test_a_bomb_is_left_alone(pack, tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "LARGEST", 1 << 20)
    big = bytes(4 << 20)
    code = pack([member("a", big)], {"a": entry(big)})
    assert (code / ARCHIVE).stat().st_size < 10_000
    with pytest.raises(StorageError, match=r"more than 1,048,576 bytes when it is unpacked"):
        unpack(code, tmp_path / "out")


def test_a_member_that_is_larger_than_listed_is_not_read(pack, tmp_path):
    code = pack([member("a", bytes(1 << 20))], {"a": entry(b"1")})
    with pytest.raises(StorageError, match="does not have its recorded SHA-256"):
        unpack(code, tmp_path / "out")


@pytest.mark.parametrize("keep", [0, 1, 20, 100, -1, -8])
def test_a_torn_archive_is_damaged(pack, tmp_path, keep):
    data = os.urandom(3000)
    code = pack([member("a", data)], {"a": entry(data)})
    whole = (code / ARCHIVE).read_bytes()
    (code / ARCHIVE).write_bytes(whole[:keep])
    with pytest.raises(StorageError, match=r"damaged|does not hold"):
        unpack(code, tmp_path / "out")


def test_an_archive_that_is_none(pack, tmp_path):
    code = pack([], {})
    (code / ARCHIVE).write_bytes(gzip.compress(b"no tar" * 1000))
    with pytest.raises(StorageError, match="damaged"):
        unpack(code, tmp_path / "out")
    (code / ARCHIVE).unlink()
    with pytest.raises(StorageError, match="damaged"):
        unpack(code, tmp_path / "out2")
    (code / RECORD).unlink()
    with pytest.raises(UserError, match="cannot read"):
        unpack(code, tmp_path / "out3")


@pytest.mark.parametrize(
    "files",
    [
        [],
        None,
        {"a": 1},
        {"a": {}},
        {"a": entry(mode="4755")},
        {"a": entry(size=-1)},
        {"a": {"link": ""}},
        {"a": {"link": "a\0"}},
    ],
    ids=str,
)
def test_a_record_that_is_none_of_ours(pack, tmp_path, files):
    code = pack([member("a")], files)
    with pytest.raises(StorageError, match="was not written by DeepDIVA"):
        unpack(code, tmp_path / "out")
