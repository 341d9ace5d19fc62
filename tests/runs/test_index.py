"""The index: a cache that is right after every change of the folders, and whose loss costs nothing but time."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3

import pytest

from deepdiva.errors import UserError
from deepdiva.runs import index
from deepdiva.runs.index import FILE, Condition, rows
from deepdiva.runs.record import now


@pytest.fixture
def runs_dir(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def make(runs_dir):
    def call(name, experiment="points", **facts):
        folder = runs_dir / experiment / f"20260101T00000{name}Z-abcdef"
        folder.mkdir(parents=True, exist_ok=True)
        record = {"schema": 1, "id": folder.name, "experiment": experiment, "status": "completed", **facts}
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return call


@pytest.fixture
def three(make):
    make(1, task="t", seed=3, duration=2.0, results={"test/accuracy": 0.5}, best={"value": 0.6, "epoch": 2})
    make(2, task="u", seed=0, status="failed")
    make(3, "other", task="t", seed=10, results={"test/accuracy": 0.9}, created="2026-01-01T00:00:03Z")


def numbers(found):
    return [int(row.id[14]) for row in found]


def test_a_row_says_what_its_run_says(three, runs_dir):
    row = rows(runs_dir)[-2]
    assert (row.id, row.experiment, row.status, row.task, row.seed) == (
        "20260101T000001Z-abcdef", "points", "completed", "t", 3,
    )  # fmt: skip
    assert row.path == runs_dir / "points" / row.id
    assert (row.duration, row.results, row.best) == (2.0, {"test/accuracy": 0.5}, {"value": 0.6, "epoch": 2})
    assert [row.value(key) for key in ("seed", "test/accuracy", "best", "none")] == [3, 0.5, 0.6, None]


@pytest.mark.parametrize("again", ["first", "cached"])
def test_rows_come_from_the_folders(three, runs_dir, again):
    if again == "cached":
        rows(runs_dir)
    assert sorted(numbers(rows(runs_dir))) == [1, 2, 3]


def test_the_cache_is_used(three, runs_dir, monkeypatch):
    rows(runs_dir)
    monkeypatch.setattr(index, "read_record", None)
    assert len(rows(runs_dir)) == 3


def test_every_change_is_seen(three, make, runs_dir):
    rows(runs_dir)
    make(2, status="completed")
    make(4)
    shutil.rmtree(runs_dir / "other")
    found = rows(runs_dir)
    assert sorted(numbers(found)) == [1, 2, 4]
    assert {row.status for row in found} == {"completed"}


def test_a_replacement_of_the_same_size_and_time_is_seen(make, runs_dir):
    folder = make(1, seed=1)
    before = (folder / "run.json").stat()
    assert rows(runs_dir)[0].seed == 1
    text = (folder / "run.json").read_text().replace('"seed": 1', '"seed": 2')
    (folder / "new").write_text(text)
    os.utime(folder / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (folder / "new").replace(folder / "run.json")
    assert rows(runs_dir)[0].seed == 2


def broken(path):
    path.write_bytes(b"this is not a database, " * 100)


def torn(path):
    path.write_bytes(path.read_bytes()[:5000])


def foreign(path):
    with sqlite3.connect(path) as cache:
        cache.execute("PRAGMA user_version = 99")
        cache.execute("DROP TABLE runs")
        cache.execute("CREATE TABLE runs (something)")
    cache.close()


@pytest.mark.parametrize("damage", [broken, torn, foreign, os.unlink, lambda path: path.write_bytes(b"")])
def test_a_cache_that_is_missing_old_or_broken_is_made_again(three, runs_dir, damage):
    rows(runs_dir)
    damage(runs_dir / FILE)
    assert sorted(numbers(rows(runs_dir))) == [1, 2, 3]
    assert sorted(numbers(rows(runs_dir))) == [1, 2, 3]


def test_a_row_that_the_disk_changed_is_read_again(three, runs_dir):
    rows(runs_dir)
    with sqlite3.connect(runs_dir / FILE) as cache:
        cache.execute("UPDATE runs SET results = '{\"test/accuracy\": 1.0}'")
    cache.close()
    assert {row.value("test/accuracy") for row in rows(runs_dir)} == {0.5, 0.9, None}


def test_a_link_in_place_of_the_cache_is_not_followed(three, runs_dir, tmp_path):
    with sqlite3.connect(tmp_path / "mine.db") as mine:
        mine.execute("CREATE TABLE runs (dear)")
    mine.close()
    before = (tmp_path / "mine.db").read_bytes()
    (runs_dir / FILE).symlink_to(tmp_path / "mine.db")
    assert len(rows(runs_dir)) == 3
    assert (tmp_path / "mine.db").read_bytes() == before


def test_a_text_among_numbers_is_sorted_behind_them(make, runs_dir):
    make(1, results={"score": "high"})
    make(2, results={"score": 0.5})
    assert numbers(rows(runs_dir, sort="score")) == [2, 1]


def test_a_cache_in_use_is_gone_around(three, runs_dir):
    rows(runs_dir)
    shutil.rmtree(runs_dir / "other")
    other = sqlite3.connect(runs_dir / FILE)
    other.execute("BEGIN EXCLUSIVE")
    assert sorted(numbers(rows(runs_dir))) == [1, 2]
    other.close()


def test_a_folder_that_cannot_be_written_is_read(three, runs_dir, monkeypatch):
    def refuse(*arguments, **settings):
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    assert sorted(numbers(rows(runs_dir))) == [1, 2, 3]


def test_no_runs_at_all(tmp_path):
    assert rows(tmp_path / "none") == []
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    assert rows(tmp_path / "file") == []


def test_a_run_that_cannot_be_read_is_listed(make, runs_dir):
    (make(1) / "run.json").write_text("{")
    (row,) = rows(runs_dir)
    assert (row.status, row.experiment, row.id) == ("unreadable", "points", "20260101T000001Z-abcdef")


def test_what_is_running_is_asked_for_each_time(make, runs_dir):
    me = {"status": "running", "pid": os.getpid(), "host": os.uname().nodename, "created": now()}
    make(1, **me)
    make(2, **me | {"pid": 0})
    for _ in range(2):
        found = rows(runs_dir, sort="id")
        assert [row.status for row in found] == ["running", "interrupted"]
        assert all(row.duration is not None for row in found)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["test/accuracy>0.6"], [3]),
        (["test/accuracy>=0.5", "task=t"], [1, 3]),
        (["status!=completed"], [2]),
        (["status == failed"], [2]),
        (["test/accuracy!=0.9"], [1, 2]),
        (["best<0.7"], [1]),
        (["seed=0"], [2]),
        (["experiment=other"], [3]),
        (["seed<=3"], [1, 2]),
        (["none=1"], []),
    ],
)
def test_conditions(three, runs_dir, texts, expected):
    assert sorted(numbers(rows(runs_dir, where=[Condition.parse(text) for text in texts]))) == expected


@pytest.mark.parametrize("text", ["", "accuracy", ">0.9", "a b=1", "=="])
def test_what_is_no_condition(text):
    with pytest.raises(UserError, match="is no condition"):
        Condition.parse(text)


def test_a_number_is_compared_with_numbers_only(three, runs_dir):
    with pytest.raises(UserError, match="test/accuracy is a number, and 'high' is none"):
        rows(runs_dir, where=[Condition.parse("test/accuracy>high")])


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("id", [1, 2, 3]),
        ("-id", [3, 2, 1]),
        ("seed", [2, 1, 3]),
        ("test/accuracy", [1, 3, 2]),
        ("-test/accuracy", [3, 1, 2]),
        ("-best", [1, 2, 3]),
    ],
)
def test_order(three, runs_dir, sort, expected):
    assert numbers(rows(runs_dir, sort=sort)) == expected
    assert numbers(rows(runs_dir, sort=sort, limit=2)) == expected[:2]


def test_a_key_that_no_run_has(three, runs_dir):
    with pytest.raises(UserError, match="no run has 'test/acuracy' to sort by") as caught:
        rows(runs_dir, sort="-test/acuracy")
    assert caught.value.hint == "did you mean 'test/accuracy'?"
