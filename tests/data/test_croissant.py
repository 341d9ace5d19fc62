"""Descriptions in Croissant, judged and read by mlcroissant."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepdiva.data.croissant import About, describe
from deepdiva.data.footprint import footprint, of_contents
from deepdiva.errors import UserErrors

EVERYTHING = {
    "description": "Cats and dogs",
    "license": "https://creativecommons.org/licenses/by/4.0/",
    "url": "https://example.org/cats",
    "creator": "Ada",
    "cite_as": "Ada, Cats, 2026",
    "version": "1.0.0",
    "published": "2026-11-21",
}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "the images"
    for split in ("train", "test"):
        for place, name in enumerate(("cat", "große Hunde")):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                pixels = np.full((3, 4), 40 * place + number, dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number} ü.png")
    (root / "README").write_text("letters")
    return root


def judge(path: Path) -> Any:
    """The data set as mlcroissant reads it; its constructor raises where the description is not valid."""
    import warnings

    logging.getLogger("absl").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations among its own dependencies
        import mlcroissant

        return mlcroissant.Dataset(path)


def records(path: Path, split: str) -> list[dict[str, Any]]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(judge(path).records(split))


def export(root: Path, target: Path, **about: str) -> Path:
    location = os.path.relpath(root, target.parent)
    target.write_text(json.dumps(describe(footprint(root), About(root.name, **about), location=location)))
    return target


def test_a_full_description_has_neither_errors_nor_warnings(images, tmp_path):
    found = judge(export(images, tmp_path / "images.json", **EVERYTHING))
    assert found.metadata.issues.errors == set()
    assert found.metadata.issues.warnings == set()
    assert found.metadata.name == "the images"
    assert found.metadata.description == "Cats and dogs"


def test_every_file_has_its_size_and_digest(images, tmp_path):
    taken = footprint(images)
    content = json.loads(export(images, tmp_path / "images.json").read_text())
    files = {item["name"]: item for item in content["distribution"] if item["@type"] == "cr:FileObject"}
    assert files.keys() == taken.files.keys()
    for name, entry in taken.files.items():
        assert files[name]["sha256"] == entry.sha256
        assert files[name]["contentSize"] == f"{entry.size} B"
    assert files["train/cat/0 ü.png"]["encodingFormat"] == "image/png"
    assert files["README"]["encodingFormat"] == "application/octet-stream"
    assert content["identifier"] == f"sha256:{taken.root}"


def test_others_read_the_images_and_their_classes(images, tmp_path):
    found = records(export(images, tmp_path / "images.json"), "train")
    assert [record["train/label"].decode() for record in found] == ["cat", "cat", "große Hunde", "große Hunde"]
    assert sorted(record["train/image"].getpixel((0, 0))[0] for record in found) == [0, 1, 40, 41]


def test_others_read_the_points(tmp_path):
    (tmp_path / "plane" / "train").mkdir(parents=True)
    (tmp_path / "plane" / "train" / "data.csv").write_text("x,y,label\n0.5,2,left\n1,-3,right\n")
    found = records(export(tmp_path / "plane", tmp_path / "plane.json"), "train")
    assert found == [
        {"train/x": 0.5, "train/y": 2.0, "train/label": b"left"},
        {"train/x": 1.0, "train/y": -3.0, "train/label": b"right"},
    ]


def test_a_description_inside_and_one_from_above(images, tmp_path):
    assert len(records(export(images, images / "images.json"), "test")) == 4
    (tmp_path / "above").mkdir()
    images.rename(tmp_path / "above" / "set")
    assert len(records(export(tmp_path / "above" / "set", tmp_path / "images.json"), "test")) == 4


def test_a_set_in_a_form_we_do_not_know_is_described_by_its_files(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.tar.gz").write_bytes(b"1")
    (tmp_path / "set" / "b.csv").write_bytes(b"2")
    found = judge(export(tmp_path / "set", tmp_path / "set.json"))
    assert [item.id for item in found.metadata.distribution] == ["a.tar.gz", "b.csv"]
    assert found.metadata.record_sets == []


def test_the_text_is_the_same_each_time(images):
    about = About("images")
    assert describe(footprint(images), about) == describe(footprint(images, deep=True), about)


def test_names_that_are_not_utf8_are_all_named():
    contents = {os.fsdecode(b"gr\xf6\xdfe"): b"1", "good": b"2", os.fsdecode(b"\xff/x"): b"3"}
    with pytest.raises(UserErrors) as caught:
        describe(of_contents(contents), About("set"))
    assert [problem.where for problem in caught.value.problems] == ["gr\\udcf6\\udcdfe", "\\udcff/x"]
