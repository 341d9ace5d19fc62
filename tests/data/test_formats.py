from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from original_sets import put, ten_each
from PIL import Image

from deepdiva.data import formats, store
from deepdiva.data.arrays import Arrays, ArraySplits
from deepdiva.data.splits import counts_of, stratified
from deepdiva.data.statistics import moments_of_pixels, pixel_histogram
from deepdiva.errors import UserError

NAMES = ("mnist", "cifar10", "cifar100", "svhn", "stl10")


@pytest.fixture
def here(known):
    """All small data sets in their usual places."""
    for name, made in known.items():
        put(made.unpacked, store.folder_of(name) / made.dataset.layouts[0].folders[0])
    return known


def together(splits: ArraySplits) -> tuple[np.ndarray, np.ndarray]:
    """The training images with those of the validation split put back to their places."""
    ids = [*splits.train.ids, *splits.val.ids]
    order = np.argsort(ids)
    pixels = torch.cat([splits.train.inputs, splits.val.inputs]).numpy()[order]
    assert np.sort(ids).tolist() == [f"train-{place:06d}" for place in range(len(ids))]
    return pixels, torch.cat([splits.train.targets, splits.val.targets]).numpy()[order]


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_arrives(here, name):
    named = formats.find(name)
    assert named is not None
    splits = named.read(val_fraction=0.2)
    small = here[name]
    pixels, labels = together(splits)
    np.testing.assert_array_equal(pixels, small.train[0])
    np.testing.assert_array_equal(labels, small.train[1])
    assert splits.test is not None
    np.testing.assert_array_equal(splits.test.inputs.numpy(), small.test[0])
    np.testing.assert_array_equal(splits.test.targets.numpy(), small.test[1])
    assert splits.test.ids[:2] == ("test-000000", "test-000001")
    assert splits.classes == small.classes
    assert splits.train.inputs.dtype == torch.uint8
    assert splits.train.inputs.is_contiguous()
    assert splits.train.targets.dtype == torch.int64
    assert splits.moments == moments_of_pixels(pixel_histogram(splits.train.inputs.numpy()))
    home = store.folder_of(name) / small.dataset.layouts[0].folders[0]
    assert [proof.source for proof in splits.footprints] == [str(home)]


def test_the_validation_split_is_stratified_and_always_the_same(here):
    named = formats.find("mnist")
    assert named is not None
    counts = counts_of(30, (0.8, 0.2))
    train, val = stratified(ten_each(30), counts, seed=3)
    splits = named.read(val_fraction=0.2, split_seed=3)
    assert splits.val.ids == tuple(f"train-{place:06d}" for place in val)
    assert splits.membership == {"train": splits.train.ids, "val": splits.val.ids}
    assert len(splits.train) == len(train)


@pytest.mark.parametrize("name", ["CIFAR-10", "cifar_10", "Cifar10"])
def test_names_are_found_as_people_write_them(here, name):
    named = formats.find(name)
    assert named is not None
    assert named.dataset.name == "cifar10"


@pytest.mark.parametrize("name", ["digits", "./mnist", "data/mnist", "/mnist", "mnist.old", "C:mnist"])
def test_paths_are_no_names(name):
    assert formats.find(name) is None


@pytest.mark.parametrize("fold", [0, 3, 9])
def test_a_fold_of_stl10_is_what_the_file_says(here, fold):
    splits = formats.read(f"stl10:{fold}", store.folder_of("stl10"))
    places = here["stl10"].more["folds"][fold]
    pixels, labels = together(splits)
    np.testing.assert_array_equal(pixels, here["stl10"].train[0][places])
    np.testing.assert_array_equal(labels, here["stl10"].train[1][places])
    assert splits.test is not None
    assert len(splits.test) == len(here["stl10"].test[1])


def test_stl10_has_ten_folds(here):
    with pytest.raises(UserError, match="no variant '10'"):
        formats.find("stl10:10")
    (store.folder_of("stl10") / "stl10_binary" / "fold_indices.txt").write_text("0 1\n2 3\n")
    with pytest.raises(UserError, match="has 2 folds, no fold 3"):
        formats.read("stl10:3", store.folder_of("stl10"))


def test_the_images_without_labels_are_mapped(here):
    samples = formats.unlabelled(store.folder_of("stl10"))
    np.testing.assert_array_equal(samples.inputs.numpy(), here["stl10"].more["unlabelled"])
    inputs, targets = samples.batch(torch.tensor([2, 0]))
    np.testing.assert_array_equal(inputs.numpy(), here["stl10"].more["unlabelled"][[2, 0]])
    assert targets.tolist() == [-1, -1]
    with pytest.raises(UserError, match="no labels"):
        formats.read("stl10:unlabelled", store.folder_of("stl10"))


def test_cifar100_has_coarse_labels(here):
    splits = formats.read("cifar100:coarse", store.folder_of("cifar100"), val_fraction=0.2)
    np.testing.assert_array_equal(together(splits)[1], here["cifar100"].more["coarse"]["train"])
    assert splits.classes == here["cifar100"].more["coarse names"]


def test_svhn_may_have_more_training_images(here):
    pixels, labels = together(formats.read("svhn:extra", store.folder_of("svhn"), val_fraction=0.2))
    for found, side in ((pixels, 0), (labels, 1)):
        expected = np.concatenate([here["svhn"].train[side], here["svhn"].more["extra"][side]])
        np.testing.assert_array_equal(found, expected)


def test_the_unpacked_form_of_mnist_is_the_same(here, tmp_path):
    folder = put(here["mnist"].more["raw"], tmp_path / "raw")
    for ours, theirs in zip(splits_of("mnist", folder), splits_of("mnist", store.folder_of("mnist")), strict=True):
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)


def splits_of(name: str, folder: Path) -> list[Arrays]:
    found = formats.read(name, folder, val_fraction=0.2)
    assert found.test is not None
    return [found.train, found.val, found.test]


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "cifar100:coarse"])
def test_the_binary_version_of_cifar_is_the_same(here, tmp_path, name):
    base = name.partition(":")[0]
    small, files = here[base], {}
    coarse = small.more.get("coarse")
    for split, (pixels, labels) in (("train", small.train), ("test", small.test)):
        rows = [
            bytes([label] if coarse is None else [coarse[split][place], label]) + pixels[place].tobytes()
            for place, label in enumerate(labels.tolist())
        ]
        if base == "cifar100":
            files[f"{split}.bin"] = b"".join(rows)
        elif split == "test":
            files["test_batch.bin"] = b"".join(rows)
        else:
            files |= {f"data_batch_{batch + 1}.bin": b"".join(rows[6 * batch : 6 * batch + 6]) for batch in range(5)}
    names = "\n".join(small.classes).encode() + b"\n\n"
    files |= {"batches.meta.txt" if base == "cifar10" else "fine_label_names.txt": names}
    if coarse is not None:
        files["coarse_label_names.txt"] = "\n".join(small.more["coarse names"]).encode()
    put(files, tmp_path / "binary")
    for ours, theirs in zip(splits_of(name, tmp_path / "binary"), splits_of(name, store.folder_of(base)), strict=True):
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)


def test_channels_are_those_asked_for(here):
    gray = formats.read("cifar10", store.folder_of("cifar10"), channels="gray")
    assert gray.test is not None
    expected = [np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L")) for image in here["cifar10"].test[0]]
    np.testing.assert_array_equal(gray.test.inputs.numpy()[:, 0], expected)
    colour = formats.read("mnist", store.folder_of("mnist"), channels="rgb", size=28)
    assert colour.train.inputs.shape[1:] == (3, 28, 28)
    assert torch.equal(colour.train.inputs[:, 0], colour.train.inputs[:, 2])
    with pytest.raises(UserError, match="28 x 28, not of 32 x 32"):
        formats.read("mnist", store.folder_of("mnist"), size=32)
    with pytest.raises(UserError, match="not known"):
        formats.read("mnist", store.folder_of("mnist"), channels="cmyk")


def test_a_damaged_file_is_named(here):
    folder = store.folder_of("mnist")
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"mnist/train-images-idx3-ubyte\.gz is truncated"):
        formats.read("mnist", folder)
    path.unlink()
    with pytest.raises(UserError, match="does not hold MNIST"):
        formats.read("mnist", folder)
    with pytest.raises(UserError, match="not downloaded yet") as caught:
        formats.find("mnist")
    assert caught.value.hint == "deepdiva data download mnist"
