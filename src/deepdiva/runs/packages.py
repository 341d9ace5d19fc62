"""Which packages are installed, read from their records on disk, without importing any of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Written by the installer after the wheel was unpacked: they differ between pip and uv, not between packages.
_INSTALLER_FILES = (b"/INSTALLER,", b"/REQUESTED,", b"/direct_url.json,", b"/uv_cache.json,", b"/uv_build.json,")


@dataclass(frozen=True)
class Package:
    """One installed distribution.

    Args:
        name: Its normalised name (`scikit-learn`).
        version: Its version.
        sha256: SHA-256 over the recorded hashes of its files; None where none were recorded (editable installs).
        origin: What `direct_url.json` says, for packages that do not come from an index.
    """

    name: str
    version: str
    sha256: str | None = None
    origin: Mapping[str, Any] | None = None

    @property
    def editable(self) -> bool:
        """Whether the package is used from its source folder."""
        return bool(self.origin and self.origin.get("dir_info", {}).get("editable"))


def installed_packages(path: Sequence[str] | None = None) -> list[Package]:
    """The packages that `import` would find, sorted by name; of two with one name the first on the path counts."""
    found: dict[str, Package] = {}
    for place in sys.path if path is None else path:
        for folder in _records(Path(place or ".")):
            name, version = _identity(folder)
            if name and name not in found:
                package = Package(name, version, origin=_origin(folder))
                # The one file of an editable install holds the path of its source folder.
                found[name] = package if package.editable else replace(package, sha256=_files_digest(folder))
    return [found[name] for name in sorted(found)]


def pylock(packages: Iterable[Package], *, python: str) -> str:
    """The packages in the shape of a PEP 751 lock file; our digests stand in each package's `tool` table."""
    lines = ['lock-version = "1.0"', 'created-by = "deepdiva"', f"requires-python = {json.dumps('==' + python)}"]
    for package in packages:
        lines += ["", "[[packages]]", f"name = {json.dumps(package.name)}", f"version = {json.dumps(package.version)}"]
        lines += _source(package.origin or {})
        if package.sha256 is not None:
            lines += ["[packages.tool.deepdiva]", f'record-sha256 = "{package.sha256}"']
    return "\n".join(lines) + "\n"


def _records(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith((".dist-info", ".egg-info")))
    except OSError:  # a zip file, or a place that does not exist
        return []
    return [place / name for name in names]


def _identity(folder: Path) -> tuple[str, str]:
    """Name and version, from the folder's name."""
    name, _, rest = folder.stem.partition("-")
    version = rest.partition("-")[0]  # an egg's name goes on with `-py3.11`
    return re.sub(r"[-_.]+", "-", name).lower(), version


def _files_digest(folder: Path) -> str | None:
    """A digest of a package's files as recorded, the same wherever and by whatever tool it was installed."""
    try:
        lines = (folder / "RECORD").read_bytes().split(b"\n")
    except OSError:
        return None
    kept = sorted(line for line in lines if b",sha256=" in line and not _of_installation(line))
    return hashlib.sha256(b"\n".join(kept)).hexdigest() if kept else None


def _of_installation(line: bytes) -> bool:
    """Whether a line of RECORD depends on where and by what the package was installed."""
    # Scripts (`../../bin/x`) carry the path of the interpreter.
    if line.startswith(b".."):
        return True
    return b".dist-info/" in line and any(name in line for name in _INSTALLER_FILES)


def _origin(folder: Path) -> Mapping[str, Any] | None:
    try:
        content = json.loads((folder / "direct_url.json").read_bytes())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _source(origin: Mapping[str, Any]) -> list[str]:
    url = str(origin.get("url", ""))
    if "vcs_info" in origin:
        commit = origin["vcs_info"].get("commit_id", "")
        kind = origin["vcs_info"].get("vcs", "git")
        return [_inline("vcs", type=kind, url=_clean(url), **{"commit-id": commit})]
    if "dir_info" in origin:
        return [
            _inline("directory", path=url.removeprefix("file://"), editable=bool(origin["dir_info"].get("editable")))
        ]
    hashes = origin.get("archive_info", {}).get("hashes", {})
    return [_inline("archive", url=_clean(url), hashes=hashes)] if hashes else []


def _clean(url: str) -> str:
    """An address without user name and password."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def _inline(name: str, **values: Any) -> str:
    return f"{name} = {_toml(values)}"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + " }"
    return json.dumps(value)  # strings and booleans are written alike in JSON and TOML
