from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from deepdiva.data.placing import place
from deepdiva.data.split_list import SplitList
from deepdiva.errors import UserError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("cat/1.png", "cat/deep/1.png", "dog/2.png", "3.png"):
        path = tmp_path / "pets" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "pets"


SPLITS = SplitList(({"train": ("cat/1.png", "cat/deep/1.png"), "test": ("dog/2.png", "3.png")},))


def tree(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("by", ["link", "copy"])
def test_samples_are_placed_by_split_and_class(root, tmp_path, by):
    assert place(root, SPLITS, tmp_path / "new", by=by) == 4
    assert tree(tmp_path / "new") == {
        "train/cat/1.png": "cat/1.png",
        "train/cat/deep/1.png": "cat/deep/1.png",
        "test/dog/2.png": "dog/2.png",
        "test/3.png": "3.png",
    }
    assert (tmp_path / "new/train/cat/1.png").is_symlink() == (by == "link")


def test_links_survive_a_move(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place(Path("pets"), SPLITS, Path("new"), by="link")
    (tmp_path / "deep/er").mkdir(parents=True)
    Path("new").rename("deep/er/new")
    assert len(tree(tmp_path / "deep/er/new")) == 4


def test_folds_are_folders_of_links(root, tmp_path):
    folds = SplitList(({"train": ("cat/1.png",)}, {"train": ("dog/2.png",)}), is_folded=True)
    place(root, folds, tmp_path / "new", by="link")
    assert set(tree(tmp_path / "new")) == {"fold-0/train/cat/1.png", "fold-1/train/dog/2.png"}
    with pytest.raises(UserError, match="once for each fold"):
        place(root, folds, tmp_path / "copies", by="copy")


def test_classes_of_a_list_become_folders(root, tmp_path):
    labels = {"3.png": "fish", "cat/1.png": "tiger"}
    place(root, SplitList(({"train": ("3.png", "cat/1.png")},), labels=labels), tmp_path / "new", by="link")
    assert set(tree(tmp_path / "new")) == {"train/fish/3.png", "train/tiger/cat/1.png"}
    with pytest.raises(UserError, match=r"class a/b cannot be the name of a folder"):
        place(root, SplitList(({"train": ("3.png",)},), labels={"3.png": "a/b"}), tmp_path / "other", by="link")


def test_names_that_would_clash_are_told_before_anything_is_made(tmp_path):
    for name in ("train/cat/1.png", "val/cat/1.png"):
        (tmp_path / "pets" / name).parent.mkdir(parents=True)
        (tmp_path / "pets" / name).write_text(name)
    splits = SplitList(({"train": ("train/cat/1.png", "val/cat/1.png")},))
    with pytest.raises(UserError, match=r"val/cat/1\.png: would be train/cat/1\.png, as train/cat/1\.png"):
        place(tmp_path / "pets", splits, tmp_path / "new", by="copy")
    assert {entry.name for entry in tmp_path.iterdir()} <= {"pets", "home"}


def test_nothing_is_overwritten(root, tmp_path):
    (tmp_path / "new").mkdir()
    with pytest.raises(UserError, match="new exists already"):
        place(root, SPLITS, tmp_path / "new", by="link")


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_half_way_leaves_nothing(root, tmp_path, monkeypatch, error):
    copy, calls = shutil.copy2, []

    def fail(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 3:
            raise error
        copy(source, target)

    monkeypatch.setattr(shutil, "copy2", fail)
    with pytest.raises(UserError if isinstance(error, OSError) else KeyboardInterrupt):
        place(root, SPLITS, tmp_path / "new", by="copy")
    assert {entry.name for entry in tmp_path.iterdir()} <= {"pets", "home"}
