"""What git knows about a directory: the commit, the tracked files and every change that is not committed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Set while a hook runs, and then they would point git at another repository than the directory asked about.
_HOOK_VARIABLES = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
)
_SUBMODULE = "160000"


class GitError(Exception):
    """Git is missing although there is a repository, or it refused to answer."""


@dataclass(frozen=True)
class Change:
    """How one path differs from the commit.

    Args:
        staged: The index differs from the commit.
        unstaged: The file differs from the index.
        untracked: Git does not know the file, and no rule ignores it.
        deleted: The file is gone from the working tree.
    """

    staged: bool = False
    unstaged: bool = False
    untracked: bool = False
    deleted: bool = False

    @property
    def state(self) -> str:
        """One word for the record, such as `staged+unstaged`."""
        words = (("staged", self.staged), ("unstaged", self.unstaged), ("untracked", self.untracked))
        return "+".join(word for word, holds in words if holds)


@dataclass(frozen=True)
class Repository:
    """One reading of a repository.

    Args:
        root: The top of the working tree.
        commit: The commit checked out, None before the first one.
        branch: The branch checked out, None on a detached head.
        remote: Where the branch comes from, without credentials; None without a remote.
        tracked: Every path of the index, submodules apart.
        submodules: For each submodule its recorded commit.
        changes: Every uncommitted change by path.
    """

    root: Path
    commit: str | None
    branch: str | None
    remote: str | None
    tracked: tuple[str, ...]
    submodules: Mapping[str, str]
    changes: Mapping[str, Change]


def find_root(directory: Path) -> Path | None:
    """The top of the working tree that holds `directory`; None outside git. Raises `GitError` when git cannot say."""
    try:
        answer = _git(directory, "rev-parse", "--show-toplevel")
    except FileNotFoundError:
        problem = "the program `git` was not found"
    except GitError as error:
        problem = str(error)
    else:
        return Path(os.fsdecode(answer.removesuffix(b"\n")))
    # A broken repository, or one of another owner, must not pass for a folder without git.
    marker = marked_root(directory)
    if marker is None:
        return None
    raise GitError(f"{marker} is a git repository, but: {problem}")


def marked_root(directory: Path) -> Path | None:
    """The nearest folder at or above `directory` that holds `.git`; found without the program git."""
    start = directory.resolve()
    return next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), None)


def read_changes(root: Path) -> tuple[str | None, str | None, dict[str, Change]]:
    """Commit, branch and the uncommitted changes of the repository at `root`."""
    options = ("--porcelain=v2", "--branch", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=none")
    commit = branch = None
    changes: dict[str, Change] = {}
    for entry in _lines(_git(root, "status", *options)):
        if entry.startswith("# branch.oid ") and not entry.endswith("(initial)"):
            commit = entry.rpartition(" ")[2]
        elif entry.startswith("# branch.head ") and not entry.endswith("(detached)"):
            branch = entry.removeprefix("# branch.head ")
        elif entry[:1] in "1u?":
            name, change = _parse_change(entry)
            # `git rm --cached` gives two lines for one path: staged as deleted, and there as untracked.
            changes[name] = Change(staged=True, untracked=True) if name in changes else change
    return commit, branch, changes


def read_repository(root: Path) -> Repository:
    """All that the record of the code needs, in three calls of git."""
    commit, branch, changes = read_changes(root)
    tracked: dict[str, None] = {}
    submodules = {}
    for entry in _lines(_git(root, "ls-files", "--stage", "-z")):
        facts, _, name = entry.partition("\t")
        mode, blob, _ = facts.split(" ")
        if mode == _SUBMODULE:
            submodules[name] = blob
        else:
            tracked[name] = None  # an unmerged path has up to three entries
    return Repository(root, commit, branch, _remote(root, branch), tuple(tracked), submodules, changes)


def difference(root: Path, *, staged: bool, exclude: Sequence[str]) -> bytes:
    """The patch of the staged or of the unstaged changes, binary files included, without the paths in `exclude`."""
    options = ["--binary", "--full-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-renames"]
    options += ["--src-prefix=a/", "--dst-prefix=b/", "--submodule=short"]
    options += ["--cached"] if staged else []
    paths = [":(top)", *(f":(top,exclude,literal){name}" for name in exclude)]
    return _git(root, "diff", *options, "--", *paths)


def without_credentials(url: str) -> str:
    """The address of a remote without user name, password and query: `https://me:token@host/x` → `https://host/x`."""
    match = re.match(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:(?P<user>[^/]*)@)?(?P<rest>.*)", url, re.DOTALL)
    if match is None:
        return url  # a path, or `git@host:path`, where the user is part of the address and no secret
    scheme, user, rest = match["scheme"], match["user"], match["rest"]
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    keep = f"{user.partition(':')[0]}@" if user and scheme.endswith("ssh") else ""
    return f"{scheme}://{keep}{rest}"


def _parse_change(entry: str) -> tuple[str, Change]:
    if entry.startswith("?"):
        return entry[2:], Change(untracked=True)
    index, tree = entry[2], entry[3]
    name = entry.split(" ", 8 if entry[0] == "1" else 10)[-1]
    # Deleted in the index only, and still there: the untracked line that follows says so.
    deleted = tree == "D" or (index == "D" and tree == ".")
    return name, Change(staged=index != ".", unstaged=tree != ".", deleted=deleted)


def _remote(root: Path, branch: str | None) -> str | None:
    try:
        answer = _git(root, "config", "-z", "--get-regexp", r"^(remote\..*\.url|branch\..*\.remote)$")
    except GitError:  # no remote at all: git answers with status 1
        return None
    values = dict(reversed([entry.split("\n", 1) for entry in _lines(answer) if "\n" in entry]))
    urls = {key.removeprefix("remote.").removesuffix(".url"): url for key, url in values.items() if ".url" in key}
    chosen = values.get(f"branch.{branch}.remote", "origin")
    url = urls.get(chosen) or urls.get("origin") or next(iter(urls.values()), None)
    return None if url is None else without_credentials(url)


def _lines(answer: bytes) -> list[str]:
    return [os.fsdecode(entry) for entry in answer.split(b"\0") if entry]


def _git(directory: Path, *words: str) -> bytes:
    """What git prints; never takes a lock, never asks, never speaks another language than English."""
    environment = {name: value for name, value in os.environ.items() if name not in _HOOK_VARIABLES}
    environment |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    done = subprocess.run(["git", *words], cwd=directory, env=environment, capture_output=True, check=False)
    if done.returncode != 0:
        message = done.stderr.decode(errors="replace").strip() or f"git {words[0]} ended with {done.returncode}"
        raise GitError(message)
    return done.stdout
