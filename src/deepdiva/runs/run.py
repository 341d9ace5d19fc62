"""A run while it works: makes its folder, records before the first step, logs, and marks how it ended."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deepdiva.errors import RunFailed, UserError
from deepdiva.runs import integrity
from deepdiva.runs.contents import config_text, data_files, figure_path, flat, plain_settings, predictions_csv
from deepdiva.runs.creation import check_experiment, claimed, make_folder, take_away
from deepdiva.runs.events import Event, EventLog, metrics_digest
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.lines import LineLog, cut
from deepdiva.runs.record import NAME, encode_record, ending, new_record, now, read_record, this_process
from deepdiva.runs.seal import seal
from deepdiva.runs.storage import Storage
from deepdiva.runs.tensorboard import Mirror, rebuild

if TYPE_CHECKING:
    from PIL.Image import Image

    from deepdiva.config import Config
    from deepdiva.runs.contents import Footprint

_LOGS = ("events", "fingerprints")


class Run:
    """One experiment that is being recorded; `with Run.create("name") as run: run.log(step, {"loss": 0.5})`.

    Leaving the `with` block marks the run `completed`, `interrupted` (Ctrl-C) or `failed`, the last with its
    traceback. A `UserError` before anything was logged removes the folder again: nothing ran. Of a run that was taken
    up again it leaves the record as it was.

    Args:
        path: The run folder.
        storage: Where changes go.
        mirror: The TensorBoard files; None for a run without.
    """

    def __init__(self, path: Path, storage: Storage, mirror: Mirror | None) -> None:
        self.path = path
        self.storage = storage
        self._record = read_record(path)
        self._mirror = mirror
        self._events = EventLog(path / "events.jsonl", storage, mirror)
        self._fingerprints = LineLog(path / "fingerprints.jsonl", storage)
        self._settings: Mapping[str, Any] = {}
        self._manifest = integrity.Manifest(run=self.id)
        self._made: list[Path] = []  # folders to take away again when the run does not begin
        self._earlier: dict[str, Any] | None = None  # what the record of a resumed run said, until it goes on
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
        code: Path | None = None,
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
            code: The copy of the code (`code/` of another run) that the current directory was restored from: it is
                recorded as it stands.
            storage: Where changes go.
        """
        from deepdiva.runs.capsule import require_clean

        check_experiment(experiment)
        storage, runs_dir = storage or Storage(), Path(runs_dir).absolute()
        settings = plain_settings(config)
        if code is None and not (settings.get("allow_dirty", False) if allow_dirty is None else allow_dirty):
            require_clean(Path.cwd(), runs_dir=runs_dir)
        made: list[Path] = []
        try:
            folder = make_folder(runs_dir, experiment, storage, made)
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
            take_away(made, storage)
            raise
        run = cls(folder, storage, Mirror(folder / "tensorboard", storage) if tensorboard else None)
        run._made = made
        try:
            run._capture(config, runs_dir, code)
        except BaseException as error:
            run.finish(error)
            raise
        return run

    @classmethod
    def reopen(cls, path: Path | str, *, positions: Mapping[str, int] | None, storage: Storage | None = None) -> Self:
        """Take up a run that ended early: its logs are cut to where a checkpoint was, and it counts as running again.

        Args:
            path: The run folder.
            positions: What `sync` gave before the checkpoint; None to begin anew, with empty logs.
            storage: Where changes go.
        """
        place, storage = RunFolder.open(Path(path).absolute()).path, storage or Storage()
        with claimed(place):  # of two processes that resume at the same time, the second finds it running
            return cls._take_up(RunFolder.open(place), positions or {}, storage)

    @classmethod
    def _take_up(cls, folder: RunFolder, positions: Mapping[str, int], storage: Storage) -> Self:
        if folder.status == "running":
            process = f"process {folder.record.get('pid')} on {folder.record.get('host')}"
            raise UserError(f"run {folder.id} is still running ({process})", "wait for it, or stop it first")
        integrity.check_resumable(folder)
        worked = folder.duration or 0.0
        for leftover in folder.path.rglob(".*.tmp"):
            storage.remove(leftover)
        manifest = integrity.keep_settled(folder.path, storage)
        for name in _LOGS:
            cut(folder.path / f"{name}.jsonl", positions.get(name, 0), storage)
        mirror = rebuild(folder.path, storage) if (folder.path / "tensorboard").exists() else None
        run = cls(folder.path, storage, mirror)
        run._worked, run._manifest = worked, manifest
        run._earlier = {**folder.record, "status": folder.status, "duration": worked}
        resumed = [*folder.record.get("resumed", []), {"time": now()}]
        run.record(status="running", finished=None, duration=None, error=None, resumed=resumed, **this_process())
        return run

    def log(self, step: int, values: Mapping[str, float], *, epoch: int = 0) -> None:
        """Log some numbers of one step."""
        plain = {tag: float(value) for tag, value in values.items()}
        self.log_block([{"step": int(step), "epoch": int(epoch), "values": plain, "time": time.time()}])

    def log_block(self, events: Sequence[Event]) -> None:
        """Log events of many steps at once: `{"step": int, "epoch": int, "values": {tag: float}, "time": float}`."""
        self._begin()
        self._events.append(events)

    def fingerprint_block(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep the fingerprints of some steps; each holds at least its `step`."""
        self._begin()
        self._fingerprints.append(records)

    def flush(self) -> None:
        """Hand everything logged so far to the operating system: it survives a kill of this process."""
        self._events.flush()
        self._fingerprints.flush()

    def sync(self) -> dict[str, int]:
        """Wait until the disk holds everything logged so far; gives the place in every log, for `reopen`."""
        return {"events": self._events.sync(), "fingerprints": self._fingerprints.sync()}

    def record(self, **fields: Any) -> None:
        """Put facts into `run.json`, in one step; mappings (`digests`, `results`, …) are merged with what is there."""
        for name, value in fields.items():
            old = self._record.get(name)
            self._record[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
        self.storage.write(self.path / NAME, encode_record(self._record))

    def record_test_read(self, checkpoint: str) -> None:
        """Note that the test split was read, and with which checkpoint."""
        self.record(test_reads=[*self._record["test_reads"], {"time": now(), "checkpoint": checkpoint}])

    def write_config(self, config: Config | Mapping[str, Any]) -> None:
        """Write `config.yaml` and record its digest."""
        text, digest = config_text(config)
        self._settings = plain_settings(config)
        self.write_text("config.yaml", text)
        self.record(digests={"config": digest}, seal=seal(self.id, text.encode()))

    def write_data(
        self,
        footprints: Sequence[Footprint] = (),
        membership: Mapping[str, Sequence[str]] | None = None,
        statistics: Mapping[str, Any] | None = None,
    ) -> None:
        """Write what was read into `data/`: footprints, the samples of each split, statistics; record the digest."""
        files, digest = data_files(footprints, membership or {}, statistics or {})
        for name, text in files.items():
            self.write_text(f"data/{name}", text)
        self.record(digests={"data": digest})
        self._list(only=integrity.SETTLED)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file of the run folder, in one step."""
        self._write(name, text.encode())

    def print_log(self, line: str) -> None:
        """Add a line to `log.txt`, with the time."""
        path = self.path / "log.txt"
        self._unlist("log.txt")
        size = path.stat().st_size if path.exists() else 0
        self.storage.append(path, f"{now()} {line}\n".encode(), at=size)

    def figure(self, tag: str, image: Image, step: int) -> None:
        """Keep a picture: `figures/<tag>/<step>.png`, and in TensorBoard."""
        picture = self._keep_picture(figure_path(tag, step), image)
        if self._mirror is not None:
            self._mirror.image(tag, step, picture)

    def summary_figure(self, name: str, image: Image) -> None:
        """Keep a picture of the whole run, `figures/<name>.png`; TensorBoard draws such things itself."""
        self._keep_picture(Path("figures", f"{name}.png"), image)

    def write_predictions(self, split: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Write `predictions/<split>.csv`: one row a sample, `id` first, every float so that it reads back exactly."""
        self.write_text(f"predictions/{split}.csv", predictions_csv(columns))

    def finish(self, error: BaseException | None = None) -> None:
        """Flush everything and mark how the run ended; leaving the `with` block does it."""
        if self._ended:
            return
        self._ended = True
        refused = isinstance(error, UserError) and not isinstance(error, RunFailed)
        if self._made and refused:
            take_away(self._made, self.storage)
            return
        try:
            self._close_logs()
            self._mark(error, earlier=self._earlier if refused else None)
        except UserError as trouble:
            with suppress(UserError):
                self._mark(error or trouble, anyhow=True)
            raise

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
            if str(problem) != str(error):
                error.add_note(f"and while the run was ended: {problem}")

    def _capture(self, config: Config | Mapping[str, Any] | None, runs_dir: Path, restored: Path | None) -> None:
        """Record configuration, code and environment; part of `create`."""
        from deepdiva.runs import capsule, environment, repetition

        if config is not None:
            self.write_config(config)
        if restored is None:
            code = capsule.capture(Path.cwd(), self.path / "code", exclude=runs_dir, storage=self.storage).digest
        else:
            code = capsule.copy(restored, self.path / "code", self.storage)
        determinism = self._record["determinism"]
        digest = environment.capture(self.path / "environment", determinism=determinism, storage=self.storage)
        self.record(digests={"code": code, "environment": digest})
        text = repetition.reproduction_script(self.path, self._record, self._settings, restored=restored is not None)
        self.write_text(repetition.NAME, text)

    def _keep_picture(self, name: Path, image: Image) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, "PNG", compress_level=3)  # half the time of the default, a sixth larger
        self._write(name.as_posix(), buffer.getvalue(), durable=False)
        return buffer.getvalue()

    def _write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Write a file of the run folder, in one step."""
        path = self.path / name
        self._unlist(name, unless=data)
        self.storage.make_directory(path.parent)
        self.storage.write(path, data, durable=durable)

    def _list(self, *, only: Sequence[str] = (), complete: bool = False) -> None:
        """Put files into the manifest: from here on they do not change."""
        known = self._manifest.files
        self._manifest = integrity.take(self.path, run=self.id, known=known, only=only, complete=complete)
        integrity.write(self.path, self._manifest, self.storage)

    def _unlist(self, name: str, *, unless: bytes | None = None) -> None:
        """Take a file that is about to change off the manifest."""
        manifest = integrity.without(self._manifest, name, unless=unless)
        if manifest is not self._manifest:
            integrity.write(self.path, manifest, self.storage)
            self._manifest = manifest

    def _begin(self) -> None:
        """From the first record on, the run is there to stay."""
        self._made, self._earlier = [], None

    def _close_logs(self) -> None:
        if self._mirror is not None and self._settings:
            self._mirror.hparams(flat(self._settings), list(self._record["results"]))
        self.flush()
        self.sync()

    def _mark(
        self, error: BaseException | None, *, anyhow: bool = False, earlier: Mapping[str, Any] | None = None
    ) -> None:
        """Say how it ended, after the proof of what it wrote; `anyhow` even where that cannot be written.

        A resume that was refused before anything was done leaves the `earlier` record.
        """
        attempt = suppress(UserError) if anyhow else nullcontext()
        status, problem = ending(error)
        seconds = round(self._worked + time.monotonic() - self._began, 3)
        if status == "completed":
            self._record["digests"]["metrics"] = metrics_digest(self.path / "events.jsonl")
        if problem is not None:
            with attempt:
                self.print_log(problem.get("traceback") or f"{status}: {problem['message']}")
        with attempt:
            integrity.sync_unsure(self.path, self.storage)
            self._list(complete=True)
        if earlier is None:
            self.record(status=status, finished=now(), duration=seconds, error=problem)
        else:
            self._record = dict(earlier)
            self.record()
