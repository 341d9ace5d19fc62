"""The words of a command about a task are sorted into its own flags, files and settings of the task."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepdiva.cli.request import Request, read_request
from deepdiva.errors import UserError


def test_words_are_sorted():
    words = ["points", "--epochs", "3", "--json", "--config", "a.yaml", "--config=b.yaml", "-h", "--lr=1"]
    assert read_request(words, ["--json"]) == Request(
        task="points",
        files=[Path("a.yaml"), Path("b.yaml")],
        flags={"--json", "--help"},
        words=["--epochs", "3", "--lr=1"],
    )


def test_a_task_may_be_left_to_a_file():
    assert read_request(["--config", "a.yaml"], []).task is None
    assert read_request([], []) == Request()


@pytest.mark.parametrize("words", [["points", "--config"], ["points", "--config", "--epochs"]])
def test_a_file_must_be_named(words: list[str]):
    with pytest.raises(UserError, match="--config: a file is missing"):
        read_request(words, [])


def test_files_that_cannot_be_read_are_problems_among_others(tmp_path: Path):
    (tmp_path / "good.yaml").write_text("epochs: 3\n")
    good, missing, folder = Request(files=[tmp_path / "good.yaml", tmp_path / "none.yaml", tmp_path]).layers()
    assert good.values == {"epochs": 3}
    assert [problem.message for problem in missing.problems] == [f"there is no file {tmp_path / 'none.yaml'}"]
    assert "is a directory" in folder.problems[0].message.lower()
    assert missing.problems[0].where == "--config"
