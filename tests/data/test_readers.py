"""Which files make which split: for each form and variant, and what is said of files that do not fit."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from original_sets import Small, idx, python2, random

from deepdiva.data import catalog
from deepdiva.data.originals import Labelled
from deepdiva.data.readers import READERS, Files, Original
from deepdiva.errors import UserError

FOLDER = Path("set")
IDX = set(catalog.IDX_NAMES)
TEN = {f"data_batch_{place}" for place in range(1, 6)}
STL = {"train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin", "class_names.txt"}


class Asked:
    """Files in memory, and which of them were read."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.names: list[str] = []

    def __call__(self, name: str) -> bytes:
        self.names.append(name)
        return self.files[name]


def read(small: Small, asked: Asked, *, form: str, packed: bool = True, variant: str | None = None) -> Original:
    layouts = [layout for layout in small.dataset.layouts if layout.form == form]
    layout = layouts[0 if packed else -1]
    return READERS[form](Files(asked, layout, FOLDER), small.dataset, variant)


def assert_same(found: Labelled, expected: tuple[Any, Any]) -> None:
    np.testing.assert_array_equal(found.pixels, expected[0])
    np.testing.assert_array_equal(found.labels, expected[1])
    assert (found.pixels.dtype, found.labels.dtype) == (np.uint8, np.int64)


def records(pixels: np.ndarray, *labels: np.ndarray) -> bytes:
    """Images in the binary form of CIFAR."""
    return b"".join(
        bytes(int(column[place]) for column in labels) + image.tobytes() for place, image in enumerate(pixels)
    )


def test_every_form_in_the_catalog_has_a_reader():
    assert {layout.form for dataset in catalog.SETS.values() for layout in dataset.layouts} == set(READERS)


@pytest.mark.parametrize(
    ("name", "form", "names"),
    [
        ("mnist", "idx", {f"{name}.gz" for name in IDX}),
        ("cifar10", "cifar-python", {*TEN, "test_batch", "batches.meta"}),
        ("cifar100", "cifar-python", {"train", "test", "meta"}),
        ("svhn", "svhn", {"train_32x32.mat", "test_32x32.mat"}),
        ("stl10", "stl10", STL),
    ],
)
def test_the_splits_are_those_of_the_authors(small, name, form, names):
    asked = Asked(small[name].unpacked)
    original = read(small[name], asked, form=form)
    assert_same(original.train, small[name].train)
    assert_same(original.test, small[name].test)
    assert original.classes == small[name].classes
    assert sorted(asked.names) == sorted(names)  # each once, and nothing else


def test_the_unpacked_files_of_mnist_do_as_well(small):
    asked = Asked(small["mnist"].more["raw"])
    original = read(small["mnist"], asked, form="idx", packed=False)
    assert_same(original.train, small["mnist"].train)
    assert_same(original.test, small["mnist"].test)
    assert set(asked.names) == IDX


def test_the_coarse_labels_of_cifar100_are_others_of_the_same_images(small):
    made = small["cifar100"]
    original = read(made, Asked(made.unpacked), form="cifar-python", variant="coarse")
    assert_same(original.train, (made.train[0], made.more["coarse"]["train"]))
    assert_same(original.test, (made.test[0], made.more["coarse"]["test"]))
    assert original.classes == made.more["coarse names"]


def test_the_binary_form_of_cifar10(small):
    made = small["cifar10"]
    files = {
        f"data_batch_{part}.bin": records(*(side[6 * part - 6 : 6 * part] for side in made.train))
        for part in range(1, 6)
    }
    files |= {"test_batch.bin": records(*made.test), "batches.meta.txt": "\n".join(made.classes).encode() + b"\n\n"}
    asked = Asked(files)
    original = read(made, asked, form="cifar-binary")
    assert_same(original.train, made.train)
    assert_same(original.test, made.test)
    assert original.classes == made.classes
    assert sorted(asked.names) == sorted(files)


@pytest.mark.parametrize("variant", [None, "coarse"])
def test_the_binary_form_of_cifar100(small, variant):
    made = small["cifar100"]
    coarse, names = made.more["coarse"], made.more["coarse names"]
    asked = Asked(
        {
            "train.bin": records(made.train[0], coarse["train"], made.train[1]),
            "test.bin": records(made.test[0], coarse["test"], made.test[1]),
            "fine_label_names.txt": "\n".join(made.classes).encode(),
            "coarse_label_names.txt": "\n".join(names).encode(),
        }
    )
    original = read(made, asked, form="cifar-binary", variant=variant)
    assert_same(original.train, (made.train[0], made.train[1] if variant is None else coarse["train"]))
    assert_same(original.test, (made.test[0], made.test[1] if variant is None else coarse["test"]))
    assert original.classes == (made.classes if variant is None else names)
    assert f"{variant or 'fine'}_label_names.txt" in asked.names
    assert len(asked.names) == 3


def test_the_extra_images_of_svhn_come_after_the_others(small):
    made = small["svhn"]
    asked = Asked(made.unpacked)
    original = read(made, asked, form="svhn", variant="extra")
    assert_same(
        original.train, tuple(np.concatenate(both) for both in zip(made.train, made.more["extra"], strict=True))
    )
    assert_same(original.test, made.test)
    assert sorted(asked.names) == sorted(made.unpacked)


@pytest.mark.parametrize("fold", [0, 3, 9])
def test_a_fold_of_stl10_is_the_images_in_its_line(small, fold):
    made = small["stl10"]
    asked = Asked(made.unpacked)
    original = read(made, asked, form="stl10", variant=str(fold))
    places = made.more["folds"][fold]
    assert_same(original.train, (made.train[0][places], made.train[1][places]))
    assert_same(original.test, made.test)
    assert set(asked.names) == STL | {"fold_indices.txt"}


def test_a_fold_that_the_file_lacks_is_an_error(small):
    asked = Asked(small["stl10"].unpacked | {"fold_indices.txt": b"0 1\n2 3\n"})
    with pytest.raises(UserError, match=r"^set/fold_indices\.txt has 2 folds, no fold 2$"):
        read(small["stl10"], asked, form="stl10", variant="2")


def test_the_images_without_labels_are_no_splits(small):
    asked = Asked(small["stl10"].unpacked)
    with pytest.raises(UserError, match="stl10:unlabelled has no labels") as caught:
        read(small["stl10"], asked, form="stl10", variant="unlabelled")
    assert "stl10:0 … stl10:9" in (caught.value.hint or "")
    assert asked.names == []


@pytest.mark.parametrize(
    ("name", "form", "missing"),
    [
        ("mnist", "idx", "t10k-labels-idx1-ubyte.gz"),
        ("cifar10", "cifar-python", "data_batch_4"),
        ("cifar100", "cifar-python", "meta"),
        ("svhn", "svhn", "test_32x32.mat"),
        ("stl10", "stl10", "class_names.txt"),
    ],
)
def test_a_missing_file_is_named(small, name, form, missing):
    files = {file: content for file, content in small[name].unpacked.items() if file != missing}
    with pytest.raises(UserError, match=f"^set/{missing} does not exist$"):
        read(small[name], Asked(files), form=form)


def test_a_file_that_cannot_be_read_is_named(small):
    def refuse(name: str) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    files = Files(refuse, small["svhn"].dataset.layouts[0], FOLDER)
    with pytest.raises(UserError, match=r"^set/train_32x32\.mat cannot be read: .*Input/output error"):
        READERS["svhn"](files, small["svhn"].dataset, None)


def test_images_and_labels_that_do_not_match_are_told_by_the_file(small):
    raw = small["mnist"].more["raw"]
    labels = "t10k-labels-idx1-ubyte"
    for content, said in (
        (idx(np.zeros(9, np.uint8)), "10 images and 9 labels do not match"),
        (idx(np.full(10, 10, np.uint8)), "labels go from 10 to 10 where there are 10 classes"),
    ):
        with pytest.raises(UserError, match=f"^set/{labels}: {said}"):
            read(small["mnist"], Asked(raw | {labels: content}), form="idx", packed=False)


def test_a_damaged_batch_is_told_among_the_five(small):
    batch = python2({"data": random(2, 3072, seed=1), "labels": [3, 12]})
    with pytest.raises(UserError, match=r"^set/data_batch_3: labels go from 3 to 12"):
        read(small["cifar10"], Asked(small["cifar10"].unpacked | {"data_batch_3": batch}), form="cifar-python")
