"""Where downloaded data sets lie on this machine, and what is known of each: its place, footprint and numbers."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepdiva.data.disk import explained
from deepdiva.data.footprint import Footprint
from deepdiva.errors import UserError

SCHEMA = 1


@dataclass(frozen=True)
class Receipt:
    """What is known of a data set since it was downloaded.

    Args:
        name: The name of the data set.
        folder: Where it lies.
        footprint: What it held then.
        statistics: Numbers about it, for people.
        verified: Whether its files had the published checksums.
    """

    name: str
    folder: Path
    footprint: Footprint
    statistics: Mapping[str, Any]
    verified: bool


def data_directory() -> Path:
    """`$XDG_DATA_HOME/deepdiva`, or `~/.local/share/deepdiva`."""
    given = os.environ.get("XDG_DATA_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "share"
    return base / "deepdiva"


def folder_of(name: str) -> Path:
    """Where a data set is put when no other place is asked for."""
    return data_directory() / name


def load(name: str) -> Receipt | None:
    """What is known of a data set; None where nothing is, or where the receipt cannot be read."""
    try:
        content = json.loads(_place(name).read_text())
        if content["schema"] != SCHEMA:
            return None
        footprint = Footprint.from_json(content["footprint"])
        return Receipt(name, Path(content["folder"]), footprint, content["statistics"], content["verified"])
    except (OSError, ValueError, KeyError, TypeError, UserError):
        return None


def save(receipt: Receipt) -> None:
    """Keeps a receipt, at once as a whole.

    Raises:
        UserError: The system refuses.
    """
    content = {
        "schema": SCHEMA,
        "name": receipt.name,
        "folder": str(receipt.folder),
        "verified": receipt.verified,
        "statistics": dict(receipt.statistics),
        "footprint": receipt.footprint.to_json(),
    }
    place = _place(receipt.name)
    with explained(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.stem}")
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(content, file, indent=1)
            Path(name).replace(place)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _place(name: str) -> Path:
    return data_directory() / f"{name}.json"
