"""`runs verify`: one line a part, and an exit code for scripts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conftest import Answer

Store = Callable[..., Path]
Cli = Callable[..., Answer]


def test_each_part_has_a_line(store: Store, cli: Cli) -> None:
    path = store("points", "aaaaaa")
    (path / "log.txt").write_text("hello\n")
    answer = cli("runs", "verify", "aaaaaa")
    assert answer.code == 0
    assert [line.split()[:2] for line in answer.out.splitlines()[:3]] == [
        ["good", "run.json"],
        ["unproved", "manifest.json"],
        ["unproved", "log.txt"],
    ]
    assert answer.out.endswith("\nnothing is damaged\n")


@pytest.mark.parametrize("text", ["last", "aaaaaa", "runs/points/20261101T120000Z-aaaaaa"])
def test_damage_is_found_by_any_name_of_the_run(store: Store, cli: Cli, text: str) -> None:
    path = store("points", "aaaaaa")
    (path / "run.json").write_bytes((path / "run.json").read_bytes()[:-1])
    answer = cli("runs", "verify", text)
    assert answer.code == 1
    assert answer.out.startswith("damaged   run.json")
    assert "damaged: 1 of " in answer.out


def test_the_answer_for_machines(store: Store, cli: Cli) -> None:
    path = store("points", "aaaaaa")
    found = json.loads(cli("runs", "verify", path, "--json").out)
    assert (found["path"], found["damaged"]) == (str(path), 0)
    assert found["parts"][0] == {"name": "run.json", "state": "good", "detail": "fits its own check"}


def test_what_is_no_run(store: Store, cli: Cli, tmp_path: Path) -> None:
    store("points", "aaaaaa")
    assert cli("runs", "verify", "nothing").code == 2
    assert cli("runs", "verify", tmp_path).code == 2
