"""Determinism levels: what each sets, when it must be set, and which one a process was really granted.

Importing this module loads no torch: the variables below are read by libraries when they load, so they are set first.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

LEVELS = ("seeded", "repeatable", "invariant", "portable")

# Read when a library loads (MKL, cuBLAS, oneDNN, ATen, OpenBLAS, numpy).
_REPEATABLE = {"MKL_CBWR": "AUTO", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
_PORTABLE = {
    "MKL_CBWR": "COMPATIBLE",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3,X86_V4,AVX512_ICL,AVX512_SPR",
}
_STEADY = {"MKL_CBWR": {"AUTO", "COMPATIBLE"}, "CUBLAS_WORKSPACE_CONFIG": {":4096:8"}}
# MKL computes these on vectors: what its first call finds out must not be found out by several threads at once.
_WARMED = ("sqrt", "exp", "log", "sin", "cos", "tanh", "acos", "asin", "atan", "erf", "erfinv", "log10", "expm1")
# Read by the dynamic linker before the program starts: only a new process gets it.
_AT_EXEC = {"portable": {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-FMA4"}}
_REEXECUTED = "DEEPDIVA_REEXECUTED"
_BEFORE_TORCH = "DEEPDIVA_VARIABLES_BEFORE_TORCH"
# Threads that wait for one another by spinning take five times the CPU time on a busy machine; no bit changes.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE"}


@dataclass(frozen=True)
class Determinism:
    """The level that was asked for, the level that was granted, and why they differ."""

    asked: str
    granted: str
    threads: int
    reasons: tuple[str, ...] = ()

    def lowered(self, level: str, reasons: Sequence[str]) -> Determinism:
        """At most `level`, if there are any reasons; they are kept."""
        if not reasons:
            return self
        granted = min(self.granted, level, key=LEVELS.index)
        return replace(self, granted=granted, reasons=(*self.reasons, *reasons))

    def to_mapping(self) -> dict[str, object]:
        """The form kept in `run.json`."""
        return {
            "asked": self.asked,
            "granted": self.granted,
            "threads": self.threads,
            "reasons": list(self.reasons),
        }


def variables(level: str) -> dict[str, str]:
    """The environment variables that a level needs."""
    if level == "seeded":
        return {}
    return dict(_PORTABLE if level == "portable" else _REPEATABLE) | _AT_EXEC.get(level, {})


def environment_of_new_process(level: str) -> dict[str, str]:
    """The environment of a Python process that can be granted `level`: this one's, with the level's variables.

    What another level has set in this process is not passed on; what its user set is.
    """
    ours = variables(os.environ.get(_BEFORE_TORCH, "seeded"))
    others = {name: value for name, value in os.environ.items() if ours.get(name) != value}
    return {**_WAITING, **others, **variables(level), _REEXECUTED: level, _BEFORE_TORCH: level}


def default_threads() -> int:
    """The number of threads for a run that does not say: the cores this process may use, at most eight."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        cores = os.cpu_count() or 1
    return max(1, min(cores, 8))


def prepare(level: str) -> None:
    """Sets the level's variables in this process; call it before torch is imported."""
    if "torch" not in sys.modules:
        for name, value in _WAITING.items():
            os.environ.setdefault(name, value)
        os.environ.update(variables(level))
        os.environ[_BEFORE_TORCH] = level


def needs_new_process(level: str) -> bool:
    """Whether the level's variables can only be had by executing the program anew (and that was not yet done)."""
    if os.environ.get(_REEXECUTED) == level or level == "seeded":
        return False
    return bool(late_variables(level))


def execute_again(level: str) -> None:
    """Replaces this process by the same command with the level's variables set; does not return."""
    environment = environment_of_new_process(level)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, [sys.executable, *_interpreter_words()], environment)


def late_variables(level: str) -> tuple[str, ...]:
    """The variables that did not reach the libraries: missing, or set after torch was loaded."""
    wanted = variables(level)
    wrong = [name for name, value in wanted.items() if os.environ.get(name) != value]
    before_torch = variables(os.environ.get(_BEFORE_TORCH, "seeded")) == wanted
    if "torch" in sys.modules and not before_torch:
        return tuple(wanted)
    at_exec = _AT_EXEC.get(level, {}) if os.environ.get(_REEXECUTED) != level else {}
    return tuple(dict.fromkeys([*wrong, *at_exec]))


def apply(
    level: str,
    threads: int | None,
    *,
    device: str = "cpu",
    granted_before: Mapping[str, object] | None = None,
) -> Determinism:
    """Sets torch up for a level and says which level this process can really be granted.

    What stands in the way lowers the level to the highest that still holds: a reason against equal bits on other
    processors leaves `invariant`, a variable that came too late to keep this one's code path steady only `seeded`.

    Args:
        level: One of `LEVELS`.
        threads: The number of intra-operation threads; None for `default_threads()`. It is part of the experiment:
            reductions are split by it, and their sums differ in the last bits.
        device: The type of the device that computes: `cpu`, `cuda`, `mps`.
        granted_before: What an earlier process of the same run was granted, when it is resumed.
    """
    import torch

    portable = level == "portable"
    count = 1 if portable else threads or default_threads()
    torch.set_num_threads(count)
    torch.use_deterministic_algorithms(level != "seeded")
    torch.backends.mkldnn.enabled = not portable  # type: ignore[assignment]
    if level != "seeded":
        # Filling every new tensor with NaN would only hide reads of uninitialised memory, at a cost in each step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        _warm()
    late = late_variables(level)
    granted = Determinism(level, level, count)
    granted = granted.lowered(_without(late), [f"{name} was not set before torch was loaded" for name in late])
    if portable:
        granted = granted.lowered("invariant", _obstacles(threads, device, pinned=not late))
    if granted_before is not None:
        before = str(granted_before.get("granted", LEVELS[0]))
        if before != granted.granted:
            granted = granted.lowered(before, [f"the run was started at the level {before}"])
    return granted


def _without(late: Sequence[str]) -> str:
    """The highest level that holds although some variables came too late."""
    before_torch = os.environ.get(_BEFORE_TORCH, "seeded") != "seeded"
    steady = all(os.environ.get(name) in values for name, values in _STEADY.items())
    return "invariant" if before_torch and steady and set(late) - set(_REPEATABLE) else "seeded"


def _obstacles(threads: int | None, device: str, *, pinned: bool) -> list[str]:
    """Why this process cannot give the bits of other processors, apart from variables that came too late."""
    import torch

    if device != "cpu":
        return [f"the portable level is for CPUs, not for {device}"]
    machine = platform.machine()
    if machine.lower() not in ("x86_64", "amd64"):
        return [f"the portable level is for x86-64 processors, not for {machine}"]
    obstacles = []
    if not torch.cpu.get_capabilities().get("avx2"):
        obstacles.append("this processor has no AVX2, which the portable level computes with")
    elif pinned and (capability := torch.backends.cpu.get_cpu_capability()) != "AVX2":
        obstacles.append(f"torch computes with {capability} here, the portable level with AVX2")
    if threads not in (None, 1):
        obstacles.append(f"the portable level runs on one thread, not {threads}")
    return obstacles


def _warm() -> None:
    """Calls every vector operation of MKL once, on so few numbers that it runs on one thread."""
    import torch

    for kind in (torch.float32, torch.float64):
        few = torch.full((16,), 0.5, dtype=kind)
        for name in _WARMED:
            getattr(torch, name)(few)


def _interpreter_words() -> list[str]:
    """The words after the interpreter that repeat this command (`python -m` and options included)."""
    return sys.orig_argv[1:]
