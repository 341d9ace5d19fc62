"""The record of everything around the code that can change a result: packages, Python, machine, variables."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepdiva.runs.packages import Package, installed_packages, pylock
from deepdiva.runs.storage import Storage, canonical_json

RECORD = "environment.json"
LOCK = "pylock.toml"

# Instruction sets that numerical libraries choose their kernels by.
_FLAGS = re.compile(r"^(sse4_2|avx.*|fma4?|f16c|bmi[12]|amx_.*|asimd.*|neon|sve.*|bf16|i8mm|fphp|vsx|altivec)$")
_VARIABLES = re.compile(
    r"^(OMP|KMP|GOMP|MKL|OPENBLAS|BLIS|VECLIB|NUMEXPR|NPY|ATEN|ONEDNN|DNNL|CUBLAS|CUDNN|CUDA|NVIDIA|NCCL|HIP|ROCR|HSA"
    r"|MIOPEN|TORCH|PYTORCH|TORCHINDUCTOR|TRITON|MALLOC)_\w+$"
    r"|^(PYTHONHASHSEED|PYTHONOPTIMIZE|GLIBC_TUNABLES|LD_PRELOAD|CUDA_VISIBLE_DEVICES)$"
)
CACHE_FOLDERS = frozenset(
    {"TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "TORCH_HOME", "TORCH_EXTENSIONS_DIR", "CUDA_CACHE_PATH"}
)
"""Variables that say where something is kept that can be made again; torch sets the first one when it loads."""
# scikit-learn sets these when it is imported: a second run in one process would seem to have another environment.
_WITHOUT_EFFECT = CACHE_FOLDERS | {"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}
_SECRET_VARIABLE = re.compile(r"TOKEN|KEY|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def capture(destination: Path, *, determinism: Mapping[str, Any], storage: Storage | None = None) -> str:
    """Record the environment in `destination`, the folder `environment/` of a run, and give its digest.

    Args:
        destination: The folder to fill; made when it is not there.
        determinism: What was asked for and granted: level, threads, flags.
        storage: Where changes go.
    """
    storage = storage or Storage()
    packages = installed_packages()
    relevant = describe(packages) | {"determinism": dict(determinism)}
    digest = hashlib.sha256(canonical_json(relevant).encode()).hexdigest()
    record = {"schema": 1, "digest": digest, **relevant, "place": describe_place(), "torch": describe_torch()}
    storage.make_directory(destination)
    storage.write(destination / LOCK, pylock(packages, python=platform.python_version()).encode())
    text = json.dumps(record, sort_keys=True, indent=1, ensure_ascii=True)
    storage.write(destination / RECORD, f"{text}\n".encode())
    return digest


def describe(packages: list[Package]) -> dict[str, Any]:
    """What can change a result, free of names of machines, folders and moments: the digest is taken over this."""
    return {
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
            "compiler": platform.python_compiler(),
            "optimize": sys.flags.optimize,
        },
        "packages": {package.name: _package_entry(package) for package in packages},
        "system": {"os": _os_name(), "machine": platform.machine(), "libc": _libc()},
        "cpu": _cpu(),
        "gpu": _gpu(),
        "variables": relevant_variables(),
    }


def relevant_variables() -> dict[str, str]:
    """The environment variables of this process that can change a result, by name."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if _VARIABLES.match(name) and name not in _WITHOUT_EFFECT and not _SECRET_VARIABLE.search(name)
    }


def describe_place() -> dict[str, Any]:
    """What helps to find the machine again and cannot change a result; no part of the digest."""
    return {
        "host": socket.gethostname(),
        "kernel": platform.release(),
        "executable": sys.executable,
        "prefix": sys.prefix,
        "cores": os.cpu_count(),
        "usable_cores": _usable_cores(),
        "memory": _memory(),
        "paths": {name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ},
    }


def describe_torch() -> dict[str, Any] | None:
    """What torch says of itself; None as long as it is not loaded, for a record must not load it."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_num_threads"):  # the second: it is still being imported
        return None
    facts = {
        "version": str(torch.__version__),
        "git": torch.version.git_version,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }
    # Asking for devices would start the driver in a process that may never need it.
    if torch.cuda.is_initialized():
        facts["cudnn"] = torch.backends.cudnn.version()
        facts["devices"] = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return facts


def _package_entry(package: Package) -> dict[str, Any]:
    entry: dict[str, Any] = {"version": package.version, "sha256": package.sha256}
    if package.editable:
        entry["editable"] = True
    commit = (package.origin or {}).get("vcs_info", {}).get("commit_id")
    return entry | ({"commit": commit} if commit else {})


def _os_name() -> str:
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _libc() -> str | None:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError, AttributeError):
        return None


def _cpu() -> dict[str, Any]:
    if sys.platform == "darwin":
        return {"model": _sysctl("machdep.cpu.brand_string"), "flags": []}
    facts: dict[str, str] = {}
    for line in _read("/proc/cpuinfo").split("\n\n", 1)[0].splitlines():
        key, _, value = line.partition(":")
        facts[key.strip()] = value.strip()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    # ARM machines give numbers instead of a name.
    model = facts.get("model name") or " ".join(facts.get(key, "") for key in ("CPU implementer", "CPU part")).strip()
    return {"model": model or platform.processor(), "flags": sorted(flag for flag in flags if _FLAGS.match(flag))}


def _gpu(place: Path = Path("/proc/driver/nvidia")) -> dict[str, Any]:
    """Driver and models of NVIDIA devices as the kernel lists them: the same whether torch is loaded or not."""
    # "Kernel Module  580.65", or "Open Kernel Module for x86_64  580.65"
    driver = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", _read(place / "version"))
    if driver is None:
        return {}
    models = []
    for path in sorted(place.glob("gpus/*/information")):
        model = re.search(r"^Model:\s*(.+)$", _read(path), re.MULTILINE)
        models.append(model[1] if model else "unknown")
    return {"driver": driver[1], "models": models}


def _usable_cores() -> int | None:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None


def _sysctl(name: str) -> str:
    try:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
