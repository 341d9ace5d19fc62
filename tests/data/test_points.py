from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deepdiva.data import points
from deepdiva.data.arrays import normalise
from deepdiva.errors import UserError, UserErrors


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, "train", "x,y,label\n0,10,a\n2,10.5,b\n4,1e1,a\n")
    write(tmp_path, "val", "x,y,label\n1,1,b\n")
    write(tmp_path, "test", "x,y,label\n3,3,a\n")
    return tmp_path


def write(root: Path, split: str, text: str | bytes) -> None:
    (root / split).mkdir(exist_ok=True)
    (root / split / "data.csv").write_bytes(text if isinstance(text, bytes) else text.encode())


def problems(root: Path) -> list[str]:
    with pytest.raises(UserErrors) as caught:
        points.read_folder(root)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("name", points.SHAPES)
def test_generated_sets(name):
    splits = points.generate(name, n=600, seed=4)
    assert splits.test is not None
    assert [len(splits.train), len(splits.val), len(splits.test)] == [360, 120, 120]
    assert splits.train.inputs.shape == (360, 2)
    assert splits.train.inputs.dtype == torch.float32
    assert splits.train.targets.dtype == torch.int64
    assert len(splits.classes) == points.SHAPES[name].classes
    for split in (splits.train, splits.val, splits.test):
        counts = torch.bincount(split.targets)
        assert counts.max() - counts.min() <= 1
    assert len({*splits.train.ids, *splits.val.ids, *splits.test.ids}) == 600


@pytest.mark.parametrize("name", points.SHAPES)
def test_a_seed_repeats_and_chooses(name):
    one, again, other = (points.generate(name, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.train.inputs, again.train.inputs)
    assert one.footprints == again.footprints
    assert one.footprints[0].root != other.footprints[0].root


def test_generating_leaves_the_global_generators_alone():
    torch.manual_seed(0)
    np.random.seed(0)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    points.generate("moons")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == np.random.get_state()[1].tolist()


def test_the_points_are_a_promise():
    places, labels = points.draw("spirals", n=30, seed=0)
    assert labels[:4].tolist() == [0, 1, 2, 0]
    assert places[:2].tolist() == [[-0.754466, 0.431053], [-0.44072, 1.9582]]


def test_without_noise_the_points_lie_on_their_curves():
    places, labels = points.draw("gaussians", n=40, noise=0.0, classes=2)
    assert np.allclose(places[labels == 0], [-1, 0])
    assert np.allclose(places[labels == 1], [1, 0])
    places, labels = points.draw("moons", n=400, noise=0.0)
    assert np.allclose(np.linalg.norm(places[labels == 0], axis=1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(places[labels == 1] - [1, 0.5], axis=1), 1, atol=1e-5)
    places, _ = points.draw("spirals", n=400, noise=0.0)
    assert np.linalg.norm(places, axis=1).max() <= 3.0


def test_noise_has_the_asked_deviation():
    quiet, labels = points.draw("gaussians", n=20_000, noise=0.0)
    noisy, _ = points.draw("gaussians", n=20_000, noise=0.4)
    for label in range(3):
        offset = (noisy - quiet)[labels == label]
        assert offset.std() == pytest.approx(0.4, rel=0.02)
        assert abs(offset.mean()) < 0.01


def test_twelve_classes():
    splits = points.generate("gaussians", n=240, classes=12)
    assert len(splits.classes) == 12
    assert torch.bincount(splits.train.targets).tolist() == [12] * 12


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "moon"}, "no set of points is called 'moon'"),
        ({"name": "moons", "classes": 3}, "moons cannot have 3 classes"),
        ({"name": "spirals", "classes": 1}, "spirals cannot have 1 classes"),
        ({"name": "moons", "n": 9}, "9 points are too few"),
        ({"name": "moons", "noise": -0.1}, "not a standard deviation"),
        ({"name": "moons", "noise": float("nan")}, "not a standard deviation"),
        ({"name": "moons", "seed": -1}, "seed -1 is negative"),
    ],
)
def test_what_cannot_be_generated(settings, message):
    with pytest.raises(UserError, match=message):
        points.generate(**settings)


def test_a_misspelt_set_is_suggested():
    with pytest.raises(UserError) as caught:
        points.generate("spiral")
    assert caught.value.hint == "did you mean 'spirals'?"


def test_tables_are_read(root):
    splits = points.read_folder(root)
    assert splits.test is not None
    assert splits.classes == ("a", "b")
    assert splits.train.inputs.tolist() == [[0.0, 10.0], [2.0, 10.5], [4.0, 10.0]]
    assert splits.train.targets.tolist() == [0, 1, 0]
    assert splits.test.ids == ("test/data.csv:2",)
    assert splits.val.targets.tolist() == [1]
    assert splits.footprints[0].files.keys() == {"train/data.csv", "val/data.csv", "test/data.csv"}
    assert splits.membership == {}


def test_one_point_has_one_place_in_every_split(root):
    write(root, "test", "x,y,label\n2,10.5,a\n")
    splits = points.read_folder(root)
    assert splits.test is not None
    mean, std = splits.moments.mean, splits.moments.std
    assert mean == pytest.approx((2.0, 10.1666667))
    assert torch.equal(normalise(splits.train.inputs, mean, std)[1], normalise(splits.test.inputs, mean, std)[0])


def test_order_of_columns_case_blank_lines_and_a_byte_order_mark(root):
    write(root, "train", "\ufefflabel, Y ,X,colour\n1,2,3,red\n\n 0 , 5,6 ,blue\n".encode())
    write(root, "val", "x,y,label\r\n1,1,1\r\n")
    (root / "test" / "data.csv").unlink()
    splits = points.read_folder(root)
    assert splits.train.inputs.tolist() == [[3.0, 2.0], [6.0, 5.0]]
    assert splits.train.targets.tolist() == [1, 0]
    assert splits.train.ids == ("train/data.csv:2", "train/data.csv:4")
    assert splits.test is None


def test_numbers_as_labels_are_sorted_as_numbers(root):
    write(root, "train", "x,y,label\n0,0,10\n0,0,9\n0,0,-1\n")
    write(root, "val", "x,y,label\n0,0,9.0\n")
    write(root, "test", "x,y,label\n0,0,1.0e1\n")
    splits = points.read_folder(root)
    assert splits.classes == ("-1", "9", "10")
    assert splits.val.targets.tolist() == [1]


def test_a_missing_val_is_split_off(root):
    rows = "".join(f"{n},{n},{n % 2}\n" for n in range(50))
    write(root, "train", "x,y,label\n" + rows)
    write(root, "test", "x,y,label\n0,0,1\n")
    (root / "val" / "data.csv").unlink()
    splits = points.read_folder(root)
    assert (len(splits.train), len(splits.val)) == (40, 10)
    assert torch.bincount(splits.val.targets).tolist() == [5, 5]
    assert splits.membership["val"] == splits.val.ids
    assert splits.moments.mean[0] == pytest.approx(splits.train.inputs[:, 0].mean().item())


def test_all_mistakes_are_named_with_their_lines(root):
    write(root, "train", "x,y,label\n0,0,a\none,0,b\n1,2\n0,nan,a\n0,0,\n1,1,b\n")
    write(root, "val", "x,y,class\n1,1,a\n")
    write(root, "test", "x,y,label\n1,1,a\n2,2,c\n")
    assert problems(root) == [
        "train/data.csv:3: x is 'one' where a number is expected",
        "train/data.csv:4: has 2 values where the header has 3",
        "train/data.csv:5: y is 'nan', which is no place",
        "train/data.csv:6: label is empty",
        "val/data.csv:1: column label is missing: the header is x,y,class (x,y,label)",
        "test/data.csv:3: class 'c' does not occur in train",
    ]


def test_files_that_are_no_tables(root):
    write(root, "train", b"x,y,label\n\xff\xfe,1,a\n")
    write(root, "val", "")
    write(root, "test", "x,y,label\n")
    assert problems(root) == [
        "train/data.csv: is not a text in UTF-8",
        "val/data.csv:1: column x, y, label is missing: the header is nothing (x,y,label)",
        "test/data.csv: holds no points",
    ]


def test_missing_files_and_folders(root, tmp_path):
    (root / "train" / "data.csv").unlink()
    assert problems(root)[0].startswith("train/data.csv: is missing")
    with pytest.raises(UserError, match="no folder") as caught:
        points.read_folder("spirls")
    assert caught.value.hint == "did you mean 'spirals'?"


def test_one_class_is_too_few(root):
    write(root, "train", "x,y,label\n0,0,a\n")
    write(root, "val", "x,y,label\n0,0,a\n")
    assert problems(root) == ["train/data.csv: has 1 classes where 2 or more are needed"]
