"""Points in the plane: any number of classes, one scale for all splits, and a surface that shows what was learned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from deepdiva import Config, train
from deepdiva.engine.task import Evaluation
from deepdiva.errors import UserError
from deepdiva.models.mlp import MLP
from deepdiva.tasks.points import Points

Write = Callable[..., Path]
Look = Callable[..., Evaluation]
QUIET = {"figures": "none", "tensorboard": False}


def two_gaussians(seed: int, size: int = 200) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.Generator(np.random.PCG64(seed))
    labels = np.arange(size) % 2
    return generator.normal(0, 0.6, (size, 2)) + np.stack([2.0 * labels - 1, np.zeros(size)], axis=1), labels


def test_the_border_of_two_gaussians_is_where_it_must_be(tmp_path: Path, write_points: Write):
    folder = write_points(tmp_path / "set", **{name: two_gaussians(i) for i, name in enumerate(("train", "val"))})
    task = Points()
    data = task.load_data(str(folder))
    torch.manual_seed(0)
    model = MLP(**data.supplies, hidden=(16,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    whole = data.train.batch(torch.arange(len(data.train)))  # type: ignore[attr-defined]
    for _ in range(60):
        optimizer.zero_grad()
        task.step(model, whole).loss.backward()
        optimizer.step()
    x = np.linspace(-1.5, 1.5, 301, dtype=np.float32)
    shares = task.ask(model, np.stack([x, np.zeros_like(x)], axis=1), "cpu")
    assert (np.diff((shares[:, 1] > 0.5).astype(int)) != 0).sum() == 1  # it flips once
    assert abs(x[(shares[:, 1] > 0.5).argmax()]) < 0.2  # at x = 0
    assert shares[0].argmax() == 0
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)


def test_the_scale_is_that_of_the_training_points_alone(tmp_path: Path, write_points: Write):
    train_places = np.array([[0.0, 10.0], [2.0, 30.0]] * 6)
    far = np.array([[100.0, 1000.0], [200.0, 3000.0]])
    folder = write_points(tmp_path / "set", train=(train_places, [0, 1] * 6), val=(far, [0, 1]), test=(far, [0, 1]))
    task = Points()
    data = task.load_data(str(folder))
    assert task.statistics == {"mean": [1.0, 20.0], "std": [1.0, 10.0]}
    scaled = task.prepare(nn.Identity(), data.train.inputs)  # type: ignore[attr-defined]
    torch.testing.assert_close(scaled.mean(0), torch.zeros(2))
    torch.testing.assert_close(scaled.std(0, correction=0), torch.ones(2))
    torch.testing.assert_close(
        task.prepare(nn.Identity(), data.val.inputs),
        torch.tensor([[99.0, 98.0], [199.0, 298.0]]),  # type: ignore[attr-defined]
    )
    assert data.test is not None
    assert torch.equal(data.test.inputs, data.val.inputs)  # type: ignore[attr-defined]


def test_twelve_classes_are_learned_and_drawn(tmp_path: Path, write_points: Write):
    labels = np.arange(240) % 12
    angle = 2 * np.pi * labels / 12
    places = 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    places += np.random.Generator(np.random.PCG64(0)).normal(0, 0.2, places.shape)
    names = [f"c{label}" for label in labels]
    parts = {"train": slice(0, 144), "val": slice(144, 192), "test": slice(192, 240)}
    folder = write_points(tmp_path / "set", **{name: (places[part], names[part]) for name, part in parts.items()})
    settings = {"epochs": 25, "seed": 0, "threads": 1, "logging": {"figures": "end", "tensorboard": False}}
    run = train(Config(task="points", data=str(folder), **settings))
    assert run.results["test/accuracy"] > 0.95
    assert {path.parent.name for path in run.path.glob("figures/test/*/*.png")} == {"confusion", "surface"}
    assert set(run.predictions("test")["prediction"]) <= set(names)
    assert run.config()["model"]["num_classes"] == 12


@pytest.mark.parametrize("name", ["moons", "spirals", "gaussians"])
def test_generated_sets_depend_on_their_own_seed_alone(name: str):
    one, again = Points(n=100).load_data(name), Points(n=100).load_data(name)
    other = Points(n=100, data_seed=1).load_data(name)
    assert torch.equal(one.train.inputs, again.train.inputs)  # type: ignore[attr-defined]
    assert not torch.equal(one.train.inputs, other.train.inputs)  # type: ignore[attr-defined]
    assert [len(split) for split in (one.train, one.val, one.test)] == [60, 20, 20]  # type: ignore[arg-type]
    assert one.footprints
    assert one.supplies == {"num_classes": len(one.classes), "in_features": 2}


def test_moons_are_the_set_without_a_name():
    assert torch.equal(Points().load_data(None).val.inputs, Points().load_data("moons").val.inputs)  # type: ignore[attr-defined]


def test_noise_is_what_it_says():
    calm = Points(n=400, noise=0.0).load_data("gaussians")
    assert len(calm.train.inputs.unique(dim=0)) == 3  # type: ignore[attr-defined]


def test_the_surface_is_drawn_as_finely_as_was_asked_for_and_changes_nothing(look: Look):
    task = Points(n=100, surface_pixels=40)
    data = task.load_data("spirals")
    torch.manual_seed(0)
    model = MLP(**data.supplies, hidden=(8,), dropout=0.5)
    passed = look(task, data, model)
    first, second = (task.figures(model, passed)["surface"] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert model.training
    large = Points(n=100, surface_pixels=80)
    large.statistics.update(task.statistics)
    assert large.figures(model, passed)["surface"].tobytes() != first.tobytes()


def test_a_name_that_is_no_set_is_explained():
    with pytest.raises(UserError, match="moon"):
        Points().load_data("moon")
