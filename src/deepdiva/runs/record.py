"""What `run.json` says: made before the first step, replaced as a whole, and read back with care."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepdiva.errors import UserError
from deepdiva.runs.storage import StorageError, plain

SCHEMA = 1
NAME = "run.json"


def new_record(folder: Path, **facts: Any) -> dict[str, Any]:
    """The first record of a run: what is known before anything happened, and room for the rest."""
    return {
        "schema": SCHEMA,
        "id": folder.name,
        "experiment": folder.parent.name,
        "status": "running",
        "kind": facts["kind"],
        "parent": facts["parent"],
        "task": facts["task"],
        "data": facts["data"],
        "command": facts["command"],
        "directory": Path(os.path.relpath(Path.cwd(), folder.resolve())).as_posix(),
        "created": now(),
        "finished": None,
        "duration": None,
        **this_process(),
        "seed": facts["seed"],
        "digests": {},
        "results": {},
        "best": {},
        "test_reads": [],
        "error": None,
        "determinism": facts["determinism"],
        "versions": _versions(),
    }


def encode_record(record: Mapping[str, Any]) -> bytes:
    """The bytes of a `run.json`."""
    return f"{json.dumps(record, indent=2, default=plain)}\n".encode()


def read_record(folder: Path) -> dict[str, Any]:
    """The content of a run's `run.json`; a `UserError` where there is none, or none that can be read."""
    path = folder / NAME
    try:
        record = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        reason = f"it holds no {NAME}" if folder.exists() else "there is no such folder"
        raise UserError(f"{folder} is not a run folder: {reason}", "`deepdiva runs ls` lists the runs") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise StorageError(f"{path} is damaged: {error}", "restore it from a copy: it is never half-written") from error
    if not isinstance(record, dict) or not isinstance(record.get("schema"), int):
        raise UserError(f"{path} was not written by DeepDIVA")
    if record["schema"] > SCHEMA:
        raise UserError(f"{path} was written by a newer DeepDIVA (schema {record['schema']})", "update DeepDIVA")
    return record


def ending(error: BaseException | None) -> tuple[str, dict[str, str] | None]:
    """The status that an exception gives a run, and what `run.json` says of it."""
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "completed", None
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", None
    import traceback

    problem = {"type": type(error).__name__, "message": str(error)}
    if not isinstance(error, UserError):  # such a message says all; a traceback would only hide it
        problem["traceback"] = "".join(traceback.format_exception(error))
    return "failed", problem


def this_process() -> dict[str, Any]:
    """The keys that name the process which works on a run."""
    return {"pid": os.getpid(), "host": os.uname().nodename}


def now() -> str:
    """The time as `run.json` holds it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(time: str | None) -> float | None:
    """Seconds since 1970 of a time as `run.json` holds it."""
    return None if time is None else datetime.fromisoformat(time).timestamp()


def _versions() -> dict[str, str | None]:
    import platform

    return {"deepdiva": _version("deepdiva"), "python": platform.python_version(), "torch": _version("torch")}


def _version(name: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    loaded = getattr(sys.modules.get(name), "__version__", None)  # says more than the package: 2.14.1+cu130
    try:
        return str(loaded) if loaded else version(name)
    except PackageNotFoundError:
        return None
