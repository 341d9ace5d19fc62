from __future__ import annotations

from pathlib import Path

import pytest

from deepdiva.data.layout import Layout, groups_of, read_layout
from deepdiva.data.tables import read_table
from deepdiva.errors import UserError


def layout(*names: str, **settings: object) -> Layout:
    folders = {"/".join(name.split("/")[:depth]) for name in names for depth in range(1, name.count("/") + 1)}
    return read_layout(names, folders, **settings)


def table(tmp_path: Path, text: str):
    (tmp_path / "table.csv").write_text(text)
    return read_table(tmp_path / "table.csv")


def test_classes_alone():
    found = layout("dog/2.png", "cat/1.png", "cat/more/3.jpg", "stray.png")
    assert found.names == ("cat/1.png", "cat/more/3.jpg", "dog/2.png", "stray.png")
    assert found.labels == ("cat", "cat", "dog", None)
    assert found.classes == ("cat", "dog")
    assert set(found.splits) == {None}


def test_splits_with_classes():
    found = layout("train/cat/1.png", "test/cat/2.png", "test/3.png", "extra/cat/4.png")
    assert found.names == ("test/3.png", "test/cat/2.png", "train/cat/1.png")
    assert found.splits == ("test", "test", "train")
    assert found.labels == (None, "cat", "cat")


def test_a_train_beside_other_vehicles_is_a_class():
    assert layout("bus/1.png", "car/1.png", "train/1.png").labels == ("bus", "car", "train")
    assert layout("train/1.png", "val/1.png", "bus/1.png").splits == ("train", "val")


def test_only_visible_images_are_samples():
    assert layout("a/1.png", "a/.2.png", ".b/3.png", "a/notes.txt", "a/4.TIF").names == ("a/1.png", "a/4.TIF")
    assert layout("a/1.avi", "a/2.png", files="*.avi").names == ("a/1.avi",)
    with pytest.raises(UserError, match=r"no file is an image\n.*--files"):
        layout("a/1.avi")
    with pytest.raises(UserError, match=r"no file is a \*\.mp4"):
        layout("a/1.avi", files="*.mp4")


def test_a_table_says_which_samples_there_are_and_their_classes(tmp_path):
    found = layout(
        "a/1.png", "a/2.png", "3.png", table=table(tmp_path, "file,label,split\na/1.png,x,Validation\n3.png,y,\n")
    )
    assert found == Layout(("3.png", "a/1.png"), ("y", "x"), (None, "val"))
    assert layout("a/1.png", "b/2.png", table=table(tmp_path, "file,writer\n2.png,w\n")).labels == ("b",)


def test_groups_by_pattern():
    pages = layout("cat/w1_1.png", "cat/w2_1.png", "dog/w1_2.png")
    assert groups_of(pages, r"^(w\d)_") == ("w1", "w2", "w1")
    assert groups_of(pages, r"^(\w+)/w") == ("cat", "cat", "dog")
    assert groups_of(pages, r"^w(\d)_(\d)") == ("1/1", "2/1", "1/2")


def test_groups_by_column(tmp_path):
    writers = table(tmp_path, "file,writer\ncat/1.png,eve\ndog/1.png,bob\n")
    assert groups_of(layout("cat/1.png", "dog/1.png", table=writers), "writer", table=writers) == ("eve", "bob")


def test_groups_that_cannot_be_told(tmp_path):
    writers = table(tmp_path, "file,writer\ncat/1.png,eve\n")
    pets = layout("cat/1.png", "cat/2.png", "dog/w1.png")
    with pytest.raises(UserError, match=r"2 of 3 files(.|\n)*cat/1\.png: is not matched(.|\n)*cat/2\.png"):
        groups_of(pets, r"^(w\d)")
    with pytest.raises(UserError, match=r"has no group in brackets\n.*brackets"):
        groups_of(pets, "^w")
    with pytest.raises(UserError, match="is no pattern"):
        groups_of(pets, "(w")
    with pytest.raises(UserError, match=r"is no column of table\.csv\n.*did you mean 'writer'"):
        groups_of(pets, "writers", table=writers)
