"""The record of the environment changes with what can change a result, and with nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from deepdiva.runs import environment


def capture(tmp_path: Path, name: str, **determinism: object) -> str:
    return environment.capture(tmp_path / name, determinism=determinism)


def test_the_record_is_complete_and_the_same_twice(tmp_path: Path) -> None:
    digest = capture(tmp_path, "a", level="invariant")
    assert capture(tmp_path, "b", level="invariant") == digest
    assert capture(tmp_path, "c", level="seeded") != digest
    record = json.loads((tmp_path / "a" / environment.RECORD).read_text())
    assert record["digest"] == digest
    assert record["python"]["version"] == sys.version.split()[0]
    assert record["cpu"]["model"]
    assert record["packages"]["torch"]["version"] == metadata.version("torch")
    assert record["determinism"] == {"level": "invariant"}
    assert tomllib.loads((tmp_path / "a" / environment.LOCK).read_text())["packages"]


def test_only_variables_that_matter_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = capture(tmp_path, "a")
    for name in ("HOME_SWEET_HOME", "PYTORCH_API_TOKEN", "TORCH_SECRET", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/somewhere")
    assert capture(tmp_path, "b") == before
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert capture(tmp_path, "c") != before
    record = json.loads((tmp_path / "c" / environment.RECORD).read_text())
    assert record["variables"]["OMP_NUM_THREADS"] == "3"
    assert not {"HOME_SWEET_HOME", "PYTORCH_API_TOKEN", "TORCH_SECRET"} & record["variables"].keys()
    assert record["place"]["paths"]["LD_LIBRARY_PATH"] == "/somewhere"


def test_name_of_the_machine_is_no_part_of_the_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = capture(tmp_path, "a")
    monkeypatch.setattr("socket.gethostname", lambda: "another")
    assert capture(tmp_path, "b") == before


def test_a_record_loads_no_large_library(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from deepdiva.runs import environment\n"
        f"environment.capture(Path({str(tmp_path / 'e')!r}), determinism={{}})\n"
        "print(sorted({'torch', 'numpy', 'pydantic', 'yaml'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, env=os.environ)
    assert done.stdout.strip() == "[]"


def test_what_torch_says_when_it_is_loaded() -> None:
    torch = pytest.importorskip("torch")
    facts = environment.describe_torch()
    assert facts is not None
    assert facts["version"] == torch.__version__
    assert facts["threads"] == torch.get_num_threads()


@pytest.mark.parametrize(
    "text",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27 06:54:38 UTC 2025\n",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (builder)\n",
    ],
)
def test_gpus_are_read_from_the_kernel(tmp_path: Path, text: str) -> None:
    assert environment._gpu(tmp_path) == {}
    (tmp_path / "version").write_text(text)
    for number in (1, 0):
        (tmp_path / "gpus" / f"0000:0{number}:00.0").mkdir(parents=True)
        path = tmp_path / "gpus" / f"0000:0{number}:00.0" / "information"
        path.write_text(f"Model: \t\t Tester {number}\nIRQ:   \t\t 75\n")
    assert environment._gpu(tmp_path) == {"driver": "580.65.06", "models": ["Tester 0", "Tester 1"]}
