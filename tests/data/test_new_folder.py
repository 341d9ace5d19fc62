"""Folders that are whole or not there."""

from __future__ import annotations

import errno

import pytest

from deepdiva.data.new_folder import new_folder, put
from deepdiva.errors import UserError


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with new_folder(tmp_path / "above" / "new") as folder:
        (folder / "a").touch()
        assert not (tmp_path / "above" / "new").exists()
    assert [path.name for path in (tmp_path / "above").rglob("*")] == ["new", "a"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), ValueError()])
def test_nothing_is_left_of_one_that_failed(tmp_path, error):
    expected = UserError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected) as caught, new_folder(tmp_path / "above" / "new") as folder:
        (folder / "a").touch()
        raise error
    assert list(tmp_path.iterdir()) == []
    if isinstance(error, OSError):
        assert "cannot be made: No space left on device" in str(caught.value)


def test_what_is_there_stays(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "empty").mkdir()
    for name in ("file", "link", "empty"):
        with pytest.raises(UserError, match="exists already"), new_folder(tmp_path / name):
            pytest.fail("it was begun")


def test_the_original_is_left_alone(tmp_path):
    (tmp_path / "set" / "train").mkdir(parents=True)
    for target in ("set/new", "set/train/new"):
        new = new_folder(tmp_path / target, apart_from=tmp_path / "set")
        with pytest.raises(UserError, match="lies in the data set"), new:
            pytest.fail("it was begun")


def test_a_name_taken_meanwhile_is_not_written_over(tmp_path):
    with pytest.raises(UserError, match="cannot be made"), new_folder(tmp_path / "new"):
        (tmp_path / "new").mkdir()
        (tmp_path / "new" / "theirs").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["new", "theirs"]


def test_copies_and_links(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").write_text("1")
    put(tmp_path / "a", tmp_path / "x" / "copy", link=False)
    put((tmp_path / "a").relative_to(tmp_path), tmp_path / "x" / "link", link=True)
    assert (tmp_path / "x" / "link").readlink() == tmp_path / "a"
    assert (tmp_path / "x" / "copy").read_text() == (tmp_path / "x" / "link").read_text() == "1"
