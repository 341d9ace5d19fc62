"""Learning curves: panels, gaps, independence of the user's matplotlib settings."""

from __future__ import annotations

import sys

import matplotlib
import numpy as np
import pytest

from deepdiva.visualization.curves import _panels, _running_mean, learning_curves


def test_metrics_share_a_panel_over_splits() -> None:
    panels = _panels({"train/loss": ([0], [1.0]), "val/loss": ([0], [2.0]), "lr": ([0, 1], [0.1, 0.2])})
    assert {metric: list(lines) for metric, lines in panels.items()} == {"loss": ["train", "val"], "lr": [""]}


@pytest.mark.parametrize(("metrics", "width"), [(0, 440), (1, 440), (2, 880), (5, 1320)])
def test_width_follows_the_number_of_panels(metrics: int, width: int) -> None:
    series = {f"val/metric {place}": (np.arange(5), np.arange(5.0)) for place in range(metrics)}
    picture = learning_curves(series)
    assert picture.mode == "RGB"
    assert picture.width == width


def test_values_that_are_not_finite_leave_gaps() -> None:
    values = np.exp(-np.arange(400.0) / 20)
    values[[3, 70]] = np.nan, np.inf
    learning_curves({"train/loss": (np.arange(400), values), "val/loss": ([0], [np.nan])})


def test_running_mean_keeps_straight_lines_straight() -> None:
    line = np.linspace(3.0, 5.0, 500)
    np.testing.assert_allclose(_running_mean(line), line)
    holed = line.copy()
    holed[[0, 100]] = np.nan
    assert np.isnan(_running_mean(holed)).nonzero()[0].tolist() == [0, 100]


def test_steps_must_fit_the_values() -> None:
    with pytest.raises(ValueError, match="'val/loss' has 2 steps and 1 values"):
        learning_curves({"val/loss": ([0, 1], [1.0])})


def test_the_users_matplotlib_settings_neither_matter_nor_change(monkeypatch: pytest.MonkeyPatch) -> None:
    series = {"val/loss": (np.arange(5), np.arange(5.0))}
    before = learning_curves(series).tobytes()
    monkeypatch.setitem(matplotlib.rcParams, "lines.linewidth", 20.0)
    monkeypatch.setitem(matplotlib.rcParams, "axes.facecolor", "black")
    assert learning_curves(series).tobytes() == before
    assert matplotlib.rcParams["axes.facecolor"] == "black"
    assert "matplotlib.pyplot" not in sys.modules
