"""Images: the bundled digits, one's own folders, and augmentation that repeats."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from deepdiva import Config, train
from deepdiva.config import Component
from deepdiva.engine.task import Evaluation
from deepdiva.errors import UserError
from deepdiva.models.cnn import CNN
from deepdiva.tasks.image_classification import ImageClassification

Look = Callable[..., Evaluation]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Bright and dark images, six of each a split."""
    generator = np.random.Generator(np.random.PCG64(0))
    for split in ("train", "val", "test"):
        for name, level in (("bright", 180), ("dark", 20)):
            path = tmp_path / "images" / split / name
            path.mkdir(parents=True)
            for place in range(6):
                pixels = generator.integers(level, level + 60, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path / f"{place}.png")
    return tmp_path / "images"


def test_the_digits_come_without_a_word():
    task = ImageClassification()
    data = task.load_data(None)
    assert [len(split) for split in (data.train, data.val, data.test)] == [1200, 200, 397]  # type: ignore[arg-type]
    assert data.supplies == {"num_classes": 10, "in_channels": 1, "in_features": 64}
    assert data.classes == tuple("0123456789")
    inputs = task.prepare(nn.Identity(), data.train.inputs)  # type: ignore[attr-defined]
    assert inputs.mean().item() == pytest.approx(0, abs=1e-4)
    assert inputs.std(correction=0).item() == pytest.approx(1, abs=1e-4)
    named = ImageClassification().load_data("digits")
    assert [one.root for one in named.footprints] == [one.root for one in data.footprints]


def test_folders_of_images_are_read(folder: Path):
    task = ImageClassification()
    data = task.load_data(str(folder))
    assert data.classes == ("bright", "dark")
    assert data.supplies == {"num_classes": 2, "in_channels": 3, "in_features": 432}
    gray = ImageClassification(channels="gray", size=8).load_data(str(folder))
    assert gray.train.inputs.shape == (12, 1, 8, 8)  # type: ignore[attr-defined]


def test_one_small_training_tells_bright_from_dark(folder: Path):
    settings = {"epochs": 15, "batch_size": 6, "seed": 0, "threads": 1, "logging": {"tensorboard": False}}
    model = {"class": "cnn", "width": 4}
    run = train(Config(task="image-classification", data=str(folder), model=model, **settings))
    assert run.results["test/accuracy"] == 1.0
    assert run.config()["model"]["in_channels"] == 3
    figures = {path.parent.name for path in run.path.glob("figures/test/*/*.png")}
    assert figures == {"confusion", "mistakes"}


# -- augmentation -------------------------------------------------------------------------------------------------

AUGMENT = (Component("RandomHorizontalFlip"), Component("RandomCrop", {"size": 8, "padding": 1}))


def test_only_training_images_are_augmented():
    data = ImageClassification(augment=AUGMENT).load_data(None)
    plain = ImageClassification().load_data(None)
    torch.manual_seed(0)
    seen = [data.train[0][0] for _ in range(10)]
    assert len({image.numpy().tobytes() for image in seen}) > 1
    assert all(image.shape == (1, 8, 8) and image.dtype == torch.uint8 for image in seen)
    assert torch.equal(data.val[0][0], plain.val[0][0])
    assert data.train.ids == plain.train.ids  # type: ignore[attr-defined]


def test_augmented_samples_can_be_sent_to_a_process_that_was_not_forked():
    train_split = ImageClassification(augment=AUGMENT).load_data(None).train
    again = pickle.loads(pickle.dumps(train_split))
    torch.manual_seed(3)
    expected = train_split[5][0]
    torch.manual_seed(3)
    assert torch.equal(again[5][0], expected)


def test_augmentation_repeats_for_any_number_of_workers(folder: Path):
    settings = {
        "epochs": 1,
        "batch_size": 5,
        "seed": 0,
        "threads": 1,
        "model": {"class": "cnn", "width": 4},
        "logging": {"tensorboard": False, "figures": "none"},
    }
    augment = [{"class": "RandomRotation", "degrees": 30}, {"class": "ColorJitter", "brightness": 0.4}]
    task = {"class": "image-classification", "augment": augment}
    runs = [train(Config(task=task, data=str(folder), workers=workers, **settings)) for workers in (0, 2)]
    assert runs[0].digests == runs[1].digests
    plain = train(Config(task="image-classification", data=str(folder), **settings))
    assert plain.digests["weights"] != runs[0].digests["weights"]
    assert runs[0].config()["task"]["augment"][0]["degrees"] == 30


# -- figures ------------------------------------------------------------------------------------------------------


def test_mistakes_are_drawn_also_where_there_are_none(look: Look):
    task = ImageClassification()
    data = task.load_data(None)
    torch.manual_seed(0)
    model = CNN(num_classes=10, width=4)
    passed = look(task, data, model)
    figures = task.figures(model, passed)
    assert set(figures) == {"confusion", "mistakes"}
    passed.outputs["scores"].copy_(nn.functional.one_hot(passed.outputs["target"], 10).float())  # type: ignore[attr-defined]
    perfect = task.figures(model, passed)
    assert perfect["mistakes"].size != (0, 0)
    assert perfect["mistakes"].tobytes() != figures["mistakes"].tobytes()


def test_every_transform_of_one_own_will_do():
    task = ImageClassification(augment=(Component(f"{__file__}:Inverted"),))
    data, plain = task.load_data(None), ImageClassification().load_data(None)
    assert torch.equal(data.train[0][0], 255 - plain.train[0][0])


class Inverted:
    """White on black for black on white."""

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        return 255 - image


# -- batched augmentation, crops and the cache ---------------------------------------------------------------------


def test_our_transforms_and_those_of_torchvision_have_names_of_their_own():
    from torchvision.transforms import v2

    from deepdiva.config import build
    from deepdiva.data.augment import RandomCrop
    from deepdiva.tasks.image_classification import TRANSFORM

    assert isinstance(build(TRANSFORM, Component("random_crop", {"size": 8})), RandomCrop)
    assert isinstance(build(TRANSFORM, Component("RandomCrop", {"size": 8})), v2.RandomCrop)


def test_images_are_as_large_in_evaluation_as_in_training(folder: Path):
    crop = Component("random_crop", {"size": 8})
    task = ImageClassification(augment=(crop,))
    data = task.load_data(str(folder))
    assert data.supplies["in_features"] == 3 * 8 * 8
    assert data.preprocessing["crop"] == 8
    stored = data.val.batch(torch.arange(3))[0]  # type: ignore[attr-defined]
    assert task.prepare(nn.Identity(), stored).shape == (3, 3, 8, 8)
    assert ImageClassification(augment=(crop,), crop=6).load_data(str(folder)).preprocessing["crop"] == 6
    with pytest.raises(UserError, match="does not fit into images of 12 x 12"):
        ImageClassification(crop=13).load_data(str(folder))


def test_large_batches_have_the_same_bits_in_a_buffer_that_is_used_again():
    task = ImageClassification()
    data = task.load_data(None)
    images = data.train.inputs.repeat(60, 1, 1, 1)  # type: ignore[attr-defined]
    large = task.prepare(nn.Identity(), images)
    assert torch.equal(large[:1200], task.prepare(nn.Identity(), images[:1200]))
    assert task.prepare(nn.Identity(), images[:70_000]).data_ptr() == large.data_ptr()


@pytest.mark.parametrize(
    "augment", [["random_shift", "random_flip"], ["random_shift", {"class": "RandomRotation", "degrees": 9}]]
)
def test_neither_cache_nor_workers_nor_batches_of_augmentation_show(folder: Path, augment: list[object]):
    digests = set()
    for cache, workers in (("auto", 0), ("auto", 1), ("none", 0), ("none", 2)):
        task = {"class": "image-classification", "augment": augment, "cache": cache}
        logging = {"figures": "end"} if cache == "none" else {"figures": "none"}
        run = train(
            Config(task=task, data=str(folder), epochs=1, batch_size=5, seed=1, workers=workers, logging=logging)
        )
        digests.add(run.record["digests"]["state"])
    assert len(digests) == 1


def test_a_split_list_is_not_ignored_where_there_are_no_files():
    with pytest.raises(UserError, match="splits of their own"):
        ImageClassification(splits="some.json").load_data("digits")
