"""What is kept is whole, checked, and bounded; what is in use stays."""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva.data import cache
from deepdiva.data.arrays import ArraySplits
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.streaming import Streamed


def only_entry() -> cache.Entry:
    (entry,) = cache.entries()
    return entry


def damage(path: Path, place: int) -> None:
    """Changes one byte, and leaves all else as it was."""
    before = path.stat()
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_is_written_to_the_images_never_reaches_the_disk(root: Path):
    splits = load_image_folder(root)
    before = (only_entry().path / "pixels").read_bytes()
    splits.train.inputs.zero_()
    assert (only_entry().path / "pixels").read_bytes() == before
    assert load_image_folder(root).train.inputs.any()


@pytest.mark.parametrize("name", ["pixels", "checksums", "about.json"])
def test_a_damaged_entry_is_made_anew(root: Path, name: str, contents: Callable[[ArraySplits], list[Any]]):
    expected = contents(load_image_folder(root))
    gc.collect()
    damage(only_entry().path / name, 3)
    assert contents(load_image_folder(root)) == expected
    damage(only_entry().path / name, 3)
    assert contents(load_image_folder(root)) == expected


def test_a_cut_or_missing_file_is_noticed(root: Path, contents: Callable[[ArraySplits], list[Any]]):
    expected = contents(load_image_folder(root))
    (only_entry().path / "pixels").chmod(0o600)
    os.truncate(only_entry().path / "pixels", 7)
    assert contents(load_image_folder(root)) == expected
    (only_entry().path / "checksums").unlink()
    assert contents(load_image_folder(root)) == expected


def test_checked_again_as_a_whole_after_a_restart(root: Path, monkeypatch: pytest.MonkeyPatch):
    checked: list[bool] = []
    checking = cache.check_blocks

    def note(*args: Any, everything: bool) -> bool:
        checked.append(everything)
        return checking(*args, everything=everything)

    monkeypatch.setattr(cache, "check_blocks", note)
    load_image_folder(root)
    load_image_folder(root)
    assert checked == [False, False]
    monkeypatch.setattr(cache, "boot", lambda: "another life")
    load_image_folder(root)
    load_image_folder(root)
    assert checked[2:] == [True, False]


@pytest.fixture
def three(tmp_path: Path, limit_to: Callable[[str], None], make_images: Callable[..., Path]) -> list[Path]:
    """Three data sets of 450 kB decoded, used one after the other."""
    roots = [make_images(tmp_path / name, count=10, size=(100, 150), seed=ord(name)) for name in "abc"]
    limit_to("1 MB")
    return roots


def sources() -> list[str]:
    return [Path(entry.about.source).name for entry in cache.entries() if entry.about is not None]


def load(root: Path) -> None:
    load_image_folder(root)
    gc.collect()
    time.sleep(0.02)


def test_what_was_used_longest_ago_goes_first(three: list[Path]):
    a, b, c = three
    load(a)
    load(b)
    assert sources() == ["b", "a"]
    load(a)
    load(c)
    assert sources() == ["c", "a"]


def test_what_is_in_use_stays(three: list[Path]):
    a, b, c = three
    used = load_image_folder(a)
    load(b)
    load(c)
    assert sources() == ["c", "a"]
    assert [entry.in_use for entry in cache.entries()] == [False, True]
    assert not cache.remove(cache.entries()[1])
    other = load_image_folder(c)
    assert isinstance(load_image_folder(b).train, Streamed)
    del used, other
    gc.collect()
    assert not isinstance(load_image_folder(b).train, Streamed)


def test_samples_stay_readable_when_their_entry_is_gone(root: Path, contents: Callable[[ArraySplits], list[Any]]):
    splits = load_image_folder(root)
    expected = contents(splits)
    cache._discard(only_entry().path)
    assert contents(splits) == expected


def test_clearing(three: list[Path]):
    load(three[0])
    used = load_image_folder(three[1])
    os.utime(cache.entries()[1].path / "lock", (0, 0))
    removed, kept = cache.clear(older_than=3600)
    assert ([Path(e.about.source).name for e in removed], kept) == (["a"], [])
    removed, kept = cache.clear()
    assert removed == []
    assert [Path(e.about.source).name for e in kept] == ["b"]
    del used


def test_an_entry_says_what_it_holds(root: Path):
    proof = load_image_folder(root).footprints[0]
    about = json.loads((only_entry().path / "about.json").read_text())
    assert about["root"] == proof.root
    assert about["shape"] == [18, 1, 5, 4]
    assert "Pillow" in about["decoding"]
