"""Which files are the project's own source: chosen by git where there is a repository, by their kind elsewhere."""

from __future__ import annotations

import os
import stat
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from deepdiva.runs.repository import Repository

MAX_FILE_SIZE = 5 * 2**20

# Secrets are told by their names alone; an example file (`.env.example`) holds none.
_SECRETS = [
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "*.ovpn",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".htpasswd",
    ".git-credentials",
    ".pgpass",
    "credentials",
    "credentials.json",
    "secrets.*",
    "secret.*",
    ".secrets",
    "service-account*.json",
    "client_secret*.json",
]
_NO_SECRETS = ("*.example", "*.sample", "*.template", "*.dist", "*.pub", "*.py", "*.pyi")

_CODE = [
    ".py",
    ".pyi",
    ".pyx",
    ".pxd",
    ".ipynb",
    ".sh",
    ".bash",
    ".zsh",
    ".c",
    ".cc",
    ".cpp",
    ".cxx",
    ".cu",
    ".h",
    ".hh",
    ".hpp",
    ".cuh",
    ".rs",
    ".go",
    ".java",
    ".js",
    ".ts",
    ".jl",
    ".r",
    ".lua",
    ".sql",
    ".cmake",
    ".slurm",
    ".sbatch",
]
_SETTINGS = [
    ".yaml",
    ".yml",
    ".toml",
    ".json",
    ".jsonc",
    ".cfg",
    ".ini",
    ".conf",
    ".lock",
    ".md",
    ".rst",
    ".txt",
    ".html",
    ".css",
    ".jinja",
    ".j2",
    ".in",
]
_SOURCE_NAMES = ("Makefile", "Dockerfile", "Snakefile", "Jenkinsfile", "LICENSE", "Pipfile", ".gitignore")
_SKIPPED_FOLDERS = frozenset({"__pycache__", "node_modules", "site-packages", "__pypackages__", "venv", "env"})


@dataclass(frozen=True)
class Limits:
    """How much a copy may hold; what does not fit is listed, the least telling files first."""

    files: int
    size: int
    visited: int = 50_000


IN_GIT = Limits(files=20_000, size=100 * 2**20)
OUTSIDE_GIT = Limits(files=2_000, size=20 * 2**20)


@dataclass(frozen=True)
class LeftOut:
    """A path, or a pattern of paths, that the copy does not hold, and why."""

    path: str
    reason: str
    size: int | None = None
    count: int = 1


@dataclass
class Closure:
    """The files of the copy by name, each with its state, and everything that was not taken."""

    files: dict[str, str] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)


def is_secret(name: str) -> bool:
    """Whether a file of this name most likely holds a password or a key."""
    base = name.rpartition("/")[2].lower()
    return any(fnmatchcase(base, pattern) for pattern in _SECRETS) and not any(
        fnmatchcase(base, pattern) for pattern in _NO_SECRETS
    )


def from_repository(repository: Repository, exclude: Iterable[Path]) -> Closure:
    """Tracked and untracked files of a repository as they stand on disk, and ignored ones that are already imported."""
    inside = list(relative_to(repository.root, exclude))
    closure = Closure()
    states = dict.fromkeys(loaded_files(repository.root), "ignored")
    states |= dict.fromkeys(repository.tracked, "committed")
    for name, change in repository.changes.items():
        if change.deleted:
            states.pop(name, None)
            closure.deleted.append(name)
        elif change.untracked and (name.endswith("/") or is_below(name, inside)):
            if name.endswith("/"):
                closure.left_out.append(LeftOut(name, "a repository of its own"))
        elif name not in repository.submodules:
            states[name] = change.state
    for name, commit in repository.submodules.items():
        closure.left_out.append(LeftOut(name, f"a submodule at commit {commit}"))
    _admit(repository.root, states, IN_GIT, closure)
    return closure


def from_folder(root: Path, exclude: Iterable[Path]) -> Closure:
    """Files below `root` that look like source; the rest is counted by kind."""
    closure = Closure()
    others: Counter[str] = Counter()
    states = {}
    for name in _walk(root, list(relative_to(root, exclude)), closure):
        if _rank(name, "") < 3 or is_secret(name):
            states[name] = "present"
        else:
            others["*" + os.path.splitext(name)[1]] += 1  # noqa: PTH122
    _admit(root, states, OUTSIDE_GIT, closure)
    closure.left_out += [LeftOut(kind, "not a kind of source file", count=n) for kind, n in sorted(others.items())]
    return closure


def loaded_files(root: Path) -> Iterator[str]:
    """Files below `root` that this process has imported, installed packages apart."""
    installed = [os.path.dirname(os.__file__), *([sys.prefix] if Path(sys.prefix) != root else [])]  # noqa: PTH120
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        # `torch.ops` says that its file is `_ops.py`, without a folder.
        if not isinstance(file, str) or not os.path.isabs(file):  # noqa: PTH117
            continue
        if "site-packages" in file or file.startswith(tuple(installed)):
            continue
        path = Path(os.path.realpath(file))
        if path.is_relative_to(root):
            yield path.relative_to(root).as_posix()


def relative_to(root: Path, paths: Iterable[Path]) -> Iterator[str]:
    """Those of `paths` that lie below `root`, as names with slashes; `root` itself and its parents are no answer."""
    for path in paths:
        resolved = path.resolve()
        if resolved != root and resolved.is_relative_to(root):
            yield resolved.relative_to(root).as_posix()


def is_below(name: str, folders: Iterable[str]) -> bool:
    """Whether `name` is one of `folders` or lies in one."""
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


def _admit(root: Path, states: Mapping[str, str], limits: Limits, closure: Closure) -> None:
    """Fill `closure` with what exists and fits, the most telling files first."""
    total = 0
    beyond: Counter[str] = Counter()
    for name in sorted(states, key=lambda name: (_rank(name, states[name]), name)):
        try:
            facts = os.lstat(root / name)
        except FileNotFoundError:
            # Git misses a tracked file only where it was told not to look: a sparse checkout.
            closure.left_out.append(LeftOut(name, "not checked out"))
            continue
        except OSError as error:
            closure.left_out.append(LeftOut(name, f"cannot be read: {error.strerror}"))
            continue
        reason = _refusal(name, facts)
        if reason is not None:
            closure.left_out.append(LeftOut(name, _explain(reason, states[name]), size=facts.st_size))
        elif len(closure.files) >= limits.files or total + facts.st_size > limits.size:
            beyond["".join(name.rpartition("/")[:2]) or "."] += 1
        else:
            closure.files[name] = states[name]
            total += facts.st_size
    limit = f"over the limit of {limits.files} files or {limits.size >> 20} MiB in all"
    closure.left_out += [LeftOut(folder, limit, count=count) for folder, count in sorted(beyond.items())]


def _refusal(name: str, facts: os.stat_result) -> str | None:
    if is_secret(name):
        return "may hold a secret"
    if stat.S_ISLNK(facts.st_mode):
        return None
    if not stat.S_ISREG(facts.st_mode):
        return "not a file"
    return f"over {MAX_FILE_SIZE >> 20} MiB" if facts.st_size > MAX_FILE_SIZE else None


def _explain(reason: str, state: str) -> str:
    return f"{reason}; unchanged since the commit" if state == "committed" else reason


def _rank(name: str, state: str) -> int:
    """The order in which files are taken: changes and code, then settings and text, then the rest."""
    base = name.rpartition("/")[2]
    suffix = os.path.splitext(base)[1].lower()  # noqa: PTH122
    if suffix in _CODE or state.startswith(("staged", "unstaged")):
        return 0
    if suffix in _SETTINGS or base in _SOURCE_NAMES:
        return 1
    return 2 if state == "committed" else 3


def _walk(root: Path, exclude: list[str], closure: Closure) -> Iterator[str]:
    """Names below `root`, near ones first; never into hidden folders, environments, run folders or through links."""
    waiting = deque([""])
    visited = 0
    while waiting:
        folder = waiting.popleft()
        try:
            entries = sorted(os.scandir(root / folder), key=lambda entry: entry.name)
        except OSError as error:
            closure.left_out.append(LeftOut(folder, f"cannot be read: {error.strerror}"))
            continue
        visited += len(entries)
        if visited > OUTSIDE_GIT.visited:
            unseen = len(waiting) + 1
            closure.left_out.append(
                LeftOut(folder or ".", "the folder holds too many files to look through", count=unseen)
            )
            return
        names = {entry.name for entry in entries}
        if folder and ("pyvenv.cfg" in names or "run.json" in names or ".index.sqlite" in names):
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}".lstrip("/")
            if is_below(name, exclude):
                continue
            if not entry.is_dir(follow_symlinks=False):
                yield name
            elif entry.name not in _SKIPPED_FOLDERS and not entry.name.startswith("."):
                waiting.append(name)
