from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepdiva import Config, RunFolder, train
from deepdiva.cli.main import main
from deepdiva.data.expected import remembered
from deepdiva.errors import UserError
from deepdiva.experiments import fresh
from deepdiva.experiments.preparation import Wishes, check_reproducible, prepared
from deepdiva.runs.run import Run

Points = Callable[..., RunFolder]


@pytest.fixture(autouse=True)
def quick(in_process: list[fresh.Request]) -> list[fresh.Request]:
    return in_process


@pytest.fixture
def points(tmp_path: Path) -> Points:
    """Trains on a folder of points, `moons` beside the project unless another is named."""
    assert main(["data", "generate", "moons", "--to", "../moons", "-n", "60"]) == 0

    def call(data: str = "../moons", **more: Any) -> RunFolder:
        logging = {"figures": "none", "tensorboard": False}
        return train(Config(task="points", data=data, seed=0, threads=1, epochs=1, logging=logging, **more))

    return call


def changed(folder: str) -> None:
    with Path(folder, "train", "data.csv").open("a") as file:
        file.write("0.5,0.5,1\n")


def test_everything_is_as_it_was(points: Points):
    run = points()
    said: list[str] = []
    with prepared(run, Wishes(), said.append) as preparation:
        assert [item for item in preparation.differences if not item.harmless] == []
        assert not preparation.data_changed
        assert preparation.data_to_come == ()
        request = preparation.request
        assert (request.kind, request.parent, request.code) == (
            "reproduction",
            run.id,
            str(run.path.resolve() / "code"),
        )
        assert request.config == {**run.config(), "runs_dir": str(Path("runs").absolute())}
        assert request.directory == str(preparation.checkout.directory)
        assert Path(request.directory, "../moons/train/data.csv").exists()
    assert not Path(request.directory).exists()
    assert any(line.startswith("proved the data, ../moons: 4 files") for line in said)


def test_changed_data_stop_it_before_anything_runs(points: Points, quick):
    run = points()
    changed("../moons")
    with pytest.raises(UserError) as caught, prepared(run, Wishes()):
        pass
    assert f"is not what run {run.id} read" in caught.value.message
    assert "train/data.csv: has changed" in caught.value.message
    assert caught.value.hint is not None
    assert "--allow-changed-data" in caught.value.hint
    assert not quick


def test_data_that_only_seem_untouched_are_read(points: Points):
    import os

    run = points()
    path = Path("../moons/train/data.csv")
    facts = path.stat()
    text = path.read_text()
    path.write_text(text[:-3] + ("0" if text[-3] != "0" else "1") + text[-2:])
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    with pytest.raises(UserError, match="has changed"), prepared(run, Wishes()):
        pass


def test_allowed_changes_are_listed_and_remembered_of_the_verdict(points: Points):
    run = points()
    changed("../moons")
    with prepared(run, Wishes(allow_changed_data=True)) as preparation:
        assert preparation.data_changed
        assert preparation.request.allow_changed_data
        [found] = [item for item in preparation.differences if item.kind == "data"]
        assert found.what == "train/data.csv"


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
def test_data_at_another_path(points: Points, tmp_path: Path, absolute: bool):
    run = points(str(tmp_path / "moons") if absolute else "../moons")
    shutil.move(tmp_path / "moons", tmp_path / "moved")
    with pytest.raises(UserError, match="are not where they were") as caught, prepared(run, Wishes()):
        pass
    assert caught.value.hint == "say where they are: --data PATH"
    with prepared(run, Wishes(data=tmp_path / "moved")) as preparation:
        place = Path(preparation.request.directory, preparation.request.config["data"])
        assert place.resolve() == tmp_path / "moved"
        serious = [item for item in preparation.differences if not item.harmless]
        assert [item.what for item in serious if item.kind != "config"] == []
        assert bool(serious) <= absolute
    known = remembered(tmp_path / "moved")
    assert known is not None
    assert run.id in known.origin


def test_a_wrong_folder_is_refused(points: Points, tmp_path: Path):
    run = points()
    shutil.copytree(tmp_path / "moons", tmp_path / "other")
    changed(str(tmp_path / "other"))
    with pytest.raises(UserError, match="has changed"), prepared(run, Wishes(data=tmp_path / "other")):
        pass
    with pytest.raises(UserError, match="there is nothing"), prepared(run, Wishes(data=tmp_path / "nowhere")):
        pass


def test_generated_and_bundled_data_are_left_to_the_training(points: Points):
    with prepared(points("moons"), Wishes()) as preparation:
        assert not preparation.data_changed
        assert preparation.data_to_come == ("moons",)


def test_a_folder_that_cannot_be_written_is_not_written(points: Points, monkeypatch: pytest.MonkeyPatch):
    run = points()
    monkeypatch.setattr("os.access", lambda *_: False)
    with prepared(run, Wishes()) as preparation:
        assert preparation.request.config["runs_dir"] == str(Path("runs").absolute())
    loose = run.path.rename(run.path.parents[2] / "loose")
    with prepared(RunFolder.open(loose), Wishes(data=Path("../moons"))) as preparation:
        assert preparation.request.config["runs_dir"] == str(Path("runs").absolute())


def test_a_missing_device_is_named_before_anything_is_trained(points: Points, quick):
    with pytest.raises(UserError, match="--device"), prepared(points(), Wishes(device="cuda:7")):
        pass
    assert not quick


def test_a_loop_of_ones_own_is_repeated_by_hand():
    with Run.create("mine", config={"lr": 0.1}, allow_dirty=True, tensorboard=False) as run:
        run.log(1, {"loss": 1.0})
    with pytest.raises(UserError, match="by a loop of its own") as caught:
        check_reproducible(RunFolder.open(run.path))
    assert caught.value.hint is not None
    assert "reproduce.sh" in caught.value.hint


def test_a_part_of_a_run_is_none(points: Points):
    run = points()
    with pytest.raises(UserError, match="is a replay, a part of run x"):
        check_reproducible(RunFolder(run.path, {**run.record, "kind": "replay", "parent": "x"}))
