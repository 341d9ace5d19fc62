"""A checkpoint says how images are prepared, so that its model sees elsewhere what it was trained on."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepdiva import tasks
from deepdiva.config import Config, read_file
from deepdiva.data.preprocessing import Preprocessing, middle, preprocessing_of
from deepdiva.engine import checkpoint
from deepdiva.errors import UserError
from deepdiva.experiments.components import build_model
from deepdiva.experiments.train import train

MEAN, STD = (0.5,), (0.25,)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Colour images of several sizes: bright ones and dark ones."""
    values = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4), ("test", 4)):
        for place in range(count):
            name, light = ("dark", 0) if place % 2 else ("bright", 120)
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True, exist_ok=True)
            pixels = values.integers(light, light + 130, (20 + place, 22, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{place}.png")
    return tmp_path / "images"


def test_a_model_applied_elsewhere_gives_what_it_gave_in_the_run(root: Path, project: Path):
    task = {
        "class": "image-classification",
        "size": 18,
        "augment": [{"class": "random_crop", "size": 16}, "random_flip"],
    }
    run = train(Config(task=task, data=str(root), epochs=2, batch_size=4, seed=1, logging={"figures": "none"}))
    saved = checkpoint.load(checkpoint.folder(run.path / "checkpoints", int(run.record["best"]["step"])))
    about = checkpoint.read_about(saved)
    assert about == checkpoint.read_about(saved.path)
    assert (about.task, about.classes) == ("image-classification", ("bright", "dark"))
    prepare = Preprocessing.of(about.preprocessing)
    assert (prepare.channels, prepare.size, prepare.crop, prepare.seen) == ("rgb", (18, 18), 16, (3, 16, 16))
    assert list(prepare.mean) == about.statistics["mean"]
    assert "Pillow" in prepare.decoder

    rows = list(csv.DictReader((run.path / "predictions/test.csv").read_text().splitlines()))
    model = build_model(tasks.configure(None, layers=[read_file(run.path / "config.yaml")]).config)
    checkpoint.load_weights(model, saved.model, "the checkpoint")
    with torch.no_grad():
        shares = model.eval()(prepare([root / row["id"] for row in rows])).softmax(1)
    assert [about.classes[place] for place in shares.argmax(1).tolist()] == [row["prediction"] for row in rows]
    assert shares.amax(1).tolist() == pytest.approx([float(row["probability"]) for row in rows], abs=1e-5)


def test_what_was_written_is_read_back():
    from dataclasses import asdict

    made = preprocessing_of((1, 8, 9), mean=MEAN, std=STD, crop=4, decoder="Pillow 1")
    assert Preprocessing.of(asdict(made)) == made
    assert made.seen == (1, 4, 4)
    with pytest.raises(UserError, match="does not say how images are prepared"):
        Preprocessing.of({})
    with pytest.raises(UserError, match="does not fit into images of 8 x 9"):
        preprocessing_of((1, 8, 9), mean=MEAN, std=STD, crop=10)


def test_images_of_any_kind_become_what_the_model_takes(tmp_path: Path):
    prepare = preprocessing_of((1, 6, 6), mean=MEAN, std=STD)
    Image.new("RGB", (9, 12), (255, 255, 255)).save(tmp_path / "white.png")
    Image.new("L", (6, 6), 0).save(tmp_path / "black.png")
    images = prepare([tmp_path / "white.png", str(tmp_path / "black.png")])
    assert images.shape == (2, 1, 6, 6)
    assert images[:, 0, 0, 0].tolist() == pytest.approx([2.0, -2.0])
    (tmp_path / "broken.png").write_bytes(b"x")
    for name in ("broken.png", "gone.png"):
        with pytest.raises(UserError, match=rf"{name} cannot be read"):
            prepare([tmp_path / name])


def test_the_middle():
    images = torch.arange(7 * 6).reshape(1, 1, 7, 6)
    assert middle(images, 3)[0, 0].tolist() == images[0, 0, 2:5, 1:4].tolist()
    assert middle(images, None) is images
