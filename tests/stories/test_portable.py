"""The highest level forces its own settings: one training, the same bits whatever the processor or its settings.

The emulated processors take about two minutes each: `DEEPDIVA_TEST_EMULATED=1 pytest tests/stories/test_portable.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from deepdiva.engine import determinism

TRAIN = """
import gc, json, sys
gc.disable()  # as the command line does: libraries load faster
from deepdiva.engine import determinism
determinism.prepare(sys.argv[1])
from deepdiva import Config, train
quiet = {"figures": "none", "tensorboard": False}
config = Config(task={"class": "points", "n": 60}, data="moons", model={"class": "mlp", "hidden": [64, 64]}, seed=5,
                epochs=2, batch_size=16, threads=1, determinism=sys.argv[1], logging=quiet)
run = train(config)
print(json.dumps({"granted": run.record["determinism"]["granted"], **run.digests}))
"""
COMPARED = ("data", "weights", "state", "metrics")
OTHER_SETTINGS = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "SSE4_2"}


def trained(level: str, outer: Mapping[str, str], emulator: Sequence[str] = ()) -> dict[str, str]:
    """The digests of a training in a process whose surroundings had set `outer`."""
    settings = {**determinism.environment_of_new_process(level), "CUDA_VISIBLE_DEVICES": ""}
    if level != "portable":
        settings |= outer
    else:  # what `deepdiva run` makes of such surroundings
        settings = {**settings, **outer, **determinism.variables(level)}
    done = subprocess.run(
        [*emulator, sys.executable, "-c", TRAIN, level],
        env=settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    digests: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return digests


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_other_instruction_sets_give_the_same_bits_at_the_highest_level_only():
    portable, elsewhere = (trained("portable", outer) for outer in ({}, OTHER_SETTINGS))
    if portable["granted"] != "portable":
        pytest.skip("this processor cannot be granted the portable level")
    assert [portable[name] for name in COMPARED] == [elsewhere[name] for name in COMPARED]
    below, differing = (trained("invariant", outer) for outer in ({}, OTHER_SETTINGS))
    assert below["weights"] != differing["weights"]  # so that the test above can fail
    assert below["data"] == differing["data"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("processor", ["Haswell", "Skylake-Client", "EPYC-Rome"])
@pytest.mark.skipif("DEEPDIVA_TEST_EMULATED" not in os.environ, reason="DEEPDIVA_TEST_EMULATED is not set")
@pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="qemu-x86_64 is not installed")
def test_an_emulated_processor_gives_the_bits_of_this_one(processor: str):
    emulated = trained("portable", {}, ["qemu-x86_64", "-cpu", processor])
    native = trained("portable", {})
    assert emulated["granted"] == native["granted"] == "portable"
    assert [emulated[name] for name in COMPARED] == [native[name] for name in COMPARED]
