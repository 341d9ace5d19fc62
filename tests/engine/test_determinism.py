"""A level is granted, not claimed: what came too late is said."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from deepdiva.engine import determinism
from deepdiva.engine.determinism import LEVELS


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Levels reach into the environment and torch; afterwards all is as it was."""
    names = {name for level in LEVELS for name in determinism.variables(level)}
    for name in [*names, "DEEPDIVA_REEXECUTED", "DEEPDIVA_VARIABLES_BEFORE_TORCH"]:
        monkeypatch.delenv(name, raising=False)
    mkldnn = torch.backends.mkldnn.enabled
    yield
    torch.backends.mkldnn.enabled = mkldnn


@pytest.fixture
def haswell(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a processor with AVX2 whose kernels the variables have pinned."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")


def pretend_before_torch(monkeypatch: pytest.MonkeyPatch, level: str, *, executed: bool = False) -> None:
    """As if this process had set the variables in time."""
    for name, value in determinism.variables(level).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DEEPDIVA_VARIABLES_BEFORE_TORCH", level)
    if executed:
        monkeypatch.setenv("DEEPDIVA_REEXECUTED", level)


def test_the_levels_build_on_each_other():
    assert determinism.variables("seeded") == {}
    assert determinism.variables("repeatable") == determinism.variables("invariant")
    assert determinism.variables("invariant").keys() < determinism.variables("portable").keys()


@pytest.mark.parametrize("level", ["repeatable", "invariant"])
def test_a_level_is_granted_where_all_was_set_in_time(level: str, monkeypatch: pytest.MonkeyPatch):
    pretend_before_torch(monkeypatch, level)
    granted = determinism.apply(level, 1)
    assert granted.to_mapping() == {"asked": level, "granted": level, "threads": 1, "reasons": []}
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == 1
    assert not determinism.needs_new_process(level)


def test_variables_set_too_late_are_named():
    granted = determinism.apply("invariant", 1)  # torch was loaded long ago
    assert granted.granted == "seeded"
    assert "MKL_CBWR was not set before torch was loaded" in granted.reasons
    assert determinism.needs_new_process("invariant")


def test_the_lowest_level_needs_nothing():
    assert determinism.apply("seeded", 2).granted == "seeded"
    assert torch.get_num_threads() == 2
    assert not determinism.needs_new_process("seeded")


@pytest.mark.usefixtures("haswell")
def test_the_highest_level_is_for_one_thread(monkeypatch: pytest.MonkeyPatch):
    pretend_before_torch(monkeypatch, "portable", executed=True)
    assert determinism.apply("portable", None).granted == "portable"
    assert torch.get_num_threads() == 1
    assert not torch.backends.mkldnn.enabled
    refused = determinism.apply("portable", 4)
    assert refused.granted == "invariant"
    assert refused.threads == 1
    assert refused.reasons == ("the portable level runs on one thread, not 4",)


@pytest.mark.usefixtures("haswell")
@pytest.mark.parametrize(
    ("where", "value", "device", "reason"),
    [
        ("platform.machine", "aarch64", "cpu", "the portable level is for x86-64 processors, not for aarch64"),
        ("torch.cpu.get_capabilities", {"avx2": False}, "cpu", "this processor has no AVX2"),
        ("torch.backends.cpu.get_cpu_capability", "AVX512", "cpu", "torch computes with AVX512 here"),
        ("platform.machine", "x86_64", "cuda", "the portable level is for CPUs, not for cuda"),
    ],
    ids=["machine", "no avx2", "not pinned", "gpu"],
)
def test_what_stands_against_equal_bits_elsewhere_leaves_the_level_below(
    where: str, value: object, device: str, reason: str, monkeypatch: pytest.MonkeyPatch
):
    pretend_before_torch(monkeypatch, "portable", executed=True)
    monkeypatch.setattr(where, lambda: value)
    granted = determinism.apply("portable", 1, device=device)
    assert granted.granted == "invariant"
    assert len(granted.reasons) == 1
    assert granted.reasons[0].startswith(reason)


def test_a_process_that_was_prepared_for_less_keeps_what_it_was_prepared_for(monkeypatch: pytest.MonkeyPatch):
    pretend_before_torch(monkeypatch, "invariant")
    granted = determinism.apply("portable", 1)
    assert granted.granted == "invariant"
    assert "ATEN_CPU_CAPABILITY was not set before torch was loaded" in granted.reasons
    pretend_before_torch(monkeypatch, "portable")  # but not executed anew
    granted = determinism.apply("portable", 1)
    assert granted.granted == "invariant"
    assert granted.reasons[0] == "GLIBC_TUNABLES was not set before torch was loaded"


def test_levels_with_the_same_variables_may_follow_each_other(monkeypatch: pytest.MonkeyPatch):
    pretend_before_torch(monkeypatch, "repeatable")
    assert determinism.apply("invariant", 1).granted == "invariant"
    pretend_before_torch(monkeypatch, "portable", executed=True)
    assert determinism.apply("invariant", 1).granted == "seeded"  # MKL computes as for the other level


def test_the_lowest_level_takes_back_what_a_higher_one_set(monkeypatch: pytest.MonkeyPatch):
    pretend_before_torch(monkeypatch, "portable", executed=True)
    determinism.apply("portable", 1)
    determinism.apply("seeded", 1)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.mkldnn.enabled


def test_a_level_is_lowered_only_for_a_reason():
    granted = determinism.Determinism("portable", "portable", 1)
    assert granted.lowered("seeded", []) is granted
    once = granted.lowered("invariant", ["one"])
    assert (once.granted, once.reasons) == ("invariant", ("one",))
    assert once.lowered("portable", ["two"]).granted == "invariant"
    assert once.lowered("seeded", ["two"]).reasons == ("one", "two")


def test_the_highest_level_needs_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch):
    pretend_before_torch(monkeypatch, "portable")
    assert determinism.late_variables("portable") == ("GLIBC_TUNABLES",)
    assert determinism.needs_new_process("portable")
    monkeypatch.setenv("DEEPDIVA_REEXECUTED", "portable")
    assert not determinism.needs_new_process("portable")
    assert determinism.late_variables("portable") == ()


@pytest.mark.parametrize(("before", "expected"), [("seeded", "seeded"), ("invariant", "invariant")])
def test_a_resumed_run_is_never_granted_more_than_it_was(before: str, expected: str, monkeypatch: pytest.MonkeyPatch):
    pretend_before_torch(monkeypatch, "invariant")
    granted = determinism.apply("invariant", 1, granted_before={"granted": before})
    assert granted.granted == expected
    assert bool(granted.reasons) == (before != "invariant")


def test_a_resumed_run_may_be_granted_less():
    granted = determinism.apply("invariant", 1, granted_before={"granted": "invariant"})
    assert granted.granted == "seeded"
    assert "the run was started at the level invariant" in granted.reasons


def test_threads_are_counted_by_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(64)), raising=False)
    assert determinism.default_threads() == 8
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {3}, raising=False)
    assert determinism.default_threads() == 1
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert determinism.default_threads() == 1


def test_a_process_is_replaced_by_the_same_command(monkeypatch: pytest.MonkeyPatch):
    called = []
    monkeypatch.setattr("os.execve", lambda *words: called.append(words))
    monkeypatch.setattr(sys, "orig_argv", ["python", "-X", "dev", "-m", "deepdiva", "run"])
    determinism.execute_again("portable")
    program, words, environment = called[0]
    assert program == sys.executable
    assert words == [sys.executable, "-X", "dev", "-m", "deepdiva", "run"]
    assert environment["OMP_NUM_THREADS"] == "1"
    assert environment["DEEPDIVA_REEXECUTED"] == "portable"


def test_preparing_loads_no_torch_and_is_in_time():
    code = """
import os, sys
from deepdiva.engine import determinism
determinism.prepare("repeatable")
assert "torch" not in sys.modules and os.environ["MKL_CBWR"] == "AUTO"
assert determinism.late_variables("repeatable") == ()
assert determinism.late_variables("portable")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
