from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deepdiva.data.decode import Decoding, ImageError, gray_or_rgb
from deepdiva.errors import UserError


def encoded(image: Image.Image, form: str = "PNG", **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **settings)
    return buffer.getvalue()


def decoded(image: Image.Image, form: str = "PNG", *, decoding: Decoding | None = None, **settings: object):
    return (decoding or Decoding()).decode(encoded(image, form, **settings))


def of(values: list, dtype: str = "uint8", mode: str | None = None) -> Image.Image:
    image = Image.fromarray(np.array(values, dtype=dtype))
    assert mode is None or image.mode == mode
    return image


def test_gray_stays_gray():
    values = [[0, 1, 254, 255]]
    assert decoded(of(values, mode="L")).tolist() == values


def test_one_bit_is_black_and_white():
    assert decoded(of([[0, 255], [255, 0]]).convert("1")).tolist() == [[0, 255], [255, 0]]


def test_rgb_stays_rgb_even_without_colours():
    assert decoded(of([[[7, 7, 7], [1, 2, 3]]], mode="RGB")).tolist() == [[[7, 7, 7], [1, 2, 3]]]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_by_depth_and_not_by_content(form):
    image = of([[0, 128, 129, 257, 32768, 65407, 65535]], "uint16", "I;16")
    assert decoded(image, form).tolist() == [[0, 0, 1, 1, 128, 255, 255]]
    dark = of([[0, 300]], "uint16", "I;16")
    assert decoded(dark, form).tolist() == [[0, 1]]


def test_sixteen_bits_with_the_other_byte_order():
    values = np.array([[0, 257, 65535]], dtype=">u2")
    assert decoded(Image.frombytes("I;16B", (3, 1), values.tobytes()), "TIFF").tolist() == [[0, 1, 255]]


def test_thirty_two_bits_count_as_sixteen_where_they_can():
    assert decoded(of([[0, 257, 65535]], "int32", "I"), "TIFF").tolist() == [[0, 1, 255]]
    for values in ([[0, 65536]], [[-1, 5]]):
        with pytest.raises(ImageError, match="what is white is not known"):
            decoded(of(values, "int32", "I"), "TIFF")


def test_floats_from_zero_to_one():
    assert decoded(of([[0.0, 0.5, 1.0]], "float32", "F"), "TIFF").tolist() == [[0, 128, 255]]
    for values in ([[0.0, 255.0]], [[-0.1, 0.5]], [[float("nan"), 0.5]]):
        with pytest.raises(ImageError, match="where 0 to 1 is understood"):
            decoded(of(values, "float32", "F"), "TIFF")


def test_transparency_is_laid_on_white():
    gray = Image.merge("LA", [of([[0, 0, 100]]), of([[255, 0, 255]])])
    assert decoded(gray).tolist() == [[0, 255, 100]]
    colour = of([[[255, 0, 0, 255], [9, 9, 9, 0], [0, 0, 0, 51]]], mode="RGBA")
    assert decoded(colour).tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]


def test_a_transparent_level_or_colour_is_laid_on_white():
    assert decoded(of([[0, 7, 9]]), transparency=7).tolist() == [[0, 255, 9]]
    assert decoded(of([[[1, 2, 3], [4, 5, 6]]]), transparency=(1, 2, 3)).tolist() == [[[255, 255, 255], [4, 5, 6]]]
    assert decoded(of([[0, 255]]).convert("1"), transparency=0).tolist() == [[255, 255]]


def palette(*colours: tuple[int, int, int]) -> Image.Image:
    image = Image.new("P", (len(colours), 1))
    image.putpalette([level for colour in colours for level in colour])
    image.putdata(range(len(colours)))
    return image


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP"])
def test_palettes_become_their_colours(form):
    assert decoded(palette((255, 0, 0), (0, 0, 255)), form).tolist() == [[[255, 0, 0], [0, 0, 255]]]


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP"])
def test_palettes_of_grays_are_gray(form):
    assert decoded(palette((9, 9, 9), (200, 200, 200)), form).tolist() == [[9, 200]]


@pytest.mark.parametrize("transparency", [1, b"\xff\x00"])
def test_palettes_with_transparency_are_laid_on_white_without_a_warning(transparency):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        colour = decoded(palette((255, 0, 0), (0, 0, 255)), transparency=transparency)
        gray = decoded(palette((3, 3, 3), (7, 7, 7)), transparency=transparency)
    assert colour.tolist() == [[[255, 0, 0], [255, 255, 255]]]
    assert gray.tolist() == [[3, 255]]


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(form):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert decoded(image, form)[4, 4].tolist() == pytest.approx([255, 0, 0], abs=3)


@pytest.mark.parametrize("mode", ["YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb(mode):
    image = Image.new("RGB", (4, 4), (200, 30, 60)).convert("YCbCr") if mode == "YCbCr" else Image.new(mode, (4, 4))
    assert decoded(image, "TIFF").shape == (4, 4, 3)


def test_a_mode_without_a_rule_is_refused():
    with pytest.raises(ImageError, match="has the mode La"):
        gray_or_rgb(Image.new("La", (2, 2)))


CORNERS = [[10, 20, 30], [40, 50, 60]]
TURNED = {
    1: CORNERS,
    2: np.fliplr(CORNERS),
    3: np.rot90(CORNERS, 2),
    4: np.flipud(CORNERS),
    5: np.transpose(CORNERS),
    6: np.rot90(CORNERS, -1),
    7: np.rot90(np.transpose(CORNERS), 2),
    8: np.rot90(CORNERS),
}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_the_orientation_that_a_camera_wrote_is_applied(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = of(CORNERS) if form != "WEBP" else of(CORNERS).convert("RGB")
    settings = {"lossless": True} if form == "WEBP" else {}
    found = decoded(image, form, exif=exif, decoding=Decoding("gray"), **settings)
    assert found.tolist() == np.asarray(TURNED[orientation]).tolist()


def test_orientation_in_a_jpeg_and_with_sixteen_bits():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decoded(Image.new("L", (30, 10)), "JPEG", exif=exif).shape == (30, 10)
    sixteen = of([[0, 65535]], "uint16", "I;16")
    assert decoded(sixteen, "PNG", exif=exif).tolist() == [[0], [255]]


def test_an_orientation_that_does_not_exist_is_no_orientation():
    exif = Image.Exif()
    exif[0x0112] = 99
    assert decoded(of(CORNERS), exif=exif).tolist() == CORNERS


def test_the_first_of_several_frames_counts():
    frames = [Image.new("L", (2, 2), 10), Image.new("L", (2, 2), 200)]
    content = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert Decoding().decode(content).tolist() == [[10, 10], [10, 10]]


def test_channels_can_be_chosen():
    red = of([[[255, 0, 0]]])
    assert decoded(red, decoding=Decoding("gray")).tolist() == [[76]]
    assert decoded(of([[5]]), decoding=Decoding("rgb")).tolist() == [[[5, 5, 5]]]
    assert decoded(of([[5]]), decoding=Decoding("gray")).tolist() == [[5]]
    with pytest.raises(UserError, match="'grey' are not known"):
        Decoding("grey")


def test_size_is_height_and_width():
    image = Image.new("RGB", (30, 20), (1, 2, 3))
    found = decoded(image, decoding=Decoding(size=(5, 7)))
    assert found.shape == (5, 7, 3)
    assert (found == [1, 2, 3]).all()
    with pytest.raises(UserError, match="0 x 5"):
        Decoding(size=(0, 5))


def test_making_smaller_takes_the_mean_of_what_is_there():
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    small = decoded(Image.fromarray(checks.astype(np.uint8)), decoding=Decoding(size=(8, 8)))
    assert np.abs(small.astype(int) - 127).max() < 20


def damaged() -> dict[str, bytes]:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    png, jpeg = encoded(picture), encoded(picture, "JPEG")
    return {
        "empty": b"",
        "text": b"this is no image",
        "png cut": png[: len(png) // 2],
        "png header only": png[:20],
        "png flipped": png[:60] + bytes([png[60] ^ 255]) + png[61:],
        "jpeg cut": jpeg[: len(jpeg) // 2],
        "gif header": b"GIF89a",
        "zeros": bytes(500),
        "bmp header": b"BM" + bytes(60),
        "tiff header": b"II*\0" + b"\xff" * 40,
    }


@pytest.mark.parametrize("content", damaged().values(), ids=list(damaged()))
def test_damaged_files_are_refused_in_words(content):
    with pytest.raises(ImageError) as caught:
        Decoding().decode(content)
    assert "object at" not in str(caught.value)
    assert str(caught.value).startswith(("cannot be read as an image: ", "is an empty file"))


def test_a_picture_that_claims_to_be_huge_is_refused(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ImageError, match="exceeds limit"):
        decoded(Image.new("L", (100, 100)))


def test_real_digits_survive_as_png(tmp_path: Path):
    from deepdiva.data.arrays import load_digits

    image = load_digits().train.inputs[0, 0].numpy()
    assert (decoded(Image.fromarray(image)) == image).all()
