"""Receipts of downloaded data sets: kept whole, found again, worth nothing when they are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from original_sets import put

from deepdiva.data import formats, store
from deepdiva.data.footprint import footprint
from deepdiva.data.store import Receipt
from deepdiva.errors import UserError


@pytest.fixture
def receipt(tmp_path) -> Receipt:
    folder = put({"a.bin": b"1", "deep/ü.bin": b"22"}, tmp_path / "own")
    return Receipt("mnist", folder, footprint(folder), {"train": 3, "mean": [0.1, 1 / 3]}, verified=True)


def kept() -> set[str]:
    return {path.name for path in store.data_directory().iterdir()}


def test_a_receipt_comes_back_as_it_was(receipt):
    store.save(receipt)
    assert store.load("mnist") == receipt
    assert kept() == {"mnist.json"}
    assert store.load("cifar10") is None


def test_the_last_receipt_counts(receipt, tmp_path):
    store.save(receipt)
    moved = Receipt("mnist", tmp_path / "elsewhere", receipt.footprint, {}, verified=False)
    store.save(moved)
    assert store.load("mnist") == moved
    assert kept() == {"mnist.json"}


def test_a_folder_of_ones_own_is_found_by_the_name_alone(known, tmp_path):
    own = put(known["mnist"].unpacked, tmp_path / "own")
    with pytest.raises(UserError, match="not downloaded yet"):
        formats.find("mnist")
    store.save(Receipt("mnist", own, footprint(own), {}, verified=True))
    named = formats.find("mnist")
    assert named is not None
    assert named.folder == own


def test_the_usual_folder_stands_in_for_one_that_is_gone(known, tmp_path, receipt):
    store.save(Receipt("mnist", tmp_path / "gone", receipt.footprint, {}, verified=True))
    with pytest.raises(UserError, match=r"MNIST is not complete in .*gone") as caught:
        formats.find("mnist")
    assert caught.value.hint == "deepdiva data download mnist"
    usual = put(known["mnist"].unpacked, store.folder_of("mnist"))
    named = formats.find("mnist")
    assert named is not None
    assert named.folder == usual


def test_nothing_is_known_before_anything_was_downloaded():
    assert store.load("mnist") is None
    assert not store.data_directory().exists()  # looking makes no folders


@pytest.mark.parametrize("content", [b"", b"{", b"{}", b"[]", b"null", b"\xff\xfe"])
def test_a_damaged_receipt_counts_for_nothing(receipt, content):
    store.save(receipt)
    (store.data_directory() / "mnist.json").write_bytes(content)
    assert store.load("mnist") is None
    store.save(receipt)
    assert store.load("mnist") == receipt


@pytest.mark.parametrize("key", ["schema", "folder", "footprint", "statistics", "verified"])
def test_a_receipt_that_lacks_something_counts_for_nothing(receipt, key):
    store.save(receipt)
    place = store.data_directory() / "mnist.json"
    content = json.loads(place.read_text())
    del content[key]
    place.write_text(json.dumps(content))
    assert store.load("mnist") is None


def test_a_receipt_of_another_version_or_an_altered_footprint_counts_for_nothing(receipt):
    store.save(receipt)
    place = store.data_directory() / "mnist.json"
    content = json.loads(place.read_text())
    altered = content["footprint"].replace("a.bin", "b.bin")
    assert altered != content["footprint"]
    for change in ({"schema": store.SCHEMA + 1}, {"footprint": altered}, {"footprint": 1}, {"folder": 1}):
        place.write_text(json.dumps(content | change))
        assert store.load("mnist") is None


def test_a_receipt_that_cannot_be_kept_is_an_error_and_leaves_no_rest(receipt):
    (store.data_directory() / "mnist.json").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot write .*mnist\.json"):
        store.save(receipt)
    assert kept() == {"mnist.json"}


def test_a_file_in_the_place_of_the_folder_is_an_error(receipt):
    store.data_directory().parent.mkdir(parents=True, exist_ok=True)
    store.data_directory().write_bytes(b"theirs")
    assert store.load("mnist") is None
    with pytest.raises(UserError, match="cannot write"):
        store.save(receipt)
    assert store.data_directory().read_bytes() == b"theirs"


def test_what_json_cannot_hold_leaves_the_old_receipt(receipt):
    store.save(receipt)
    with pytest.raises(TypeError):
        store.save(Receipt("mnist", receipt.folder, receipt.footprint, {"numbers": {1, 2}}, verified=True))
    assert store.load("mnist") == receipt
    assert kept() == {"mnist.json"}


def test_the_folder_follows_the_standard(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert store.folder_of("mnist") == tmp_path / "data" / "deepdiva" / "mnist"


@pytest.mark.parametrize("given", [None, "", "relative/path"])
def test_without_an_absolute_folder_it_is_in_the_home(tmp_path, monkeypatch, given):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME") if given is None else monkeypatch.setenv("XDG_DATA_HOME", given)
    assert store.data_directory() == Path(tmp_path, ".local", "share", "deepdiva")
