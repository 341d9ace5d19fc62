"""`doctor`: a line for each part, green or red, and red ones say what to do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepdiva.cli import doctor
from deepdiva.cli.doctor import Check

Call = Callable[..., int]
FACTS: Mapping[str, Any] = {
    "torch": "2.14.1",
    "torchvision": "0.29.1",
    "threads": 1,
    "capability": "AVX2",
    "cuda": None,
    "mps": False,
    "sum": 512.0,
    "devices": [],
}
ALL = ["Python", "packages", "torch", "device", "threads", "git", "settings", "disk"]


@pytest.fixture
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def child(program: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-c", program]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def quick_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer in place of the seconds that torch takes to load."""
    program = f"import json; print(json.dumps({dict(FACTS)!r}))"
    monkeypatch.setattr(doctor, "start_torch", lambda: child(program))


@pytest.mark.usefixtures("quick_torch", "in_empty_folder")
def test_a_healthy_machine(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(doctor, "doctor") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [["✓", name] for name in ALL]


@pytest.mark.usefixtures("quick_torch", "in_empty_folder")
def test_a_red_line_is_followed_by_its_mend(
    call: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "many")
    assert call(doctor, "doctor") == 1
    lines = capsys.readouterr().out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("✗"))
    assert lines[place].split()[1] == "threads"
    assert lines[place + 1].strip() == "mend       unset OMP_NUM_THREADS"
    assert call(doctor, "doctor", "--json") == 1
    checks = {check["name"]: check for check in answer()}
    assert list(checks) == ALL
    assert checks["threads"]["mend"] == "unset OMP_NUM_THREADS"
    assert checks["git"]["mend"] is None


@pytest.mark.usefixtures("quick_torch", "in_empty_folder")
def test_colours_on_a_terminal(
    call: Call, capsys: pytest.CaptureFixture[str], on_terminal: Callable[[int], None]
) -> None:
    on_terminal(100)
    assert call(doctor, "doctor") == 0
    assert capsys.readouterr().out.startswith("\x1b[32m✓ Python")


def test_the_real_torch_answers() -> None:
    facts, problem = doctor.ask_torch(doctor.start_torch())
    assert problem == ""
    assert facts.keys() == FACTS.keys()
    assert doctor.check_torch(facts, problem).good


@pytest.mark.parametrize(
    ("program", "problem"),
    [
        ("raise ImportError('libcudart.so: cannot open')", "ImportError: libcudart.so: cannot open"),
        ("import os; os.abort()", "its process ended with -6"),
        ("import sys; sys.exit(3)", "its process ended with 3"),
    ],
)
def test_a_broken_torch_is_reported(program: str, problem: str) -> None:
    facts, said = doctor.ask_torch(child(program))
    assert (facts, said) == ({}, problem)
    check = doctor.check_torch(facts, said)
    assert not check.good
    assert "setup.sh" in str(check.mend)
    assert not doctor.check_device(facts).good


def test_a_torch_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TORCH_SECONDS", 0.1)
    process = child("import time; time.sleep(60)")
    try:
        assert doctor.ask_torch(process) == ({}, "did not load within 0.1 s")
    finally:
        process.kill()
        process.communicate()


def test_a_torch_that_computes_wrongly() -> None:
    check = doctor.check_torch({**FACTS, "sum": 511.0}, "")
    assert not check.good
    assert "wrong product" in check.found


@pytest.mark.parametrize(("version", "good"), [((3, 10, 12), False), ((3, 11, 0), True), ((4, 0, 0), True)])
def test_python(monkeypatch: pytest.MonkeyPatch, version: tuple[int, ...], good: bool) -> None:
    monkeypatch.setattr("sys.version_info", version)
    assert doctor.check_python().good == good


def test_packages_that_are_missing_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.check_packages().good
    wanted = ["numpy>=2.0", "No.Such_package[extra]>=1; python_version>'3'", "ray; extra == 'cluster'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: wanted)
    check = doctor.check_packages()
    assert (check.good, check.found) == (False, "missing: no-such-package")


@pytest.mark.parametrize(
    ("facts", "gpu", "visible", "good", "found"),
    [
        ({}, {}, None, True, "CPU: Tester (AVX2)"),
        ({"mps": True}, {}, None, True, "the GPU of this Mac (mps)"),
        ({"devices": ["H100"], "cuda": "13.0"}, {}, None, True, "H100 (CUDA 13.0)"),
        ({}, {"models": ["H100"], "driver": "1.2"}, None, False, "H100 with driver 1.2, which torch cannot use"),
        ({}, {"models": ["H100"], "driver": "1.2"}, "", True, "CPU: Tester (AVX2)"),
    ],
)
def test_device(
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, Any],
    gpu: dict[str, Any],
    visible: str | None,
    good: bool,
    found: str,
) -> None:
    monkeypatch.setattr("deepdiva.runs.environment.describe", lambda packages: {"cpu": {"model": "Tester"}, "gpu": gpu})
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    check = doctor.check_device({**FACTS, **facts})
    assert (check.good, check.found) == (good, found)


@pytest.mark.parametrize(
    ("threads", "wish", "good", "found"),
    [
        (2, "", True, "2 of 4 cores"),
        (4, "4", True, "4 of 4 cores (OMP_NUM_THREADS)"),
        (8, "8", False, "8 of 4 cores (OMP_NUM_THREADS)"),
        (4, "0", False, "OMP_NUM_THREADS is '0'"),
    ],
)
def test_threads(monkeypatch: pytest.MonkeyPatch, threads: int, wish: str, good: bool, found: str) -> None:
    monkeypatch.setattr("deepdiva.runs.environment.describe_place", lambda: {"usable_cores": 4})
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    check = doctor.check_threads({**FACTS, "threads": threads})
    assert (check.good, check.found) == (good, found)


def test_git_in_a_project(project: Path) -> None:
    assert "project: all committed" in doctor.check_git().found
    (project / "new.py").write_text("x = 1\n")
    assert "project: 1 uncommitted" in doctor.check_git().found


@pytest.mark.usefixtures("in_empty_folder")
def test_git_outside_a_repository_or_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert "no repository here" in doctor.check_git().found
    monkeypatch.setenv("PATH", str(tmp_path))
    check = doctor.check_git()
    assert (check.good, check.found) == (False, "not found")


def test_a_broken_repository(project: Path) -> None:
    (project / ".git" / "HEAD").write_text("nonsense")
    assert not doctor.check_git().good


def test_settings(in_empty_folder: Path) -> None:
    assert doctor.check_settings() == Check("settings", good=True, found="code must be committed (default)")
    (in_empty_folder / "deepdiva.toml").write_text('code = "snapshots"\n')
    check = doctor.check_settings()
    assert not check.good
    assert "deepdiva.toml" in check.found


def test_disk(in_empty_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = in_empty_folder / "not" / "yet"
    assert doctor.check_disk(runs).good
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=2**29))
    check = doctor.check_disk(runs)
    assert not check.good
    assert "0.5 GiB free" in check.found
    monkeypatch.setattr("os.access", lambda folder, mode: False)
    assert "cannot be written" in doctor.check_disk(runs).found
    (in_empty_folder / "file").touch()
    assert "is not a folder" in doctor.check_disk(in_empty_folder / "file").found


@pytest.mark.usefixtures("in_empty_folder")
def test_in_a_process_of_its_own_as_setup_calls_it() -> None:
    program = (
        "import argparse, sys; from deepdiva.cli import doctor; parser = argparse.ArgumentParser()\n"
        "doctor.add_parser(parser.add_subparsers()); arguments = parser.parse_args()\n"
        "code = arguments.func(arguments); print('torch' in sys.modules); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, "doctor"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("False\n")
