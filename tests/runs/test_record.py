"""`run.json`: complete from the start, readable by any JSON reader, and refused with a reason when it is not ours."""

from __future__ import annotations

import json
import os

import pytest

from deepdiva.errors import RunFailed, UserError
from deepdiva.runs.record import amend, encode_record, ending, new_record, now, read_record, seconds_of
from deepdiva.runs.storage import StorageError

FACTS = {"kind": "run", "parent": None, "task": "t", "data": "d", "command": ["a"], "seed": 0, "determinism": {}}
KEYS = (
    "schema id experiment status kind parent task data command directory created finished duration pid host job seed "
    "digests results best test_reads error determinism versions"
)


def write(folder, text):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(text)
    return folder


def test_a_new_record_has_every_key_of_the_schema(tmp_path):
    folder = tmp_path / "experiment" / "some-id"
    record = new_record(folder, **FACTS)
    assert " ".join(record) == KEYS
    assert (record["id"], record["experiment"], record["status"]) == ("some-id", "experiment", "running")
    assert (record["schema"], record["pid"], record["seed"]) == (2, os.getpid(), 0)
    assert record["versions"]["deepdiva"]
    assert record["versions"]["torch"]
    assert read_record(write(folder, encode_record(record).decode())) == record


def test_times_read_back():
    assert now().endswith("Z")
    assert seconds_of("2026-11-21T22:28:56.665Z") == 1795300136.665
    assert seconds_of(None) is None


@pytest.mark.parametrize(
    ("error", "status", "keys"),
    [
        (None, "completed", None),
        (SystemExit(0), "completed", None),
        (SystemExit(), "completed", None),
        (KeyboardInterrupt(), "interrupted", None),
        (SystemExit(3), "failed", {"type", "message", "traceback"}),
        (ZeroDivisionError("by zero"), "failed", {"type", "message", "traceback"}),
        (RunFailed("the loss is nan", "lower the rate"), "failed", {"type", "message"}),
    ],
)
def test_how_a_run_ends(error, status, keys):
    found, problem = ending(error)
    assert found == status
    assert (None if problem is None else set(problem)) == keys


def test_a_traceback_is_kept_whole():
    try:
        raise ZeroDivisionError("by zero")
    except ZeroDivisionError as error:
        _, problem = ending(error)
    assert problem is not None
    assert (problem["type"], problem["message"]) == ("ZeroDivisionError", "by zero")
    assert "test_a_traceback_is_kept_whole" in problem["traceback"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "run.json is damaged"),
        ("\xff", "run.json is damaged"),
        ("[]", "was not written by DeepDIVA"),
        ("{}", "was not written by DeepDIVA"),
        ('{"schema": "x"}', "was not written by DeepDIVA"),
        (json.dumps({"schema": 3}), r"newer DeepDIVA \(schema 3\)"),
        (json.dumps({"schema": 2}), "its check is missing"),
    ],
)
def test_a_record_that_is_none(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        read_record(write(tmp_path / "run", text))


def test_every_bit_of_it_is_checked(tmp_path):
    folder = tmp_path / "experiment" / "some-id"
    whole = encode_record(new_record(folder, **FACTS))
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << (place % 8)
        write(folder, "").joinpath("run.json").write_bytes(data)
        with pytest.raises(UserError):
            read_record(folder)
        (folder / "run.json").write_bytes(whole[:place])
        with pytest.raises(StorageError, match="is damaged"):
            read_record(folder)


def test_a_record_of_before_the_check_reads(tmp_path):
    assert read_record(write(tmp_path / "run", '{"schema": 1, "id": "a"}')) == {"schema": 1, "id": "a"}


def test_a_later_fact_is_added_and_the_check_made_anew(tmp_path):
    folder = tmp_path / "experiment" / "some-id"
    record = new_record(folder, **FACTS)
    write(folder, encode_record(record).decode())
    amend(folder, verdict={"exit_code": 0}, status="completed")
    assert read_record(folder) == {**record, "verdict": {"exit_code": 0}, "status": "completed"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", "../x"), ("id", ""), ("id", "a\0"), ("id", 3), ("experiment", "a/b"), ("status", ["completed"]),
        ("created", "never"), ("created", 5), ("pid", -1), ("pid", 2**40), ("pid", 1.5), ("seed", -1), ("seed", 2**63),
        ("duration", float("nan")), ("duration", -1), ("results", []), ("results", {"a": [1]}),
        ("results", {"a": 2**64}), ("digests", {"code": 3}), ("command", [1]), ("resumed", [{}]),
        ("resumed", [{"time": "x"}]), ("resumed", {}),
        ("test_reads", [1]), ("determinism", "invariant"), ("error", "text"), ("best", [1]),
    ],
    ids=str,
)  # fmt: skip
def test_a_value_of_another_type_is_refused(tmp_path, name, value):
    write(tmp_path / "run", json.dumps({"schema": 1, name: value}))
    with pytest.raises(UserError, match=f"'{name}' holds something else"):
        read_record(tmp_path / "run")


def test_a_record_that_is_not_text(tmp_path):
    write(tmp_path / "run", "").joinpath("run.json").write_bytes(b"\x80\x81")
    with pytest.raises(StorageError, match="damaged"):
        read_record(tmp_path / "run")


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(UserError, match=r"is not a run folder: it holds no run\.json"):
        read_record(tmp_path)
    with pytest.raises(UserError, match="is not a run folder: there is no such folder"):
        read_record(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is not a run folder"):
        read_record(tmp_path / "file")
    (tmp_path / "run.json").mkdir()
    with pytest.raises(UserError, match="cannot read"):
        read_record(tmp_path)
