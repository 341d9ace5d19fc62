"""Checks every file of a run folder against what was written: what is good, what is damaged, what nothing can prove.

The manifest proves all it lists. What it does not list, in a run that was killed or is older than the manifest, is
checked by what it carries itself: the lines of the logs and the checkpoints have checksums, the configuration, the
code and the environment digests.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepdiva.errors import UserError
from deepdiva.runs import capsule, integrity, record
from deepdiva.runs.integrity import Entry, Manifest
from deepdiva.runs.lines import intact_size, read_lines
from deepdiva.runs.reading import (
    inside,
    largest,
    leads_inside,
    parse_json,
    read_bytes,
    regular_files,
    special_files,
)
from deepdiva.runs.storage import StorageError, canonical_json
from deepdiva.runs.unpacking import members, read_code

State = Literal["good", "damaged", "unproved"]


@dataclass(frozen=True)
class Part:
    """What was found of a part of a run folder.

    Args:
        name: The file (`config.yaml`), or the folder of many that are all alike (`figures`).
        state: `good`, `damaged`, or `unproved`: nothing was kept to check it by.
        detail: How much was checked and by what, or what is wrong.
    """

    name: str
    state: State
    detail: str = ""


def verify(folder: Path) -> list[Part]:
    """Every part of a run folder, each file that is damaged on its own; nothing of it is executed or unpacked.

    Raises:
        UserError: It is not a run folder.
    """
    if not (folder / record.NAME).exists():
        record.read_record(folder)  # says why it is none
    facts, first = _record(folder)
    manifest, second = _manifest(folder, facts)
    listed = [part for part in (_listed(folder, name, entry) for name, entry in manifest.files.items()) if part]
    rest = [name for name in regular_files(folder) if name not in (record.NAME, integrity.NAME, *manifest.files)]
    damaged = {part.name for part in listed}
    good = [name for name in manifest.files if name not in damaged]
    return [
        first,
        *second,
        *_odd(folder),
        *listed,
        *_grouped(good, manifest),
        *_unlisted(folder, rest, facts, manifest),
    ]


def _record(folder: Path) -> tuple[Mapping[str, Any], Part]:
    try:
        facts = record.read_record(folder)
    except UserError as error:
        return {}, Part(record.NAME, "damaged", error.message)
    if facts["schema"] == 1:
        return facts, Part(record.NAME, "unproved", "written before it had a check")
    return facts, Part(record.NAME, "good", "fits its own check")


def _manifest(folder: Path, facts: Mapping[str, Any]) -> tuple[Manifest, list[Part]]:
    try:
        manifest = integrity.manifest_of(folder)
    except (StorageError, OSError) as error:
        return Manifest(), [Part(integrity.NAME, "damaged", _said(error))]
    if manifest is None and facts.get("schema", 1) > 1 and facts.get("finished"):
        return Manifest(), [Part(integrity.NAME, "damaged", "it is missing, although the run has ended")]
    if manifest is None:
        return Manifest(), [Part(integrity.NAME, "unproved", "there is none: what follows is checked by itself")]
    if facts and manifest.run != facts.get("id"):
        return Manifest(), [Part(integrity.NAME, "damaged", f"it is that of another run, {manifest.run}")]
    reach = "of all files" if manifest.complete else "of what was there before the first step"
    return manifest, [Part(integrity.NAME, "good", f"sizes and SHA-256 {reach}; fits its own check")]


def _odd(folder: Path) -> Iterator[Part]:
    """Links that lead out, pipes, sockets, devices."""
    for path in special_files(folder):
        name = path.relative_to(folder).as_posix()
        if not path.is_symlink():
            yield Part(name, "damaged", "it is no regular file")
        elif not leads_inside(path, folder):
            yield Part(name, "damaged", "it is a link that leads out of the run folder")


def _listed(folder: Path, name: str, entry: Entry) -> Part | None:
    """What is wrong with a file of the manifest; None where nothing is."""
    try:
        path = inside(folder / name, folder)
        if path.stat().st_size != entry.size or (found := integrity.measure(folder / name, folder)) != entry:
            found = Entry(path.stat().st_size, "")
            return Part(name, "damaged", _reason(integrity.damage(folder / name, entry, found), folder / name))
    except FileNotFoundError:
        return Part(name, "damaged", "it is missing")
    except (StorageError, OSError) as error:
        return Part(name, "damaged", _said(error))
    return None


def _grouped(names: list[str], manifest: Manifest) -> Iterator[Part]:
    """One part for each file at the top and each folder."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.partition("/")[0], []).append(name)
    for group, together in groups.items():
        size = sum(manifest.files[name].size for name in together)
        count = "" if together == [group] else "1 file, " if len(together) == 1 else f"{len(together)} files, "
        yield Part(group, "good", f"{count}{size:,} bytes as listed")


def _unlisted(folder: Path, names: list[str], facts: Mapping[str, Any], manifest: Manifest) -> Iterator[Part]:
    """What a manifest does not prove, by its own means; the rest is named together."""
    left = set(names)
    for group, check in _CHECKS.items():
        mine = [name for name in names if name == group or name.startswith(f"{group}/")]
        if mine:
            found = list(check(folder, mine, facts))
            yield from found
            names_found = [part.name for part in found] if group in _IN_PART else [group]
            left -= {name for name in mine if any(name == each or name.startswith(f"{each}/") for each in names_found)}
    groups: dict[str, int] = {}
    for name in sorted(left):
        group = name.partition("/")[0]
        groups[group] = groups.get(group, 0) + 1
    reason = "added after the run had ended" if manifest.complete else "nothing was kept to check it by"
    for group, count in groups.items():
        yield Part(group, "unproved", reason if count == 1 else f"{count} files: {reason}")


def _log(folder: Path, names: list[str], facts: Mapping[str, Any]) -> Iterator[Part]:
    name = names[0]
    if "/" in name:
        yield Part(name.partition("/")[0], "damaged", "it is a folder, and should be a log")
        return
    path = folder / name
    try:
        whole = intact_size(path)
        count = sum(1 for _ in read_lines(path))
        torn = path.stat().st_size - whole
    except (StorageError, OSError) as error:
        yield Part(name, "damaged", _reason(error, path))
        return
    rest = f"; a torn end of {torn:,} bytes, as a kill leaves it" if torn else ""
    lines = "1 line fits its checksum" if count == 1 else f"{count:,} lines fit their checksums"
    yield Part(name, "good", f"{lines}{rest}")


def _config(folder: Path, names: list[str], facts: Mapping[str, Any]) -> Iterator[Part]:
    from deepdiva.config.yaml_reader import read_bytes as read_yaml

    expected = (facts.get("digests") or {}).get("config")
    try:
        content = read_bytes(folder / "config.yaml", limit=largest("config.yaml"), within=folder)
        document = read_yaml(content, "config.yaml")
    except (UserError, OSError) as error:
        yield Part("config.yaml", "damaged", _said(error))
        return
    if document.problems:
        yield Part("config.yaml", "damaged", str(document.problems[0]))
    elif expected in _digests_of_settings(document.values):
        yield Part("config.yaml", "good", "what it decides has the digest in run.json")
    elif facts.get("finished") and expected:
        yield Part("config.yaml", "damaged", "it does not have the digest in run.json")
    else:
        yield Part("config.yaml", "unproved", "the run ended before it was complete")


def _digests_of_settings(values: Mapping[str, Any]) -> set[str]:
    """Of a mapping as a loop of one's own records it, and of a whole configuration."""
    from deepdiva.config.influence import influential

    return {hashlib.sha256(canonical_json(each).encode()).hexdigest() for each in (values, influential(values))}


def _code(folder: Path, names: list[str], facts: Mapping[str, Any]) -> Iterator[Part]:
    code, expected = folder / "code", (facts.get("digests") or {}).get("code")
    try:
        found = read_code(code)
        digest = capsule.recorded_digest(found)
        count = sum(1 for _ in members(code, found["files"]))
    except (UserError, KeyError, TypeError, AttributeError) as error:
        yield Part("code", "damaged", error.message if isinstance(error, UserError) else repr(error))
        return
    if digest != found.get("digest") or (expected and digest != expected):
        yield Part("code/code.json", "damaged", "its files do not give the digest in run.json")
    yield Part("code/source.tar.gz", "good", f"{count} files, each with its SHA-256")
    if digest == expected:
        yield Part("code/code.json", "good", "its files give the digest in run.json")


def _environment(folder: Path, names: list[str], facts: Mapping[str, Any]) -> Iterator[Part]:
    name, expected = "environment/environment.json", (facts.get("digests") or {}).get("environment")
    path = folder / name
    try:
        content = parse_json(read_bytes(path, limit=largest(name), within=folder), path)
        own = {key: value for key, value in content.items() if key not in _BESIDE_THE_DIGEST}
        digest = hashlib.sha256(canonical_json(own).encode()).hexdigest()
    except FileNotFoundError:
        return
    except (StorageError, OSError, AttributeError) as error:
        yield Part(name, "damaged", _said(error))
        return
    if expected and digest == expected:
        yield Part(name, "good", "what can change a result has the digest in run.json")
    elif expected:
        yield Part(name, "damaged", "it does not have the digest in run.json")


def _checkpoints(folder: Path, names: list[str], facts: Mapping[str, Any]) -> Iterator[Part]:
    for place in sorted({name.rpartition("/")[0] for name in names}):
        try:
            files = integrity.read_manifest(folder / place / integrity.NAME, within=folder)["files"]
        except FileNotFoundError:
            yield Part(place, "unproved", "it was being written when the run ended; a resumed run passes it over")
            continue
        except (StorageError, OSError) as error:
            yield Part(place, "damaged", _said(error))
            continue
        wrong = [part for name, entry in files.items() if (part := _listed(folder, f"{place}/{name}", entry))]
        yield from wrong
        if not wrong:
            yield Part(place, "good", f"{len(files)} files as its own manifest lists them")


def _said(error: Exception) -> str:
    """What an error says of a file whose name stands before it."""
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return error.message if isinstance(error, UserError) else str(error)


def _reason(error: Exception, path: Path) -> str:
    """The same without the path at its beginning."""
    return _said(error).removeprefix(str(path)).lstrip(", :").removeprefix("is damaged: ")


_IN_PART = ("code", "environment")  # of which some files have no digest
_BESIDE_THE_DIGEST = ("schema", "digest", "place", "torch")
_CHECKS: Mapping[str, Callable[[Path, list[str], Mapping[str, Any]], Iterator[Part]]] = {
    "config.yaml": _config,
    "code": _code,
    "environment": _environment,
    "events.jsonl": _log,
    "fingerprints.jsonl": _log,
    "checkpoints": _checkpoints,
}
