"""Shuffled labels: the same images and points, the same class sizes, other classes."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepdiva.data.footprint import footprint
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.points import read_folder
from deepdiva.data.shuffle_labels import permuted, shuffle_labels
from deepdiva.errors import UserError, UserErrors


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "images"
    for split, count in (("train", 20), ("val", 2), ("test", 2)):
        for place, name in enumerate(("cat", "dog", "owl")):
            (root / split / name / "deep").mkdir(parents=True)
            for number in range(count + place):
                below = "deep/" if number == 0 else ""
                Image.fromarray(np.full((3, 3), 60 * place + number, np.uint8)).save(
                    root / split / name / f"{below}{number}.png"
                )
    (root / "README").write_text("letters")
    (root / "train" / "cat" / "notes.txt").write_text("notes")
    return root


@pytest.fixture
def plane(tmp_path: Path) -> Path:
    for split, count in (("train", 40), ("test", 10)):
        (tmp_path / "plane" / split).mkdir(parents=True)
        rows = [f'{place},{-place},{"ab"[place % 2]},"a, note"\r\n' for place in range(count)]
        (tmp_path / "plane" / split / "data.csv").write_text("x,y,Label,remark\r\n" + "".join(rows), newline="")
    return tmp_path / "plane"


def test_images_get_the_labels_of_others(images, tmp_path):
    before = footprint(images, deep=True)
    done = shuffle_labels(images, tmp_path / "new", seed=4)
    assert footprint(images, deep=True) == before
    assert (done.samples, done.shuffled, done.has_val) == (63, 63, True)
    old, new = load_image_folder(images), load_image_folder(tmp_path / "new")
    assert old.train.targets.bincount().tolist() == new.train.targets.bincount().tolist()
    known = {
        int(image[0, 0, 0]): int(target) for image, target in zip(old.train.inputs, old.train.targets, strict=True)
    }
    pairs = [(known[int(i[0, 0, 0])], int(t)) for i, t in zip(new.train.inputs, new.train.targets, strict=True)]
    assert len(pairs) == 63
    assert sum(was != now for was, now in pairs) == done.changed
    assert 63 * 0.4 < done.changed < 63 * 0.9
    for split in ("val", "test"):
        assert getattr(old, split).ids == getattr(new, split).ids
    assert (tmp_path / "new" / "README").read_text() == "letters"
    assert (tmp_path / "new" / "train" / "cat" / "notes.txt").exists()
    record = json.loads((tmp_path / "new" / "shuffled-labels.json").read_text())
    assert (record["seed"], record["root"]) == (4, before.root)


def test_a_seed_repeats_and_links_lead_to_the_original(images, tmp_path):
    for name, seed, link in (("one", 1, False), ("again", 1, True), ("other", 2, True)):
        shuffle_labels(images, tmp_path / name, seed=seed, link=link)
    one, again, other = (footprint(tmp_path / name).files for name in ("one", "again", "other"))
    assert one == again
    assert one.keys() != other.keys()
    linked = [path for path in (tmp_path / "again").rglob("*.png") if path.is_symlink()]
    assert len(linked) == 63 + 9 + 9
    assert all(path.readlink().is_relative_to(images) for path in linked)


def test_points_keep_everything_but_their_labels(plane, tmp_path):
    done = shuffle_labels(plane, tmp_path / "new")
    assert done.has_val is False
    old, new = ((folder / "train" / "data.csv").read_text().splitlines() for folder in (plane, tmp_path / "new"))
    assert old[0] == new[0]
    rows = [(one.split(",", 3), other.split(",", 3)) for one, other in zip(old[1:], new[1:], strict=True)]
    assert all(one[:2] == other[:2] and one[3] == other[3] for one, other in rows)
    assert sum(one[2] != other[2] for one, other in rows) == done.changed > 0
    assert Counter(one[2] for one, _ in rows) == Counter(other[2] for _, other in rows)
    assert (tmp_path / "new/test/data.csv").read_bytes() == (plane / "test/data.csv").read_bytes()
    assert read_folder(tmp_path / "new").classes == ("a", "b")


def test_a_share_of_the_labels():
    labels = [str(place) for place in range(1000)]
    new, count = permuted(labels, seed=0, fraction=0.3)
    moved = [place for place, (was, now) in enumerate(zip(labels, new, strict=True)) if was != now]
    assert count == 300
    assert 290 < len(moved) <= 300
    assert sorted(new) == sorted(labels)
    assert 400 < np.mean(moved) < 600, "the chosen ones lie anywhere"
    everything, _ = permuted(labels, seed=0, fraction=1.0)
    fixed = sum(was == now for was, now in zip(labels, everything, strict=True))
    assert fixed < 8
    assert abs(np.corrcoef(np.arange(1000), np.array(everything, dtype=float))[0, 1]) < 0.1


def test_mistakes(images, plane, tmp_path):
    for fraction in (0.0, 1.5, float("nan")):
        with pytest.raises(UserError, match="is no share"):
            shuffle_labels(images, tmp_path / "new", fraction=fraction)
    with pytest.raises(UserError, match="exists already"):
        shuffle_labels(images, plane)
    with pytest.raises(UserError, match="lies in the data set"):
        shuffle_labels(images, images / "new")
    with pytest.raises(UserError, match="has no folder train"):
        shuffle_labels(images / "train", tmp_path / "new")
    (plane / "train" / "data.csv").write_text("x,y,label\n1,b,c\n")
    with pytest.raises(UserErrors, match=r"train/data\.csv:2"):
        shuffle_labels(plane, tmp_path / "new")
    assert not (tmp_path / "new").exists()
