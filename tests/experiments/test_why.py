from __future__ import annotations

import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from deepdiva import RunFolder, tasks
from deepdiva.cli.why import conclusion
from deepdiva.config import from_mapping
from deepdiva.experiments import fresh, replay
from deepdiva.experiments.components import problems_of
from deepdiva.experiments.data_proof import DataProof
from deepdiva.experiments.fresh import Request, train_fresh
from deepdiva.experiments.train import train_resolved
from deepdiva.experiments.why import Explanation, why

RULE_BREAKER = '''
import os
from dataclasses import dataclass

import torch
from torch.utils.data import get_worker_info
from trembling import Clouds, Trembling
from deepdiva import DataSplits


class Partial(Clouds):
    def __getitem__(self, index):
        inputs, target = super().__getitem__(index)
        return inputs + (0.0 if get_worker_info() is None else 0.01), target


@dataclass(frozen=True)
class Breaker(Trembling):
    """Whose samples depend on who loads them, or whose steps depend on the operating system's randomness."""

    moody: bool = False

    def load_data(self, source):
        data = super().load_data(source)
        train = Partial(49, 0, False, 0.0)
        return DataSplits(train, data.val, data.test, supplies=data.supplies, classes=data.classes)

    def step(self, model, batch):
        inputs, targets = batch
        if self.moody:
            inputs = inputs + torch.frombuffer(bytearray(os.urandom(4)), dtype=torch.uint8).float() / 2550
        return super().step(model, (inputs, targets))
'''
WOBBLY = """
from dataclasses import dataclass

import wobble
from trembling import Trembling


@dataclass(frozen=True)
class Wobbly(Trembling):
    def step(self, model, batch):
        return super().step(model, (batch[0] + wobble.STRENGTH, batch[1]))
"""
PICTURES = {
    "task": "image-classification",
    "model": {"class": "cnn", "width": 4},
    "batch_size": 8,
    "data": "pictures",
}


def picture(path: Path, number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def pictures() -> Path:
    """Twenty-four small pictures of two classes."""
    for number in range(48):
        split = "train" if number < 24 else "val" if number < 36 else "test"
        picture(Path(f"pictures/{split}/{'ab'[number % 2]}/{number:02d}.png"), number)
    return Path("pictures")


@pytest.fixture
def at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeats in this process: what is compared is the same, and it takes no seconds to start."""

    def train(request: Request, progress: Any) -> RunFolder:
        with chdir(request.directory):
            return fresh._train(request)

    monkeypatch.setattr(replay, "train_fresh", train)


def trained(values: dict[str, Any], *, allow_changed: bool = False) -> RunFolder:
    quiet = {"figures": "none", "tensorboard": False}
    whole = {"task": "trembling.py:Trembling", "seed": 0, "threads": 1, "epochs": 1, "logging": quiet, **values}
    resolved = tasks.configure(None, layers=[from_mapping(whole, "test")], check_components=problems_of)
    return train_resolved(resolved, proof=DataProof(allow_changed=allow_changed))


def explained(a: RunFolder, b: RunFolder) -> tuple[Explanation, str]:
    found = why(a, b)
    return found, conclusion(found)


@pytest.mark.usefixtures("at_hand")
@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"optimizer": {"class": "AdamW", "lr": 0.0201}}, "optimizer.lr"),
        ({"batch_size": 7}, "batch_size"),
    ],
    ids=["seed", "rate", "batch"],
)
def test_a_setting_is_named_and_confirmed(changed: dict[str, Any], name: str) -> None:
    found, answer = explained(trained({}), trained(changed))
    assert [cause.what for cause in found.causes] == [name], found
    assert name in answer
    assert "confirmed" in answer


@pytest.mark.usefixtures("at_hand")
def test_nothing_is_confirmed_where_b_computes_the_bits_of_a_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = trained({}), trained({"seed": 1})

    def elsewhere(request: Request, progress: Any) -> RunFolder:
        """A machine on which B gets its own bits from a checkpoint, and A's from its first step."""
        seed = request.config["seed"] if request.start else 0
        with chdir(request.directory):
            return fresh._train(replace(request, config={**request.config, "seed": seed}))

    monkeypatch.setattr(replay, "train_fresh", elsewhere)
    found, answer = explained(a, b)
    assert found.causes == []
    assert "not confirmed" in answer
    assert any("in the present environment B computes A's bits" in note for note in found.notes)


@pytest.mark.usefixtures("at_hand")
def test_the_number_of_threads_is_named_with_the_operation_it_changes() -> None:
    digits = {"task": "image-classification", "model": {"class": "cnn", "width": 8}, "data": "digits"}
    found, answer = explained(trained(digits), trained({**digits, "threads": 2}))
    assert [cause.what for cause in found.causes] == ["threads"], found
    assert "confirmed" in answer
    assert found.operation is not None
    assert found.operation.kind == "operation"


@pytest.mark.usefixtures("at_hand")
def test_equal_runs_have_no_cause() -> None:
    found, answer = explained(trained({}), trained({"workers": 2}))
    assert found.divergence is None
    assert answer == "the two runs are the same bit for bit"


@pytest.mark.usefixtures("at_hand", "pictures")
def test_one_pixel_is_named_with_its_file_its_step_and_its_sample() -> None:
    shutil.copytree("pictures", "copied")
    changed = Path("copied/train/a/06.png")
    pixels = np.array(Image.open(changed))
    pixels[3, 3] ^= 1
    Image.fromarray(pixels).save(changed)
    a, b = trained(PICTURES), trained({**PICTURES, "data": "copied"})
    found, answer = explained(a, b)
    assert "train/a/06.png" in answer
    assert "confirmed" in answer
    assert found.divergence is not None
    assert found.operation is not None
    if found.divergence.level != "start":
        assert list(found.samples) == ["a/06.png"] or found.samples[0].endswith("06.png")


@pytest.mark.usefixtures("at_hand", "pictures")
def test_one_label_is_named_with_its_file() -> None:
    a = trained(PICTURES)
    Path("pictures/train/a/06.png").rename("pictures/train/b/06.png")
    b = trained(PICTURES, allow_changed=True)
    found, answer = explained(a, b)
    assert "06.png" in answer
    assert any("cannot be repeated here" in note for note in found.notes)


@pytest.mark.usefixtures("at_hand", "pictures")
def test_the_probability_of_an_augmentation_is_named_and_confirmed() -> None:
    def flipping(probability: float) -> dict[str, Any]:
        augment = [{"class": "random_flip", "p": probability}]
        return {**PICTURES, "task": {"class": "image-classification", "augment": augment}}

    found, answer = explained(trained(flipping(0.5)), trained(flipping(0.6)))
    assert "task.augment" in answer, found
    assert "confirmed" in answer
    assert found.samples or found.divergence.level != "loss"


@pytest.mark.usefixtures("at_hand")
def test_workers_are_suspected_where_nothing_else_differs() -> None:
    Path("breaker.py").write_text(RULE_BREAKER)
    values = {"task": "breaker.py:Breaker"}
    found, answer = explained(trained(values), trained({**values, "workers": 1}))
    assert [cause.what for cause in found.causes] == ["workers"]
    assert "workers" in answer
    assert found.operation is not None
    assert found.operation.kind == "input", found.operation


@pytest.mark.usefixtures("at_hand")
def test_an_operation_that_does_not_repeat_itself_is_named_with_its_line() -> None:
    Path("breaker.py").write_text(RULE_BREAKER)
    values = {"task": {"class": "breaker.py:Breaker", "moody": True}}
    found, answer = explained(trained(values), trained(values))
    assert found.nondeterministic
    assert "does not repeat itself" in answer
    assert "breaker.py" in answer


@pytest.mark.slow
@pytest.mark.usefixtures("warm_python")
def test_a_changed_line_of_code_is_named_with_its_file_and_confirmed() -> None:
    a = trained({})
    text = Path("trembling.py").read_text()
    Path("trembling.py").write_text(
        text.replace("cross_entropy(scores, targets)", "cross_entropy(1.01 * scores, targets)")
    )
    fresh_request = Request({**a.config(), "runs_dir": str(Path.cwd() / "runs")}, str(Path.cwd()))
    b = train_fresh(fresh_request)
    found, answer = explained(a, b)
    assert "trembling.py" in answer
    assert "confirmed" in answer
    (code,) = [item for item in found.differences if item.kind == "code"]
    assert "+" in code.detail
    assert "1.01 * scores" in code.detail


@pytest.mark.slow
@pytest.mark.usefixtures("warm_python")
def test_an_instruction_set_is_named_and_confirmed() -> None:
    values = {
        **trained({"model": {"class": "mlp", "hidden": [256, 256]}}).config(),
        "runs_dir": str(Path.cwd() / "runs"),
    }
    a = train_fresh(Request(values, str(Path.cwd())))
    b = train_fresh(Request(values, str(Path.cwd()), variables={"ATEN_CPU_CAPABILITY": "default"}))
    found, answer = explained(a, b)
    assert "capability" in answer or "ATEN_CPU_CAPABILITY" in answer, found
    assert "confirmed" in answer


@pytest.mark.slow
@pytest.mark.usefixtures("warm_python")
def test_another_version_of_a_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, version in enumerate(("1.0", "2.0"), start=1):
        folder = Path(f"packages{number}")
        (folder / f"wobble-{version}.dist-info").mkdir(parents=True)
        metadata = f"Metadata-Version: 2.1\nName: wobble\nVersion: {version}\n"
        (folder / f"wobble-{version}.dist-info/METADATA").write_text(metadata)
        (folder / f"wobble-{version}.dist-info/RECORD").write_text("")
        (folder / "wobble.py").write_text(f"STRENGTH = {number} / 100\n")
    Path("wobbly.py").write_text(WOBBLY)
    base = {**trained({}).config(), "runs_dir": str(Path.cwd() / "runs"), "task": "wobbly.py:Wobbly"}
    a, b = (
        train_fresh(Request(base, str(Path.cwd()), python_path=(str(Path(f"packages{number}").absolute()),)))
        for number in (1, 2)
    )
    _, answer = explained(a, b)
    assert "wobble" in answer


def test_without_repetition_only_the_records_are_compared() -> None:
    found = why(trained({}), trained({"seed": 1}), repeat=False)
    assert (found.operation, list(found.suspects)) == (None, [])
    assert conclusion(found) == "the likely cause, not confirmed: seed"


@pytest.mark.usefixtures("pictures")
def test_data_are_exchanged_once_however_many_files_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Request] = []

    def train(request: Request, progress: Any) -> RunFolder:
        asked.append(request)
        with chdir(request.directory):
            return fresh._train(request)

    monkeypatch.setattr(replay, "train_fresh", train)
    shutil.copytree("pictures", "copied")
    for name in ("00", "02", "04"):
        picture(Path(f"copied/train/a/{name}.png"), 100 + int(name))
    found = why(trained(PICTURES), trained({**PICTURES, "data": "copied"}))
    data = [suspect for suspect in found.suspects if suspect.difference.kind == "data"]
    assert {"a/00.png", "a/02.png", "a/04.png"} <= {suspect.difference.what.partition("/")[2] for suspect in data}
    assert all(suspect.confirmed for suspect in data)
    assert sum(request.trace is None for request in asked) <= 2  # the exchange, and the control


def test_whose_code_it_is_is_said_even_where_it_was_agreed(capsys: pytest.CaptureFixture[str]) -> None:
    from deepdiva.cli.why import _may_execute

    run = trained({})
    assert _may_execute((run, run), agreed=True)
    assert capsys.readouterr().err.count(f"the code of run {run.id}") == 1
