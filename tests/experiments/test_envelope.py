"""The envelope: what rounding explains is inside, what a changed experiment does is outside."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva import Config, RunFolder, train
from deepdiva.engine.trainer import Trainer
from deepdiva.experiments.envelope import (
    FACTOR,
    MOST_RERUNS,
    RERUNS,
    EnvelopeResult,
    Trajectory,
    envelope,
    inside,
    trajectory,
)
from deepdiva.experiments.excerpt import Excerpt

STEPS = 40


def course(noise: float = 0.0, *, growth: float = 1.0, seed: int = 0, start: int = 0) -> Trajectory:
    """Falling losses with noise of this relative size, from step `start` on."""
    steps = np.arange(STEPS)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=STEPS)
    grown = noise * growth ** np.maximum(steps - start, 0) * (steps >= start)
    return Trajectory(list(2.0 * 0.97**steps * (1 + signs * np.minimum(grown, 1e-2))))


def quiet(count: int = RERUNS, noise: float = 1e-7) -> list[Trajectory]:
    return [course(noise, seed=10 + place) for place in range(count)]


def judged(original: Trajectory, reruns: Sequence[Trajectory] | None = None, **more: str) -> EnvelopeResult:
    return inside(original, course(), quiet() if reruns is None else reruns, **more)


def test_rounding_is_inside():
    result = judged(course(3e-7))
    assert result.inside
    assert result.first_outside is None
    assert result.worst_ratio < 1
    assert result.reruns == RERUNS


def test_rounding_that_meets_a_tie_is_inside_even_where_no_rerun_met_one():
    assert judged(course(6e-5, start=20)).inside


def test_rounding_that_grows_is_inside_where_that_of_the_reruns_grows():
    reruns = [course(1e-7, growth=2, seed=place, start=5 * place) for place in range(RERUNS)]
    late = course(1e-7, growth=2, seed=9, start=15)
    assert judged(late, reruns).inside
    assert not judged(late).inside


def test_a_change_that_shows_at_the_second_step_is_outside():
    # As a learning rate of 1.01 times: the first loss is that of the same weights.
    result = judged(course(7e-4, start=1), [course(1e-7, growth=2, seed=place) for place in range(RERUNS)])
    assert not result.inside
    assert result.first_outside == 2
    assert result.worst_ratio > FACTOR["float32"]
    assert not result.gradual
    assert "step 2" in result.detail


def test_other_data_are_outside_at_the_first_step():
    assert judged(course(1e-3)).first_outside == 1


def test_leaving_slowly_is_told_from_leaping():
    result = judged(course(1e-6, growth=1.5))
    assert not result.inside
    assert result.gradual


def test_more_reruns_never_unmake_what_is_inside():
    few = judged(course(2e-7))
    many = judged(course(2e-7), quiet(MOST_RERUNS))
    assert few.inside
    assert many.inside
    assert many.worst_ratio <= few.worst_ratio


@given(st.integers(1, 500), st.floats(0, 1e-3))
def test_the_envelope_grows_with_time_and_with_the_noise(steps: int, noise: float):
    losses = [1 + noise * np.random.default_rng(seed).random(steps) for seed in range(3)]
    limits = envelope([list(one) for one in losses])
    assert (np.diff(limits) >= 0).all()
    assert limits.shape == (steps,)
    assert limits[0] >= 2.0**-20
    assert (limits >= envelope([list(one) for one in losses[:2]])).all()


@given(st.integers(0, 2**32), st.floats(1e-8, 1e-2))
def test_the_sides_may_be_swapped_and_the_losses_scaled(seed: int, noise: float):
    original, repetition = course(noise, seed=seed), course(1e-7, seed=seed + 1)
    one = inside(original, repetition, quiet())
    double = [replace(t, losses=[4 * loss for loss in t.losses]) for t in (original, repetition, *quiet())]
    other = inside(double[0], double[1], double[2:])
    assert (one.inside, one.first_outside) == (other.inside, other.first_outside)
    assert one.worst_ratio == pytest.approx(other.worst_ratio)


def test_in_reduced_precision_less_is_told_apart():
    noisy = [course(2e-4, seed=place) for place in range(RERUNS)]
    assert judged(course(3e-4), noisy, precision="bfloat16").inside
    assert not judged(course(2e-3), noisy, precision="bfloat16").inside


@pytest.mark.parametrize("bad", [math.nan, math.inf], ids=str)
@pytest.mark.parametrize("place", ["original", "repetition", "rerun", "metric"])
def test_what_is_not_finite_is_never_inside(place: str, bad: float):
    broken = replace(course(), losses=[*course().losses[:-1], bad])
    original, reproduced, reruns = course(), course(), quiet()
    if place == "original":
        original = broken
    elif place == "repetition":
        original = reproduced = broken
    elif place == "rerun":
        reruns[2] = broken
    else:
        original = reproduced = replace(course(), metrics={"val/loss": bad})
    result = inside(original, reproduced, reruns)
    assert not result.inside
    assert result.problem is not None
    assert "finite" in result.problem


def test_too_little_is_never_inside():
    assert "at least 5" in str(judged(course(), quiet(4)).problem)
    assert "no step" in str(judged(Trajectory([])).problem)
    assert "no step" in str(judged(course(), [*quiet(), Trajectory([])]).problem)


def test_another_number_of_steps_is_outside_unless_rounding_moves_the_end():
    short = replace(course(), losses=course().losses[:30])
    result = judged(short)
    assert not result.inside
    assert result.first_outside == 31
    assert "30 steps" in result.detail
    stopped_early = [replace(one, losses=one.losses[: 30 + place]) for place, one in enumerate(quiet())]
    assert judged(short, stopped_early).inside


def with_end(changed: int, value: float, size: int = 200) -> Trajectory:
    predictions = ["b"] * changed + ["a"] * (size - changed)
    return replace(course(), predictions=predictions, metrics={"test/accuracy": value})


@pytest.mark.parametrize(
    ("changed", "value", "expected"),
    [(0, 0.9, True), (2, 0.91, True), (8, 0.9, True), (20, 0.9, False), (0, 0.8, False)],
    ids=["nothing", "two samples", "as the reruns do", "many predictions", "the metric"],
)
def test_what_comes_out_belongs_to_it(changed: int, value: float, expected: bool):
    here = [with_end(0, 0.9), *[replace(one, predictions=with_end(2, 0.9).predictions) for one in quiet()]]
    result = inside(with_end(changed, value), here[0], here[1:])
    assert result.inside is expected
    assert result.changed == changed / 200
    assert result.first_outside is None


def test_a_result_can_be_kept():
    for result in (judged(course()), judged(course(), []), judged(course(1e-3))):
        assert EnvelopeResult.from_mapping(result.to_mapping()) == result


# -- on real trainings -------------------------------------------------------------------------------------------------

Make = Callable[..., Trajectory]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Make:
    """Trains the points for two epochs; `nudge` perturbs the start, `shuffled` turns the order of the labels round."""
    fit = Trainer.fit

    def call(*, nudge: int | None = None, seed: int = 3, shuffled: bool = False, **more: object) -> Trajectory:
        def begin(self: Trainer, **words: object) -> None:
            Excerpt(nudge=nudge).perturb(self.model, self.streams)
            if shuffled:
                self.data.train.targets.copy_(self.data.train.targets.flip(0))  # type: ignore[attr-defined]
            fit(self, **words)  # type: ignore[arg-type]

        monkeypatch.setattr(Trainer, "fit", begin)
        settings = {"task": "points", "data": "spirals", "epochs": 2, "threads": 1, "scheduler": None, **more}
        quietly = {"figures": "none", "tensorboard": False}
        run: RunFolder = train(Config(seed=seed, logging=quietly, **settings))  # type: ignore[arg-type]
        return trajectory(run)

    return call


def test_real_trainings(make: Make):
    here = make()
    reruns = [make(nudge=number) for number in range(RERUNS)]
    assert len(here.losses) == 38
    assert len(here.predictions) == 200
    assert "test/accuracy" in here.metrics
    assert all(one.losses != here.losses for one in reruns)
    not_fused = {"class": "AdamW", "lr": 0.01, "fused": False}
    same = {"optimizer": inside(make(optimizer=not_fused), here, reruns), "itself": inside(here, here, reruns)}
    assert {name: result.inside for name, result in same.items()} == {"optimizer": True, "itself": True}
    other = {
        "rate": inside(make(optimizer={"class": "AdamW", "lr": 0.0101}), here, reruns),
        "seed": inside(make(seed=4), here, reruns),
        "batch size": inside(make(batch_size=30), here, reruns),
        "data": inside(make(task={"class": "points", "noise": 0.11}), here, reruns),
    }
    assert {name for name, result in other.items() if result.inside} == set()
    assert all(result.problem is None for result in other.values())


@pytest.mark.slow
def test_real_trainings_of_a_convolutional_network(make: Make):
    digits = {"task": "image-classification", "data": "digits", "epochs": 1, "scheduler": "OneCycleLR"}
    here = make(**digits)
    reruns = [make(nudge=number, **digits) for number in range(RERUNS)]
    threads = make(**digits | {"threads": 2})
    assert threads.losses != here.losses
    assert inside(threads, here, reruns).inside
    shift = {"class": "image-classification", "augment": [{"class": "random_shift", "pixels": 1}]}
    other = {
        "rate": make(**digits, optimizer={"class": "AdamW", "lr": 0.0101}),
        "augmentation": make(**digits | {"task": shift}),
        "labels": make(**digits, shuffled=True),
    }
    results = {name: inside(one, here, reruns) for name, one in other.items()}
    assert {name: result.first_outside for name, result in results.items()} == {
        "rate": 2,
        "augmentation": 1,
        "labels": 1,
    }
