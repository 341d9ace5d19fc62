"""The files of a run folder as text: configuration, data, predictions, and where a picture goes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from deepdiva.runs.storage import canonical_json, plain

if TYPE_CHECKING:
    from deepdiva.config import Config


class Footprint(Protocol):
    """Proof of what was read, as `deepdiva.data` makes it."""

    @property
    def root(self) -> str:
        """One digest of all."""

    def to_json(self) -> str:
        """All that is needed to check it."""


def plain_settings(config: Config | Mapping[str, Any] | None) -> dict[str, Any]:
    """A configuration as nested plain values."""
    values = {} if config is None else config if isinstance(config, Mapping) else config.to_mapping()
    return dict(json.loads(json.dumps(values, default=plain)))


def config_text(config: Config | Mapping[str, Any]) -> tuple[str, str]:
    """The YAML text of a configuration, and its digest."""
    if isinstance(config, Mapping):
        from deepdiva.config.yaml_writer import write

        values = plain_settings(config)
        return write(values), sha256(canonical_json(values))
    from deepdiva.config import digest

    return config.to_yaml(), digest(config)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def data_files(
    footprints: Sequence[Footprint], membership: Mapping[str, Sequence[str]], statistics: Mapping[str, Any]
) -> tuple[dict[str, str], str]:
    """What `data/` holds, by name, and the digest of what was read and how it was split."""
    files = {f"footprint-{number}.json": footprint.to_json() for number, footprint in enumerate(footprints)}
    members = {split: list(ids) for split, ids in membership.items()}
    files |= {"membership.json": _document(members)} if members else {}
    files |= {"statistics.json": _document(statistics)} if statistics else {}
    roots = [footprint.root for footprint in footprints]
    return files, sha256(canonical_json({"footprints": roots, "membership": members}))


def predictions_csv(columns: Mapping[str, Sequence[Any]]) -> str:
    """A table with one row a sample, `id` first; every float reads back to the same bits.

    >>> predictions_csv({"score": [0.1, 1e-9], "id": ["a", "b"]}).splitlines()
    ['id,score', 'a,0.1', 'b,1e-09']
    """
    names = sorted(columns, key=lambda name: name != "id")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*(_values(columns[name]) for name in names), strict=True))
    return text.getvalue()


def figure_path(tag: str, step: int) -> Path:
    """Where in the run folder a picture goes; what no file name should hold is replaced.

    >>> figure_path("val/confusion", 40).as_posix()
    'figures/val/confusion/00000040.png'
    """
    parts = [re.sub(r"[^\w.+-]", "_", part, flags=re.ASCII).lstrip(".") for part in tag.split("/")]
    return Path("figures", *(part for part in parts if part), f"{step:08d}.png")


def sha256(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _document(value: Any) -> str:
    return f"{json.dumps(value, indent=1, default=plain)}\n"


def _values(column: Sequence[Any]) -> Sequence[Any]:
    """A column of numpy or torch as Python's own values, whose text reads back exactly."""
    to_list = getattr(column, "tolist", None)
    values: Sequence[Any] = to_list() if callable(to_list) else column
    return values
