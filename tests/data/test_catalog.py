"""The table of known data sets: its checksums, numbers, names and variants."""

from __future__ import annotations

import math
import string

import pytest

from deepdiva.data.catalog import SETS, DataSet, find, get
from deepdiva.errors import UserError

EVERY = tuple(SETS.values())
BYTES = {"cifar10": 60_000 * 3 * 32 * 32, "cifar100": 60_000 * 3 * 32 * 32, "stl10": 113_000 * 3 * 96 * 96}


def name_of(dataset: DataSet) -> str:
    return dataset.name


def test_the_checksums_are_those_of_torchvision():
    from torchvision import datasets

    for dataset in EVERY:
        source = getattr(datasets, dataset.source)
        files = [*dataset.published, *(file for files in dataset.extra.values() for file in files)]
        listed = {name: md5 for _, name, md5 in getattr(source, "split_list", {}).values()}
        sums = dict(getattr(source, "resources", ())) or listed or {source.filename: source.tgz_md5}
        assert {file.name: file.md5 for file in files} == sums
        unpacked = dict([*getattr(source, "train_list", ()), *getattr(source, "test_list", ())])
        if hasattr(source, "meta"):
            unpacked[source.meta["filename"]] = source.meta["md5"]
        if unpacked:
            assert {name: md5 for name, md5 in dataset.layouts[0].files.items() if md5} == unpacked
            assert dataset.layouts[0].folders[0] == source.base_folder


def test_the_classes_are_ten_or_come_with_the_files():
    from torchvision.datasets import FashionMNIST

    assert {dataset.name: len(dataset.classes) for dataset in EVERY if not dataset.archive} == dict.fromkeys(
        ("mnist", "fashionmnist", "kmnist", "svhn"), 10
    )
    assert all(dataset.classes == () for dataset in EVERY if dataset.archive)
    assert list(SETS["fashionmnist"].classes) == FashionMNIST.classes
    assert SETS["mnist"].classes == SETS["svhn"].classes == tuple(string.digits)


@pytest.mark.parametrize("dataset", EVERY, ids=name_of)
def test_every_entry_is_sound(dataset):
    assert SETS[dataset.name] is dataset
    assert find(dataset.title) == (dataset, None)
    files = [*dataset.published, *(file for files in dataset.extra.values() for file in files)]
    sums = [file.md5 for file in files] + [md5 for layout in dataset.layouts for md5 in layout.files.values() if md5]
    assert all(len(md5) == 32 and set(md5) <= set(string.hexdigits.lower()) for md5 in sums)
    assert len({file.md5 for file in files}) == len({file.name for file in files}) == len(files)
    assert all(file.size > 0 and "/" not in file.name for file in files)
    assert set(dataset.extra) <= set(dataset.variants)
    assert len(set(dataset.classes)) == len(dataset.classes)


@pytest.mark.parametrize("dataset", EVERY, ids=name_of)
def test_what_is_downloaded_is_what_lies_there(dataset):
    if dataset.archive:
        assert len(dataset.published) == 1
    else:
        assert {file.name: file.md5 for file in dataset.published} == dict(dataset.layouts[0].files)


def test_the_room_holds_every_pixel_and_little_more():
    assert {dataset.name for dataset in EVERY if dataset.archive} == set(BYTES)
    for name, size in BYTES.items():
        assert size < SETS[name].room < 1.02 * size


def test_the_sizes_are_the_published_ones():
    packed = {dataset.name: sum(file.size for file in dataset.published) for dataset in EVERY}
    assert packed == {
        "mnist": 11_594_722,
        "fashionmnist": 30_878_645,
        "kmnist": 21_240_888,
        "cifar10": 170_498_071,
        "cifar100": 169_001_437,
        "svhn": 246_316_178,
        "stl10": 2_640_397_119,
    }
    assert [math.ceil(file.size / 1e6) for file in SETS["svhn"].files_of("extra")] == [183, 65, 1330]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("mnist", "mnist"),
        ("MNIST", "mnist"),
        ("Fashion-MNIST", "fashionmnist"),
        ("fashion_mnist", "fashionmnist"),
        ("CIFAR 10", "cifar10"),
        ("cifar-100", "cifar100"),
        ("S-V-H-N", "svhn"),
    ],
)
def test_names_are_folded(written, name):
    assert find(written) == (SETS[name], None)
    assert get(written) == (SETS[name], None)


@pytest.mark.parametrize("name", ["", "digits", "./mnist", "data/mnist", "/mnist", "mnist/", "mnist.old", "C:mnist"])
def test_other_words_and_paths_are_no_names(name):
    assert find(name) is None


@pytest.mark.parametrize(
    ("written", "name", "variant"),
    [
        ("stl10:0", "stl10", "0"),
        ("STL-10:9", "stl10", "9"),
        ("stl10:unlabelled", "stl10", "unlabelled"),
        ("svhn:extra", "svhn", "extra"),
        ("cifar_100:coarse", "cifar100", "coarse"),
    ],
)
def test_a_variant_is_told_apart(written, name, variant):
    assert find(written) == get(written) == (SETS[name], variant)


def test_only_a_variant_needs_more_files():
    svhn = SETS["svhn"]
    assert svhn.files_of(None) == svhn.published
    assert [file.name for file in svhn.files_of("extra")][2:] == ["extra_32x32.mat"]
    assert SETS["stl10"].files_of("3") == SETS["stl10"].published


def test_stl10_has_its_ten_folds_and_says_so():
    assert set(SETS["stl10"].variants) == {*"0123456789", "unlabelled"}
    assert "stl10:0 … stl10:9" in SETS["stl10"].protocol


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mnits", "did you mean 'mnist'?"),
        ("cifar1000", "did you mean 'cifar100'?"),
        ("imagenet", "there are mnist, fashionmnist, kmnist, cifar10, cifar100, svhn, stl10"),
    ],
)
def test_an_unknown_name_is_an_error_that_helps(name, hint):
    with pytest.raises(UserError, match=f"there is no data set '{name}' to download") as caught:
        get(name)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("name", "said", "hint"),
    [
        ("svhn:extr", "SVHN has no variant 'extr'", "did you mean 'extra'?"),
        ("cifar100:blue", "CIFAR-100 has no variant 'blue'", "there are cifar100:coarse"),
        ("mnist:big", "MNIST has no variant 'big'", "write mnist"),
        ("mnist:", "MNIST has no variant ''", "write mnist"),
    ],
)
def test_an_unknown_variant_is_an_error_that_helps(name, said, hint):
    for ask in (find, get):
        with pytest.raises(UserError, match=said) as caught:
            ask(name)
        assert caught.value.hint == hint
