"""The run folder: write it, read it, find it, mirror it; readable without torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder as RunFolder
    from deepdiva.runs.folder import find_run as find_run
    from deepdiva.runs.folder import find_runs as find_runs
    from deepdiva.runs.run import Run as Run

_HOMES = {"Run": "run", "RunFolder": "folder", "find_run": "folder", "find_runs": "folder"}

__all__ = ["Run", "RunFolder", "find_run", "find_runs"]


def __getattr__(name: str) -> Any:
    """Load a name when it is first asked for: reading a run must not pay for writing one."""
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
