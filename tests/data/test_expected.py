"""What is remembered of data sets, and how they differ from it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from deepdiva.data import expected, files
from deepdiva.data.expected import Expectation, check, expectation_for, remember, remembered, written_into
from deepdiva.data.footprint import Footprint, footprint, of_contents
from deepdiva.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("train/cat/1.png", "train/dog/2.png"):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True)
        path.write_text(name)
    return tmp_path / "set"


def test_what_is_remembered_is_found_by_any_way_to_the_folder(root, tmp_path, monkeypatch):
    assert remembered(root) is None
    taken = footprint(root)
    remember(taken, root, origin="run 1")
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(root)
    for path in (root, str(root), ".", tmp_path / "link", root / "train" / ".."):
        known = remembered(path)
        assert known is not None
        assert known.root == taken.root
        assert known.origin.startswith("run 1 on 20")
        assert known.read() == taken
    assert remembered(root / "train") is None


def test_remembering_the_same_again_keeps_who_said_it_first(root):
    remember(footprint(root), root, origin="run 1")
    remember(footprint(root), root, origin="run 2")
    known = remembered(root)
    assert known is not None
    assert known.origin.startswith("run 1")
    remember(of_contents({}), root, origin="run 3")
    known = remembered(root)
    assert known is not None
    assert known.origin.startswith("run 3")


def test_nothing_is_written_into_the_data_set(root):
    remember(footprint(root), root, origin="run 1")
    assert sorted(path.name for path in root.rglob("*")) == ["1.png", "2.png", "cat", "dog", "train"]


@pytest.mark.parametrize("content", [b"", b"{}\n", b"[]", b"\xff", b'{"schema": 99, "root": "a"}\n'])
def test_a_damaged_memory_is_no_memory(root, content):
    remember(footprint(root), root, origin="run 1")
    place = expected._place(root)
    place.write_bytes(content)
    assert remembered(root) is None
    remember(footprint(root), root, origin="run 2")
    assert remembered(root) is not None


def test_a_damaged_list_of_files_is_said_to_be_one(root):
    remember(footprint(root), root, origin="run 1")
    place = expected._place(root)
    place.write_bytes(place.read_bytes().replace(b"1.png", b"3.png"))
    known = remembered(root)
    assert known is not None
    assert known.changes_to(footprint(root)) == expected.Changes(), "the root digest is enough where nothing changed"
    (root / "new").touch()
    with pytest.raises(UserError, match="is damaged"):
        known.changes_to(footprint(root))


def test_a_cache_that_cannot_be_written_is_no_trouble(root, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    remember(footprint(root), root, origin="run 1")
    assert remembered(root) is None


def test_what_the_data_set_says_itself_counts_first(root, tmp_path):
    taken = footprint(root)
    remember(of_contents({}), root, origin="run 1")
    (root / files.WRITTEN_PROOF).write_text(taken.to_json())
    assert footprint(root) == taken, "its own footprint is no part of the set"
    known = expectation_for(root)
    assert known is not None
    assert known.is_written
    assert known.root == taken.root
    shutil.copytree(root, tmp_path / "copy")
    moved = expectation_for(tmp_path / "copy")
    assert moved is not None
    assert not check(moved, tmp_path / "copy")[1]


def test_an_altered_footprint_in_the_data_set_is_an_error_that_names_it(root):
    (root / files.WRITTEN_PROOF).write_text(footprint(root).to_json().replace("1.png", "3.png"))
    with pytest.raises(UserError, match=r"deepdiva-footprint\.json: this footprint was altered"):
        written_into(root)
    (root / files.WRITTEN_PROOF).write_bytes(b"\xff")
    with pytest.raises(UserError, match="no plain text"):
        written_into(root)


def test_a_check_names_what_cannot_be_read_and_does_not_call_it_gone(root):
    known = Expectation.of(footprint(root), "a test")
    (root / "train" / "cat" / "1.png").unlink()
    (root / "train" / "cat" / "1.png").symlink_to("nowhere")
    _, changes = check(known, root)
    assert [problem.where for problem in changes.unreadable] == ["train/cat/1.png"]
    assert changes.removed == ()


def test_the_footprint_that_fits_a_path(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    one, other = Footprint({}, source="set"), Footprint({}, source="elsewhere")
    assert expected.fitting([other, one], root) is one
    assert expected.fitting([other, one], "set") is one
    assert expected.fitting([other], root) is None


def test_footprints_of_a_run(root, tmp_path):
    data = tmp_path / "run" / "data"
    assert expected.footprints_of_run(tmp_path / "run") == []
    data.mkdir(parents=True)
    taken = footprint(root)
    (data / "footprint-0.json").write_text(of_contents({"points": b"1"}).to_json())
    (data / "footprint-1.json").write_text(taken.to_json())
    assert [made.kind for made in expected.made_by_run(tmp_path / "run")] == ["contents"]
    assert expected.footprints_of_run(tmp_path / "run") == [taken], "what was made from settings proves nothing"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unreadable for root")
def test_a_footprint_file_that_may_not_be_read(root, tmp_path):
    (tmp_path / "f.json").touch(mode=0)
    with pytest.raises(UserError, match="Permission denied"):
        expected.read_footprint(tmp_path / "f.json")
