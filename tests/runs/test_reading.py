"""A stranger's files: only regular ones of bounded size and depth, inside their folder, are ever read."""

from __future__ import annotations

import os
import socket

import pytest

from deepdiva.runs.reading import (
    DEPTH,
    LARGEST,
    check_folder,
    inside,
    largest,
    leads_inside,
    open_regular,
    parse_json,
    read_bytes,
    regular_files,
    special_files,
)
from deepdiva.runs.storage import StorageError


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.json").write_bytes(b"{}")
    (tmp_path / "secret").write_text("secret")
    return folder


def test_a_regular_file_is_read(run):
    assert read_bytes(run / "data" / "a.json", limit=2, within=run) == b"{}"
    assert read_bytes(run / "data" / "a.json", limit=2) == b"{}"
    with pytest.raises(FileNotFoundError):
        read_bytes(run / "none", limit=2, within=run)
    with pytest.raises(IsADirectoryError):
        read_bytes(run / "data", limit=2, within=run)


def test_a_link_is_followed_only_inside_the_folder(run, tmp_path):
    (run / "inside").symlink_to("data/a.json")
    (run / "outside").symlink_to(tmp_path / "secret")
    (run / "upwards").symlink_to("../secret")
    (run / "folder").symlink_to(tmp_path)
    assert read_bytes(run / "inside", limit=2, within=run) == b"{}"
    for name in ("outside", "upwards", "folder/secret", "../secret", "data/../../secret"):
        with pytest.raises(StorageError, match="leads out of the run folder"):
            read_bytes(run / name, limit=100, within=run)
    with pytest.raises(StorageError, match="is a link"):
        read_bytes(run / "inside", limit=2)


def test_a_folder_whose_name_begins_with_the_name_of_the_run_is_another_one(run, tmp_path):
    (tmp_path / "run-2").mkdir()
    assert not leads_inside(tmp_path / "run-2", run)
    assert leads_inside(run, run)


def test_a_name_with_a_nul_is_refused(run):
    with pytest.raises(StorageError, match="is no path"):
        inside(run / "a\0b", run)


def test_pipes_sockets_and_devices_are_refused_and_never_waited_for(run, tmp_path, monkeypatch):
    os.mkfifo(run / "pipe")
    monkeypatch.chdir(run)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        (run / "null").symlink_to("/dev/null")
        for name in ("pipe", "socket"):
            with pytest.raises(StorageError, match="no regular file"):
                open_regular(run / name, within=run)
        with pytest.raises(StorageError, match="leads out"):
            open_regular(run / "null", within=run)
        with pytest.raises(StorageError, match="no regular file"):
            read_bytes(run / "pipe", limit=1)
        assert {path.name for path in special_files(run)} == {"pipe", "socket", "null"}
    with pytest.raises(StorageError):
        check_folder(run)


def test_a_folder_of_files_and_inner_links_is_fine(run):
    (run / "inside").symlink_to("data")
    check_folder(run)
    (run / "data" / "outside").symlink_to("../../secret")
    with pytest.raises(StorageError, match="leads out"):
        check_folder(run)


def test_a_huge_file_is_refused_unread(run):
    with (run / "run.json").open("wb") as file:
        file.truncate(5 << 30)  # a hole: it takes no space
    with pytest.raises(StorageError, match=r"5,368,709,120 bytes, where 16,777,216 are the most"):
        read_bytes(run / "run.json", limit=largest("run.json"))


def test_every_kind_of_file_has_a_limit():
    assert largest("run.json") == LARGEST["run.json"]
    assert largest("code/code.json") == LARGEST["code/code.json"]
    assert largest("code/source.tar.gz") == LARGEST["code"]
    assert largest("something/else") == 64 << 20


def test_the_files_of_a_folder_by_name(run, tmp_path):
    (run / ".hidden").write_text("")
    (run / "b").write_text("")
    (run / "link").symlink_to(tmp_path)
    (run / ".git").mkdir()
    (run / ".git" / "config").write_text("")
    assert list(regular_files(run)) == ["b", "data/a.json"]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 5000,
        "[" * (DEPTH + 1) + "]" * (DEPTH + 1),
        '{"a":' * (DEPTH + 1) + "1" + "}" * (DEPTH + 1),
    ],
    ids=["lists", "mappings", "whole lists", "whole mappings"],
)
def test_deep_json_is_refused(text, tmp_path):
    with pytest.raises(StorageError, match="nested too deeply"):
        parse_json(text.encode(), tmp_path)


def test_wide_json_is_fine(tmp_path):
    assert len(parse_json(b"[" + b"[[]]," * 1000 + b"1]", tmp_path)) == 1001
    assert parse_json(b"[" * DEPTH + b"]" * DEPTH, tmp_path)


@pytest.mark.parametrize(
    "text",
    [b'{"a": 1, "b": 2, "a": 3}', b"{", b"\xff", b"1" * 5000, b""],
    ids=["twice", "torn", "bytes", "int", "empty"],
)
def test_what_is_no_json_of_ours(text, tmp_path):
    with pytest.raises(StorageError, match="is damaged"):
        parse_json(text, tmp_path / "file")
