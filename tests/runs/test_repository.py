"""What git is asked, where an answer could mislead."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deepdiva.runs.repository import find_root, read_repository, without_credentials


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.org/a/b.git", "https://example.org/a/b.git"),
        ("https://me:token@example.org/a.git", "https://example.org/a.git"),
        ("https://token@example.org:8443/a.git", "https://example.org:8443/a.git"),
        ("https://me:p@ss@example.org/a.git", "https://example.org/a.git"),
        ("https://example.org/a.git?private_token=abc#x", "https://example.org/a.git"),
        ("https://example.org/@scope/a.git", "https://example.org/@scope/a.git"),
        ("ssh://git:secret@example.org:22/a.git", "ssh://git@example.org:22/a.git"),
        ("git+ssh://git@example.org/a.git", "git+ssh://git@example.org/a.git"),
        ("git@example.org:group/a.git", "git@example.org:group/a.git"),
        ("../library.git", "../library.git"),
    ],
)
def test_remotes_lose_their_credentials(url: str, expected: str) -> None:
    assert without_credentials(url) == expected


def test_the_remote_of_the_branch_comes_first(project: Path) -> None:
    def git(*words: str) -> None:
        subprocess.run(["git", *words], cwd=project, check=True)

    assert read_repository(project).remote is None
    git("remote", "add", "fork", "https://example.org/fork.git")
    assert read_repository(project).remote == "https://example.org/fork.git"
    git("remote", "add", "origin", "https://example.org/origin.git")
    assert read_repository(project).remote == "https://example.org/origin.git"
    git("config", "branch.main.remote", "fork")
    assert read_repository(project).remote == "https://example.org/fork.git"


def test_outside_git_and_in_a_bare_repository_there_is_no_root(tmp_path: Path) -> None:
    assert find_root(tmp_path) is None
    subprocess.run(["git", "init", "-q", "--bare", "bare"], cwd=tmp_path, check=True)
    assert find_root(tmp_path / "bare") is None


def test_a_merge_conflict_is_one_changed_file(project: Path) -> None:
    def git(*words: str) -> int:
        return subprocess.run(["git", *words], cwd=project, check=False, capture_output=True).returncode

    for branch, text in (("other", "theirs"), ("main", "ours")):
        assert git("checkout", "-q", "-B", branch, "HEAD") == 0
        (project / "README.md").write_text(text)
        assert git("commit", "-q", "-a", "-m", branch) == 0
        if branch == "other":
            assert git("checkout", "-q", "--detach", "HEAD~1") == 0
    assert git("merge", "other") == 1
    repository = read_repository(project)
    assert repository.tracked.count("README.md") == 1
    assert list(repository.changes) == ["README.md"]
