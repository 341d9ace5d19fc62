"""What comes before a reproduction: code restored, data proven, environment found, every difference listed."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

from deepdiva.data import expected
from deepdiva.data.expected import Expectation
from deepdiva.data.files import printable, to_errors
from deepdiva.data.footprint import Footprint
from deepdiva.errors import UserError
from deepdiva.experiments import surroundings
from deepdiva.experiments.checkout import Checkout, checkout, code_record
from deepdiva.experiments.fresh import Request
from deepdiva.runs.contents import config_text
from deepdiva.runs.differences import Difference, differences
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.record import encode_record

Say = Callable[[str], None]
PARTS = ("rerun", "replay", "trial")
"""Kinds of runs that are a part of something, not an experiment of their own."""


@dataclass(frozen=True)
class Wishes:
    """What is to be other than it was, or found elsewhere.

    Args:
        data: Where the data are now.
        environment: `current` takes the packages that are installed; `recreate` those that the run had.
        threads: Another number of threads, for another machine; bits depend on it.
        device: Another device.
        workers: Another number of processes that load data.
        allow_changed_data: Whether data that are not what they were are listed instead of refused.
        runs_dir: Where new runs are kept; None for beside the original, where that can be written.
        keep_code: A new folder that the code is restored into and left in.
    """

    data: Path | None = None
    environment: Literal["current", "recreate"] = "current"
    threads: int | None = None
    device: str | None = None
    workers: int | None = None
    allow_changed_data: bool = False
    runs_dir: Path | None = None
    keep_code: Path | None = None


@dataclass(frozen=True)
class Preparation:
    """Everything that is known before the training begins.

    Args:
        request: What is to be trained.
        checkout: The restored code.
        differences: All that is not the same as for the original, the most likely cause of other results first.
        data_changed: Whether data are not what they were, which the user allowed.
        data_to_come: The names of data that cannot be read yet: the training makes or finds them.
    """

    request: Request
    checkout: Checkout
    differences: tuple[Difference, ...]
    data_changed: bool
    data_to_come: tuple[str, ...] = ()


class Listener(Protocol):
    """Whoever is told how a reproduction goes on."""

    def stage(self, title: str) -> None:
        """A part of the work begins."""

    def line(self, text: str) -> None:
        """Something to read, also from the trainings."""

    def prepared(self, preparation: Preparation) -> None:
        """All differences are known, and nothing has been trained yet."""


class Silence:
    """Nobody."""

    def stage(self, title: str) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Nothing."""

    def prepared(self, preparation: Preparation) -> None:
        """Nothing."""


def check_reproducible(run: RunFolder) -> None:
    """Refuses a run that is not whole, or that DeepDIVA's loop did not make.

    Raises:
        UserError: With what to do instead.
    """
    if run.status in ("interrupted", "failed"):
        raise UserError(
            f"run {run.id} is {run.status}: there is no result to compare with",
            f"finish it first: deepdiva resume {run.path}",
        )
    if run.status != "completed":
        raise UserError(f"run {run.id} is {run.status}: there is no result to compare with", "wait until it is done")
    if "task" not in run.config():
        raise UserError(
            f"run {run.id} was made by a loop of its own, not by a task", f"by hand: sh {run.path / 'reproduce.sh'}"
        )
    if run.record.get("kind") in PARTS:
        raise UserError(f"run {run.id} is a {run.record['kind']}, a part of run {run.record.get('parent')}")


@contextmanager
def prepared(original: RunFolder, wishes: Wishes, say: Say = lambda _: None) -> Iterator[Preparation]:
    """Restores the code, proves the data, and finds every difference; what was restored is removed afterwards.

    Args:
        original: A completed run.
        wishes: What is to be other.
        say: Gets a line for each step.

    Raises:
        UserError: Something is missing, or the data have changed. Nothing was trained.
    """
    check_reproducible(original)
    if wishes.data is not None and not wishes.data.exists():
        raise UserError(f"--data {wishes.data}: there is nothing", "give the folder or file that the data are in now")
    with checkout(original, data=wishes.data, keep=wishes.keep_code) as code, _planned(original) as planned:
        where = "" if wishes.keep_code is None else f" into {code.root}"
        say(f"restored its code{where}: {_files(len(code_record(original)['files']))}, each proven by its SHA-256")
        for session in original.record.get("resumed") or []:
            if session.get("code"):
                say(f"on {session['time'][:10]} it was resumed with other code, which is not restored: bits may differ")
        config = _config(original, wishes, code)
        proof = prove_data(original, config, code, wishes, say)
        request = Request(
            config=config,
            directory=str(code.directory),
            kind="reproduction",
            parent=original.id,
            code=str(original.path.resolve() / "code"),
            repeats=str(original.path.resolve()),
            allow_changed_data=wishes.allow_changed_data,
            python_path=code.python_path,
        )
        if wishes.environment == "recreate":
            from deepdiva.experiments.recreation import recreate

            request = replace(request, python=str(recreate(original, code, say)))
        _write_plan(planned, original, config, proof.found)
        (planned / "environment").mkdir()
        surroundings.survey(request, planned / "environment")
        listed = differences(original, RunFolder.open(planned))
        yield Preparation(request, code, tuple(listed), proof.changed, proof.to_come)


class DataFound(NamedTuple):
    """What was found of the data of a run.

    Args:
        found: The footprints as they are now; of data to come, as they were.
        changed: Whether they are not what they were.
        to_come: The names of those that were not there to be read.
    """

    found: list[Footprint]
    changed: bool
    to_come: tuple[str, ...]


def prove_data(run: RunFolder, config: Mapping[str, Any], code: Checkout, wishes: Wishes, say: Say) -> DataFound:
    """Reads every file of the data and compares with what the run read.

    Data that are bundled, or found by a name that only the task knows, are compared by the training itself, before its
    first step; generated ones with the rest of what it computes.

    Raises:
        UserErrors: Files have changed; all are named.
        UserError: The data are not where they should be.
    """
    found, changed, to_come = [], False, [kept.source for kept in expected.made_by_run(run.path)]
    for kept in expected.footprints_of_run(run.path):
        place = _place(kept, run, config, code)
        if not place.exists():
            _check_missing(kept, run, config, place)
            found.append(kept)
            to_come.append(kept.source)
            continue
        now, changes = expected.check(Expectation.of(kept, f"run {run.id}"), place, deep=True)
        found.append(replace(now, source=kept.source))
        if not changes:
            expected.remember(now, place, origin=f"run {run.id}")
            say(f"proved the data, {printable(kept.source)}: {_files(len(now.files))}, each by its SHA-256")
        elif wishes.allow_changed_data:
            changed = True
        else:
            error = to_errors(changes.problems(), f"{printable(str(place))} is not what run {run.id} read")
            error.hint = (
                "restore the files, name a copy with --data PATH, or see what comes of them as they are with "
                "--allow-changed-data"
            )
            raise error
    return DataFound(found, changed, tuple(to_come))


def _place(kept: Footprint, run: RunFolder, config: Mapping[str, Any], code: Checkout) -> Path:
    """Where the data of a footprint should be now."""
    named = _named_place(kept, run, config)
    if named is not None:
        return named
    source = str(config["data"]) if kept.source == run.config().get("data") else kept.source
    return Path(os.path.normpath(code.directory / source))


def _named_place(kept: Footprint, run: RunFolder, config: Mapping[str, Any]) -> Path | None:
    """Where a downloaded set is that the training finds by its name; None for other data, and where it is not there."""
    name = config.get("data")
    if not isinstance(name, str) or name != run.config().get("data") or name == kept.source:
        return None
    from deepdiva.data import formats

    try:
        named = formats.find(name)
    except UserError:  # the training says what is missing
        return None
    found = None if named is None else formats.locate(named.dataset, named.folder)
    # A task may call a set of its own by that name.
    if found is None or not all((found.folder / file).exists() for file in kept.files):
        return None
    return found.folder


def _check_missing(kept: Footprint, run: RunFolder, config: Mapping[str, Any], place: Path) -> None:
    """Refuses where the data were a path; the bundled digits and downloaded sets are found by their names."""
    source = kept.source
    if source != run.config().get("data") or (kept.kind == "file" and "/" not in source):
        return
    shown = source if Path(source).is_absolute() else f"{source} (relative to {run.record.get('directory')})"
    raise UserError(
        f"the data of run {run.id} are not where they were: {printable(shown)}", "say where they are: --data PATH"
    )


def _config(original: RunFolder, wishes: Wishes, code: Checkout) -> dict[str, Any]:
    """The configuration of the original, with what was wished for."""
    config = {**original.config(), "runs_dir": str(_runs_dir(original, wishes))}
    for name in ("threads", "device", "workers"):
        if (value := getattr(wishes, name)) is not None:
            config[name] = value
    if wishes.data is not None and str(config.get("data")) not in code.linked:
        config["data"] = str(wishes.data.resolve())
    return config


def _runs_dir(original: RunFolder, wishes: Wishes) -> Path:
    if wishes.runs_dir is not None:
        return wishes.runs_dir.absolute()
    folder = original.path.resolve()
    beside = folder.parents[1]
    is_in_order = folder.parent.name == original.experiment and os.access(beside, os.W_OK)
    return beside if is_in_order else Path("runs").absolute()


@contextmanager
def _planned(original: RunFolder) -> Iterator[Path]:
    """A folder that says of the coming run what a run folder will say."""
    with tempfile.TemporaryDirectory(prefix="deepdiva-plan-") as folder:
        planned = Path(folder)
        for part in ("code", "data"):
            if (original.path / part).is_dir():
                shutil.copytree(original.path / part, planned / part, symlinks=True)
        yield planned


def _write_plan(planned: Path, original: RunFolder, config: Mapping[str, Any], found: list[Footprint]) -> None:
    """The record, the configuration and the footprints of the coming run."""
    digests = {name: original.digests[name] for name in ("code",) if name in original.digests}
    kept = {key: original.record.get(key) for key in ("schema", "experiment", "task", "data", "seed", "created")}
    record = {**kept, "id": "planned", "status": "completed", "kind": "reproduction", "digests": digests}
    (planned / "run.json").write_bytes(encode_record(record))
    # Where the new run is kept is no difference worth a line.
    told = {**config, "runs_dir": original.config().get("runs_dir")}
    (planned / "config.yaml").write_text(config_text(told)[0], encoding="utf-8")
    by_source = {footprint.source: footprint for footprint in found}
    for file in sorted((planned / "data").glob("footprint-*.json")):
        now = by_source.get(expected.read_footprint(file).source)
        if now is not None:
            file.write_text(now.to_json(), encoding="utf-8")


def _files(count: int) -> str:
    return f"{count} {'file' if count == 1 else 'files'}"
