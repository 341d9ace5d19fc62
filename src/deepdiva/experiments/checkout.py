"""The code of a run, restored into a folder of its own: what runs there is what ran then, whatever came since."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepdiva.errors import UserError
from deepdiva.runs import capsule
from deepdiva.runs.code_differences import RECORD
from deepdiva.runs.difference import table
from deepdiva.runs.environment import LOCK
from deepdiva.runs.environment import RECORD as ENVIRONMENT
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.repetition import named_paths

_ABOVE = "above"
_MOST_LEVELS = 32  # that a path may lead up: a stranger's may name thousands
_TOO_BIG = "over "


@dataclass(frozen=True)
class Checkout:
    """A run's code as it was, and everything around it that its configuration names.

    Args:
        root: The top of the restored project.
        directory: Where in it the run was started.
        python_path: Folders of the project that packages were imported from: its editable installations, and what
            `PYTHONPATH` named.
        linked: What the configuration names and the code does not hold, such as the data, and where each was found.
        unproven: Files too big for the copy that were found where they were, with the recorded size.
        missing: Files that the copy left out and that are nowhere, each with the reason.
    """

    root: Path
    directory: Path
    python_path: tuple[str, ...]
    linked: Mapping[str, Path]
    unproven: tuple[str, ...]
    missing: Mapping[str, str]


@dataclass(frozen=True)
class Provenance:
    """Whose code it is, as far as the run knows.

    Args:
        commit: The commit that was checked out; None without git.
        branch: Its branch.
        remote: Where the repository comes from.
        dirty: Whether there were uncommitted changes; they are part of the copy.
        files: How many files the copy holds.
        host: The machine that the run was made on.
        classes: What of the code the configuration names: `my_task.py:MyTask`.
    """

    commit: str | None
    branch: str | None
    remote: str | None
    dirty: bool
    files: int
    host: str | None
    classes: tuple[str, ...]


def provenance(run: RunFolder) -> Provenance:
    """Whose code a run would execute; nothing of it is executed or unpacked.

    Raises:
        UserError: The run holds no record of its code.
    """
    record = code_record(run)
    git = {name: str(value) for name, value in table(record.get("git")).items() if value is not None}
    return Provenance(
        commit=git.get("commit"),
        branch=git.get("branch"),
        remote=git.get("remote"),
        dirty=bool(record.get("dirty")),
        files=len(record["files"]),
        host=run.record.get("host"),
        classes=tuple(_classes(run.config())),
    )


def code_record(run: RunFolder) -> Mapping[str, Any]:
    """What a run says of its code, `code/code.json`.

    Raises:
        UserError: There is none, or it cannot be read.
    """
    record = run.document(RECORD)
    if record is None or not isinstance(record.get("files"), Mapping):
        raise UserError(f"{run.path} holds no record of its code", "restore the run from a copy")
    return record


def original_directory(run: RunFolder) -> Path | None:
    """Where the run was started; None where that folder is no more, or the run does not say."""
    stated = run.record.get("directory")
    directory = None if stated is None else Path(os.path.normpath(run.path.resolve() / str(stated)))
    return directory if directory is not None and directory.is_dir() else None


@contextmanager
def checkout(run: RunFolder, *, data: Path | None = None, keep: Path | None = None) -> Iterator[Checkout]:
    """The run's code in a folder that is removed afterwards, every file proven by its SHA-256.

    Files that the configuration names and that are no part of the code are linked to where they were: relative to the
    directory that the run was started in.

    Args:
        run: The run.
        data: Where its data are now; None for where they were.
        keep: A new or empty folder to restore into, which stays.

    Raises:
        UserError: The copy of the code is damaged, or `keep` holds something.
    """
    top = _new_folder(keep)
    try:
        yield _restore(run, top, data)
    finally:
        if keep is None:
            shutil.rmtree(top, ignore_errors=True)


def _new_folder(keep: Path | None) -> Path:
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="deepdiva-code-")).resolve()
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise UserError(f"{keep} is not empty", "name a new folder for the code")
    keep.mkdir(parents=True, exist_ok=True)
    return keep.resolve()


def _restore(run: RunFolder, top: Path, data: Path | None) -> Checkout:
    record = code_record(run)
    inside = str(record.get("directory", "."))
    origin = original_directory(run)
    depth = 0 if inside == "." else len(Path(inside).parts)
    old_root = None if origin is None else Path(os.path.normpath(origin / Path(*[".."] * depth)))
    names = [*named_paths(run.config()), *_outside(record, inside)]
    # What lies beside or above the project is linked at the same place relative to it, and must stay below `top`.
    levels = max((_levels_up(inside, name) for name in names), default=0)
    if levels > _MOST_LEVELS:
        raise UserError(f"the configuration of run {run.id} names a path {levels} folders above its project")
    root = top.joinpath(*[_ABOVE] * levels, old_root.name if old_root and old_root.name else "project")
    # The code is about to be executed, by somebody who agreed: its links may lead wherever they led.
    capsule.restore(run.path / "code", root, follow=True)
    directory = _below(root, inside)
    directory.mkdir(parents=True, exist_ok=True)
    linked = _link_named(names, directory, origin, top, data if data is None else data.resolve(), run)
    unproven, missing = _left_out(record, root, old_root)
    paths = [*_editable_paths(run, record, root), *_import_paths(run, root, directory, old_root)]
    return Checkout(root, directory, tuple(dict.fromkeys(paths)), linked, unproven, missing)


def _below(root: Path, inside: str) -> Path:
    directory = Path(os.path.normpath(root / inside))
    if not directory.is_relative_to(root) or not directory.resolve().is_relative_to(root.resolve()):
        raise UserError(f"the record of the code names a directory outside of it: {inside}")
    return directory


def _levels_up(inside: str, name: str) -> int:
    """How far above the project `name` leads."""
    parts = Path(os.path.normpath(Path(inside) / name)).parts
    return sum(1 for part in parts if part == "..")


def _outside(record: Mapping[str, Any], inside: str) -> Iterator[str]:
    """Where links of the project lead that lie beside or above it, relative to where the run was started."""
    for name, entry in record["files"].items():
        target = os.path.normpath(Path(name).parent / str(entry.get("link", "")))
        if "link" in entry and target.startswith("..") and not Path(entry["link"]).is_absolute():
            yield os.path.relpath(target, inside)


def _link_named(
    names: list[str], directory: Path, origin: Path | None, top: Path, data: Path | None, run: RunFolder
) -> dict[str, Path]:
    """Links for what the configuration names; what the code holds itself is already there."""
    linked = {}
    for name in names:
        target = data if data is not None and name == run.config().get("data") else origin and origin / name
        if target is None or not os.path.lexists(target):
            continue
        place = Path(os.path.normpath(directory / name))
        # Never through a link of the project that leads elsewhere.
        if not place.is_relative_to(top) or not place.parent.resolve().is_relative_to(top):
            continue
        if target == data and place.is_symlink():  # the project's own link to where the data were
            place.unlink()
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
            linked[name] = target
    return linked


def _left_out(record: Mapping[str, Any], root: Path, old_root: Path | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """Big files are linked to where they were if they have their recorded size; the rest is named."""
    unproven, missing = [], {}
    listed = record.get("left_out")
    for entry in map(table, listed if isinstance(listed, list) else []):
        name, reason = str(entry.get("path", "")), str(entry.get("reason", ""))
        if not name or "count" in entry or reason.startswith("not a kind of source"):
            continue
        target = None if old_root is None else old_root / name
        place = Path(os.path.normpath(root / name))
        is_there = target is not None and target.is_file() and target.stat().st_size == entry.get("size")
        if target is None or not is_there or not reason.startswith(_TOO_BIG) or not place.is_relative_to(root):
            missing[name] = reason
            continue
        if not os.path.lexists(place) and place.parent.resolve().is_relative_to(root.resolve()):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)
        unproven.append(name)
    return tuple(unproven), missing


def locked_packages(run: RunFolder) -> list[dict[str, Any]]:
    """The packages that the run had, as `environment/pylock.toml` lists them; none where it has no such file.

    Raises:
        UserError: The file is damaged.
    """
    content = run.content(f"environment/{LOCK}")
    try:
        packages = tomllib.loads((content or b"").decode()).get("packages", [])
        return [{"version": "", **item, "name": str(item["name"])} for item in packages]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{run.path / 'environment' / LOCK} cannot be read: {error}") from error


def editable_packages(run: RunFolder) -> dict[str, str]:
    """Names and versions of the packages that the run used from their source folders."""
    packages = locked_packages(run)
    return {item["name"]: item["version"] for item in packages if item.get("directory", {}).get("editable")}


def own_packages(run: RunFolder, root: Path) -> dict[str, list[Path]]:
    """The editable packages that the restored project is, each with the folders it is imported from."""
    wanted = editable_packages(run)
    return _projects(root, code_record(run)["files"], set(wanted)) if wanted else {}


def _editable_paths(run: RunFolder, record: Mapping[str, Any], root: Path) -> list[str]:
    wanted = editable_packages(run)
    found = _projects(root, record["files"], set(wanted)) if wanted else {}
    return [str(folder) for folders in found.values() for folder in folders]


def _projects(root: Path, files: Mapping[str, Any], wanted: set[str]) -> dict[str, list[Path]]:
    """Where the code holds the packages called so: found by name, so that it works on every machine."""
    found: dict[str, list[Path]] = {}
    for name in sorted(files, key=lambda name: (name.count("/"), name)):
        if name.rpartition("/")[2] != "pyproject.toml":
            continue
        folder = root / Path(name).parent
        try:
            tables = tomllib.loads((root / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        tool = tables.get("tool", {})
        called = str(tables.get("project", tool.get("poetry", {})).get("name", ""))
        package = re.sub(r"[-_.]+", "-", called).lower()
        if package in wanted and package not in found:
            where = tool.get("setuptools", {}).get("packages", {})
            where = where.get("find", {}).get("where", []) if isinstance(where, Mapping) else []
            below = [folder / place for place in where] or [folder / "src"]
            found[package] = [place for place in below if place.is_dir()] or [folder]
    return found


def _import_paths(run: RunFolder, root: Path, directory: Path, old_root: Path | None) -> Iterator[str]:
    """What `PYTHONPATH` named of the project, then or now, in the restored code."""
    record = run.document(f"environment/{ENVIRONMENT}") or {}
    then = str(table(table(record.get("place")).get("paths")).get("PYTHONPATH") or "")
    for entry in filter(None, [*then.split(os.pathsep), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]):
        path = Path(entry)
        if not path.is_absolute():
            yield os.path.normpath(directory / path)
        elif old_root is not None and path.resolve().is_relative_to(old_root):
            yield str(root / path.resolve().relative_to(old_root))


def _classes(settings: Mapping[str, Any]) -> Iterator[str]:
    """Classes in the project's own files, as a configuration names them."""
    for value in settings.values():
        if isinstance(value, Mapping):
            yield from _classes(value)
        elif isinstance(value, list):
            yield from _classes({str(place): item for place, item in enumerate(value)})
        elif isinstance(value, str) and re.fullmatch(r"[^:]+\.py:\w+", value):
            yield value
