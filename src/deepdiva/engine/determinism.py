"""Determinism levels: what each sets, when it must be set, and which one a process was really granted.

Importing this module loads no torch: the variables below are read by libraries when they load, so they are set first.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

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
    "NPY_DISABLE_CPU_FEATURES": "X86_V4,AVX512_ICL,AVX512_SPR",
}
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
    before_torch = os.environ.get(_BEFORE_TORCH) == level
    if "torch" in sys.modules and not before_torch:
        return tuple(wanted)
    at_exec = _AT_EXEC.get(level, {}) if os.environ.get(_REEXECUTED) != level else {}
    return tuple(dict.fromkeys([*wrong, *at_exec]))


def apply(level: str, threads: int | None, *, granted_before: Mapping[str, object] | None = None) -> Determinism:
    """Sets torch up for a level and says which level this process can really be granted.

    Args:
        level: One of `LEVELS`.
        threads: The number of intra-operation threads; None for `default_threads()`. It is part of the experiment:
            reductions are split by it, and their sums differ in the last bits.
        granted_before: What an earlier process of the same run was granted, when it is resumed.
    """
    import torch

    late = late_variables(level)
    portable = level == "portable"
    count = 1 if portable else threads or default_threads()
    torch.set_num_threads(count)
    reasons = [f"{name} was not set before torch was loaded" for name in late]
    if portable and threads not in (None, 1):
        reasons.append(f"the portable level runs on one thread, not {threads}")
    if level != "seeded":
        torch.use_deterministic_algorithms(True)
        # Filling every new tensor with NaN would only hide reads of uninitialised memory, at a cost in each step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.benchmark = False
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.mkldnn.enabled = not portable  # type: ignore[assignment]
    granted = level if not reasons else "seeded"
    before = LEVELS[0] if granted_before is None else str(granted_before.get("granted", LEVELS[0]))
    if granted_before is not None and before != granted:
        reasons.append(f"the run was started at the level {before}")
        granted = min(granted, before, key=LEVELS.index)
    return Determinism(level, granted, count, tuple(reasons))


def _interpreter_words() -> list[str]:
    """The words after the interpreter that repeat this command (`python -m` and options included)."""
    return sys.orig_argv[1:]
