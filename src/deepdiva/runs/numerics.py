"""Numeric fingerprints as they are read and compared, without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepdiva.runs.folder import RunFolder
from deepdiva.runs.storage import StorageError, canonical_json

NAME = "environment/numerics.json"
SCHEMA = 1


def read(run: RunFolder | Path | str) -> dict[str, Any] | None:
    """The numeric fingerprint of a run: `digest`, `settings`, and the `operations` with a hash for each.

    Args:
        run: The run, or its folder.

    Returns:
        None where the run has none: one that did not finish its training, or one of a loop of your own.

    Raises:
        StorageError: It is damaged.
    """
    folder = run if isinstance(run, RunFolder) else RunFolder.open(run)
    document = folder.document(NAME)
    if document is None:
        return None
    try:
        return parse(document)
    except ValueError as error:
        raise StorageError(f"{folder.path / NAME} is damaged: {error}", "restore it from a copy") from error


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The names of the operations that do not give the same bits, in the order of `a`; one that a side lacks differs.

    Args:
        a: A fingerprint, as `read` gives it.
        b: The other one.
    """
    of_a, of_b = a["operations"], b["operations"]
    names = [*of_a, *(name for name in of_b if name not in of_a)]
    return [name for name in names if of_a.get(name) != of_b.get(name)]


def digest_of(operations: Mapping[str, str]) -> str:
    """SHA-256 over the hashes of all operations."""
    return hashlib.sha256(canonical_json(dict(operations)).encode()).hexdigest()


def parse(document: Any) -> dict[str, Any]:
    """A fingerprint that is what was written; a `ValueError` says why it is not."""
    if not isinstance(document, Mapping) or document.get("schema") != SCHEMA:
        raise ValueError("it has another form")
    operations, settings = document.get("operations"), document.get("settings")
    if not isinstance(operations, Mapping) or not isinstance(settings, Mapping):
        raise ValueError("it has another form")
    if not all(isinstance(value, str) for value in operations.values()):
        raise ValueError("a hash is no text")
    if document.get("digest") != digest_of(operations):
        raise ValueError("its digest does not fit its operations")
    return dict(document)
