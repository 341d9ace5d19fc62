"""Storage: whole or not at all, whichever call fails, and still there after a power cut."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.runs.storage import Storage, StorageError, canonical_json

OLD, NEW = b"old content", b"new content, which is longer"
ERRORS = ["ENOSPC", "EIO", "EDQUOT"]


def count_calls(disks, folder: Path) -> int:
    system = disks.FaultySystem()
    (folder / "counted").write_bytes(OLD)
    Storage(system).write(folder / "counted", NEW)
    return system.count


def test_write_makes_and_replaces_a_file(tmp_path):
    path = tmp_path / "file"
    Storage().write(path, OLD)
    Storage().write(path, NEW)
    assert path.read_bytes() == NEW
    assert [entry.name for entry in tmp_path.iterdir() if entry.name != "home"] == ["file"]


def test_a_new_file_follows_the_users_mask(tmp_path):
    before = os.umask(0o027)
    try:
        Storage().write(tmp_path / "file", NEW)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_kill_at_any_call_leaves_the_old_or_the_new_content(disks, tmp_path):
    path = tmp_path / "file"
    seen = set()
    for at in range(count_calls(disks, tmp_path)):
        path.write_bytes(OLD)
        with contextlib.suppress(disks.Killed):
            Storage(disks.FaultySystem(at, "kill")).write(path, NEW)
        seen.add(path.read_bytes())
    assert seen == {OLD, NEW}


@pytest.mark.parametrize("fault", ERRORS)
def test_an_error_at_any_call_is_reported_and_leaves_whole_content(disks, tmp_path, fault):
    path = tmp_path / "file"
    for at in range(count_calls(disks, tmp_path)):
        path.write_bytes(OLD)
        with pytest.raises(StorageError, match="file: "):
            Storage(disks.FaultySystem(at, fault)).write(path, NEW)
        assert path.read_bytes() in (OLD, NEW)
        assert not list(tmp_path.glob(".*.tmp"))


def test_short_writes_are_continued(disks, tmp_path):
    for at in range(count_calls(disks, tmp_path)):
        Storage(disks.FaultySystem(at, "short", lasting=True)).write(tmp_path / "file", NEW)
        assert (tmp_path / "file").read_bytes() == NEW


def survives_power_cuts(disks, folder: Path, storage_of) -> bool:
    """Whether `write` is whole after any power cut, and durable once it has returned."""
    folder.mkdir()
    tape = disks.Tape()
    path = folder / "file"
    Storage(tape).write(path, OLD)
    begun = len(tape.calls)
    storage_of(tape).write(path, NEW)
    for end, disk in disks.power_cuts(tape.calls):
        if end >= begun and disk.get(path) not in ((NEW,) if end == len(tape.calls) else (OLD, NEW)):
            return False
    return True


def test_a_power_cut_at_any_call_leaves_the_old_or_the_new_content(disks, tmp_path):
    assert survives_power_cuts(disks, tmp_path / "disk", Storage)


class WithoutFileSync(Storage):
    def _fill(self, path, data, *, durable):
        super()._fill(path, data, durable=False)


class WithoutNameSync(Storage):
    def _sync_names(self, folder):
        pass


class Directly(Storage):
    def write(self, path, data, *, durable=True):
        self._fill(path, data, durable=True)
        self._sync_names(path.parent)


@pytest.mark.parametrize("mutant", [WithoutFileSync, WithoutNameSync, Directly])
def test_the_test_of_power_cuts_notices_a_storage_that_forgets_something(disks, tmp_path, mutant):
    assert not survives_power_cuts(disks, tmp_path / "disk", mutant)


def test_append_grows_a_file_and_cuts_off_what_a_failed_append_left(tmp_path):
    path = tmp_path / "log"
    storage = Storage()
    storage.append(path, b"one\n", at=0)
    with path.open("ab") as file:
        file.write(b"tor")
    storage.append(path, b"two\n", at=4)
    assert path.read_bytes() == b"one\ntwo\n"


def test_append_refuses_a_file_that_was_shortened(tmp_path):
    (tmp_path / "log").write_bytes(b"on")
    with pytest.raises(StorageError, match="shortened by another program: 2 bytes, 4 were written"):
        Storage().append(tmp_path / "log", b"two\n", at=4)


@pytest.mark.parametrize("fault", ERRORS)
def test_append_on_a_full_disk_leaves_the_file_as_it_was(disks, tmp_path, fault):
    path = tmp_path / "log"
    for at in range(2):
        path.write_bytes(b"one\n")
        with pytest.raises(StorageError, match="cannot write"):
            Storage(disks.FaultySystem(at, fault)).append(path, b"two\n", at=4)
        assert path.read_bytes() == b"one\n"


def test_a_full_disk_is_explained(disks, tmp_path):
    with pytest.raises(StorageError) as caught:
        Storage(disks.FaultySystem(1, "ENOSPC")).write(tmp_path / "run.json", NEW)
    assert "run.json: no space left on device" in caught.value.message
    assert caught.value.hint is not None
    assert "--runs-dir" in caught.value.hint


def test_directories_are_made_with_those_above_and_told_apart(tmp_path):
    deep = tmp_path / "a" / "b"
    assert Storage().make_directory(deep) == [tmp_path / "a", deep]
    assert Storage().make_directory(deep) == []
    with pytest.raises(FileExistsError, match="exists"):
        Storage().make_directory(deep, exist_ok=False)


def test_a_file_in_the_way_of_a_directory_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(StorageError, match="a file has that name"):
            Storage().make_directory(path)


def test_a_directory_that_another_process_makes_at_the_same_time_is_fine(tmp_path):
    class Slow(Storage().system.__class__):  # type: ignore[misc]
        def make_directory(self, path):
            path.mkdir()
            path.mkdir()

    assert Storage(Slow()).make_directory(tmp_path / "a" / "b") == []
    with pytest.raises(FileExistsError, match="exists"):
        Storage(Slow()).make_directory(tmp_path / "c", exist_ok=False)


def test_a_file_system_without_directory_sync_will_do(tmp_path, disks):
    class Network(disks.System):
        def fsync(self, descriptor):
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "invalid argument")

    Storage(Network()).write(tmp_path / "file", NEW)
    assert (tmp_path / "file").read_bytes() == NEW


def test_removing(tmp_path):
    storage = Storage()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "file").write_text("")
    assert not storage.remove_empty(folder)
    storage.remove(folder / "file")
    storage.remove(folder / "file")
    assert storage.remove_empty(folder)
    assert not storage.remove_empty(folder)
    (tmp_path / "tree" / "deep").mkdir(parents=True)
    storage.remove_tree(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()


def test_truncate_and_sync(tmp_path):
    (tmp_path / "log").write_bytes(b"one\ntwo\n")
    Storage().truncate(tmp_path / "log", 4)
    Storage().sync(tmp_path / "log")
    assert (tmp_path / "log").read_bytes() == b"one\n"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_is_one_ascii_line_that_reads_back(value):
    text = canonical_json(value)
    assert text.isascii()
    assert "\n" not in text
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


def test_canonical_json_sorts_keys_and_takes_scalars_of_numpy_and_paths():
    value = {"b": np.float32(0.5), "a": np.int64(3), "c": Path("x/y"), "d": (1, 2)}
    assert canonical_json(value) == '{"a":3,"b":0.5,"c":"x/y","d":[1,2]}'
    assert canonical_json([math.nan, math.inf]) == "[NaN,Infinity]"
    with pytest.raises(TypeError, match="cannot hold"):
        canonical_json({"x": object()})
