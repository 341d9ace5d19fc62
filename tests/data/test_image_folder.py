from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from deepdiva.data import footprint
from deepdiva.data.arrays import ArraySplits, load_digits
from deepdiva.data.image_folder import load_image_folder
from deepdiva.errors import UserError, UserErrors

Writer = Callable[..., None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "letters"


@pytest.fixture
def put(root: Path) -> Writer:
    """Writes one image: `put("train/a/1.png", 7)` is 3 pixels high, 4 wide, and 7 all over."""

    def write(name: str, value: int | tuple[int, ...] = 0, *, mode: str = "L", size: tuple[int, int] = (4, 3)) -> None:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size, value).save(path)

    return write


@pytest.fixture
def small(root: Path, put: Writer) -> Path:
    """Two classes, one image each, in all three splits."""
    for place, split in enumerate(("train", "val", "test")):
        put(f"{split}/a/1.png", 10 * place)
        put(f"{split}/b/2.png", 10 * place + 1)
    return root


@pytest.fixture(scope="module")
def digit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled digits as folders of PNG files."""
    root = tmp_path_factory.mktemp("digits")
    digits = load_digits()
    for split in ("train", "val", "test"):
        samples = getattr(digits, split)
        for name, image, target in zip(samples.ids, samples.inputs.numpy(), samples.targets.tolist(), strict=True):
            folder = root / split / str(target)
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[0]).save(folder / f"{name}.png")
    return root


def problems(root: Path, **settings: object) -> list[str]:
    with pytest.raises(UserErrors) as caught:
        load_image_folder(root, **settings)
    return [str(problem) for problem in caught.value.problems]


def test_the_digits_as_folders_are_the_digits(digit_folder):
    digits, folders = load_digits(), load_image_folder(digit_folder)
    assert folders.classes == digits.classes
    assert folders.statistics == digits.statistics
    assert folders.membership == {}
    for split in ("train", "val", "test"):
        one, other = getattr(digits, split), getattr(folders, split)
        order = np.argsort([f"{target}/{name}" for name, target in zip(one.ids, one.targets.tolist(), strict=True)])
        assert torch.equal(one.inputs[torch.from_numpy(order)], other.inputs)
        assert torch.equal(one.targets[torch.from_numpy(order)], other.targets)


def test_its_footprint_is_that_of_the_folder(digit_folder):
    (proof,) = load_image_folder(digit_folder).footprints
    assert proof == footprint.footprint(digit_folder, deep=True)
    assert len(proof.files) == 1797
    assert not footprint.verify(proof, digit_folder)


def test_threads_change_nothing(digit_folder):
    one, many = load_image_folder(digit_folder, threads=1), load_image_folder(digit_folder, threads=7)
    assert torch.equal(one.train.inputs, many.train.inputs)
    assert one.train.ids == many.train.ids


def test_what_is_read(small):
    splits = load_image_folder(small)
    assert splits.classes == ("a", "b")
    assert splits.test is not None
    assert splits.test.ids == ("test/a/1.png", "test/b/2.png")
    assert splits.test.inputs.shape == (2, 1, 3, 4)
    assert splits.test.inputs.dtype == torch.uint8
    assert splits.test.inputs[:, 0, 0, 0].tolist() == [20, 21]
    assert splits.test.targets.tolist() == [0, 1]
    assert splits.test.targets.dtype == torch.int64


def test_classes_are_sorted_and_come_from_train(put, root):
    for name in ("b", "a", "10", "9"):
        put(f"train/{name}/x.png")
    put("val/9/x.png", 5)
    splits = load_image_folder(root)
    assert splits.classes == ("10", "9", "a", "b")
    assert splits.val.targets.tolist() == [1]
    assert splits.test is None


def test_images_may_lie_deeper_and_have_any_extension(small, put):
    put("train/a/more/3.JPG")
    put("train/a/4.tiff")
    put("train/a/5.Bmp")
    assert len(load_image_folder(small).train) == 5


def test_hidden_files_and_other_files_are_no_samples_but_are_proven(small):
    (small / "train/a/.1.png").write_bytes(b"nothing")
    (small / "train/.cache").mkdir()
    (small / "train/.cache/x.png").write_bytes(b"nothing")
    (small / "train/a/notes.txt").write_text("text")
    (small / "train/README.md").write_text("text")
    splits = load_image_folder(small)
    assert len(splits.train) == 2
    assert {"train/a/.1.png", "train/a/notes.txt", "train/README.md"} < splits.footprints[0].files.keys()


def test_a_missing_val_is_split_off_in_the_same_proportion(digit_folder, tmp_path):
    root = tmp_path / "copy"
    for split in ("train", "test"):
        (root / split).parent.mkdir(exist_ok=True)
        (root / split).symlink_to(digit_folder / split)
    splits = load_image_folder(root)
    assert (len(splits.train), len(splits.val)) == (1080, 120)
    assert set(splits.train.ids) | set(splits.val.ids) == set(load_image_folder(digit_folder).train.ids)
    counts = torch.bincount(splits.val.targets)
    assert counts.max() - counts.min() <= 1
    assert splits.membership == {"train": splits.train.ids, "val": splits.val.ids}
    assert load_image_folder(root).val.ids == splits.val.ids
    assert load_image_folder(root, split_seed=1).val.ids != splits.val.ids
    assert len(load_image_folder(root, val_fraction=0.25).val) == 300


def test_the_numbers_come_from_the_training_images_alone(small):
    splits = load_image_folder(small)
    assert splits.statistics["mean"] == pytest.approx([0.5 / 255])
    assert splits.statistics["std"] == pytest.approx([0.5 / 255])


def test_too_few_images_to_split_off_val(put, root):
    put("train/a/1.png")
    put("train/b/1.png")
    with pytest.raises(UserError, match="too few to split off"):
        load_image_folder(root)


def test_gray_stays_gray_until_one_image_has_colours(small, put):
    assert load_image_folder(small).train.inputs.shape[1] == 1
    put("val/a/red.png", (255, 0, 9), mode="RGB")
    splits = load_image_folder(small)
    assert splits.train.inputs.shape[1] == 3
    assert splits.val.inputs[1, :, 0, 0].tolist() == [255, 0, 9]
    assert splits.val.inputs[0, :, 0, 0].tolist() == [10, 10, 10]
    assert load_image_folder(small, channels="gray").train.inputs.shape[1] == 1
    assert load_image_folder(small, channels="rgb").val.inputs.shape[1] == 3


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_can_be_mixed(small, mode):
    Image.new(mode, (4, 3)).save(small / "train/a/9.png")
    assert len(load_image_folder(small).train) == 3


def test_sizes_that_differ_are_named_with_a_way_out(small, put):
    put("test/b/large.png", size=(20, 10))
    with pytest.raises(UserErrors) as caught:
        load_image_folder(small)
    text = str(caught.value)
    assert "2 different sizes" in text
    assert "test/b/large.png: 10 x 20" in text
    assert "--size" in text
    assert load_image_folder(small, size=6).train.inputs.shape == (2, 1, 6, 6)
    assert load_image_folder(small, size=(5, 7)).train.inputs.shape == (2, 1, 5, 7)


def test_all_unreadable_images_are_named_at_once(small):
    (small / "train/a/1.png").write_bytes(b"")
    (small / "train/b/cut.png").write_bytes((small / "train/b/2.png").read_bytes()[:40])
    (small / "test/b/text.jpg").write_text("no image")
    (small / "val/a/gone.png").symlink_to("nowhere.png")
    found = problems(small)
    assert [line.partition(":")[0] for line in found] == [
        "val/a/gone.png",
        "train/a/1.png",
        "train/b/cut.png",
        "test/b/text.jpg",
    ]
    assert found[0] == "val/a/gone.png: is a link to nowhere.png, which does not exist"
    assert found[1] == "train/a/1.png: is an empty file"


def test_an_image_that_may_not_be_read_is_named(small, monkeypatch):
    opening = os.open

    def refuse(path, *rest):
        if str(path).endswith("val/b/2.png"):
            raise PermissionError(13, "Permission denied")
        return opening(path, *rest)

    monkeypatch.setattr(os, "open", refuse)
    assert problems(small) == ["val/b/2.png: cannot be read: Permission denied"]


def test_all_that_is_wrong_with_the_folders_is_named_at_once(small, put):
    (small / "train/empty").mkdir()
    (small / "train/a/gone.png").symlink_to("nowhere")
    put("test/B/1.png")
    put("val/zebra/1.png")
    put("train/stray.png")
    assert sorted(problems(small)) == [
        "test/B: is a class that train does not have (did you mean 'b'?)",
        "train/a/gone.png: is a link to nowhere, which does not exist",
        "train/empty: is a class without images",
        "train/stray.png: lies in no class folder",
        "val/zebra: is a class that train does not have",
    ]


def test_a_split_without_images_and_a_single_class(put, root):
    put("train/a/1.png")
    (root / "test").mkdir()
    found = problems(root)
    assert found[0].startswith("train: has 1 class folders where 2 or more are needed")
    assert "test: has no images" in found


@pytest.mark.parametrize("name", ["validation", "Val", "valid"])
def test_a_split_under_another_name_is_not_passed_over(small, name):
    (small / "val").rename(small / name)
    with pytest.raises(UserError, match=f"has a folder {name} but none called val"):
        load_image_folder(small)


def test_missing_folders(tmp_path, small):
    with pytest.raises(UserError, match=r"no folder .*leters") as caught:
        load_image_folder(tmp_path / "leters")
    assert "letters" in str(caught.value.hint)
    with pytest.raises(UserError, match="is not a folder"):
        load_image_folder(small / "train/a/1.png")
    with pytest.raises(UserError, match="has no folder train") as caught:
        load_image_folder(small / "train")
    assert "train/<class>" in str(caught.value.hint)


def test_settings_are_checked(small):
    with pytest.raises(UserError, match="not known"):
        load_image_folder(small, channels="grey")
    (small / "val").rename(small / ".val")
    with pytest.raises(UserError, match="nothing on one side"):
        load_image_folder(small, val_fraction=1.0)


def test_nothing_is_written_into_the_set(small):
    before = sorted(path.as_posix() for path in small.rglob("*"))
    assert isinstance(load_image_folder(small), ArraySplits)
    assert before == sorted(path.as_posix() for path in small.rglob("*"))


def test_links_to_classes_are_followed(small, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    (small / "train/a").rename(elsewhere)
    (small / "train/a").symlink_to(elsewhere)
    assert load_image_folder(small).train.ids == ("train/a/1.png", "train/b/2.png")


def test_a_name_that_is_not_utf8(small):
    source = small / "train/a/1.png"
    odd = Path(os.fsdecode(os.fsencode(source.parent) + b"/gr\xf6\xdfe.png"))
    odd.write_bytes(source.read_bytes())
    splits = load_image_folder(small)
    assert len(splits.train) == 3
    odd.write_bytes(b"damaged")
    assert "train/a/gr\\udcf6\\udcdfe.png" in problems(small)[0]
