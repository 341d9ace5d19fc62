"""What the whole room promises: no torch, no random state, matplotlib only for curves."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import deepdiva.visualization
from deepdiva.visualization.boundary import decision_surface, surface_extent, surface_points
from deepdiva.visualization.confusion import confusion_matrix_image
from deepdiva.visualization.curves import learning_curves
from deepdiva.visualization.images import grid, worst_mistakes

MODULES = sorted(path.stem for path in Path(deepdiva.visualization.__path__[0]).glob("[a-z]*.py"))


def draw_everything() -> list[bytes]:
    points = np.array([[0.0, 0.0], [1.0, 1.0]])
    extent = surface_extent(points)
    x = surface_points(extent, 20)[:, 0].reshape(20, 20)
    share = np.stack([x, 1 - x], axis=2)
    images = np.zeros((2, 1, 8, 8), dtype=np.uint8)
    pictures = [
        confusion_matrix_image(np.array([[3, 1], [2, 5]]), ["a", "b"]),
        decision_surface(share, extent, {"train": (points, np.array([0, 1]))}, ["a", "b"]),
        worst_mistakes(images, np.array([0, 1]), np.array([1, 1]), np.ones(2), ["a", "b"]),
        grid(images),
        learning_curves({"train/loss": (np.arange(300), np.arange(300.0))}),
    ]
    return [picture.tobytes() for picture in pictures]


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_torch_or_matplotlib(module: str) -> None:
    code = f"import sys, deepdiva.visualization.{module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"torch", "matplotlib", "sklearn", "scipy"} & set(loaded)


def test_drawing_touches_no_random_state_and_repeats_itself() -> None:
    first = draw_everything()
    random.seed(7)
    np.random.seed(7)
    before = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert draw_everything() == first
    after = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]
    assert after == before
