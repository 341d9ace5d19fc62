"""Run folders as they are read: without torch, by path, by a part of the name, or all below a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from deepdiva.errors import UserError, UserErrors
from deepdiva.runs.job import has_ended, this_job
from deepdiva.runs.lines import read_lines
from deepdiva.runs.reading import parse_json
from deepdiva.runs.record import NAME, read_record, seconds_of
from deepdiva.runs.storage import StorageError

_SILENCE = 3600.0  # seconds after which a process on another host, which cannot be asked, counts as gone
_CLOCK_SLACK = 2.0  # seconds; the system gives the start of a process in whole ticks


@dataclass(frozen=True)
class RunFolder:
    """A run as it lies on disk; nothing here changes it.

    Args:
        path: The folder.
        record: What `run.json` said when the folder was opened.
    """

    path: Path
    record: Mapping[str, Any] = field(repr=False)

    @classmethod
    def open(cls, path: Path | str) -> RunFolder:
        """The run in a folder; a `UserError` for what is not one."""
        folder = Path(path)
        return cls(folder, read_record(folder))

    @property
    def id(self) -> str:
        """The name that no other run has: the time of its start and six random digits."""
        return str(self.record.get("id", self.path.name))

    @property
    def experiment(self) -> str:
        """The name of the experiment it belongs to."""
        return str(self.record.get("experiment", self.path.parent.name))

    @property
    def status(self) -> str:
        """`running`, `completed`, `failed` or `interrupted`; a run whose process is gone was interrupted."""
        status = str(self.record.get("status", "unreadable"))
        return "interrupted" if status == "running" and not is_alive(self.path, self.record) else status

    @property
    def results(self) -> Mapping[str, float]:
        """The final numbers, such as `test/accuracy`."""
        results: Mapping[str, float] = self.record.get("results") or {}
        return results

    @property
    def digests(self) -> Mapping[str, str]:
        """SHA-256 of config, code, data, environment, weights, state and metrics, as far as the run came."""
        digests: Mapping[str, str] = self.record.get("digests") or {}
        return digests

    @property
    def duration(self) -> float | None:
        """Seconds of work; for a run that was killed, up to its last sign of life."""
        return duration(self.path, self.record)

    def config(self) -> Mapping[str, Any]:
        """The resolved configuration, `config.yaml`."""
        from deepdiva.config.yaml_reader import read_bytes

        content = self.content("config.yaml")
        if content is None:
            raise UserError(f"{self.path} holds no config.yaml", "the run ended before its configuration was complete")
        document = read_bytes(content, str(self.path / "config.yaml"))
        if document.problems:
            raise UserErrors(document.problems)
        return document.values

    def events(self, tag: str | None = None) -> Iterator[dict[str, Any]]:
        """All events in their order, or those that carry `tag`."""
        for event in self._records("events.jsonl"):
            if not isinstance(event.get("values"), dict) or not isinstance(event.get("step"), int):
                raise StorageError(f"{self.path / 'events.jsonl'} was not written by DeepDIVA: a record is no event")
            if tag is None or tag in event["values"]:
                yield event

    def fingerprints(self) -> Iterator[dict[str, Any]]:
        """The fingerprints of all steps."""
        return self._records("fingerprints.jsonl")

    def predictions(self, split: str) -> dict[str, list[str]]:
        """The predictions on a split by column, as text."""
        import csv
        import io

        content = self.content(f"predictions/{split}.csv")
        if content is None:
            raise UserError(f"{self.path} holds no predictions for '{split}'")
        try:
            header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
            return {name: [row[place] for row in rows] for place, name in enumerate(header)}
        except (ValueError, IndexError, csv.Error) as error:
            path = self.path / "predictions" / f"{split}.csv"
            raise StorageError(f"{path} is damaged: {error}", "restore it from a copy") from error

    def document(self, name: str) -> Mapping[str, Any] | None:
        """The JSON document of a name such as `code/code.json`; None where there is none."""
        content = self.content(name)
        if content is None:
            return None
        document = parse_json(content, self.path / name)
        if not isinstance(document, dict):
            raise StorageError(f"{self.path / name} was not written by DeepDIVA")
        return document

    def content(self, name: str) -> bytes | None:
        """All of a file such as `code/code.json`, proved where the run's manifest lists it; None where there is none.

        Raises:
            StorageError: It is not what was written, is too large, or is a link that leads out of the run folder.
        """
        file = self.stream(name)
        if file is None:
            return None
        with file:
            return file.read()

    def stream(self, name: str) -> BinaryIO | None:
        """As `content`, open for reading."""
        from deepdiva.runs import integrity

        try:
            return integrity.open_proved(self.path, name)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise UserError(f"cannot read {self.path / name}: {(error.strerror or str(error)).lower()}") from error

    def names(self, folder: str) -> list[str]:
        """Names of the files right below a folder of the run, such as `predictions`, sorted."""
        return sorted(path.name for path in (self.path / folder).glob("*") if path.is_file())

    def _records(self, name: str) -> Iterator[dict[str, Any]]:
        from deepdiva.runs import integrity

        return read_lines(self.path / name, size=integrity.expected_size(self.path, name), within=self.path)


def find_runs(runs_dir: Path | str = "runs") -> Iterator[RunFolder]:
    """All runs below a folder, oldest first; one that cannot be read has the status `unreadable`."""
    folders = [path.parent for path in Path(runs_dir).glob(f"*/*/{NAME}")]
    for folder in sorted(folders, key=lambda folder: (folder.name, folder.parent.name)):
        try:
            yield RunFolder.open(folder)
        except UserError as error:
            yield RunFolder(folder, {"status": "unreadable", "error": {"message": str(error)}})


def find_run(text: str | Path, runs_dir: Path | str = "runs") -> RunFolder:
    """The run that `text` means: a path, an id, the beginning of an id or of its last six digits, or `last`."""
    return RunFolder.open(find_folder(text, runs_dir))


def find_folder(text: str | Path, runs_dir: Path | str = "runs") -> Path:
    """As `find_run`, but the folder, whose `run.json` may be damaged."""
    path = Path(text)
    if (path / NAME).exists():
        return path
    folders = sorted((path.parent for path in Path(runs_dir).glob(f"*/*/{NAME}")), key=lambda folder: folder.name)
    if text == "last" and folders:
        return _newest([folder for folder in folders if folder.name[:16] == folders[-1].name[:16]])
    name = str(text)
    matches = [folder for folder in folders if folder.name.startswith(name) or folder.name[17:].startswith(name)]
    exact = [folder for folder in matches if folder.name == name]
    if name and len(matches := exact or matches) == 1:
        return matches[0]
    if name and matches:
        shown = ", ".join(folder.name for folder in matches[:5]) + (", …" if len(matches) > 5 else "")
        raise UserError(f"'{text}' means {len(matches)} runs: {shown}", "write more of the id, or the path")
    if name and path.exists():
        return path  # opening it says why it is none
    where = f"in {runs_dir}" if folders else f"in {runs_dir}, which holds no run"
    raise UserError(f"there is no run '{text}' {where}", "`deepdiva runs ls` lists the runs; a path is fine, too")


def _newest(folders: list[Path]) -> Path:
    """Of runs that were started in one second, the one whose record says that it was the last."""
    if len(folders) == 1:
        return folders[0]
    return max(folders, key=lambda folder: str(read_record(folder).get("created")))


def is_alive(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether the process of a run still works; one on another host must have written within the last hour.

    Of an earlier start of the scheduler's job that this process works in, nothing is left.
    """
    if has_ended(record.get("job"), this_job()):
        return False
    if record.get("host") != os.uname().nodename:
        return time.time() - _last_sign(folder) < _SILENCE
    pid = int(record.get("pid") or 0)
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, but someone else's
    started = _process_start(pid)
    began = seconds_of(session_start(record))
    # A number is given out again: a process that is younger than the run is another one.
    return started is None or began is None or started <= began + _CLOCK_SLACK


def duration(folder: Path, record: Mapping[str, Any]) -> float | None:
    """Seconds that a run has worked; see `RunFolder.duration`."""
    if record.get("duration") is not None:
        return float(record["duration"])
    start = seconds_of(record.get("created"))
    return None if start is None else max(0.0, _last_sign(folder) - start)


def session_start(record: Mapping[str, Any]) -> str | None:
    """When the process that a record names took up the run: at its creation, or when it was resumed last."""
    resumed = record.get("resumed") or []
    return str(resumed[-1]["time"]) if resumed else record.get("created")


def _last_sign(folder: Path) -> float:
    """When a run last wrote, in seconds since 1970; long ago when there is nothing."""
    paths = (folder / name for name in (NAME, "events.jsonl", "fingerprints.jsonl", "log.txt"))
    return max((path.stat().st_mtime for path in paths if path.exists()), default=0.0)


def _process_start(pid: int) -> float | None:
    """When a process started; None where the system does not tell."""
    try:
        ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime"))
    except (OSError, StopIteration):
        return None
    return int(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def shown_path(path: Path) -> str:
    """A path as a person would write it here: from the current folder on where it lies below that."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
