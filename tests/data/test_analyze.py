from __future__ import annotations

import json
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deepdiva.data import analyze as module
from deepdiva.data.analysis import Analysis
from deepdiva.data.analyze import Scope, analyze
from deepdiva.data.footprint import footprint
from deepdiva.data.image_folder import load_image_folder
from deepdiva.data.split_list import write_splits
from deepdiva.data.splitting import Recipe, split
from deepdiva.errors import UserError

GENERATOR = np.random.PCG64


def picture(seed: int, height: int, width: int, *, colour: bool = False) -> Image.Image:
    shape = (height, width, 3) if colour else (height, width)
    return Image.fromarray(np.random.Generator(GENERATOR(seed)).integers(0, 256, shape, dtype=np.uint8))


def put(path: Path, image: Image.Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three splits of two classes, gray and colour, of different sizes."""
    folder = tmp_path / "pets"
    for number in range(24):
        split_name = ("train", "train", "val", "test")[number % 4]
        name = f"{split_name}/{'cat' if number < 16 else 'dog'}/w{number % 8}_{number:02d}.png"
        put(folder / name, picture(number, 5 + number % 3, 8, colour=number % 5 == 0))
    return folder


def pixels(root: Path, pattern: str) -> np.ndarray:
    images = [np.asarray(Image.open(file).convert("RGB")) for file in sorted(root.glob(pattern))]
    return np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64) / 255


def aged(root: Path) -> None:
    """Makes files look old enough for their stamps to be trusted."""
    for file in root.rglob("*"):
        os.utime(file, (1e9, 1e9))


def test_moments_are_those_of_all_pixels_as_one(root):
    found = analyze(root)
    assert [part.name for part in found.parts] == ["train", "val", "test"]
    for part in found.parts:
        whole = pixels(root, f"{part.name}/*/*.png")
        np.testing.assert_allclose(part.mean, whole.mean(axis=0), rtol=0, atol=1e-12)
        np.testing.assert_allclose(part.std, whole.std(axis=0), rtol=0, atol=1e-12)
        assert part.pixels == len(whole)


@given(sizes=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=4))
def test_every_pixel_counts_the_same_whatever_the_sizes(tmp_path_factory, sizes):
    folder = tmp_path_factory.mktemp("sizes")
    for number, (height, width) in enumerate(sizes):
        put(folder / "a" / f"{number}.png", picture(number, height, width))
    (part,) = analyze(folder, fresh=True, workers=1).parts
    whole = pixels(folder, "a/*.png")[:, 0]
    assert abs(part.mean[0] - whole.mean()) < 1e-6
    assert abs(part.std[0] - whole.std()) < 1e-6


def test_training_uses_the_same_numbers(tmp_path):
    for number in range(12):
        put(
            tmp_path / "set" / ("train", "train", "val")[number % 3] / "ab"[number % 2] / f"{number}.png",
            picture(number, 6, 7),
        )
    found = analyze(tmp_path / "set")
    loaded = load_image_folder(tmp_path / "set")
    assert loaded.statistics == {"mean": list(found.parts[0].mean), "std": list(found.parts[0].std)}


def test_classes_sizes_and_colours(root):
    found = analyze(root)
    assert found.classes == ("cat", "dog")
    assert [part.classes for part in found.parts] == [(8, 4), (4, 2), (4, 2)]
    assert found.parts[0].class_weights == (0.75, 1.5)
    assert (found.images, found.gray, found.channels) == (24, 19, "rgb")
    assert (found.different_sizes, set(found.sizes)) == (3, {(5, 8, 8), (6, 8, 8), (7, 8, 8)})
    assert (found.heights.minimum, found.heights.median, found.heights.maximum) == (5, 6, 7)
    assert sum(found.aspect_ratios.counts) == sum(found.widths.counts) == sum(found.heights.counts) == 24
    assert found.root == footprint(root).root
    assert found.size == footprint(root).size
    assert not found.leaks


def test_a_set_without_splits_or_classes(tmp_path):
    for number in range(3):
        put(tmp_path / "flat" / f"{number}.png", picture(number, 4, 4))
    found = analyze(tmp_path / "flat")
    assert [part.name for part in found.parts] == ["all"]
    assert found.classes == ()
    assert found.parts[0].images == 3


def test_every_unreadable_file_is_named(root):
    (root / "train/cat/a.png").write_bytes(b"no image")
    (root / "val/dog/b.jpg").write_bytes(b"")
    (root / "test/dog/c.png").symlink_to("nowhere")
    found = analyze(root)
    assert [(one.file, one.reason.split(":")[0]) for one in found.unreadable] == [
        ("test/dog/c.png", "is a link to nowhere, which does not exist"),
        ("train/cat/a.png", "cannot be read as an image"),
        ("val/dog/b.jpg", "is an empty file"),
    ]
    assert found.root is None
    assert found.images == 24


def test_a_set_of_which_nothing_can_be_read_is_an_error(tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/1.png").write_bytes(b"")
    with pytest.raises(UserError, match="none of 1 images can be read: is an empty file"):
        analyze(tmp_path / "bad")


def test_duplicates_by_bytes_and_by_pixels(root):
    shutil.copy(root / "train/cat/w1_01.png", root / "test/cat/copy.png")
    Image.open(root / "train/dog/w0_16.png").save(root / "train/dog/again.bmp")
    big = picture(99, 300, 300, colour=True)
    put(root / "val/cat/big.png", big)
    big.save(root / "val/cat/big.bmp")
    found = analyze(root)
    assert [(one.files, one.same_bytes, one.crosses_splits) for one in found.duplicates] == [
        (("test/cat/copy.png", "train/cat/w1_01.png"), True, True),
        (("train/dog/again.bmp", "train/dog/w0_16.png"), False, False),
        (("val/cat/big.bmp", "val/cat/big.png"), False, False),
    ]
    assert found.leaks


def test_groups_that_straddle(root):
    found = analyze(root, Scope(group_by=r"^(w\d)_"))
    assert (found.groups, found.group_by) == (8, r"^(w\d)_")
    assert found.straddling == ()
    put(root / "test/cat/w1_99.png", picture(999, 5, 8))
    (only,) = analyze(root, Scope(group_by=r"^(w\d)_")).straddling
    assert (only.group, only.samples) == ("w1", {"test": 1, "train": 3})


def test_splits_by_a_list(tmp_path, root):
    made = split(root, Recipe(folds=3, pool=True))
    write_splits(made, tmp_path / "splits.json")
    found = analyze(root, Scope(splits=str(tmp_path / "splits.json"), fold=1))
    assert {part.name: part.images for part in found.parts} == {n: len(x) for n, x in made.folds[1].items()}


def test_one_and_several_workers_find_the_same(root):
    shutil.copy(root / "train/cat/w1_01.png", root / "test/cat/copy.png")
    assert analyze(root, fresh=True, workers=1) == analyze(root, fresh=True, workers=3)


def test_an_answer_is_remembered_until_a_file_changes(root, monkeypatch):
    aged(root)
    monkeypatch.setattr("deepdiva.data.manifest.is_settled", lambda *_, **__: True)
    looks = []
    look = module._look
    monkeypatch.setattr(module, "_look", lambda *args, **settings: looks.append(1) or look(*args, **settings))
    first = analyze(root)
    assert analyze(root) == first
    assert analyze(shutil.copytree(root, root.parent / "copy")).root == first.root
    assert len(looks) == 2  # the copy was never read before
    analyze(root, Scope(group_by=r"^(w\d)_"))
    analyze(root, fresh=True)
    put(root / "train/cat/new.png", picture(77, 5, 8))
    assert analyze(root).images == 25
    assert len(looks) == 5


def test_the_answer_as_json_reads_back(root):
    found = analyze(root, Scope(group_by="^(w)"))
    assert Analysis.from_mapping(json.loads(json.dumps(found.to_mapping()))) == found


def test_nothing_is_written_into_the_data_set(root):
    before = sorted(root.rglob("*"))
    analyze(root)
    assert sorted(root.rglob("*")) == before


def test_progress_is_told(root):
    told: list[tuple[int, int]] = []
    analyze(root, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (24, 24)


def test_memory_does_not_grow_with_the_set(tmp_path):
    def peak(count: int) -> int:
        folder = tmp_path / str(count)
        for number in range(count):
            put(folder / "a" / f"{number}.bmp", picture(number, 256, 256))
        analyze(folder, workers=1)  # imports and caches
        tracemalloc.start()
        analyze(folder, workers=1, fresh=True)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    small, large = peak(20), peak(100)
    assert large - small < 80 * 2000  # of 80 * 65,536 bytes of pixels
