"""The copy of the project's source in a run folder, and the rule that experiments start from committed code."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepdiva.errors import UserError
from deepdiva.runs import closure as sources
from deepdiva.runs.repository import (
    Change,
    GitError,
    Repository,
    difference,
    find_root,
    marked_root,
    read_changes,
    read_repository,
)
from deepdiva.runs.settings import CodePolicy, read_settings
from deepdiva.runs.storage import Storage, canonical_json
from deepdiva.runs.unpacking import ARCHIVE, RECORD, unpack

STAGED = "staged.patch"
UNSTAGED = "unstaged.patch"
_SHOWN = 20


@dataclass(frozen=True)
class Capsule:
    """What was kept of the code.

    Args:
        digest: SHA-256 over names, modes and contents of the files, the same whether they are committed or not.
        commit: The commit checked out; None without one, or outside git.
        branch: The branch checked out; None on a detached head, or outside git.
        dirty: Whether anything differed from the commit.
        git: Whether git told which files belong to the project.
        files: How many files the archive holds.
        left_out: How many paths or patterns were listed instead of copied.
    """

    digest: str
    commit: str | None
    branch: str | None
    dirty: bool
    git: bool
    files: int
    left_out: int


def policy(directory: Path) -> CodePolicy:
    """Whether uncommitted code is refused (`commit`) or copied (`snapshot`) in `directory`."""
    return read_settings(directory).code


def check_clean(directory: Path, *, runs_dir: Path) -> list[str]:
    """Paths with uncommitted changes in the repository around `directory`, results apart; empty outside git."""
    try:
        root = find_root(directory)
        return [] if root is None else sorted(_own_changes(root, read_changes(root)[2], [runs_dir]))
    except GitError as error:
        raise UserError(str(error), "mend it, or use --allow-dirty to run from a copy of the files") from error


def require_clean(directory: Path, *, runs_dir: Path) -> None:
    """Refuse, with the list of files and the two ways out, when the policy asks for committed code and it is not."""
    if policy(directory) != "commit":
        return
    changed = check_clean(directory, runs_dir=runs_dir)
    if not changed:
        return
    more = [f"… and {len(changed) - _SHOWN} more"] if len(changed) > _SHOWN else []
    names = [name.encode("utf-8", "backslashreplace").decode() for name in changed[:_SHOWN]]
    lines = "\n".join(f"    {line}" for line in [*names, *more])
    raise UserError(
        f"the code is not committed, so the run could not be traced to a version:\n{lines}",
        "commit the changes, or record a full copy with the run: --allow-dirty, in Python allow_dirty=True",
    )


def capture(directory: Path, destination: Path, *, exclude: Path, storage: Storage | None = None) -> Capsule:
    """Copy the project's source around `directory` into `destination`, the folder `code/` of a run.

    Args:
        directory: Where the command runs; the whole repository around it is taken, or outside git what lies below it.
        destination: The folder to fill; made when it is not there.
        exclude: The folder of all runs. Its untracked content is never source.
        storage: Where changes go.
    """
    storage = storage or Storage()
    repository, problem = _open_repository(directory)
    root = repository.root if repository else (marked_root(directory) or directory.resolve())
    skip = [exclude, destination.parent]
    closure = sources.from_repository(repository, skip) if repository else sources.from_folder(root, skip)
    archive, files = _pack(root, closure)
    digest = _digest(files, closure.left_out)
    dirty = repository is not None and bool(_own_changes(repository.root, repository.changes, skip))
    record: dict[str, Any] = {
        "schema": 1,
        "digest": digest,
        "directory": Path(os.path.relpath(directory.resolve(), root)).as_posix(),
        "git": _git_facts(repository),
        "git_problem": problem,
        "dirty": dirty,
        "deleted": sorted(closure.deleted),
        "left_out": [_left_out_entry(item) for item in closure.left_out],
        "files": files,
    }
    storage.make_directory(destination)
    storage.write(destination / ARCHIVE, archive)
    if repository is not None and dirty:
        _write_patches(repository, closure, destination, storage)
    text = json.dumps(record, indent=1, sort_keys=True, ensure_ascii=True)
    storage.write(destination / RECORD, f"{text}\n".encode())
    return Capsule(
        digest=digest,
        commit=repository.commit if repository else None,
        branch=repository.branch if repository else None,
        dirty=dirty,
        git=repository is not None,
        files=len(files),
        left_out=len(closure.left_out),
    )


def copy(code: Path, destination: Path, storage: Storage) -> str:
    """Copy the record of another run's code into `destination`, byte by byte, and give its digest."""
    storage.make_directory(destination)
    for name in (ARCHIVE, STAGED, UNSTAGED, RECORD):
        if (code / name).is_file():
            storage.write(destination / name, (code / name).read_bytes())
    return str(json.loads((destination / RECORD).read_bytes())["digest"])


def restore(code: Path, destination: Path, *, follow: bool = False) -> list[str]:
    """Unpack the copy in `code` (a run's folder) into the empty folder `destination`, proving every file; the names.

    Args:
        code: The folder `code/` of a run.
        destination: Made when it is not there.
        follow: Whether links that lead out of `destination` are made, too: only for code that is trusted.

    Raises:
        UserError: The folder is not empty, or the copy is damaged or leads out of it.
    """
    return unpack(code, destination, follow=follow)


def recorded_digest(record: Mapping[str, Any]) -> str:
    """The digest that the content of a `code.json` gives, whatever it says that it is."""
    left_out = [sources.LeftOut(item["path"], item["reason"], size=item.get("size")) for item in record["left_out"]]
    return _digest(record["files"], left_out)


def _open_repository(directory: Path) -> tuple[Repository | None, str | None]:
    """The repository, or None with the reason why git could not be asked."""
    try:
        root = find_root(directory)
        return (None, None) if root is None else (read_repository(root), None)
    except GitError as error:
        return None, str(error)


def _own_changes(root: Path, changes: Mapping[str, Change], exclude: Iterable[Path]) -> list[str]:
    """Changed paths, without untracked results; what is tracked is source wherever it lies."""
    inside = list(sources.relative_to(root, exclude))
    return [name for name, change in changes.items() if not (change.untracked and sources.is_below(name, inside))]


def _pack(root: Path, closure: sources.Closure) -> tuple[bytes, dict[str, dict[str, Any]]]:
    """The archive, whose bytes depend on names, modes and contents only, and what it holds."""
    buffer = io.BytesIO()
    files = {}
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=6, mtime=0) as packed,
        tarfile.open(
            fileobj=packed, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as archive,
    ):
        for name in sorted(closure.files):
            try:
                member, data = _read_member(root, name)
            except OSError as error:
                closure.left_out.append(sources.LeftOut(name, f"cannot be read: {error.strerror}"))
                continue
            archive.addfile(member, io.BytesIO(data))
            files[name] = {"state": closure.files[name], **_describe(member, data)}
    return buffer.getvalue(), files


def _read_member(root: Path, name: str) -> tuple[tarfile.TarInfo, bytes]:
    path = root / name
    facts = os.lstat(path)
    member = tarfile.TarInfo(name)
    if stat.S_ISLNK(facts.st_mode):
        member.type, member.linkname, member.mode = tarfile.SYMTYPE, os.readlink(path), 0o777  # noqa: PTH115
        return member, b""
    data = path.read_bytes()
    member.size = len(data)
    # As git does: only whether the owner may execute it is part of the source.
    member.mode = 0o755 if facts.st_mode & stat.S_IXUSR else 0o644
    return member, data


def _describe(member: tarfile.TarInfo, data: bytes) -> dict[str, Any]:
    if member.issym():
        return {"link": member.linkname}
    return {"mode": f"{member.mode:o}", "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def _digest(files: Mapping[str, Mapping[str, Any]], left_out: Iterable[sources.LeftOut]) -> str:
    """One SHA-256 for the whole source; of a file too big to copy, name and size must do."""
    content = {name: {key: value for key, value in entry.items() if key != "state"} for name, entry in files.items()}
    big = {item.path: item.size for item in left_out if item.reason.startswith("over ") and item.size is not None}
    return hashlib.sha256(canonical_json([content, big]).encode()).hexdigest()


def _git_facts(repository: Repository | None) -> dict[str, Any] | None:
    if repository is None:
        return None
    return {
        "commit": repository.commit,
        "branch": repository.branch,
        "remote": repository.remote,
        "submodules": dict(repository.submodules),
    }


def _left_out_entry(item: sources.LeftOut) -> dict[str, Any]:
    entry: dict[str, Any] = {"path": item.path, "reason": item.reason}
    if item.size is not None:
        entry["size"] = item.size
    return entry if item.count == 1 else {**entry, "count": item.count}


def _write_patches(repository: Repository, closure: sources.Closure, destination: Path, storage: Storage) -> None:
    """What was staged and what was not, without the files that the copy leaves out."""
    hidden = [item.path for item in closure.left_out if item.path in repository.changes]
    hidden += [name for name in closure.deleted if sources.is_secret(name)]
    for name, staged in ((STAGED, True), (UNSTAGED, False)):
        patch = difference(repository.root, staged=staged, exclude=hidden)
        if patch:  # `git apply` refuses an empty one
            storage.write(destination / name, patch)
