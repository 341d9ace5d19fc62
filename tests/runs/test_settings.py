"""One line in a file decides whether uncommitted code is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepdiva.errors import UserError, UserErrors
from deepdiva.runs import capsule
from deepdiva.runs.settings import parse_size, read_settings, user_file


def write_user_settings(text: str) -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text(text)


def test_commits_are_asked_for_by_default(tmp_path: Path) -> None:
    assert capsule.policy(tmp_path) == "commit"
    assert read_settings(tmp_path).origins == {}


def test_user_settings_hold_everywhere(tmp_path: Path) -> None:
    write_user_settings('code = "snapshot"\n')
    assert read_settings(tmp_path).code == "snapshot"
    assert read_settings(tmp_path).origins == {"code": str(user_file())}


def test_the_project_overrides_the_user(tmp_path: Path) -> None:
    write_user_settings('code = "snapshot"\n')
    (tmp_path / "deepdiva.toml").write_text('code = "commit"\n')
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert read_settings(tmp_path / "deep" / "er").code == "commit"


def test_the_nearest_project_file_counts(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "deepdiva.toml").write_text('code = "commit"\n')
    (inner / "pyproject.toml").write_text('[project]\nname = "x"\n')
    assert read_settings(inner).code == "commit"
    (inner / "pyproject.toml").write_text('[tool.deepdiva]\ncode = "snapshot"\n')
    assert read_settings(inner).code == "snapshot"
    (inner / "deepdiva.toml").write_text('code = "commit"\n')
    assert read_settings(inner).code == "commit"


def test_all_mistakes_are_told_at_once_with_their_file(tmp_path: Path) -> None:
    (tmp_path / "deepdiva.toml").write_text('cod = "commit"\ncode = true\n')
    with pytest.raises(UserErrors) as caught:
        read_settings(tmp_path)
    text = str(caught.value)
    assert "2 problems" in text
    assert "deepdiva.toml: unknown setting 'cod' (did you mean 'code'?)" in text
    assert "code = True (one of: commit, snapshot)" in text


def test_a_list_is_no_choice(tmp_path: Path) -> None:
    (tmp_path / "deepdiva.toml").write_text('code = ["commit"]\n')
    with pytest.raises(UserErrors, match="one of: commit, snapshot"):
        read_settings(tmp_path)


@pytest.mark.parametrize("content", [b"code = \n", b"\xff\xfe"])
def test_a_file_that_is_not_toml(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "deepdiva.toml").write_bytes(content)
    with pytest.raises(UserError, match=r"deepdiva\.toml: "):
        read_settings(tmp_path)


@pytest.mark.parametrize(
    ("text", "size"),
    [("20 GB", 20 * 10**9), ("1.5TiB", 3 * 2**39), ("0 MB", 0), ("20", None), ("-1 GB", None), (20, None)],
)
def test_sizes(text: object, size: int | None) -> None:
    assert parse_size(text) == size


def test_a_size_is_checked(tmp_path: Path) -> None:
    assert parse_size(read_settings(tmp_path).cache_limit) == 20 * 10**9
    (tmp_path / "deepdiva.toml").write_text('cache_limit = "much"\n')
    with pytest.raises(UserErrors, match="write a size such as"):
        read_settings(tmp_path)
