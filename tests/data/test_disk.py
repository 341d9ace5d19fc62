"""Whole files and folders on a disk that refuses at any call."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepdiva.data import disk
from deepdiva.data.disk import (
    check_room,
    explained,
    in_units,
    make_folders,
    refusal,
    remove_empty,
    scratch,
    write_whole,
)
from deepdiva.errors import UserError
from deepdiva.runs.storage import System


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class Refusing(System):
    """Refuses to make the folders of some names, and to remove any when asked to."""

    def __init__(self, *names: str, keep: bool = False) -> None:
        self.names = names
        self.keep = keep

    def make_directory(self, path: Path) -> None:
        if path.name in self.names:
            full()
        super().make_directory(path)

    def remove_tree(self, path: Path) -> None:
        if self.keep:
            full()
        super().remove_tree(path)


class Slow(System):
    """Writes three bytes at a time, and none after `room` bytes."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.opened: list[int] = []
        self.closed: list[int] = []

    def open(self, path: Path, flags: int) -> int:
        self.opened.append(super().open(path, flags))
        return self.opened[-1]

    def write(self, descriptor: int, data: memoryview) -> int:
        if self.room <= 0:
            full()
        self.room -= 3
        return super().write(descriptor, data[:3])

    def close(self, descriptor: int) -> None:
        self.closed.append(descriptor)
        super().close(descriptor)


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ENOSPC", "free some space"),
        ("EDQUOT", "your quota"),
        ("EACCES", "you may not write there"),
        ("EPERM", "you may not write there"),
        ("EROFS", "read-only"),
    ],
)
def test_a_refusal_says_what_to_do(name, hint):
    number = getattr(errno, name)
    told = refusal(Path("/there/file"), OSError(number, os.strerror(number)))
    assert str(told).startswith(f"cannot write /there/file: {os.strerror(number).lower()}")
    assert hint in (told.hint or "")
    assert "--to" in (told.hint or "")


def test_a_refusal_without_remedy_gives_its_reason_alone():
    assert refusal(Path("file"), OSError(errno.EIO, "Input/output error")).hint is None
    told = refusal(Path("file"), OSError("odd"))  # no number, no text of the system
    assert (told.message, told.hint) == ("cannot write file: odd", None)


def test_only_the_system_is_explained():
    with pytest.raises(UserError, match="cannot write here") as caught, explained(Path("here")):
        full()
    assert isinstance(caught.value.__cause__, OSError)
    with pytest.raises(KeyError), explained(Path("here")):
        raise KeyError


def test_scratch_leaves_nothing(tmp_path):
    with scratch(tmp_path / "new", System()) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").touch()
    assert below(tmp_path) == set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_scratch_leaves_nothing_after_an_error(tmp_path, error):
    with pytest.raises(error), scratch(tmp_path / "new", System()) as folder:
        (folder / "file").touch()
        raise error
    assert below(tmp_path) == set()


def test_what_was_renamed_stays(tmp_path):
    with scratch(tmp_path / ".new", System()) as folder:
        (folder / "file").touch()
        folder.replace(tmp_path / "new")
    assert below(tmp_path) == {"new", "new/file"}


def test_the_rest_of_a_killed_process_is_removed_first(tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "old").touch()
    with scratch(tmp_path / "new", System()) as folder:
        assert below(folder) == set()


def test_scratch_that_cannot_be_made_is_a_mistake_with_a_hint(tmp_path):
    with (
        pytest.raises(UserError, match=r"cannot write .*new: no space left"),
        scratch(tmp_path / "new", Refusing("new")),
    ):
        pytest.fail("it was begun")


def test_a_failing_removal_does_not_hide_the_error(tmp_path):
    with pytest.raises(ValueError, match="the first"), scratch(tmp_path / "new", Refusing(keep=True)):
        raise ValueError("the first")


def test_a_disk_that_writes_little_at_a_time_gets_all(tmp_path):
    for number, content in enumerate((b"", b"12", b"1234567", memoryview(b"abcdefgh"))):
        system = Slow()
        write_whole(system, tmp_path / str(number), content)
        assert (tmp_path / str(number)).read_bytes() == bytes(content)
        assert system.closed == system.opened


def test_a_file_that_is_there_is_not_written_over(tmp_path):
    (tmp_path / "file").write_bytes(b"theirs")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "link"):
        with pytest.raises(FileExistsError, match=name):
            write_whole(System(), tmp_path / name, b"ours")
    assert (tmp_path / "file").read_bytes() == b"theirs"
    assert not (tmp_path / "nowhere").exists()


def test_a_file_is_closed_when_the_disk_is_full(tmp_path):
    system = Slow(room=4)
    with pytest.raises(OSError, match="No space left"):
        write_whole(system, tmp_path / "file", b"1234567")
    assert len(system.opened) == 1
    assert system.closed == system.opened


def test_missing_folders_are_made_from_the_outside(tmp_path):
    (tmp_path / "a").mkdir()
    made = make_folders(tmp_path / "a" / "b" / "c", System())
    assert made == [tmp_path / "a" / "b", tmp_path / "a" / "b" / "c"]
    assert make_folders(tmp_path / "a" / "b" / "c", System()) == []
    assert below(tmp_path) == {"a", "a/b", "a/b/c"}


@pytest.mark.parametrize("refused", ["b", "c", "d"])
def test_folders_are_all_made_or_none(tmp_path, refused):
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*a/b/c/d: no space left"):
        make_folders(tmp_path / "a" / "b" / "c" / "d", Refusing(refused))
    assert below(tmp_path) == {"a"}


@pytest.mark.parametrize("name", ["file", "file/b", "file/b/c"])
def test_a_file_in_the_way_of_folders_is_named(tmp_path, name):
    (tmp_path / "file").write_bytes(b"theirs")
    with pytest.raises(UserError, match=f"cannot write .*{name}"):
        make_folders(tmp_path / name, System())
    assert (tmp_path / "file").read_bytes() == b"theirs"


def test_a_folder_that_another_process_made_meanwhile_is_theirs(tmp_path):
    class Late(System):
        def make_directory(self, path: Path) -> None:
            if path.name == "a":
                path.mkdir()
            super().make_directory(path)

    assert make_folders(tmp_path / "a" / "b", Late()) == [tmp_path / "a" / "b"]


def test_only_empty_folders_are_removed(tmp_path):
    made = make_folders(tmp_path / "a" / "b" / "c", System())
    (tmp_path / "a" / "theirs").touch()
    remove_empty(made)
    assert below(tmp_path) == {"a", "a/theirs"}


def test_what_does_not_fit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    check_room(tmp_path, 1000, "MNIST")
    with pytest.raises(UserError, match=r"^MNIST needs 1\.0 kB in .*, where 1\.0 kB are free") as caught:
        check_room(tmp_path, 1001, "MNIST")
    assert "free some space" in (caught.value.hint or "")


def test_room_that_cannot_be_asked_for_is_no_reason_to_refuse(tmp_path, monkeypatch):
    monkeypatch.setattr(disk.shutil, "disk_usage", full)
    check_room(tmp_path, 1 << 60, "MNIST")


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (999_999, "1.0 MB"),
        (9_912_422, "9.9 MB"),
        (2_640_397_119, "2.6 GB"),
        (5e12, "5000.0 GB"),
    ],
)
def test_sizes_are_written_as_people_say_them(size, text):
    assert in_units(size) == text
