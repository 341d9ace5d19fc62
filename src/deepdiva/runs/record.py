"""What `run.json` says: made before the first step, replaced as a whole, and read back with care.

Its last key is `check`, the SHA-256 of all bytes before it: whatever changed the file is recognised. Nothing of what
it says is believed before the types are those that DeepDIVA writes: whoever reads a record may use it as it is.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepdiva.errors import UserError
from deepdiva.runs.job import this_job
from deepdiva.runs.reading import LARGEST, parse_json, read_bytes
from deepdiva.runs.storage import Storage, StorageError, plain

SCHEMA = 2  # 1 had no check
NAME = "run.json"
_CHECK = re.compile(rb',\n  "check": "([0-9a-f]{64})"\n\}\n\Z')
_HINT = "restore it from a copy: it is never half-written"


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
    """The bytes of a `run.json`: the record, and a check of its bytes."""
    body = json.dumps({name: value for name, value in record.items() if name != "check"}, indent=2, default=plain)
    text = body.removesuffix("\n}").encode()
    return text + f',\n  "check": "{_sha256(text)}"\n}}\n'.encode()


def read_record(folder: Path) -> dict[str, Any]:
    """The content of a run's `run.json`; a `UserError` where there is none, or none that can be read."""
    path = folder / NAME
    try:
        data = read_bytes(path, limit=LARGEST[NAME])
    except (FileNotFoundError, NotADirectoryError):
        reason = f"it holds no {NAME}" if folder.exists() else "there is no such folder"
        raise UserError(f"{folder} is not a run folder: {reason}", "`deepdiva runs ls` lists the runs") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {(error.strerror or str(error)).lower()}") from error
    return _checked(data, path)


def amend(folder: Path, storage: Storage | None = None, **fields: Any) -> None:
    """Put facts into the `run.json` of a run that has ended, such as what a repetition of it came to."""
    (storage or Storage()).write(folder / NAME, encode_record({**read_record(folder), **fields}))


def _checked(data: bytes, path: Path) -> dict[str, Any]:
    """The record in the bytes of a `run.json`, when they fit their check and it has the types that we write."""
    tail = _CHECK.search(data)
    if tail is not None and tail[1].decode() != _sha256(data[: tail.start()]):
        raise StorageError(f"{path} is damaged: it does not fit its own check", _HINT)
    record = parse_json(data, path)
    if not isinstance(record, dict) or type(record.get("schema")) is not int:
        raise UserError(f"{path} was not written by DeepDIVA")
    if record["schema"] > SCHEMA:
        raise UserError(f"{path} was written by a newer DeepDIVA (schema {record['schema']})", "update DeepDIVA")
    if record["schema"] > 1 and tail is None:
        raise StorageError(f"{path} is damaged: its check is missing", _HINT)
    for name, is_valid in _VALID.items():
        if record.get(name) is not None and not is_valid(record[name]):
            raise UserError(f"{path} was not written by DeepDIVA: '{name}' holds something else")
    record.pop("check", None)
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
    return {"pid": os.getpid(), "host": os.uname().nodename, "job": this_job()}


def now() -> str:
    """The time as `run.json` holds it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds_of(time: str | None) -> float | None:
    """Seconds since 1970 of a time as `run.json` holds it."""
    return None if time is None else datetime.fromisoformat(time).timestamp()


def _sha256(data: bytes) -> str:
    import hashlib  # not to be paid for by those who only list runs that were listed before

    return hashlib.sha256(data).hexdigest()


def _is_name(value: Any) -> bool:
    """Whether a value may become the name of a folder."""
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}", value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    """Whether a value is a number of the size that a computer counts with; it may be NaN."""
    return isinstance(value, float) or (isinstance(value, int) and -(2**63) <= value < 2**63)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _is_span(value: Any) -> bool:
    return _is_number(value) and math.isfinite(value) and value >= 0


def _is_time(value: Any) -> bool:
    try:
        return isinstance(value, str) and seconds_of(value) is not None
    except (ValueError, OverflowError, OSError):
        return False


def _is_mapping(value: Any, valid: Callable[[Any], bool] = lambda _: True) -> bool:
    return isinstance(value, dict) and all(item is None or valid(item) for item in value.values())


def _is_list(value: Any, valid: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(valid(item) for item in value)


_VALID: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(["id", "experiment"], _is_name),
    **dict.fromkeys(["status", "kind", "parent", "task", "data", "host", "directory", "seal"], _is_text),
    **dict.fromkeys(["created", "finished"], _is_time),
    **dict.fromkeys(["digests", "versions"], lambda value: _is_mapping(value, _is_text)),
    **dict.fromkeys(["results", "best"], lambda value: _is_mapping(value, lambda x: _is_text(x) or _is_number(x))),
    **dict.fromkeys(["determinism", "error", "job"], _is_mapping),
    "duration": _is_span,
    "seed": _is_count,
    "pid": lambda value: _is_count(value) and value < 2**31,
    "command": lambda value: _is_text(value) or _is_list(value, _is_text),
    "test_reads": lambda value: _is_list(value, _is_mapping),
    "resumed": lambda value: _is_list(value, lambda item: _is_mapping(item) and _is_time(item.get("time"))),
}
"""What the values of a record must be, where they are not null."""


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
