from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from deepdiva.data.footprint import footprint
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.split_list import SplitList, read_splits, write_splits
from deepdiva.errors import UserError


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of four images, not split."""
    root = tmp_path / "pets"
    for place in range(8):
        path = root / ("cat" if place < 4 else "dog") / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), place).save(path)
    return root


PARTS = {"train": ("cat/0.png", "cat/1.png", "dog/4.png"), "val": ("cat/2.png", "dog/5.png"), "test": ("dog/6.png",)}
OTHER = {"train": ("cat/3.png", "dog/7.png"), "test": ("cat/0.png",)}


def write(path: Path, **content: object) -> Path:
    path.write_text(json.dumps({"schema": 1, "root": None, "splits": PARTS} | content))
    return path


def test_a_list_reads_back_as_written(tmp_path):
    lists = [
        SplitList((PARTS,), "f00", how={"seed": 3}),
        SplitList((PARTS, OTHER), None, labels={"cat/0.png": "tiger"}, is_folded=True),
        SplitList(({"train": ("\udcff/1.png", "b\n.png")},)),
    ]
    for number, made in enumerate(lists):
        path = tmp_path / f"{number}.json"
        write_splits(made, path)
        assert read_splits(path) == made
        assert path.stat().st_mode & 0o444


def test_the_file_has_the_agreed_form(tmp_path):
    write_splits(SplitList((PARTS,), "f00", how={"seed": 3}), tmp_path / "one.json")
    assert json.loads((tmp_path / "one.json").read_text()) == {
        "schema": 1,
        "root": "f00",
        "how": {"seed": 3},
        "splits": {split: list(names) for split, names in PARTS.items()},
    }


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path):
    target = tmp_path / "splits.json"
    target.write_text("mine")
    with pytest.raises(UserError, match=r"splits\.json is there already"):
        write_splits(SplitList((PARTS,)), target)
    assert target.read_text() == "mine"
    with pytest.raises(UserError, match="cannot be written: No such file"):
        write_splits(SplitList((PARTS,)), tmp_path / "nowhere" / "splits.json")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"schema": 2}, "has schema 2"),
        ({"splits": {"train": ["a"], "dev": ["b"]}}, "has splits dev"),
        ({"splits": {"val": ["b"]}}, "no samples in train"),
        ({"splits": {"train": ["a"], "val": ["a"]}}, "a: stands in the list twice"),
        ({"splits": ["a"]}, "is no split list"),
    ],
)
def test_a_wrong_list_is_refused(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_splits(write(tmp_path / "wrong.json", **content))


def test_a_file_that_is_no_list_is_refused(tmp_path):
    (tmp_path / "text.json").write_text("train: a")
    with pytest.raises(UserError, match="is no split list"):
        read_splits(tmp_path / "text.json")
    with pytest.raises(UserError, match=r"none\.json cannot be read: No such file"):
        read_splits(tmp_path / "none.json")


def test_image_folders_are_read_by_a_list(pets, tmp_path):
    found = load_image_folder(pets, splits=write(tmp_path / "list.json", root=footprint(pets).root))
    assert {split: getattr(found, split).ids for split in PARTS} == PARTS
    assert found.classes == ("cat", "dog")
    assert found.train.targets.tolist() == [0, 0, 1]
    assert found.train.inputs[:, 0, 0, 0].tolist() == [0, 1, 4]
    assert found.membership == PARTS


def test_a_fold_is_chosen_and_val_is_split_off_where_it_has_none(pets, tmp_path):
    path = write(tmp_path / "list.json", folds=[PARTS, OTHER])
    assert load_image_folder(pets, splits=path, fold=0).val.ids == PARTS["val"]
    found = load_image_folder(pets, splits=path, fold=1, val_fraction=0.5)
    assert sorted([*found.train.ids, *found.val.ids]) == sorted(OTHER["train"])
    assert found.membership["test"] == OTHER["test"]
    for fold in (None, 2):
        with pytest.raises(UserError, match=r"2 folds and .*\n.*--fold 0 … 1"):
            load_image_folder(pets, splits=path, fold=fold)


def test_a_fold_needs_a_list_that_has_folds(pets, tmp_path):
    with pytest.raises(UserError, match="without folds"):
        load_image_folder(pets, splits=write(tmp_path / "list.json"), fold=0)
    with pytest.raises(UserError, match="--splits FILE"):
        load_image_folder(pets, fold=0)


def test_labels_of_the_list_come_before_folders(pets, tmp_path):
    labels = {name: "even" if int(Path(name).stem) % 2 == 0 else "odd" for part in PARTS.values() for name in part}
    found = load_image_folder(pets, splits=write(tmp_path / "list.json", labels=labels))
    assert found.classes == ("even", "odd")
    assert found.train.targets.tolist() == [0, 1, 0]


def test_a_list_that_does_not_fit_is_refused(pets, tmp_path):
    with pytest.raises(UserError, match=r"cat/x\.png: is in the split list but not in the data set"):
        load_image_folder(pets, splits=write(tmp_path / "a.json", splits=PARTS | {"val": ["cat/x.png"]}))
    with pytest.raises(UserError, match="val: has the class dog, which train does not have"):
        load_image_folder(pets, splits=write(tmp_path / "b.json", splits=PARTS | {"train": ["cat/0.png"]}))
    (pets / "stray.png").write_bytes((pets / "cat/0.png").read_bytes())
    with pytest.raises(UserError, match=r"stray\.png: lies in no class folder"):
        load_image_folder(pets, splits=write(tmp_path / "c.json", splits=PARTS | {"val": ["stray.png"]}))


def test_a_list_of_other_content_is_refused(pets, tmp_path):
    path = write(tmp_path / "list.json", root=footprint(pets).root)
    Image.new("L", (4, 3), 99).save(pets / "cat" / "3.png")
    with pytest.raises(UserError, match="made of other content"):
        load_image_folder(pets, splits=path)
