"""`--data PATH`: folders of images of every kind and tables of points; what is wrong with them is named, all of it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.stories.conftest import QUICK, Refused, Run

from deepdiva.runs.folder import RunFolder

IMAGES = ("image-classification", "--epochs", 1, "--batch-size", 16)


@pytest.fixture
def images(digits: Path, tmp_path: Path) -> Path:
    """A copy of the digits as PNG files, to be spoiled."""
    return shutil.copytree(digits, tmp_path / "images")


def convert(folder: Path, mode: str) -> None:
    """Makes all images of a folder of one mode."""
    for path in folder.rglob("*.png"):
        with Image.open(path) as image:
            gray = np.asarray(image.convert("L"))
        other = Image.fromarray(gray.astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(gray).convert(mode)
        path.unlink()
        other.save(path.with_suffix(".tiff" if mode == "CMYK" else ".png"))


def channels(run: RunFolder) -> int:
    """What the data decided for the model."""
    return run.config()["model"]["in_channels"]


def test_folders_of_images_train_and_a_missing_val_is_split_off(run: Run, images: Path):
    first, second = (run(*IMAGES, "--data", images) for _ in range(2))
    assert channels(first) == 1
    assert first.config()["model"]["num_classes"] == 3
    assert len(first.predictions("test")["id"]) == 15
    assert set(first.predictions("test")["truth"]) == {"0", "1", "2"}
    assert first.digests == second.digests
    members = [json.loads((done.path / "data" / "membership.json").read_text()) for done in (first, second)]
    assert members[0] == members[1]
    assert members[0]["val"]
    assert not set(members[0]["val"]) & set(members[0]["train"])


@pytest.mark.parametrize(("mode", "expected"), [("RGBA", 3), ("P", 1), ("CMYK", 3), ("I;16", 1), ("LA", 1)])
def test_every_mode_of_image_is_read(run: Run, images: Path, mode: str, expected: int):
    convert(images, mode)
    assert channels(run(*IMAGES, "--data", images)) == expected


def test_images_of_two_sizes_need_a_size(run: Run, refused: Refused, images: Path):
    Image.new("L", (9, 8)).save(images / "train" / "0" / "wide.png")
    words = (*IMAGES, "--data", images)
    assert "--size" in refused("run", *words, *QUICK)
    assert run(*words, "--size", 12).results["test/accuracy"] >= 0


def test_all_that_is_wrong_with_the_folders_is_named_at_once(refused: Refused, images: Path):
    (images / "train" / "nothing").mkdir()
    shutil.copytree(images / "test" / "0", images / "test" / "zebra")
    message = refused("run", *IMAGES, "--data", images, *QUICK)
    assert "train/nothing: is a class without images" in message
    assert "test/zebra: is a class that train does not have" in message


def test_all_corrupt_images_are_named(refused: Refused, images: Path):
    spoiled = [images / "train" / "1" / "a.png", images / "test" / "2" / "b.png"]
    spoiled[0].write_bytes(b"no image at all")
    whole = next(images.glob("train/0/*.png")).read_bytes()
    spoiled[1].write_bytes(whole[: len(whole) // 2])
    message = refused("run", *IMAGES, "--data", images, *QUICK)
    assert "train/1/a.png" in message
    assert "test/2/b.png" in message


@pytest.mark.parametrize("shape", ["moons", "spirals", "gaussians"])
def test_points_of_every_generated_set(run: Run, shape: str):
    done = run("points", "--data", shape, "--n", 200, "--epochs", 25)
    assert done.results["test/accuracy"] > done.results["test/largest_class_accuracy"]


def table(folder: Path, split: str, rows: list[str]) -> None:
    (folder / split).mkdir(parents=True)
    (folder / split / "data.csv").write_text("\n".join(["x,y,label", *rows]) + "\n")


def test_points_from_tables(run: Run, tmp_path: Path):
    for split, count in (("train", 40), ("val", 10), ("test", 10)):
        rows = [f"{place % 2},{place / count},{'right' if place % 2 else 'left'}" for place in range(count)]
        table(tmp_path / "tables", split, rows)
    done = run("points", "--data", tmp_path / "tables", "--epochs", 30)
    assert done.results["test/accuracy"] == 1.0
    assert set(done.predictions("test")["prediction"]) == {"left", "right"}


def test_mistakes_in_tables_are_named_by_file_and_line(refused: Refused, tmp_path: Path):
    table(tmp_path / "tables", "train", ["0,0,a", "1,one,b", "2,2"])
    table(tmp_path / "tables", "test", ["0,0,a", "nan,1,b"])
    message = refused("run", "points", "--data", tmp_path / "tables", *QUICK)
    assert "train/data.csv:3" in message
    assert "train/data.csv:4" in message
    assert "test/data.csv:3" in message


def test_figures_of_a_validation_are_kept_as_pictures(run: Run):
    done = run("points", "--n", 60, "--epochs", 1, "--surface-pixels", 20, "--threads", 1, "--seed", 1, quick=False)
    for name in ("confusion", "surface"):
        assert [path.name for path in sorted((done.path / "figures" / "val" / name).iterdir())] == [
            "00000000.png",
            "00000002.png",
        ]
    assert list((done.path / "tensorboard").iterdir())
