from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from deepdiva.data.arrays import Arrays, Transformed, load_digits, normalise
from deepdiva.data.footprint import verify
from deepdiva.errors import UserError


@pytest.fixture
def arrays() -> Arrays:
    inputs = torch.arange(5 * 2 * 3 * 4, dtype=torch.uint8).view(5, 2, 3, 4)
    return Arrays(inputs, torch.tensor([0, 1, 2, 1, 0]), ("a", "b", "c", "d", "e"))


def test_one_sample_and_a_batch_are_the_same(arrays):
    indices = torch.tensor([3, 0, 3])
    inputs, targets = arrays.batch(indices)
    assert inputs.dtype == torch.uint8
    assert targets.tolist() == [1, 0, 1]
    for place, index in enumerate(indices.tolist()):
        assert_close(inputs[place], arrays[index][0])
        assert_close(targets[place], arrays[index][1])
    assert len(arrays) == 5


def test_a_batch_is_a_copy(arrays):
    inputs, _ = arrays.batch(torch.tensor([0]))
    inputs.zero_()
    assert arrays.inputs[0].sum() > 0


def test_a_place_that_does_not_exist_is_an_error(arrays):
    with pytest.raises(IndexError):
        arrays.batch(torch.tensor([5]))
    with pytest.raises(IndexError):
        arrays[5]


def test_samples_without_names_are_called_by_their_place():
    assert Arrays(torch.zeros(3, 2), torch.zeros(3, dtype=torch.int64)).ids == ("0", "1", "2")


def test_lengths_that_differ_are_refused():
    with pytest.raises(ValueError, match="do not match"):
        Arrays(torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64))


def test_some_of_the_samples(arrays):
    some = arrays.select([4, 1])
    assert some.ids == ("e", "b")
    assert_close(some.inputs[0], arrays.inputs[4])
    assert some.targets.tolist() == [0, 1]
    assert len(arrays.select([])) == 0


def test_a_transform_sees_each_sample_and_hides_the_batch(arrays):
    samples = Transformed(arrays, lambda image: image.float() + 1, arrays.ids)
    assert not hasattr(samples, "batch")
    assert samples.ids == arrays.ids
    assert len(samples) == 5
    assert_close(samples[2][0], arrays[2][0].float() + 1)
    assert samples[2][1] == 2


def test_torchvision_transforms_work():
    from torchvision.transforms import v2

    images = Arrays(torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8), torch.zeros(2, dtype=torch.int64))
    image, _ = Transformed(images, v2.RandomCrop(6))[1]
    assert image.shape == (1, 6, 6)
    assert image.dtype == torch.uint8


def test_images_are_normalised_by_channel():
    images = torch.randint(0, 256, (7, 3, 5, 4), dtype=torch.uint8)
    mean, std = (0.1, 0.5, 0.7), (0.2, 0.3, 0.4)
    expected = (images.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert_close(normalise(images, mean, std), expected.float())
    assert images.dtype == torch.uint8


def test_rows_are_normalised_by_feature_and_left_alone():
    rows = torch.randn(6, 2)
    before = rows.clone()
    assert_close(normalise(rows, [1.0, 2.0], [0.5, 4.0]), (rows - torch.tensor([1.0, 2.0])) / torch.tensor([0.5, 4.0]))
    assert_close(rows, before)


def test_normalising_into_a_buffer():
    images = torch.randint(0, 256, (7, 1, 5, 4), dtype=torch.uint8)
    buffer = torch.empty(images.shape)
    assert normalise(images, (0.5,), (0.25,), out=buffer) is buffer
    assert_close(buffer, normalise(images, (0.5,), (0.25,)))


def test_a_constant_channel_is_only_shifted():
    images = torch.full((2, 1, 3, 3), 51, dtype=torch.uint8)
    assert_close(normalise(images, (0.2,), (0.0,)), torch.zeros(2, 1, 3, 3), atol=1e-7, rtol=0)


def test_the_bits_do_not_depend_on_the_batch():
    images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8)
    whole = normalise(images, (0.3,), (0.4,))
    parts = torch.cat([normalise(part, (0.3,), (0.4,)) for part in images.split(7)])
    assert torch.equal(whole, parts)


def test_constants_made_in_an_evaluation_serve_in_training():
    rows = torch.randn(3, 2)
    with torch.inference_mode():
        normalise(rows, (0.123, 0.456), (1.5, 2.5))
    leaf = rows.clone().requires_grad_()
    normalise(leaf, (0.123, 0.456), (1.5, 2.5)).sum().backward()
    assert_close(leaf.grad, torch.tensor([[1 / 1.5, 1 / 2.5]]).expand(3, 2))


def test_the_digits_are_whole_stratified_and_always_split_the_same():
    digits = load_digits()
    assert digits.test is not None
    assert [len(digits.train), len(digits.val), len(digits.test)] == [1200, 200, 397]
    assert digits.train.inputs.shape == (1200, 1, 8, 8)
    assert digits.train.inputs.dtype == torch.uint8
    assert (digits.train.inputs.min(), digits.train.inputs.max()) == (0, 255)
    assert digits.classes == tuple("0123456789")
    for split in (digits.train, digits.val, digits.test):
        counts = torch.bincount(split.targets, minlength=10)
        assert counts.max() - counts.min() <= len(split) * 0.012 + 1
    names = [*digits.train.ids, *digits.val.ids, *digits.test.ids]
    assert len(set(names)) == 1797
    assert digits.membership["val"] == digits.val.ids
    # A promise: these are the samples that every result on the digits is about.
    assert digits.val.ids[:3] == ("digit-0004", "digit-0007", "digit-0014")
    assert digits.statistics["mean"] == pytest.approx([0.305149407], abs=1e-8)
    assert digits.statistics["std"] == pytest.approx([0.375779957], abs=1e-8)


def test_the_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits as original

    digits = load_digits()
    source = original()
    place = int(digits.train.ids[17].rpartition("-")[2])
    assert (np.rint(digits.train.inputs[17, 0].numpy() / 255 * 16) == source.images[place]).all()
    assert digits.train.targets[17] == source.target[place]


def test_the_digits_are_proven():
    import sklearn

    from deepdiva.data import arrays as module

    digits = load_digits()
    (proof,) = digits.footprints
    assert proof.source == "digits"
    assert not verify(proof, module._digits_file())
    assert sklearn.__file__.removesuffix("__init__.py") in str(module._digits_file())


def test_missing_digits_are_an_error_with_a_way_out(monkeypatch):
    from deepdiva.data import arrays as module

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="not found") as caught:
        load_digits()
    assert "--data" in str(caught.value.hint)


def test_scikit_learn_is_not_imported_for_them():
    code = "import sys; from deepdiva.data.arrays import load_digits; load_digits(); sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
