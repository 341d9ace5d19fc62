from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from deepdiva.data import files
from deepdiva.errors import Problem, UserError


def tree(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def test_a_scan_finds_every_file_and_folder_by_its_relative_name(tmp_path):
    root = tree(tmp_path / "set", {"a/1.png": b"one", "a/deep/2.png": b"twoo", ".hidden": b"", "note.txt": b"x"})
    found = files.scan(root)
    assert sorted(found.files) == [".hidden", "a/1.png", "a/deep/2.png", "note.txt"]
    assert found.folders == ("a", "a/deep")
    assert found.files["a/deep/2.png"][0] == 4
    assert found.troubles == ()


def test_what_systems_write_by_themselves_is_no_part_of_a_set(tmp_path):
    root = tree(tmp_path / "set", {"a.png": b"1", ".DS_Store": b"2", "sub/Thumbs.db": b"3", ".git/HEAD": b"4"})
    assert list(files.scan(root).files) == ["a.png"]


def test_the_list_of_what_is_ignored_does_not_grow_unnoticed():
    assert {".DS_Store", "Thumbs.db", "desktop.ini", ".git", ".hg", ".svn", "deepdiva-footprint.json"} == files.IGNORED


def test_links_are_followed(tmp_path):
    elsewhere = tree(tmp_path / "elsewhere", {"x/1.png": b"linked"})
    root = tree(tmp_path / "set", {"a.png": b"1"})
    (root / "file.png").symlink_to(elsewhere / "x" / "1.png")
    (root / "folder").symlink_to(elsewhere)
    found = files.scan(root)
    assert sorted(found.files) == ["a.png", "file.png", "folder/x/1.png"]
    assert found.files["file.png"][0] == len(b"linked")


def test_everything_unreadable_is_named_and_does_not_hang(tmp_path):
    root = tree(tmp_path / "set", {"a/1.png": b"1"})
    (root / "gone.png").symlink_to("nowhere.png")
    (root / "a" / "loop").symlink_to(root)
    os.mkfifo(root / "pipe")
    troubles = {trouble.name: trouble.message for trouble in files.scan(root).troubles}
    assert troubles == {
        "gone.png": "is a link to nowhere.png, which does not exist",
        "a/loop": "is a link to a folder that it lies in",
        "pipe": "is neither a file nor a folder",
    }


def test_a_folder_that_may_not_be_listed_is_named(tmp_path, monkeypatch):
    root = tree(tmp_path / "set", {"a/1.png": b"1", "b/2.png": b"2"})
    listing = os.scandir

    def refuse(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = files.scan(root)
    assert list(found.files) == ["b/2.png"]
    assert found.troubles == (files.Trouble("a", "cannot be listed: Permission denied"),)


@pytest.mark.parametrize("size", [0, 1, 4095, files.BLOCK - 1, files.BLOCK, files.BLOCK + 1, 3 * files.BLOCK + 7])
def test_hashes_are_those_of_hashlib_at_every_size(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "f").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    stamp = files.scan(tmp_path).files["f"]
    assert files.hash_file(str(tmp_path / "f")) == (expected, stamp)
    assert files.hash_file(str(tmp_path / "f"), stamp) == (expected, stamp)
    assert files.read_file(str(tmp_path / "f")) == (content, (expected, stamp))


@pytest.mark.parametrize("size", [100, 2 * files.BLOCK])
def test_a_file_that_changes_while_it_is_read_is_not_believed(tmp_path, monkeypatch, size):
    path = tmp_path / "f"
    path.write_bytes(b"x" * size)
    stat = os.fstat
    calls = []

    def change_then_stat(handle):
        calls.append(handle)
        if len(calls) == 2:
            with path.open("ab") as file:
                file.write(b"more")
        return stat(handle)

    monkeypatch.setattr(os, "fstat", change_then_stat)
    with pytest.raises(files.UnstableFileError, match="changed while it was read"):
        files.hash_file(str(path))


def test_a_file_touched_between_listing_and_reading_counts_as_it_is_then(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"first")
    listed = files.scan(tmp_path).files
    path.write_bytes(b"second, longer")
    hashes, troubles = files.hash_files(tmp_path, listed)
    assert hashes["f"][0] == hashlib.sha256(b"second, longer").hexdigest()
    assert troubles == []


def test_a_file_that_disappears_or_is_forbidden_is_named(tmp_path, monkeypatch):
    tree(tmp_path, {"gone": b"1", "forbidden": b"2", "fine": b"3"})
    listed = files.scan(tmp_path).files
    (tmp_path / "gone").unlink()
    opening = os.open

    def refuse(path, *rest):
        if str(path).endswith("/forbidden"):
            raise PermissionError(13, "Permission denied")
        return opening(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    hashes, troubles = files.hash_files(tmp_path, listed)
    assert list(hashes) == ["fine"]
    assert sorted(troubles) == [
        ("forbidden", "cannot be read: Permission denied"),
        ("gone", "cannot be read: No such file or directory"),
    ]


def test_no_file_stays_open(tmp_path):
    tree(tmp_path, {f"{n}": b"x" for n in range(50)})
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    files.hash_files(tmp_path, files.scan(tmp_path).files, threads=4)
    after = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").exists() else 0
    assert after == before


def test_threads_do_not_change_the_result(tmp_path):
    tree(tmp_path, {f"{n % 7}/{n}": os.urandom(60 * n) for n in range(600)})
    listed = files.scan(tmp_path).files
    one, _ = files.hash_files(tmp_path, listed, threads=1)
    many, _ = files.hash_files(tmp_path, listed, threads=16)
    assert one == many
    assert len(one) == 600


@pytest.mark.parametrize(("size", "threads"), [(100, 1), (files.SMALL, 3)])
def test_small_files_stay_on_one_thread(tmp_path, monkeypatch, size, threads):
    tree(tmp_path, {"a": bytes(size - 1), "b": bytes(size + 1)})
    asked = []
    original = files.in_threads

    def spy(work, items, *, threads):
        asked.append(threads)
        return original(work, items, threads=threads)

    monkeypatch.setattr(files, "in_threads", spy)
    hashes, _ = files.hash_files(tmp_path, files.scan(tmp_path).files, threads=3)
    assert (len(hashes), asked) == (2, [threads])


def test_work_in_threads_keeps_its_order_and_its_errors():
    assert list(files.in_threads(lambda n: n * n, range(100), threads=4)) == [n * n for n in range(100)]
    with pytest.raises(ZeroDivisionError):
        list(files.in_threads(lambda n: 1 / n, range(3), threads=2))


def test_names_are_shown_safely():
    assert files.printable("Häuser/größe.png") == "Häuser/größe.png"
    assert files.printable("a\nb\udcff") == "a\\nb\\udcff"


def test_a_long_list_of_problems_is_cut_and_counted():
    error = files.to_errors([Problem(f"p{n}") for n in range(1234)], "trouble")
    assert "p99" in str(error)
    assert "p100" not in str(error)
    assert "… and 1134 more" in str(error)


def test_a_misspelt_folder_is_suggested(tmp_path):
    (tmp_path / "letters").mkdir()
    with pytest.raises(UserError, match="no folder") as caught:
        files.existing_folder(tmp_path / "leters", expected="something")
    assert caught.value.hint == f"did you mean '{tmp_path / 'letters'}'?"
    with pytest.raises(UserError, match="no folder spirls") as caught:
        files.existing_folder(Path("spirls"), expected="something", names=["spirals"])
    assert caught.value.hint == "did you mean 'spirals'?"
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        files.existing_folder(tmp_path / "file", expected="something")
