from __future__ import annotations

import json
import os
import shutil
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deepdiva import Config, train
from deepdiva.errors import RunFailed, UserError
from deepdiva.experiments import fresh, replication
from deepdiva.experiments.preparation import Preparation, Silence, Wishes
from deepdiva.experiments.replication import Effort
from deepdiva.experiments.reproduce import EVIDENCE, reproduce
from deepdiva.runs.folder import RunFolder, find_runs
from deepdiva.runs.integrity import manifest_of
from deepdiva.runs.record import amend

Train = Callable[..., RunFolder]
NONE = Effort(reruns=0)


class Heard(Silence):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.preparation: Preparation | None = None
        self.trained_before = -1

    def line(self, text: str) -> None:
        self.lines.append(text)

    def prepared(self, preparation: Preparation) -> None:
        self.preparation = preparation
        self.trained_before = len(list(find_runs("runs"))) - 1


@pytest.fixture(autouse=True)
def quick(in_process: list[fresh.Request]) -> list[fresh.Request]:
    return in_process


def altered(run: RunFolder, old: str, new: str) -> RunFolder:
    """The run with another word in its configuration, as a stranger would change it."""
    path = run.path / "config.yaml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    (run.path / "manifest.json").unlink(missing_ok=True)
    return RunFolder.open(run.path)


def test_a_run_reproduces_to_the_bit_and_keeps_the_verdict_with_its_evidence(run_task: Train, quick):
    original = run_task(epochs=2)
    before = (original.path / "run.json").read_bytes()
    heard = Heard()
    result = reproduce(original, listener=heard)
    assert result.verdict.name == "BIT-IDENTICAL"
    assert result.verdict.exit_code == 0
    assert len(quick) == 1
    assert heard.trained_before == 0
    assert [item for item in heard.preparation.differences if not item.harmless] == []
    run = result.run
    assert run is not None
    assert (run.record["kind"], run.record["parent"]) == ("reproduction", original.id)
    assert run.path.parent == original.path.parent
    assert run.digests["state"] == original.digests["state"]
    assert run.digests["config"] == original.digests["config"]
    assert run.record["verdict"]["verdict"] == "BIT-IDENTICAL"
    document = json.loads((run.path / EVIDENCE).read_text())
    assert document["original"]["digests"] == dict(original.digests)
    assert document["equal"]["weights"] is True
    assert (original.path / "run.json").read_bytes() == before
    manifest = manifest_of(run.path)
    assert manifest is not None
    assert manifest.complete
    assert EVIDENCE in manifest.files


def test_a_reproduction_can_be_reproduced(run_task: Train):
    first = reproduce(run_task(epochs=1)).run
    assert first is not None
    assert (first.path / str(first.record["directory"])).resolve() == Path.cwd()
    again = reproduce(first)
    assert again.verdict.name == "BIT-IDENTICAL"
    assert again.run is not None
    assert again.run.record["parent"] == first.id


def test_it_works_from_another_directory_and_writes_beside_the_original(run_task: Train, tmp_path: Path, monkeypatch):
    original = run_task(epochs=1)
    original = RunFolder.open(original.path.absolute())
    monkeypatch.chdir(tmp_path)
    result = reproduce(original)
    assert result.verdict.name == "BIT-IDENTICAL"
    assert result.run is not None
    assert result.run.path.parent == original.path.parent
    assert not (tmp_path / "runs").exists()


def test_new_runs_go_where_they_are_wished(run_task: Train, tmp_path: Path):
    result = reproduce(run_task(epochs=1), Wishes(runs_dir=tmp_path / "mine"))
    assert result.run is not None
    assert result.run.path.is_relative_to(tmp_path / "mine")


def test_a_run_that_was_resumed_reproduces(run_task: Train, monkeypatch: pytest.MonkeyPatch):
    from deepdiva.experiments.resume import resume

    original = run_task(epochs=2)
    amend(original.path, status="interrupted")
    resumed = resume(original.path)
    assert resumed.record["resumed"]
    assert reproduce(resumed).verdict.name == "BIT-IDENTICAL"


def test_the_seed_that_was_drawn_is_the_one_that_is_used(run_task: Train):
    original = run_task(epochs=1, seed=None)
    result = reproduce(original)
    assert result.run is not None
    assert result.run.record["seed"] == original.record["seed"]
    assert result.verdict.name == "BIT-IDENTICAL"


def test_without_a_closer_look_other_bits_are_inconclusive(run_task: Train):
    result = reproduce(altered(run_task(epochs=1), "lr: 0.02", "lr: 0.0202"), effort=NONE)
    assert (result.verdict.name, result.verdict.exit_code) == ("INCONCLUSIVE", 3)
    assert result.divergence is not None
    assert result.divergence.step == 1
    assert result.run is not None
    assert json.loads((result.run.path / EVIDENCE).read_text())["divergence"]["step"] == 1


def test_another_learning_rate_is_further_away_than_rounding_explains(run_task: Train, quick):
    heard = Heard()
    result = reproduce(altered(run_task(epochs=3), "lr: 0.02", "lr: 0.0202"), listener=heard)
    assert (result.verdict.name, result.verdict.exit_code) == ("DIFFERENT", 1)
    assert result.envelope is not None
    assert not result.envelope.inside
    assert "step 1" in result.verdict.evidence.parted
    reruns = [request for request in quick if request.kind == "rerun"]
    assert [request.nudge for request in reruns] == list(range(1, len(reruns) + 1))
    assert len(list(find_runs("runs"))) == 2  # the reruns are evidence, not runs to keep


def test_another_number_of_threads_is_the_same_experiment(run_task: Train, quick):
    # Few numbers are split over threads here: what rounding does is put in by hand, into the original.
    original = run_task(epochs=2)
    torch.set_num_threads(1)
    request = fresh.Request({**original.config(), "runs_dir": "nudged"}, str(Path.cwd()), nudge=77)
    other = fresh._train(request)
    result = reproduce(other, Wishes(threads=2))
    assert result.verdict.name == "EQUIVALENT"
    assert result.verdict.form == "same experiment on other hardware"
    assert result.verdict.exit_code == 0
    assert quick[0].config["threads"] == 2


def test_other_wishes_are_differences_that_are_told_before(run_task: Train):
    heard = Heard()
    reproduce(run_task(epochs=1), Wishes(threads=2, workers=1), NONE, listener=heard)
    assert heard.preparation is not None
    told = {item.what: item for item in heard.preparation.differences}
    assert (told["threads"].a, told["threads"].b) == ("1", "2")
    assert not told["threads"].harmless
    assert told["workers"].harmless


def test_operations_that_give_other_bits_are_named_before(run_task: Train, other_arithmetic: Callable[[], str]):
    original = run_task(epochs=1)
    name = other_arithmetic()
    heard = Heard()
    reproduce(original, listener=heard)
    assert heard.preparation is not None
    assert [item.what for item in heard.preparation.differences if item.kind == "numerics"] == [name]


def test_a_repetition_that_fails_is_inconclusive(run_task: Train, monkeypatch: pytest.MonkeyPatch):
    task = Path("trembling.py")
    task.write_text(
        task.read_text().replace(
            "        right = scores",
            "        import os\n        scores = scores / float(os.environ.get('ONE', 1))\n        right = scores",
        )
    )
    original = run_task(epochs=1)
    monkeypatch.setenv("ONE", "0")
    result = reproduce(original)
    assert (result.verdict.name, result.verdict.exit_code) == ("INCONCLUSIVE", 3)
    assert "the loss is nan" in result.verdict.reason
    assert result.run is not None
    assert result.run.status == "failed"
    assert RunFolder.open(result.run.path).record["verdict"]["verdict"] == "INCONCLUSIVE"


def test_an_error_in_the_code_is_inconclusive(run_task: Train, monkeypatch: pytest.MonkeyPatch):
    task = Path("trembling.py")
    task.write_text(
        task.read_text().replace(
            "        self.draw()\n        right",
            "        import os\n        assert 'BOOM' not in os.environ\n        right",
        )
    )
    original = run_task(epochs=1)
    monkeypatch.setenv("BOOM", "1")
    result = reproduce(original)
    assert result.verdict.name == "INCONCLUSIVE"
    assert "AssertionError" in result.verdict.reason


def test_after_ctrl_c_the_new_run_is_interrupted_and_nothing_else_stays(
    run_task: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    original = run_task(epochs=3)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    class Impatient(Heard):
        def line(self, text: str) -> None:
            if text.startswith("epoch   1/3"):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as caught:
        reproduce(original, listener=Impatient())
    [new] = [run for run in find_runs("runs") if run.id != original.id]
    assert new.status == "interrupted"
    assert caught.value.__notes__ == [
        f"the run is kept: {new.path.absolute()}",
        f"to begin anew: deepdiva reproduce {original.path}",
    ]
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_run_that_is_not_whole_is_refused(run_task: Train, status: str):
    run = run_task(epochs=1)
    amend(run.path, status=status)
    with pytest.raises(UserError, match=f"is {status}") as caught:
        reproduce(RunFolder.open(run.path))
    assert caught.value.hint is not None
    assert "deepdiva resume" in caught.value.hint


def test_a_damaged_record_of_the_original_is_refused_before_anything_runs(run_task: Train, quick):
    run = run_task(epochs=1)
    with (run.path / "config.yaml").open("a") as file:
        file.write("# mine\n")
    with pytest.raises(UserError, match="damaged"):
        reproduce(RunFolder.open(run.path))
    assert not quick


def test_replicates_on_both_sides(run_task: Train, quick, monkeypatch: pytest.MonkeyPatch):
    # Drawn from the id of the run, these are others every time, and sometimes one that learns little.
    monkeypatch.setattr(replication, "fresh_seeds", lambda original, taken, count: list(range(11, 11 + count)))
    originals = [run_task(epochs=2, seed=seed) for seed in range(4)]
    heard = Heard()
    run = altered(originals[0], "lr: 0.02", "lr: 0.0202")
    effort = Effort(reruns=0, replicates=3, margin=0.5, originals=tuple(originals[1:]))
    with pytest.raises(UserError, match="it has another optimizer"):
        reproduce(run, effort=effort)
    again = [altered(one, "lr: 0.02", "lr: 0.0202") for one in originals[1:]]
    result = reproduce(run, effort=Effort(0, 3, 0.5, originals=tuple(again)), listener=heard)
    assert (result.verdict.name, result.verdict.form) == ("EQUIVALENT", "same result")
    assert result.replication is not None
    assert len(result.replication.original_values) == 4
    replicates = [one for one in find_runs("runs") if one.record["kind"] == "replicate"]
    assert {one.record["parent"] for one in replicates} == {result.run and result.run.id}
    assert len({one.record["seed"] for one in replicates} | {0, 1, 2, 3}) == 7
    assert any("are needed" in line for line in heard.lines)


def test_evidence_is_json_for_every_reader(run_task: Train):
    result = reproduce(altered(run_task(epochs=1), "lr: 0.02", "lr: 0.0202"), effort=NONE)
    assert result.run is not None

    def refuse(name: str) -> Any:
        raise AssertionError(name)

    json.loads((result.run.path / EVIDENCE).read_text(), parse_constant=refuse)


def test_a_perturbed_training_that_fails_leaves_a_verdict(run_task: Train, monkeypatch: pytest.MonkeyPatch):
    from deepdiva.experiments import reproduce as story

    def train(request: fresh.Request, **more: Any) -> RunFolder:
        if request.kind == "rerun":
            raise RunFailed("the disk is full")
        return known(request, **more)

    known = story.train_fresh
    monkeypatch.setattr(story, "train_fresh", train)
    result = reproduce(altered(run_task(epochs=1), "lr: 0.02", "lr: 0.0202"))
    assert (result.verdict.name, result.verdict.exit_code) == ("INCONCLUSIVE", 3)
    assert "a perturbed training fails: the disk is full" in "\n".join(result.verdict.lines())
    assert result.run is not None
    assert result.run.record["verdict"]["verdict"] == "INCONCLUSIVE"


def begun_elsewhere(template: RunFolder, tmp_path: Path) -> Path:
    """The run of another reproduction of the same run, that was begun later, from its own copy of the code."""
    name = "29991231T235959Z-ffffff"
    path = shutil.copytree(template.path, template.path.with_name(name))
    directory = Path(os.path.relpath(tmp_path / "deepdiva-code-other" / "here", path.resolve()))
    amend(path, id=name, kind="reproduction", directory=directory.as_posix())
    return path


@pytest.mark.parametrize("is_made", [True, False], ids=["that was made", "that was never made"])
@pytest.mark.parametrize("ending", [RunFailed, KeyboardInterrupt], ids=["failed", "ctrl-c"])
def test_a_run_without_an_answer_is_not_mistaken_for_that_of_another_reproduction(
    run_task: Train, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_made: bool, ending: type[BaseException]
):
    from deepdiva.experiments import reproduce as story

    original = run_task(epochs=1)
    known = story.train_fresh
    paths: dict[str, Path] = {}
    records: list[bytes] = []

    def train(request: fresh.Request, **more: Any) -> RunFolder:
        if is_made:
            paths["own"] = known(request, **more).path
            amend(paths["own"], status="running")
        paths["other"] = begun_elsewhere(original, tmp_path)
        amend(paths["other"], parent=original.id)
        records.append((paths["other"] / "run.json").read_bytes())
        raise ending("the process is gone")

    monkeypatch.setattr(story, "train_fresh", train)
    if ending is KeyboardInterrupt:
        with pytest.raises(KeyboardInterrupt) as caught:
            reproduce(original)
        assert ("the run is kept" in caught.value.__notes__[0]) is is_made
        assert paths["other"].name not in "".join(caught.value.__notes__)
    else:
        result = reproduce(original)
        assert result.verdict.name == "INCONCLUSIVE"
        assert (result.run and result.run.path) == paths.get("own")
    assert (paths["other"] / "run.json").read_bytes() == records[0]
    assert not (paths["other"] / EVIDENCE).exists()
    if is_made:
        kept = RunFolder.open(paths["own"])
        assert (kept.path / str(kept.record["directory"])).resolve() == Path.cwd()
        assert ("verdict" in kept.record) is (ending is RunFailed)


# -- data that are known by a name, and may lie elsewhere ----------------------------------------------------------


def put_mnist(home: Path, *, label: int = 0, test_label: int = 0) -> Path:
    """A small MNIST below a home for data; the labels say what the last image of a split is said to be."""
    folder = home / "deepdiva" / "mnist"
    folder.mkdir(parents=True)
    values = np.random.default_rng(0)
    for name, last in (("train", label), ("t10k", test_label)):
        images = values.integers(0, 256, (60, 28, 28), dtype=np.uint8)
        labels = np.append(np.arange(59) % 10, last).astype(np.uint8)
        for array, what in ((images, "images-idx3"), (labels, "labels-idx1")):
            head = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
            (folder / f"{name}-{what}-ubyte").write_bytes(head + array.tobytes())
    return home


@pytest.fixture
def on_mnist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run on `mnist`, which lies in the user's home for data."""
    monkeypatch.setenv("XDG_DATA_HOME", str(put_mnist(tmp_path / "home")))
    task = {"class": "image-classification"}
    model = {"class": "mlp", "hidden": [8]}
    logging = {"figures": "none", "tensorboard": False}
    return train(
        Config(task=task, data="mnist", model=model, epochs=1, seed=0, threads=1, batch_size=16, logging=logging)
    )


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_a_named_set_is_the_same_wherever_it_lies(
    on_mnist: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool, allowed: bool
):
    if elsewhere:
        monkeypatch.setenv("XDG_DATA_HOME", str((tmp_path / "home").rename(tmp_path / "moved")))
    heard = Heard()
    result = reproduce(on_mnist, Wishes(allow_changed_data=allowed), NONE, listener=heard)
    assert result.verdict.name == "BIT-IDENTICAL"
    assert any(line.startswith("proved the data, ") for line in heard.lines)
    assert result.run is not None
    assert "changed_data" not in result.run.record


@pytest.mark.parametrize("changes", [{"label": 1}, {"test_label": 1}], ids=["train", "test"])
@pytest.mark.parametrize("place", ["here", "elsewhere", "beside"])
def test_a_named_set_that_has_changed_is_no_repetition(
    on_mnist: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, changes: dict[str, int]
):
    if place != "beside":  # what the run read is there still, and the name leads to something else
        shutil.rmtree(tmp_path / "home")
    home = put_mnist(tmp_path / ("home" if place == "here" else "moved"), **changes)
    monkeypatch.setenv("XDG_DATA_HOME", str(home))
    changed = f"{'train' if 'label' in changes else 't10k'}-labels-idx1-ubyte"
    with pytest.raises(UserError, match=f"{changed}: has changed") as caught:
        reproduce(on_mnist, Wishes(), NONE)
    assert caught.value.hint is not None
    assert "--allow-changed-data" in caught.value.hint
    assert len(list(find_runs("runs"))) == 1
    heard = Heard()
    result = reproduce(on_mnist, Wishes(allow_changed_data=True), NONE, listener=heard)
    assert heard.preparation is not None
    assert heard.preparation.data_changed
    told = [item.what for item in heard.preparation.differences if item.kind == "data"]
    assert told == [changed]
    assert result.verdict.name == "INCONCLUSIVE"
    assert "the data are not those of the original" in result.verdict.reason
    assert result.run is not None
    [record] = result.run.record["changed_data"]
    assert record["files"] == [f"{changed}: has changed"]
    assert record["against"] == f"run {on_mnist.id}"
