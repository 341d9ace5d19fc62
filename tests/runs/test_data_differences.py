"""Every file, sample and number of the data that differs is named; a file that moved is not one gone and one new."""

from __future__ import annotations

import hashlib

import pytest

from deepdiva.errors import UserError
from deepdiva.runs.data_differences import data_differences
from deepdiva.runs.difference import LISTED


def footprint(files, source="data"):
    rows = [[name, len(text), hashlib.sha256(text.encode()).hexdigest()] for name, text in files.items()]
    return {"schema": 1, "kind": "folder", "source": source, "files": rows}


FILES = {"train/0/a.png": "a", "train/0/b.png": "b", "train/1/c.png": "c"}
SPLITS = {"train": ["0/a.png", "0/b.png"], "val": ["1/c.png"]}


@pytest.fixture
def compared(make_run):
    """What differs between a data set and another one."""

    def call(files=None, splits=None, statistics=None, more=None):
        common = {"data/footprint-0.json": footprint(FILES), "data/membership.json": SPLITS}
        ours = common | {"data/statistics.json": {"mean": [0.5], "std": [1.0]}}
        theirs = {
            "data/footprint-0.json": footprint(FILES if files is None else files),
            "data/membership.json": splits or SPLITS,
            "data/statistics.json": statistics or {"mean": [0.5], "std": [1.0]},
            **(more or {}),
        }
        return data_differences(make_run("a", files=ours), make_run("b", files=theirs))

    return call


def test_the_same_data(compared):
    assert compared() == []


def test_one_changed_file(compared):
    (found,) = compared({**FILES, "train/0/b.png": "bb"})
    assert (found.kind, found.what, found.part) == ("data", "train/0/b.png", "file")
    assert found.a.startswith("1 bytes, sha256 ")
    assert found.b.startswith("2 bytes, sha256 ")


def test_a_file_in_the_folder_of_another_class(compared):
    (found,) = compared({"train/1/a.png": "a", "train/0/b.png": "b", "train/1/c.png": "c"})
    assert (found.what, found.b) == ("train/0/a.png", "train/1/a.png")
    assert "another class" in found.detail


def test_files_that_are_new_gone_or_called_otherwise(compared):
    found = compared({"train/0/A.png": "a", "train/0/b.png": "b", "new.png": "n"})
    assert [(item.what, item.a is None, item.b is None) for item in found] == [
        ("train/0/a.png", False, False),
        ("train/1/c.png", False, True),
        ("new.png", True, False),
    ]
    assert found[0].detail == "the same content has another name"


def test_a_sample_in_another_split(compared):
    (found,) = compared(splits={"train": ["0/a.png"], "val": ["1/c.png", "0/b.png"]})
    assert (found.what, found.a, found.b, found.part) == ("0/b.png", "train", "val", "split")


def test_a_sample_that_only_one_has_is_told_once(compared):
    files = {name: text for name, text in FILES.items() if name != "train/1/c.png"}
    splits = {"train": ["0/a.png", "0/b.png"], "val": []}
    assert [item.what for item in compared(files, splits)] == ["train/1/c.png", "1/c.png"]
    (found,) = compared(splits={"train": ["0/a.png", "0/b.png"], "val": ["1/c.png", "more"]})
    assert (found.what, found.a, found.b) == ("more", None, "val")


def test_another_order_of_the_same_samples(compared):
    (found,) = compared(splits={"train": ["0/b.png", "0/a.png"], "val": ["1/c.png"]})
    assert (found.what, found.a, found.b, found.detail) == ("order of train", "0/a.png", "0/b.png", "first at place 0")


def test_statistics(compared):
    (found,) = compared(statistics={"mean": [0.25], "std": [1.0]})
    assert (found.what, found.a, found.b, found.part) == ("statistics.mean", "[0.5]", "[0.25]", "statistics")


def test_a_second_data_set(compared, make_run):
    second = {"data/footprint-1.json": footprint({"x": "x"}, "more")}
    (found,) = compared(more=second)
    assert (found.what, found.a, found.b) == ("more", None, "1 files")
    both = {"data/footprint-0.json": footprint(FILES), **second}
    other = both | {"data/footprint-1.json": footprint({"x": "y"}, "elsewhere")}
    (found,) = data_differences(make_run("a2", files=both), make_run("b2", files=other))
    assert found.what == "more: x"


def test_a_data_set_that_was_replaced_is_not_listed_file_by_file(compared):
    found = compared({f"{number}.png": str(number) for number in range(LISTED + 50)})
    assert len(found) == LISTED + 1
    assert found[-1].what == "53 more files"


@pytest.mark.parametrize("odd", [{}, {"files": [1]}, {"files": [["a", "x", 1]]}, {"files": None}], ids=str)
def test_what_is_no_footprint_is_refused(make_run, odd):
    a = make_run("a", files={"data/footprint-0.json": footprint(FILES)})
    with pytest.raises(UserError, match="no footprint"):
        data_differences(a, make_run("b", files={"data/footprint-0.json": odd}))


@pytest.mark.parametrize("odd", [{"train": 1}, {"train": [[1], {}]}, {"train": None, "x": "y"}], ids=str)
def test_a_strangers_splits_of_any_shape_are_survived(make_run, odd):
    a = make_run("a", files={"data/membership.json": SPLITS})
    data_differences(a, make_run("b", files={"data/membership.json": odd}))


def test_data_that_are_made_from_settings(trained):
    assert data_differences(trained(), trained(seed=1)) == []
    found = data_differences(trained(), trained(data="circle"))
    assert found[0].what in ("points", "labels", "spirals")
    assert "statistics.mean" in {item.what for item in found}
