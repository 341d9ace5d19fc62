from __future__ import annotations

import gzip
import io
import struct

import numpy as np
import pytest
from original_sets import idx, python2, random, ten_each

from deepdiva.data import originals
from deepdiva.errors import UserError


def test_idx_is_read_packed_and_unpacked():
    images = random(5, 4, 3, seed=1)
    for content in (idx(images), gzip.compress(idx(images))):
        np.testing.assert_array_equal(originals.read_idx(content, "file", dimensions=3), images)
    assert idx(images)[:16] == struct.pack(">IIII", 2051, 5, 4, 3)
    assert idx(images[0, 0])[:8] == struct.pack(">II", 2049, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no IDX file of 3 dimensions"),
        (b"<html>", "begins with 3c68746d, not 00000803"),
        (idx(random(5, seed=1)), "begins with 00000801"),
        (idx(random(2, 2, 2, seed=1))[:10], "is truncated"),
        (idx(random(2, 2, 2, seed=1))[:-1], "truncated: 7 of 8 values"),
        (idx(random(2, 2, 2, seed=1)) + b"!", "damaged: 9 values where 8"),
        (b"\0\0\x08\x03" + b"\xff" * 12, "truncated: 0 of 79,228,162,458,924,105,385,300,197,375"),
        (gzip.compress(idx(random(2, 2, 2, seed=1)), mtime=0)[:-4], "is truncated"),
    ],
)
def test_what_is_no_whole_idx_file_is_refused(content, said):
    with pytest.raises(UserError, match=f"place/file.*{said}"):
        originals.read_idx(content, "place/file", dimensions=3)


def test_a_cifar_batch_has_three_planes_row_by_row():
    image = np.zeros((1, 3, 32, 32), np.uint8)
    image[0, 0, 0, 1], image[0, 1, 1, 0], image[0, 2, 31, 31] = 7, 8, 9
    content = python2({"data": image.reshape(1, 3072), "labels": [6]})
    assert [content.count(bytes([number]) + b"\0" * 30) for number in (7, 8)] == [1, 1]
    pixels, labels = originals.read_cifar_pickle(content, "file", labels="labels")
    np.testing.assert_array_equal(pixels, image)
    assert labels.tolist() == [6]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1], "holds list"),
        ({"labels": [1]}, "no entry data"),
        ({"data": random(1, 3072, seed=1)}, "no entry labels"),
        ({"data": random(1, 3071, seed=1), "labels": [1]}, "not N x 3072 bytes"),
        ({"data": "abc", "labels": [1]}, "not N x 3072 bytes"),
        ({"data": random(1, 3072, seed=1), "labels": ["1"]}, "not a list of whole numbers"),
    ],
)
def test_what_is_no_cifar_batch_is_refused(value, said):
    with pytest.raises(UserError, match=said):
        originals.read_cifar_pickle(python2(value), "file", labels="labels")


def test_cifar_records_of_one_and_two_labels():
    images = random(3, 3, 32, 32, seed=1)
    one = b"".join(bytes([label]) + image.tobytes() for label, image in zip((4, 0, 9), images, strict=True))
    pixels, labels = originals.read_cifar_records(one, "file", label_bytes=1, label=0)
    np.testing.assert_array_equal(pixels, images)
    assert labels.tolist() == [4, 0, 9]
    two = b"".join(bytes([19, label]) + image.tobytes() for label, image in zip((4, 0, 99), images, strict=True))
    for place, expected in ((0, [19, 19, 19]), (1, [4, 0, 99])):
        pixels, labels = originals.read_cifar_records(two, "file", label_bytes=2, label=place)
        np.testing.assert_array_equal(pixels, images)
        assert labels.tolist() == expected
    with pytest.raises(UserError, match=r"3,072 bytes are no multiple of 3073"):
        originals.read_cifar_records(one[:3072], "file", label_bytes=1, label=0)


@pytest.mark.parametrize("size", [1, 2, 5])
@pytest.mark.parametrize("packed", [False, True])
def test_svhn_calls_the_digit_0_ten(size, packed):
    from scipy.io import savemat

    images = random(size, 3, 32, 32, seed=size)
    buffer = io.BytesIO()
    digits = np.array([10, 1, 9, 10, 5][:size], np.uint8)[:, None]
    savemat(buffer, {"X": images.transpose(2, 3, 1, 0), "y": digits}, do_compression=packed)
    pixels, labels = originals.read_svhn(buffer.getvalue(), "file")
    np.testing.assert_array_equal(pixels, images)
    assert labels.tolist() == [0, 1, 9, 0, 5][:size]
    with pytest.raises(UserError, match=r"no file of MATLAB, or damaged|does not hold"):
        originals.read_svhn(buffer.getvalue()[:150], "file")


def test_a_mat_file_of_something_else_is_refused():
    from scipy.io import savemat

    buffer = io.BytesIO()
    savemat(buffer, {"X": np.zeros((2, 2)), "y": np.zeros(2)})
    with pytest.raises(UserError, match=r"X is float64"):
        originals.read_svhn(buffer.getvalue(), "file")


def test_stl_images_are_stored_column_by_column():
    image = np.zeros((1, 3, 96, 96), np.uint8)
    image[0, 0, 1, 0], image[0, 0, 0, 1], image[0, 1, 95, 0] = 5, 6, 7
    stored = bytearray(3 * 96 * 96)
    stored[1], stored[96], stored[96 * 96 + 95] = 5, 6, 7
    np.testing.assert_array_equal(originals.read_stl_images(bytes(stored), "file"), image)
    with pytest.raises(UserError, match="file is truncated"):
        originals.read_stl_images(bytes(stored[:-1]), "file")
    assert originals.read_stl_labels(bytes([1, 10, 2])).tolist() == [0, 9, 1]


def test_stl_folds_count_from_0():
    folds = originals.read_stl_folds(b"0 2 1 \n3 3\n", "file", size=4)
    assert [fold.tolist() for fold in folds] == [[0, 2, 1], [3, 3]]
    for content in (b"0 1\n4\n", b"0\nx\n", b"0\n-1\n"):
        with pytest.raises(UserError, match="file:2: these are not places among 4 images"):
            originals.read_stl_folds(content, "file", size=4)


def test_images_and_labels_must_fit_together():
    pixels = random(3, 1, 2, 2, seed=1)
    for labels, said in (([0, 1], "do not match"), ([0, 1, 3], "from 0 to 3"), ([-1, 0, 1], "from -1 to 1")):
        with pytest.raises(UserError, match=said):
            originals.labelled(pixels, labels, 3, "file")
    with pytest.raises(UserError, match="holds no images"):
        originals.labelled(pixels[:0], [], 3, "file")
    both = originals.joined([originals.labelled(pixels, [0, 1, 2], 3, "file")] * 2)
    assert both.labels.tolist() == [0, 1, 2, 0, 1, 2]


def test_labels_cover_all_classes():
    assert set(ten_each(10).tolist()) == set(range(10))
