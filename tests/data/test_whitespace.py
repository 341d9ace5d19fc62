"""Document images without their blank margins."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepdiva.data.footprint import footprint
from deepdiva.data.whitespace import box_of_ink, remove_whitespace
from deepdiva.errors import UserError, UserErrors

INK = (slice(5, 12), slice(7, 20))


def page(*, mode: str = "L", paper: int = 255) -> Image.Image:
    """A page of 30 x 40 pixels with a block of ink of 7 x 13 and a hole in it."""
    pixels = np.full((30, 40), paper, dtype=np.uint8)
    pixels[INK] = 10
    pixels[8, 10] = paper
    return Image.fromarray(pixels).convert(mode)


def save(root: Path, name: str, image: Image.Image, **settings: Any) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    image.save(root / name, **settings)


def test_margins_go_and_everything_else_stays(tmp_path):
    root = tmp_path / "set"
    save(root, "train/a/gray.png", page(), dpi=(300, 300))
    save(root, "train/a/colour.tif", page(mode="RGB"))
    save(root, "b/palette.gif", page(mode="P"))
    save(root, "b/bits.png", page(mode="1"))
    save(root, "b/deep.png", Image.fromarray(np.asarray(page()).astype(np.uint16) * 257))
    save(root, "b/clear.png", page(mode="RGBA"))
    save(root, "tight.png", page().crop((7, 5, 20, 12)))
    (root / "labels.csv").write_text("a,b")
    (root / ".hidden.png").write_text("no image")
    before = footprint(root, deep=True)
    done = remove_whitespace(root, tmp_path / "new")
    assert footprint(root, deep=True) == before
    assert (done.images, done.cropped, done.others, done.blank, done.framed) == (7, 6, 2, (), ())
    assert (done.pixels_before, done.pixels_after) == (6 * 1200 + 91, 7 * 91)
    for name in before.files:
        if not name.endswith((".csv", "hidden.png")):
            with Image.open(root / name) as old, Image.open(tmp_path / "new" / name) as new:
                assert new.size == (13, 7)
                assert (new.mode, new.format) == (old.mode, old.format)
                if name != "tight.png":
                    assert np.array_equal(np.asarray(new), np.asarray(old)[INK])
    with Image.open(tmp_path / "new/train/a/gray.png") as new:
        assert new.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    for name in ("tight.png", "labels.csv", ".hidden.png"):
        assert (tmp_path / "new" / name).read_bytes() == (root / name).read_bytes()


def test_a_jpeg_keeps_its_tables_and_its_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "set", "a.jpg", page(mode="RGB"), quality=70, subsampling=1, exif=exif)
    remove_whitespace(tmp_path / "set", tmp_path / "new", threshold=200)
    with Image.open(tmp_path / "set/a.jpg") as old, Image.open(tmp_path / "new/a.jpg") as new:
        assert new.quantization == old.quantization
        assert new.getexif()[0x0112] == 6
        assert new.size < old.size


def test_a_blank_image_is_kept_and_named(tmp_path):
    root = tmp_path / "set"
    save(root, "blank.png", Image.new("L", (9, 9), 250))
    save(root, "page.png", page())
    done = remove_whitespace(root, tmp_path / "new")
    assert done.blank == ("blank.png",)
    assert (tmp_path / "new/blank.png").read_bytes() == (root / "blank.png").read_bytes()


def test_several_pages_in_one_file_are_kept_and_named(tmp_path):
    root = tmp_path / "set"
    root.mkdir()
    page().save(root / "pages.tif", save_all=True, append_images=[page()])
    assert remove_whitespace(root, tmp_path / "new").framed == ("pages.tif",)
    assert (tmp_path / "new/pages.tif").read_bytes() == (root / "pages.tif").read_bytes()


def test_threshold_and_margin():
    assert box_of_ink(page(), threshold=240) == (7, 5, 20, 12)
    assert box_of_ink(page(), threshold=240, margin=3) == (4, 2, 23, 15)
    assert box_of_ink(page(), threshold=240, margin=30) == (0, 0, 40, 30)
    assert box_of_ink(page(paper=230), threshold=240) == (0, 0, 40, 30), "gray paper is ink to a high threshold"
    assert box_of_ink(page(paper=230), threshold=200) == (7, 5, 20, 12)
    assert box_of_ink(page(paper=5), threshold=5) is None


def test_transparent_is_blank():
    picture = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (2, 3, 5, 7))
    assert box_of_ink(picture, threshold=240) == (2, 3, 5, 7)


def test_the_number_of_threads_changes_nothing(tmp_path):
    for number in range(40):
        save(tmp_path / "set", f"{number % 3}/{number}.png", page(paper=255 - number % 5))
    for threads in (1, 4):
        remove_whitespace(tmp_path / "set", tmp_path / f"new{threads}", threads=threads)
    assert footprint(tmp_path / "new1").files == footprint(tmp_path / "new4").files


def test_images_that_cannot_be_read_are_all_named_and_nothing_is_written(tmp_path):
    root = tmp_path / "set"
    save(root, "good.png", page())
    (root / "empty.png").touch()
    buffer = io.BytesIO()
    page().save(buffer, "PNG")
    (root / "half.png").write_bytes(buffer.getvalue()[:60])
    (root / "gone.png").symlink_to("nowhere")
    with pytest.raises(UserErrors) as caught:
        remove_whitespace(root, tmp_path / "new")
    assert sorted(str(problem.where) for problem in caught.value.problems) == ["empty.png", "gone.png", "half.png"]
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["set"]


def test_mistakes(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.txt").touch()
    for settings, message in (
        ({"threshold": 0}, "no shade of gray"),
        ({"threshold": 256}, "no shade of gray"),
        ({"margin": -1}, "is negative"),
        ({}, "holds no images"),
    ):
        with pytest.raises(UserError, match=message):
            remove_whitespace(tmp_path / "set", tmp_path / "new", **settings)
    with pytest.raises(UserError, match="there is no folder"):
        remove_whitespace(tmp_path / "sett", tmp_path / "new")
