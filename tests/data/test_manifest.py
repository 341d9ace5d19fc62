from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from deepdiva.data import manifest

OLD = 1_700_000_000_123_456_789
HASHES = {"a/1.png": ("ab" * 32, (5, OLD, OLD + 1, 77)), "b\udcff.png": ("cd" * 32, (0, OLD, OLD, 78))}


def stored(path: Path) -> Path:
    (file,) = (manifest.cache_directory() / "footprints").iterdir()
    return file


def test_what_is_saved_is_loaded(tmp_path):
    manifest.save(tmp_path, HASHES, now_ns=time.time_ns())
    assert manifest.load(tmp_path) == HASHES
    assert manifest.load(tmp_path / "elsewhere") == {}


def test_names_and_numbers_of_any_kind_are_kept(tmp_path):
    stamp = (1 << 62, -5, OLD, (1 << 64) - 1)
    hashes = {"line\nbreak": ("ab" * 32, stamp), "ä/\u4e2d.png": ("cd" * 32, stamp), "x": ("ef" * 32, stamp)}
    manifest.save(tmp_path, hashes, now_ns=time.time_ns())
    assert manifest.load(tmp_path) == hashes


def test_a_manifest_of_another_version_or_machine_is_none(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "SCHEMA", "2 other")
        manifest.save(tmp_path, HASHES, now_ns=time.time_ns())
        assert manifest.load(tmp_path) == HASHES
    assert manifest.load(tmp_path) == {}


def test_an_empty_set_is_remembered_too(tmp_path):
    manifest.save(tmp_path, {}, now_ns=time.time_ns())
    assert manifest.load(tmp_path) == {}


def test_it_lies_in_the_users_cache(tmp_path, monkeypatch):
    assert manifest.cache_directory() == Path(os.environ["XDG_CACHE_HOME"]) / "deepdiva"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert manifest.cache_directory() == tmp_path / ".cache" / "deepdiva"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert manifest.cache_directory() == tmp_path / ".cache" / "deepdiva"


def test_a_link_to_a_set_shares_its_manifest(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "set")
    manifest.save(tmp_path / "set", HASHES, now_ns=time.time_ns())
    assert manifest.load(tmp_path / "link") == HASHES


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"{}\n{}"])
def test_a_damaged_manifest_is_no_manifest(tmp_path, damage):
    manifest.save(tmp_path, HASHES, now_ns=time.time_ns())
    stored(tmp_path).write_bytes(damage)
    assert manifest.load(tmp_path) == {}


def test_one_flipped_bit_is_noticed(tmp_path):
    manifest.save(tmp_path, HASHES, now_ns=time.time_ns())
    content = bytearray(stored(tmp_path).read_bytes())
    content[-40] ^= 1
    stored(tmp_path).write_bytes(content)
    assert manifest.load(tmp_path) == {}


def test_a_cache_that_cannot_be_written_is_no_trouble(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    manifest.save(tmp_path, HASHES, now_ns=time.time_ns())
    assert manifest.load(tmp_path) == {}


def test_a_failed_save_leaves_nothing_behind(tmp_path, monkeypatch):
    manifest.save(tmp_path, HASHES, now_ns=time.time_ns())

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    manifest.save(tmp_path, {}, now_ns=time.time_ns())
    assert manifest.load(tmp_path) == HASHES
    assert len(list((manifest.cache_directory() / "footprints").iterdir())) == 1


def test_a_file_touched_a_moment_ago_is_not_remembered(tmp_path):
    now = time.time_ns()
    recent = {"new": ("ab" * 32, (5, now - 1_000_000, now - 1_000_000, 1))}
    manifest.save(tmp_path, {**HASHES, **recent}, now_ns=now)
    assert manifest.load(tmp_path) == HASHES


def test_how_long_a_stamp_needs_to_settle():
    second = 1_700_000_000 * manifest.SECOND_NS
    assert not manifest.is_settled((0, second, second, 1), now_ns=second + manifest.SECOND_NS)
    assert manifest.is_settled((0, second, second, 1), now_ns=second + 3 * manifest.SECOND_NS)
    fine = second + 4711
    assert not manifest.is_settled((0, 0, fine, 1), now_ns=fine + 1_000_000)
    assert manifest.is_settled((0, 0, fine, 1), now_ns=fine + manifest.SECOND_NS)


def test_of_many_files_those_used_last_are_kept(tmp_path):
    folder = tmp_path / "kept"
    (folder / "folder").mkdir(parents=True)
    for place, name in enumerate("abcd"):
        (folder / name).write_bytes(bytes(10))
        os.utime(folder / name, (place, place))
    manifest.touch(folder / "a")
    manifest.keep_within(folder, 20)
    assert sorted(file.name for file in folder.iterdir()) == ["a", "d", "folder"]
    manifest.keep_within(tmp_path / "nothing")
    manifest.touch(tmp_path / "nothing")
