"""A run while it works: makes its folder, records before the first step, logs, and marks how it ended."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deepdiva.errors import RunFailed, UserError
from deepdiva.runs.events import Event, EventLog, metrics_digest
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.lines import LineLog, cut
from deepdiva.runs.record import NAME, encode_record, ending, new_record, now, read_record, this_process
from deepdiva.runs.storage import Storage, canonical_json, plain
from deepdiva.runs.tensorboard import Mirror, rebuild

if TYPE_CHECKING:
    from PIL.Image import Image

    from deepdiva.config import Config
    from deepdiva.data.footprint import Footprint

_IGNORE = ".gitignore"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Run:
    """One experiment that is being recorded; `with Run.create("name") as run: run.log(step, {"loss": 0.5})`.

    Leaving the `with` block marks the run `completed`, `interrupted` (Ctrl-C) or `failed`, the last with its
    traceback. A `UserError` before anything was logged removes the folder again: nothing ran.

    Args:
        path: The run folder.
        storage: Where changes go.
        mirror: The TensorBoard files; None for a run without.
    """

    def __init__(self, path: Path, storage: Storage, mirror: Mirror | None) -> None:
        self.path = path
        self._storage = storage
        self._record = read_record(path)
        self._mirror = mirror
        self._events = EventLog(path / "events.jsonl", storage, mirror)
        self._fingerprints = LineLog(path / "fingerprints.jsonl", storage)
        self._settings: Mapping[str, Any] = {}
        self._made: list[Path] = []  # folders to take away again when the run does not begin
        self._began = time.monotonic()
        self._worked = 0.0  # seconds, by earlier processes
        self._ended = False

    @property
    def id(self) -> str:
        """The name that no other run has: the time of its start and six random digits."""
        return str(self._record["id"])

    @property
    def experiment(self) -> str:
        """The name of the experiment it belongs to."""
        return str(self._record["experiment"])

    @property
    def facts(self) -> Mapping[str, Any]:
        """What `run.json` says now."""
        return self._record

    @classmethod
    def create(
        cls,
        experiment: str,
        *,
        config: Config | Mapping[str, Any] | None = None,
        runs_dir: Path | str = "runs",
        seed: int | None = None,
        command: Sequence[str] | None = None,
        kind: str = "run",
        parent: str | None = None,
        allow_dirty: bool | None = None,
        task: str | None = None,
        data: str | None = None,
        determinism: Mapping[str, Any] | None = None,
        tensorboard: bool = True,
        storage: Storage | None = None,
    ) -> Self:
        """Make a new run folder and record what is known before the first step: command, config, code, environment.

        Args:
            experiment: Runs of one experiment lie side by side in `<runs_dir>/<experiment>/`.
            config: The resolved configuration, or any mapping of settings of your own loop.
            runs_dir: Where all runs are kept.
            seed: What the randomness of the run is derived from, to be recorded.
            command: How the run was started; the words of this process when left out.
            kind: `run`, or what else made it (`study`, `tuning`, `reproduction`, …).
            parent: The id of the run or study that this one belongs to.
            allow_dirty: Record uncommitted code instead of refusing it; None asks the configuration.
            task: The name of the task.
            data: Where the data came from.
            determinism: What was asked for and what was granted.
            tensorboard: Whether to keep TensorBoard's mirror of the events.
            storage: Where changes go.
        """
        from deepdiva.runs.capsule import require_clean

        if not _NAME.fullmatch(experiment):
            raise UserError(
                f"'{experiment}' cannot name an experiment",
                "use letters, digits, '-', '_' and '.', as in my-experiment",
            )
        storage, runs_dir = storage or Storage(), Path(runs_dir).absolute()
        settings = _settings(config)
        if not (settings.get("allow_dirty", False) if allow_dirty is None else allow_dirty):
            require_clean(Path.cwd(), runs_dir=runs_dir)
        made: list[Path] = []
        try:
            folder = _make_folder(runs_dir, experiment, storage, made)
            record = new_record(
                folder,
                kind=kind,
                parent=parent,
                task=task,
                data=data,
                command=list(sys.orig_argv if command is None else command),
                seed=settings.get("seed") if seed is None else seed,
                determinism=dict(determinism or {}),
            )
            storage.write(folder / NAME, encode_record(record))
        except UserError:
            _take_away(made, storage)
            raise
        run = cls(folder, storage, Mirror(folder / "tensorboard", storage) if tensorboard else None)
        run._made = made
        try:
            run._capture(config, runs_dir)
        except BaseException as error:
            run.finish(error)
            raise
        return run

    @classmethod
    def reopen(cls, path: Path | str, *, keep_until_step: int, storage: Storage | None = None) -> Self:
        """Take up a run that ended early: its logs are cut behind a step, and it counts as running again.

        Args:
            path: The run folder.
            keep_until_step: The step of the checkpoint: what was logged for later steps goes.
            storage: Where changes go.
        """
        folder, storage = RunFolder.open(path), storage or Storage()
        if folder.status == "running":
            raise UserError(
                f"run {folder.id} is still running (process {folder.record['pid']} on {folder.record['host']})",
                "wait for it, or stop it first",
            )
        worked = folder.duration or 0.0
        for leftover in folder.path.rglob(".*.tmp"):
            storage.remove(leftover)
        for name in ("events.jsonl", "fingerprints.jsonl"):
            cut(folder.path / name, lambda record: bool(record["step"] <= keep_until_step), storage)
        mirror = rebuild(folder.path, storage) if (folder.path / "tensorboard").exists() else None
        run = cls(folder.path, storage, mirror)
        run._worked = worked
        resumed = [*folder.record.get("resumed", []), {"time": now(), "step": keep_until_step}]
        run.record(status="running", finished=None, duration=None, error=None, resumed=resumed, **this_process())
        return run

    def log(self, step: int, values: Mapping[str, float], *, epoch: int = 0) -> None:
        """Log some numbers of one step."""
        plain = {tag: float(value) for tag, value in values.items()}
        self.log_block([{"step": int(step), "epoch": int(epoch), "values": plain, "time": time.time()}])

    def log_block(self, events: Sequence[Event]) -> None:
        """Log events of many steps at once: `{"step": int, "epoch": int, "values": {tag: float}, "time": float}`."""
        self._made = []
        self._events.append(events)

    def fingerprint_block(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep the fingerprints of some steps; each holds at least its `step`."""
        self._made = []
        self._fingerprints.append(records)

    def flush(self) -> None:
        """Hand everything logged so far to the operating system: it survives a kill of this process."""
        self._events.flush()
        self._fingerprints.flush()

    def sync(self) -> None:
        """Wait until the disk holds everything logged so far; call it before a checkpoint counts."""
        self._events.sync()
        self._fingerprints.sync()

    def record(self, **fields: Any) -> None:
        """Put facts into `run.json`, in one step; mappings (`digests`, `results`, …) are merged with what is there."""
        for name, value in fields.items():
            old = self._record.get(name)
            self._record[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
        self._storage.write(self.path / NAME, encode_record(self._record))

    def record_test_read(self, checkpoint: str) -> None:
        """Note that the test split was read, and with which checkpoint."""
        self.record(test_reads=[*self._record["test_reads"], {"time": now(), "checkpoint": checkpoint}])

    def write_config(self, config: Config | Mapping[str, Any]) -> None:
        """Write `config.yaml` and record its digest."""
        text, digest = _config_text(config)
        self._settings = _settings(config)
        self.write_text("config.yaml", text)
        self.record(digests={"config": digest})

    def write_data(
        self,
        footprints: Sequence[Footprint] = (),
        membership: Mapping[str, Sequence[str]] | None = None,
        statistics: Mapping[str, Any] | None = None,
    ) -> None:
        """Write what was read into `data/`: footprints, the samples of each split, statistics; record the digest."""
        roots = [footprint.root for footprint in footprints]
        for number, footprint in enumerate(footprints):
            self.write_text(f"data/footprint-{number}.json", footprint.to_json())
        members = {split: list(ids) for split, ids in (membership or {}).items()}
        if members:
            self.write_text("data/membership.json", _json_text(members))
        if statistics:
            self.write_text("data/statistics.json", _json_text(statistics))
        self.record(digests={"data": _sha256(canonical_json({"footprints": roots, "membership": members}))})

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the run folder, in one step."""
        path = self.path / name
        self._storage.make_directory(path.parent)
        self._storage.write(path, text.encode())

    def print_log(self, line: str) -> None:
        """Add a line to `log.txt`, with the time."""
        path = self.path / "log.txt"
        size = path.stat().st_size if path.exists() else 0
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._storage.append(path, f"{stamp} {line}\n".encode(), at=size)

    def figure(self, tag: str, image: Image, step: int) -> None:
        """Keep a picture: `figures/<tag>/<step>.png`, and in TensorBoard."""
        parts = [part if _NAME.fullmatch(part) else re.sub(r"[^A-Za-z0-9_-]+", "_", part) for part in tag.split("/")]
        folder = self.path.joinpath("figures", *filter(None, parts))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
        self._storage.make_directory(folder)
        self._storage.write(folder / f"{step:08d}.png", buffer.getvalue(), durable=False)
        if self._mirror is not None:
            self._mirror.image(tag, step, buffer.getvalue())

    def write_predictions(self, split: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write `predictions/<split>.csv`: one row a sample, `id` first, every float so that it reads back exactly."""
        names = sorted(columns, key=lambda name: name != "id")
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(zip(*(_plain_list(columns[name]) for name in names), strict=True))
        self.write_text(f"predictions/{split}.csv", buffer.getvalue())

    def finish(self, error: BaseException | None = None) -> None:
        """Flush everything and mark how the run ended; leaving the `with` block does it."""
        if self._ended:
            return
        self._ended = True
        if self._made and isinstance(error, UserError) and not isinstance(error, RunFailed):
            _take_away(self._made, self._storage)
            return
        trouble = None
        try:
            self._close_logs()
        except UserError as problem:
            trouble = problem
        self._mark(error or trouble)
        if trouble is not None:
            raise trouble

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            self.finish(error)
        except UserError as problem:
            if error is None:
                raise
            error.add_note(f"the run could not be marked as ended: {problem}")

    def _capture(self, config: Config | Mapping[str, Any] | None, runs_dir: Path) -> None:
        """Record configuration, code and environment; part of `create`."""
        from deepdiva.runs import capsule, environment

        if config is not None:
            self.write_config(config)
        code = capsule.capture(Path.cwd(), self.path / "code", exclude=runs_dir, storage=self._storage)
        determinism = self._record["determinism"]
        digest = environment.capture(self.path / "environment", determinism=determinism, storage=self._storage)
        self.record(digests={"code": code.digest, "environment": digest})

    def _close_logs(self) -> None:
        if self._mirror is not None and self._settings:
            self._mirror.hparams(_flat(self._settings), list(self._record["results"]))
        self.flush()
        self.sync()

    def _mark(self, error: BaseException | None) -> None:
        status, problem = ending(error)
        seconds = round(self._worked + time.monotonic() - self._began, 3)
        if status == "completed":
            self._record["digests"]["metrics"] = metrics_digest(self.path / "events.jsonl")
        self.record(status=status, finished=now(), duration=seconds, error=problem)
        if problem is not None:
            self.print_log(problem.get("traceback") or f"{status}: {problem['message']}")


def _make_folder(runs_dir: Path, experiment: str, storage: Storage, made: list[Path]) -> Path:
    """A new run folder; `made` collects every folder on the way that was not there."""
    made += storage.make_directory(runs_dir)
    if not any(runs_dir.iterdir()):  # never into a folder of the user's that holds something else
        storage.write(runs_dir / _IGNORE, b"*\n")
    made += storage.make_directory(runs_dir / experiment)
    while True:
        name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        try:
            made += storage.make_directory(runs_dir / experiment / name, exist_ok=False)
        except FileExistsError:  # the same second and the same six digits: draw again
            continue
        return runs_dir / experiment / name


def _take_away(made: Sequence[Path], storage: Storage) -> None:
    """Remove a run folder that did not begin, and the empty ones above it that were made for it."""
    for folder in reversed(made):
        if (folder / NAME).exists():
            storage.remove_tree(folder)
            continue
        if {path.name for path in folder.iterdir()} == {_IGNORE}:
            storage.remove(folder / _IGNORE)
        storage.remove_empty(folder)


def _settings(config: Config | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The settings as plain nested values."""
    if config is None or isinstance(config, Mapping):
        values: Mapping[str, Any] = json.loads(canonical_json(config or {}))
        return values
    return config.to_mapping()


def _config_text(config: Config | Mapping[str, Any]) -> tuple[str, str]:
    """The YAML text of a configuration and its digest."""
    if isinstance(config, Mapping):
        from deepdiva.config.yaml_writer import write

        text = canonical_json(config)
        return write(json.loads(json.dumps(config, default=plain))), _sha256(text)
    from deepdiva.config import digest

    return config.to_yaml(), digest(config)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def _json_text(value: Any) -> str:
    return f"{json.dumps(value, indent=1, default=plain)}\n"


def _plain_list(column: Sequence[Any]) -> Sequence[Any]:
    """A column of numpy or torch as Python's own numbers, whose text reads back exactly."""
    to_list = getattr(column, "tolist", None)
    values: Sequence[Any] = to_list() if callable(to_list) else column
    return values


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
