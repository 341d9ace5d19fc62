"""New places for runs: never an old one, never in the user's way, gone when the run does not begin."""

from __future__ import annotations

import re

import pytest

from deepdiva.errors import UserError
from deepdiva.runs import creation
from deepdiva.runs.creation import check_experiment, make_folder, take_away
from deepdiva.runs.storage import Storage


def make(runs_dir, experiment="points"):
    made = []
    return make_folder(runs_dir, experiment, Storage(), made), made


@pytest.mark.parametrize("name", ["points", "my-task_2.b", "7"])
def test_names_that_will_do(name):
    check_experiment(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "-a", ".hidden", "a b", "ü", "a\n"])
def test_names_that_will_not_do(name):
    with pytest.raises(UserError, match="cannot name an experiment"):
        check_experiment(name)


def test_the_id_is_the_time_and_six_digits(tmp_path):
    folder, made = make(tmp_path / "results" / "runs")
    assert re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{6}", folder.name)
    assert made == [tmp_path / "results", tmp_path / "results" / "runs", folder.parent, folder]


def test_a_new_folder_of_runs_is_ignored_by_git(tmp_path):
    make(tmp_path / "runs")
    assert (tmp_path / "runs" / ".gitignore").read_text() == "*\n"


def test_a_folder_that_holds_something_else_is_not_hidden_from_git(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    make(tmp_path)
    assert not (tmp_path / ".gitignore").exists()


def test_an_id_that_is_taken_is_drawn_again(tmp_path, monkeypatch):
    digits = iter(["aaaaaa", "aaaaaa", "bbbbbb"])
    monkeypatch.setattr(creation.secrets, "token_hex", lambda size: next(digits))
    monkeypatch.setattr(creation, "datetime", FixedTime)
    first, _ = make(tmp_path / "runs")
    (first / "run.json").write_text("mine")
    second, made = make(tmp_path / "runs")
    assert (first.name[-6:], second.name[-6:]) == ("aaaaaa", "bbbbbb")
    assert made == [second]
    assert (first / "run.json").read_text() == "mine"


class FixedTime:
    @staticmethod
    def now(zone):
        from datetime import datetime

        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=zone)


def test_a_run_that_does_not_begin_leaves_nothing(tmp_path):
    folder, made = make(tmp_path / "runs")
    (folder / "run.json").write_text("{}")
    (folder / "code").mkdir()
    take_away(made, Storage())
    assert not (tmp_path / "runs").exists()


def test_what_others_put_there_stays(tmp_path):
    folder, made = make(tmp_path / "runs")
    other, _ = make(tmp_path / "runs", "other")
    take_away(made, Storage())
    assert not folder.exists()
    assert other.exists()
    assert (tmp_path / "runs" / ".gitignore").exists()
