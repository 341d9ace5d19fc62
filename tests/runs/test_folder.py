"""Run folders as they are read: by path, by a part of the id, and truthfully about runs that died."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from deepdiva.errors import UserError, UserErrors
from deepdiva.runs import RunFolder, find_run, find_runs
from deepdiva.runs.folder import is_alive
from deepdiva.runs.record import now

HOST = os.uname().nodename


@pytest.fixture
def make(tmp_path):
    def call(name="20260101T000000Z-abcdef", experiment="points", **facts):
        folder = tmp_path / "runs" / experiment / name
        folder.mkdir(parents=True)
        record = {"schema": 1, "id": name, "experiment": experiment, "status": "completed", **facts}
        (folder / "run.json").write_text(json.dumps(record))
        return folder

    return call


def test_what_a_finished_run_says(make):
    folder = make(results={"test/accuracy": 0.5}, digests={"code": "c"}, duration=2.5)
    run = RunFolder.open(str(folder))
    assert (run.path, run.id, run.experiment) == (folder, "20260101T000000Z-abcdef", "points")
    assert (run.status, run.results, run.digests) == ("completed", {"test/accuracy": 0.5}, {"code": "c"})
    assert run.duration == 2.5


def test_what_a_run_that_hardly_began_says(make):
    run = RunFolder.open(make(results=None))
    assert (run.results, run.digests, run.duration) == ({}, {}, None)
    assert list(run.events()) == list(run.fingerprints()) == []
    with pytest.raises(UserError, match=r"holds no config\.yaml"):
        run.config()
    with pytest.raises(UserError, match="holds no predictions for 'test'"):
        run.predictions("test")


def test_the_configuration_is_read_as_yaml_1_2(make):
    folder = make()
    (folder / "config.yaml").write_text("lr: 1e-4\nname: no\n")
    assert RunFolder.open(folder).config() == {"lr": 1e-4, "name": "no"}
    (folder / "config.yaml").write_text("lr: 1\nlr: 2\n")
    with pytest.raises(UserErrors, match=r"config\.yaml:2"):
        RunFolder.open(folder).config()


def test_predictions_by_column(make):
    folder = make()
    (folder / "predictions").mkdir()
    (folder / "predictions" / "test.csv").write_text('id,truth\na,1\n"b,\nc",2\n')
    assert RunFolder.open(folder).predictions("test") == {"id": ["a", "b,\nc"], "truth": ["1", "2"]}


def test_a_run_at_work_is_running(make):
    run = RunFolder.open(make(status="running", pid=os.getpid(), host=HOST, created=now()))
    assert run.status == "running"


def test_a_run_whose_process_is_gone_was_interrupted(make):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    created = now()
    run = RunFolder.open(make(status="running", pid=child.pid, host=HOST, created=created))
    assert run.status == "interrupted"
    assert run.record["status"] == "running"


def test_a_number_that_a_younger_process_has_is_not_the_run(tmp_path):
    record = {"pid": os.getpid(), "host": HOST, "created": "2020-01-01T00:00:00Z"}
    assert not is_alive(tmp_path, record) or not os.path.exists("/proc/self/stat")  # noqa: PTH110
    assert is_alive(tmp_path, record | {"resumed": [{"time": now()}]})


def test_of_another_users_process_it_is_known_that_it_is_there(tmp_path):
    assert is_alive(tmp_path, {"pid": 1, "host": HOST, "created": now()})
    assert not is_alive(tmp_path, {"host": HOST})


def test_a_run_on_another_host_is_running_while_it_writes(make):
    folder = make(status="running", pid=1, host="elsewhere", created=now())
    assert RunFolder.open(folder).status == "running"
    os.utime(folder / "run.json", (1e9, 1e9))
    assert RunFolder.open(folder).status == "interrupted"
    (folder / "events.jsonl").write_text("")
    assert RunFolder.open(folder).status == "running"


def test_the_duration_of_a_killed_run_ends_with_its_last_sign_of_life(make):
    folder = make(status="running", pid=0, host=HOST, created="2026-01-01T00:00:00.000Z")
    began = 1767225600
    (folder / "events.jsonl").write_text("")
    os.utime(folder / "run.json", (began, began + 2))
    os.utime(folder / "events.jsonl", (began, began + 90))
    assert RunFolder.open(folder).duration == 90


def test_all_runs_oldest_first_with_those_that_cannot_be_read(make, tmp_path):
    make("20260103T000000Z-000000")
    make("20260101T000000Z-000000", "other")
    broken = make("20260102T000000Z-000000")
    (broken / "run.json").write_text("{")
    (tmp_path / "runs" / "points" / "not-a-run").mkdir()
    (tmp_path / "runs" / ".gitignore").write_text("*")
    runs = list(find_runs(tmp_path / "runs"))
    assert [run.id[:8] for run in runs] == ["20260101", "20260102", "20260103"]
    assert [run.status for run in runs] == ["completed", "unreadable", "completed"]
    assert "damaged" in runs[1].record["error"]["message"]
    assert list(find_runs(tmp_path / "none")) == []


@pytest.mark.parametrize("text", ["20260102T000000Z-bcd000", "20260102", "bcd000", "bc", "last"])
def test_a_run_is_found_by_a_part_of_its_id(make, tmp_path, text):
    make("20260101T000000Z-abc000")
    newest = make("20260102T000000Z-bcd000", "another")
    assert find_run(text, tmp_path / "runs").path == newest


def test_a_run_is_found_by_its_path(make, tmp_path, monkeypatch):
    folder = make()
    assert find_run(folder, tmp_path / "none").path == folder
    monkeypatch.chdir(folder)
    assert find_run(".", tmp_path / "none").id == folder.name


def test_what_means_no_run_or_several(make, tmp_path):
    runs_dir = tmp_path / "runs"
    with pytest.raises(UserError, match=r"no run 'last' in .*runs, which holds no run"):
        find_run("last", runs_dir)
    make("20260101T000000Z-abc000")
    make("20260101T000000Z-abd000")
    with pytest.raises(UserError, match=r"'20260101' means 2 runs: 20260101T000000Z-abc000, 20260101T000000Z-abd000"):
        find_run("20260101", runs_dir)
    with pytest.raises(UserError, match="there is no run 'xyz'"):
        find_run("xyz", runs_dir)
    with pytest.raises(UserError, match="is not a run folder"):
        find_run(tmp_path, runs_dir)
    with pytest.raises(UserError, match="there is no run ''"):
        find_run("", runs_dir)


def test_an_id_that_begins_another_one_is_still_found(make, tmp_path):
    make("20260101T000000Z-abc000")
    make("20260101T000000Z-abc000-2")
    assert find_run("20260101T000000Z-abc000", tmp_path / "runs").id == "20260101T000000Z-abc000"


def test_reading_needs_no_heavy_library():
    program = """
import sys
from deepdiva.runs import find_run, find_runs, index
heavy = {"torch", "numpy", "pydantic", "rich", "tensorboard", "PIL"} & set(sys.modules)
sys.exit(", ".join(heavy) or 0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_documents_of_a_run_and_the_files_beside_them(make):
    folder = make()
    (folder / "code").mkdir()
    (folder / "code" / "code.json").write_text('{"digest": "c"}')
    run = RunFolder.open(folder)
    assert run.document("code/code.json") == {"digest": "c"}
    assert run.document("code/other.json") is None
    assert (run.names("code"), run.names("data")) == (["code.json"], [])
    (folder / "code" / "code.json").write_text('["')
    with pytest.raises(UserError, match="damaged"):
        run.document("code/code.json")
    (folder / "code" / "code.json").write_text("[]")
    with pytest.raises(UserError, match="not written by DeepDIVA"):
        run.document("code/code.json")


def test_a_link_out_of_the_folder_is_not_followed(make, tmp_path):
    folder = make()
    (tmp_path / "secret.json").write_text("{}")
    (folder / "code.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(UserError, match="leads out of the run folder"):
        RunFolder.open(folder).document("code.json")
