"""Folders of PNG images: exactly the arrays, never over something else, never half of them."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
from original_sets import put, random, ten_each
from PIL import Image

from deepdiva.data import catalog, formats, image_export, store
from deepdiva.data.image_export import folder_names, write_folders
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.originals import Labelled
from deepdiva.data.readers import Original
from deepdiva.errors import UserError
from deepdiva.runs.storage import System

LETTERS = tuple("abcdefghij")


def made(*, channels: int = 1, train: int = 13, test: int = 5, classes: tuple[str, ...] = LETTERS) -> Original:
    """Images that are not square, so that a turned one shows; the last classes may have no image."""
    parts = [
        Labelled(random(size, channels, 3, 4, seed=size), np.minimum(ten_each(size), len(classes) - 1))
        for size in (train, test)
    ]
    return Original(parts[0], parts[1], classes)


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


class Refusing(System):
    """Refuses one kind of call, from the n-th on."""

    def __init__(self, call: str, *, after: int = 0) -> None:
        self.left = after
        setattr(self, call, self._counted(getattr(self, call)))

    def _counted(self, call):
        def counted(*given):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return call(*given)

        return counted


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("chunk", [1, 4, 256])
def test_the_files_hold_exactly_the_arrays(tmp_path, monkeypatch, channels, chunk):
    monkeypatch.setattr(image_export, "CHUNK", chunk)
    original = made(channels=channels)
    assert write_folders(original, tmp_path / "images") == 18
    expected = set()
    for split, images in (("train", original.train), ("test", original.test)):
        expected |= {split, *(f"{split}/{name}" for name in LETTERS)}
        for place, (pixels, label) in enumerate(zip(images.pixels, images.labels, strict=True)):
            name = f"{split}/{LETTERS[label]}/{place:06d}.png"
            expected.add(name)
            with Image.open(tmp_path / "images" / name) as picture:
                assert (picture.format, picture.mode) == ("PNG", {1: "L", 3: "RGB"}[channels])
                found = np.asarray(picture).reshape(3, 4, channels).transpose(2, 0, 1)
            np.testing.assert_array_equal(found, pixels)
    assert below(tmp_path / "images") == expected
    assert below(tmp_path) == {"images", *(f"images/{name}" for name in expected)}


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_a_data_set_read_from_its_folders_is_the_same(known, tmp_path, name):
    small = known[name]
    folder = put(small.unpacked, store.folder_of(name) / small.dataset.layouts[0].folders[0])
    original, _ = formats.load(catalog.SETS[name], None, folder)
    write_folders(original, tmp_path / "images")
    splits = load_image_folder(tmp_path / "images", val_fraction=0.2)
    assert splits.classes == small.classes
    assert splits.test is not None
    parts = {"train": [splits.train, splits.val], "test": [splits.test]}
    for split, (pixels, labels) in (("train", small.train), ("test", small.test)):
        found = 0
        for samples in parts[split]:
            for place, path in enumerate(samples.ids):
                number = int(Path(path).stem)
                np.testing.assert_array_equal(samples.inputs[place].numpy(), pixels[number])
                assert samples.targets[place] == labels[number]
                found += 1
        assert found == len(labels)


def test_the_same_images_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        write_folders(made(), tmp_path / name)
    assert below(tmp_path / "one") == below(tmp_path / "two")
    for path in (tmp_path / "one").rglob("*.png"):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes()


def test_progress_is_told_and_ends_with_all(tmp_path, monkeypatch):
    monkeypatch.setattr(image_export, "CHUNK", 5)
    told: list[tuple[str, int, int]] = []
    write_folders(made(), tmp_path / "images", report=lambda *words: told.append(words))
    assert [(name, total) for name, _, total in told] == [("images", 18)] * 4  # 5 + 5 + 3, then 5
    done = [count for _, count, _ in told]
    assert done == sorted(done)
    assert done[-1] == 18


def test_folders_above_are_made_and_an_empty_one_is_filled(tmp_path):
    write_folders(made(), tmp_path / "new" / "deep" / "images")
    (tmp_path / "empty").mkdir()
    write_folders(made(), tmp_path / "empty")
    assert below(tmp_path / "empty") == below(tmp_path / "new" / "deep" / "images")


def test_nothing_is_written_over(tmp_path):
    write_folders(made(), tmp_path / "images")
    before = below(tmp_path)
    (tmp_path / "file").write_bytes(b"theirs")
    for name in ("images", "file"):
        with pytest.raises(UserError, match="is there already") as caught:
            write_folders(made(train=3), tmp_path / name)
        assert "--to" in (caught.value.hint or "")
    assert below(tmp_path) == before | {"file"}
    assert (tmp_path / "file").read_bytes() == b"theirs"


def test_what_appears_meanwhile_is_not_written_over(tmp_path):
    def interfere(*_: object) -> None:
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "images" / "theirs").touch()

    with pytest.raises(UserError, match=r"cannot write .*images"):
        write_folders(made(), tmp_path / "images", report=interfere)
    assert below(tmp_path) == {"images", "images/theirs"}


def test_the_rest_of_a_killed_process_does_no_harm(tmp_path):
    put({".images.writing/train/z/000000.png": b"half"}, tmp_path)
    write_folders(made(), tmp_path / "images")
    assert not any("/z" in name or ".writing" in name for name in below(tmp_path))


@pytest.mark.parametrize(
    ("call", "after"),
    [
        ("make_directory", 0),
        ("make_directory", 1),
        ("make_directory", 2),
        ("make_directory", 9),
        ("open", 0),
        ("open", 11),
        ("write", 0),
        ("write", 17),
        ("replace", 0),
    ],
)
def test_a_failing_disk_leaves_nothing(tmp_path, call, after):
    with pytest.raises(UserError, match=r"cannot write .*: no space left") as caught:
        write_folders(made(), tmp_path / "new" / "deep" / "images", system=Refusing(call, after=after))
    assert "free some space" in (caught.value.hint or "")
    assert below(tmp_path) == set()


def test_an_interruption_leaves_nothing(tmp_path):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folders(made(), tmp_path / "new" / "images", report=interrupt)
    assert below(tmp_path) == set()


def test_a_failing_disk_leaves_the_empty_folder_that_was_there(tmp_path):
    (tmp_path / "images").mkdir()
    for call in ("write", "remove_directory"):
        with pytest.raises(UserError, match="no space left"):
            write_folders(made(), tmp_path / "images", system=Refusing(call))
        assert below(tmp_path) == {"images"}


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (("cat", "dog"), ["cat", "dog"]),
        (("T-shirt/top", "a:b*c?"), ["T-shirt-top", "a-b-c-"]),
        ((" . dots .. ", "wa\u0308rme"), ["dots", "wa\u0308rme"]),
        (("a/b", "a-b"), ["000-a-b", "001-a-b"]),
        (("..", "x"), ["000-", "001-x"]),
    ],
    ids=["plain", "signs", "dots", "alike", "empty"],
)
def test_classes_become_names_that_file_systems_take(classes, names):
    assert folder_names(classes) == names


def test_a_class_cannot_lead_out_of_the_folder(tmp_path):
    classes = ("../../out", "..", "/etc")
    write_folders(made(classes=classes), tmp_path / "deep" / "images")
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"images"}
    assert len(list((tmp_path / "deep").rglob("*.png"))) == 18
