"""Disks that fail: a system that stops at any single call, and a tape from which every power cut is played."""

from __future__ import annotations

import errno
import functools
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepdiva.runs import RunFolder, capsule, environment
from deepdiva.runs.packages import installed_packages
from deepdiva.runs.run import Run
from deepdiva.runs.storage import Storage, System

CALLS = [name for name in vars(System) if not name.startswith("_")]


class Killed(BaseException):
    """The process ends here: nothing after it may reach the disk."""


class FaultySystem(System):
    """Counts its calls and lets the one with the number `at` fail.

    `fault` is `kill` (a write gets half way), `short` (a write takes one byte), or the name of an errno; with
    `lasting` every later call of the same kind fails, too, as on a full disk.
    """

    def __init__(self, at: int = -1, fault: str = "kill", *, lasting: bool = False) -> None:
        self.at, self.fault, self.lasting = at, fault, lasting
        self.count = 0
        self.failing = ""
        self.dead = False

    def fsync(self, descriptor: int) -> None:
        """These tests are about what is asked of the disk, not about the disk."""


def _intercepted(name: str) -> Callable[..., Any]:
    real = getattr(System, name) if name != "fsync" else FaultySystem.fsync

    def call(self: FaultySystem, *arguments: Any) -> Any:
        if name == "close":  # descriptors close with the process, and closing changes nothing
            return real(self, *arguments)
        if self.dead:
            raise Killed
        self.count += 1
        if self.count - 1 == self.at or (self.lasting and name == self.failing):
            return _fail(self, name, real, arguments)
        return real(self, *arguments)

    return call


def _fail(system: FaultySystem, name: str, real: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if system.fault == "short":
        return real(system, arguments[0], arguments[1][:1]) if name == "write" else real(system, *arguments)
    if name == "write":
        os.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
    if system.fault == "kill":
        system.dead = True
        raise Killed
    system.failing = name
    number = getattr(errno, system.fault)
    raise OSError(number, os.strerror(number))


for _name in CALLS:
    setattr(FaultySystem, _name, _intercepted(_name))


class Tape(System):
    """Does every call, and remembers it, so that `power_cuts` can tell what a disk may hold after each."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self._inodes: dict[Path, int] = {}
        self._open: dict[int, int | Path] = {}
        self._made = 0

    def open(self, path: Path, flags: int) -> int:
        descriptor = super().open(path, flags)
        if path.is_dir():
            self._open[descriptor] = path
            return descriptor
        if path not in self._inodes:
            self._made += 1
            self._inodes[path] = self._made
            self.calls.append(("name", path, self._made))
        elif flags & os.O_TRUNC:
            self.calls.append(("truncate", self._inodes[path], 0))
        self._open[descriptor] = self._inodes[path]
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        count = super().write(descriptor, data)
        self.calls.append(("write", self._open[descriptor], bytes(data[:count])))
        return count

    def fsync(self, descriptor: int) -> None:
        self.calls.append(("fsync", self._open[descriptor]))

    def truncate(self, descriptor: int, size: int) -> None:
        super().truncate(descriptor, size)
        self.calls.append(("truncate", self._open[descriptor], size))

    def replace(self, source: Path, target: Path) -> None:
        super().replace(source, target)
        inode = self._inodes[target] = self._inodes.pop(source)
        self.calls.append(("replace", source, target, inode))

    def unlink(self, path: Path) -> None:
        super().unlink(path)
        self._inodes.pop(path, None)
        self.calls.append(("unlink", path))

    def make_directory(self, path: Path) -> None:
        super().make_directory(path)
        self.calls.append(("name", path, 0))


def power_cuts(
    calls: list[tuple[Any, ...]], ends: Iterable[int] | None = None
) -> Iterator[tuple[int, dict[Path, bytes | None]]]:
    """After every number of calls (or those in `ends`) what the disk may hold: content by path, None for a directory.

    Only what was synchronised is sure to be there. Of the rest may have arrived: of a file's content nothing, half,
    all, or all of its length filled with zeros; of the changes to a directory's names none, half, or all, in order.
    """
    for end in range(len(calls) + 1) if ends is None else ends:
        for content in ("nothing", "half", "all", "zeros"):
            for names in (0.0, 0.5, 1.0):
                yield end, _after(calls[:end], content, names)


def _after(calls: list[tuple[Any, ...]], content: str, names: float) -> dict[Path, bytes | None]:
    sure: dict[int, bytes] = {}
    now: dict[int, bytes] = {}
    entries: dict[Path, list[tuple[Any, ...]]] = {}
    disk: dict[Path, int] = {}
    for kind, *arguments in calls:
        if kind == "write":
            inode, data = arguments
            now[inode] = now.get(inode, b"") + data
        elif kind == "truncate":
            inode, size = arguments
            now[inode] = now.get(inode, b"")[:size]
        elif kind == "fsync" and isinstance(arguments[0], Path):
            for change in entries.pop(arguments[0], []):
                _rename(disk, change)
        elif kind == "fsync":
            sure[arguments[0]] = now.get(arguments[0], b"")
        else:
            entries.setdefault(arguments[0].parent, []).append((kind, *arguments))
    for waiting in entries.values():
        for change in waiting[: round(len(waiting) * names)]:
            _rename(disk, change)
    there = {path for path in disk if all(above in disk for above in path.parents if above in _made(calls))}
    return {path: _content(sure, now, disk[path], content) for path in there}


def _made(calls: list[tuple[Any, ...]]) -> set[Path]:
    return {call[1] for call in calls if call[0] == "name" and call[2] == 0}


def _rename(disk: dict[Path, int], change: tuple[Any, ...]) -> None:
    kind, path, *rest = change
    if kind == "name":
        disk[path] = rest[0]
    elif kind == "unlink":
        disk.pop(path, None)
    else:
        disk.pop(path, None)
        disk[rest[0]] = rest[1]


def _content(sure: dict[int, bytes], now: dict[int, bytes], inode: int, arrived: str) -> bytes | None:
    if inode == 0:
        return None
    old, new = sure.get(inode, b""), now.get(inode, b"")
    if arrived == "nothing" or old == new:
        return old
    if arrived == "all" or not new.startswith(old):
        return new
    rest = new[len(old) :]
    return old + (rest[: len(rest) // 2] if arrived == "half" else bytes(len(rest)))


def play(disk: dict[Path, bytes | None], below: Path, target: Path) -> None:
    """Put a state from `power_cuts` on a real disk: what was `below` goes to `target`."""
    for path, data in sorted(disk.items()):
        place = target / path.relative_to(below)
        place.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            place.mkdir(exist_ok=True)
        else:
            place.write_bytes(data)


@pytest.fixture
def disks() -> SimpleNamespace:
    """The failing disks of this file, by name."""
    return SimpleNamespace(
        FaultySystem=FaultySystem, Killed=Killed, Tape=Tape, power_cuts=power_cuts, play=play, System=System
    )


@pytest.fixture
def create(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """`Run.create` in an empty folder, with small stand-ins for the records of code and environment."""

    def capture_code(directory: Path, destination: Path, *, exclude: Path, storage: Storage) -> SimpleNamespace:
        storage.make_directory(destination)
        storage.write(destination / "code.json", b"{}")
        return SimpleNamespace(digest="c0de")

    def capture_environment(destination: Path, *, determinism: object, storage: Storage) -> str:
        storage.make_directory(destination)
        storage.write(destination / "environment.json", b"{}")
        return "e4e4"

    monkeypatch.setattr(capsule, "capture", capture_code)
    monkeypatch.setattr(environment, "capture", capture_environment)
    monkeypatch.chdir(tmp_path)

    def call(experiment: str = "trial", **arguments: Any) -> Run:
        return Run.create(experiment, **{"runs_dir": tmp_path / "runs", **arguments})

    return call


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """A run folder written by hand: `make_run("a", {"seed": 1}, fingerprints=[…], events=[…], files={name: value})`."""

    def call(
        name: str = "a",
        record: Mapping[str, Any] | None = None,
        *,
        fingerprints: Sequence[object] = (),
        events: Sequence[object] = (),
        files: Mapping[str, Any] | None = None,
    ) -> RunFolder:
        folder = tmp_path / "made" / name
        folder.mkdir(parents=True, exist_ok=True)
        facts = {"schema": 1, "id": name, "status": "completed", "task": "points", "digests": {}, **(record or {})}
        (folder / "run.json").write_text(json.dumps(facts))
        for log, lines in (("fingerprints", fingerprints), ("events", events)):
            texts = [json.dumps(line).encode() for line in lines]
            (folder / f"{log}.jsonl").write_bytes(b"".join(b"%08x %b\n" % (zlib.crc32(text), text) for text in texts))
        for path, content in (files or {}).items():
            place = folder / path
            place.parent.mkdir(exist_ok=True)
            text = content if isinstance(content, str | bytes) else json.dumps(content)
            place.write_bytes(text if isinstance(text, bytes) else text.encode())
        return RunFolder.open(folder)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunFolder]:
    """Real trainings on two-dimensional points in a folder with one file of code; each is made once."""
    project = tmp_path_factory.mktemp("trained")
    made: dict[str, RunFolder] = {}

    def call(number: int = 0, *, code: str = "x = 1\n", **settings: Any) -> RunFolder:
        key = json.dumps([number, code, settings])
        if key not in made:
            made[key] = _train(project, code, settings)
        return made[key]

    return call


def _train(project: Path, code: str, settings: Mapping[str, Any]) -> RunFolder:
    import torch

    from deepdiva import Config, train

    (project / "helper.py").write_text(code)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    quiet = {"figures": "none", "tensorboard": False}
    chosen = {"data": "spirals", "epochs": 2, "seed": 0, "threads": 1, "logging": quiet, **settings}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        patch.setattr(System, "fsync", lambda self, descriptor: None)
        patch.setattr(environment, "installed_packages", _packages)
        run = train(Config(task=chosen.pop("task", "points"), **chosen))
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    return RunFolder.open(project / run.path)


@functools.cache
def _packages() -> Any:
    return installed_packages()
