"""Colours, measured as normal and colour-blind eyes see them."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from deepdiva.visualization.palette import class_colours, ink_on, luminance, right_ramp, wrong_ramp

Floats = npt.NDArray[np.float64]

# Machado, Oliveira and Fernandes 2009, severity 1, applied to linear light.
EYES = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]]
    ),
}
CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
LAB = np.array(
    [
        [0.2104542553, 0.793617785, -0.0040720468],
        [1.9779984951, -2.428592205, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.808675766],
    ]
)


def seen(colours: npt.NDArray[np.uint8], eye: str) -> Floats:
    """OKLab coordinates of the colours as this eye sees them."""
    part = colours / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    lab: Floats = np.cbrt(np.clip(linear @ EYES[eye].T, 0, 1) @ CONES.T) @ LAB.T
    return lab


@pytest.mark.parametrize("eye", sorted(EYES))
@pytest.mark.parametrize(("count", "least"), [(10, 0.07), (16, 0.07), (24, 0.055)])
def test_class_colours_stay_apart_for_every_eye(eye: str, count: int, least: float) -> None:
    lab = seen(class_colours(count), eye)
    nearest = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(lab, 2))
    assert nearest >= least  # matplotlib's default ten come as near as 0.02 for a deutan eye


def test_any_number_of_classes_gets_colours() -> None:
    assert class_colours(0).shape == (0, 3)
    assert class_colours(100).shape == (100, 3)


@pytest.mark.parametrize("ramp", [right_ramp, wrong_ramp])
def test_ramps_only_get_darker_and_ink_stays_readable(ramp: object) -> None:
    colours = ramp()  # type: ignore[operator]
    light = [luminance(colour) for colour in colours]
    assert light[0] == pytest.approx(1.0)
    assert all(after <= before + 1e-3 for before, after in itertools.pairwise(light))
    for colour, ground in zip(colours.tolist(), light, strict=True):
        ink = luminance(ink_on(tuple(colour)))
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) >= 3.9
