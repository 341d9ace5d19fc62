"""The confusion matrix: any number of classes, colours, empty rows."""

from __future__ import annotations

import numpy as np
import pytest

from deepdiva.visualization.confusion import confusion_matrix_image


@pytest.mark.parametrize("count", [1, 2, 3, 10, 40, 100, 300, 1200])
def test_draws_any_number_of_classes_within_a_screen(count: int) -> None:
    names = [f"a rather long name of class {place}" for place in range(count)]
    picture = confusion_matrix_image(np.eye(count, dtype=np.int64) * 7, names)
    assert picture.mode == "RGB"
    assert 250 <= picture.width <= 1400
    assert 250 <= picture.height <= 1400


def test_right_is_blue_and_wrong_is_orange() -> None:
    picture = confusion_matrix_image(np.array([[10, 0], [10, 0]]), ["a", "b"])
    colours = {colour for _, colour in picture.getcolors(1 << 24) or []}
    red, _, blue = picture.getpixel((90, 100))  # type: ignore[misc]
    assert blue > red
    assert (127, 39, 4) in colours, "all of class b was mistaken: the darkest orange"
    assert (8, 48, 107) in colours, "all of class a was right: the darkest blue"


def test_few_mistakes_among_many_samples_are_visible() -> None:
    counts = np.diag([10_000] * 10)
    clean = np.asarray(confusion_matrix_image(counts, [str(digit) for digit in range(10)]), dtype=int)
    counts[2, 7] = 50
    spoiled = np.asarray(confusion_matrix_image(counts, [str(digit) for digit in range(10)]), dtype=int)
    changed = np.abs(clean - spoiled).sum(axis=2)[90:600, 70:580]
    assert (changed > 20).sum() > 1500, "a cell of about 50 x 50 pixels has another colour"


def test_a_row_without_samples_is_gray_and_nothing_divides_by_zero() -> None:
    with np.errstate(all="raise"):
        picture = confusion_matrix_image(np.zeros((3, 3), dtype=np.int64), ["a", "b", "c"])
    assert (240, 241, 243) in {colour for _, colour in picture.getcolors(1 << 24) or []}


def test_percentages_differ_from_counts() -> None:
    counts = np.array([[3, 1], [0, 7]])
    plain = confusion_matrix_image(counts, ["a", "b"])
    assert plain.tobytes() != confusion_matrix_image(counts, ["a", "b"], normalize=True).tobytes()


def test_the_same_numbers_give_the_same_picture() -> None:
    counts = np.array([[3, 1], [0, 7]])
    assert confusion_matrix_image(counts, ["a", "b"]).tobytes() == confusion_matrix_image(counts, ["a", "b"]).tobytes()


def test_counts_must_fit_the_classes() -> None:
    with pytest.raises(ValueError, match=r"\(2, 2\) do not fit 3 classes"):
        confusion_matrix_image(np.eye(2, dtype=np.int64), ["a", "b", "c"])
