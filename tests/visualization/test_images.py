"""Images in a grid: order, crisp enlargement, channels."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from deepdiva.visualization.images import grid, surest_mistakes, to_picture, worst_mistakes

CLASSES = ["zero", "one", "two"]


def test_mistakes_come_surest_first_and_right_ones_never() -> None:
    truths = np.array([0, 1, 2, 0, 1, 2])
    predictions = np.array([0, 2, 2, 1, 0, 0])
    confidences = np.array([1.0, 0.6, 1.0, 0.9, 0.6, np.nan])
    assert surest_mistakes(truths, predictions, confidences).tolist() == [3, 1, 4, 5]
    assert surest_mistakes(truths, predictions, confidences, limit=2).tolist() == [3, 1]


def test_only_the_images_that_are_shown_are_read() -> None:
    class Watched(list[np.ndarray]):
        read: list[int]

        def __getitem__(self, place):  # type: ignore[no-untyped-def]
            self.read.append(place)
            return super().__getitem__(place)

    images = Watched([np.zeros((1, 8, 8), dtype=np.uint8)] * 5)
    images.read = []
    worst_mistakes(images, np.zeros(5, int), np.array([0, 1, 0, 2, 0]), np.ones(5), CLASSES)
    assert images.read == [1, 3]


def test_tiny_images_are_enlarged_crisply() -> None:
    pixels = (np.arange(64, dtype=np.uint8) * 4).reshape(1, 1, 8, 8)
    picture = worst_mistakes(pixels, np.array([0]), np.array([1]), np.array([0.5]), CLASSES)
    shown = np.asarray(picture)[76 : 76 + 112, 24 : 24 + 112]
    np.testing.assert_array_equal(shown, np.kron(pixels[0, 0], np.ones((14, 14), np.uint8))[:, :, None].repeat(3, 2))


def test_large_images_shrink_and_keep_their_shape() -> None:
    picture = grid(np.zeros((2, 3, 600, 300), dtype=np.uint8), columns=2)
    dark = (
        (np.asarray(picture.convert("L"))[70:] < 8).any(axis=0).sum(),
        (np.asarray(picture)[70:] < 8).any((1, 2)).sum(),
    )
    assert dark == (240, 240)


def test_no_mistake_is_said() -> None:
    picture = worst_mistakes(np.zeros((2, 1, 8, 8), np.uint8), np.array([0, 1]), np.array([0, 1]), np.ones(2), CLASSES)
    assert picture.height < 100


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_any_number_of_channels(channels: int) -> None:
    image = np.full((channels, 5, 9), 200, dtype=np.uint8)
    picture = to_picture(image)
    assert (picture.mode, picture.size) == ("RGB", (9, 5))


def test_opacity_shows_white_paper() -> None:
    image = np.zeros((4, 2, 2), dtype=np.uint8)
    assert to_picture(image).getcolors() == [(4, (255, 255, 255))]


def test_colours_stay_in_place() -> None:
    image = np.zeros((3, 2, 4), dtype=np.uint8)
    image[0, 1, 3] = 255
    assert to_picture(image).getpixel((3, 1)) == (255, 0, 0)


def test_grid_takes_images_of_several_sizes() -> None:
    images = [np.zeros((1, 8, 8), np.uint8), np.zeros((3, 20, 40), np.uint8)]
    assert isinstance(grid(images, ["a", "Ελληνικά with a long tail that cannot fit in the tile"]), Image.Image)
    with pytest.raises(ValueError, match="1 captions do not fit 2 images"):
        grid(images, ["a"])
    grid([])
