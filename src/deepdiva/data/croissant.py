"""A data set described as Croissant JSON-LD: every file with size and SHA-256, and the samples in them where known."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from deepdiva.data.files import printable, to_errors
from deepdiva.data.footprint import Entry, Footprint
from deepdiva.errors import Problem

VERSION = "http://mlcommons.org/croissant/1.0"
SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
POINT_COLUMNS = {"x": "sc:Float", "y": "sc:Float", "label": "sc:Text"}
_TERMS = (
    "citeAs column conformsTo data dataType equivalentProperty examples extract field fileProperty fileObject fileSet"
)
_MORE = "format includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace"
_CONTEXT: Mapping[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in f"{_TERMS} {_MORE} samplingRate separator source subField transform".split()},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
# The table that comes with Python, not that of the machine: the same description everywhere.
_TYPES = mimetypes.MimeTypes()


@dataclass(frozen=True)
class About:
    """What the files themselves do not say.

    Args:
        name: What the set is called.
        description: What it holds.
        license: The address of its licence, or a short name of it.
        url: Where it is described.
        creator: Who made it.
        cite_as: How it is cited.
        version: Which one it is, such as `1.0.0`.
        published: The day it was published, such as `2026-11-21`.
    """

    name: str
    description: str | None = None
    license: str | None = None
    url: str | None = None
    creator: str | None = None
    cite_as: str | None = None
    version: str | None = None
    published: str | None = None


def describe(footprint: Footprint, about: About, *, location: str = "") -> dict[str, Any]:
    """The description of a data set, to be written as JSON.

    Sets of points and image folders in our layout also get their samples described, so that they can be read by
    whoever reads Croissant.

    Args:
        footprint: What it holds.
        about: What is known of it besides.
        location: The folder that the names in `footprint` are relative to, as seen from where the description lies.

    Raises:
        UserErrors: Names of files that are not UTF-8, which JSON-LD cannot hold.
    """
    _check_names(footprint.files)
    prefix = f"{location.rstrip('/')}/" if location not in ("", ".") else ""
    given = {
        "description": about.description or f"{len(footprint.files)} files, {footprint.size} bytes",
        "license": about.license,
        "url": about.url,
        "creator": None if about.creator is None else {"@type": "sc:Organization", "name": about.creator},
        "citeAs": about.cite_as,
        "version": about.version,
        "datePublished": about.published,
    }
    files = sorted(footprint.files, key=lambda name: name.encode())
    sets, records = _samples(files, prefix)
    return {
        "@context": dict(_CONTEXT),
        "@type": "sc:Dataset",
        "name": about.name,
        "conformsTo": VERSION,
        **{key: value for key, value in given.items() if value is not None},
        "identifier": f"sha256:{footprint.root}",
        "distribution": [*(_file(name, footprint.files[name], prefix) for name in files), *sets],
        **({"recordSet": records} if records else {}),
    }


def _check_names(names: Mapping[str, Entry]) -> None:
    problems = [Problem("is no name in UTF-8", printable(name)) for name in sorted(names) if not _is_text(name)]
    if problems:
        raise to_errors(problems, "a Croissant description is text in UTF-8 and cannot name these files")


def _is_text(name: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in name)


def _file(name: str, entry: Entry, prefix: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": _identifier(name),
        "name": name,
        "contentUrl": prefix + name,
        "contentSize": f"{entry.size} B",
        "encodingFormat": _format(name),
        "sha256": entry.sha256,
    }


def _identifier(name: str) -> str:
    return quote(name, safe="/")


def _format(name: str) -> str:
    kind, encoding = _TYPES.guess_type(name, strict=True)
    return "application/gzip" if encoding == "gzip" else kind or "application/octet-stream"


def _samples(files: Sequence[str], prefix: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Sets of files and of records, for the layouts we know."""
    tables = [split for split in SPLITS if f"{split}/data.csv" in files]
    if "train" in tables:
        return [], [_points(split) for split in tables]
    images = {split: _formats_of_images(files, split) for split in SPLITS}
    if images["train"]:
        found = {split: formats for split, formats in images.items() if formats}
        return (
            [_image_set(split, formats, prefix) for split, formats in found.items()],
            [_images(split) for split in found],
        )
    return [], []


def _points(split: str) -> dict[str, Any]:
    source = {"fileObject": {"@id": f"{split}/data.csv"}}
    fields = [
        _field(f"{split}/{column}", column, kind, {**source, "extract": {"column": column}})
        for column, kind in POINT_COLUMNS.items()
    ]
    return _record_set(split, "Points in the plane with a class each", fields)


def _formats_of_images(files: Sequence[str], split: str) -> list[str]:
    """The formats of the files that lie in a class folder of a split, where all of them are images."""
    inside = [name for name in files if name.startswith(f"{split}/") and name.count("/") == 2]
    formats = sorted({_format(name) for name in inside})
    return formats if all(kind.startswith("image/") for kind in formats) else []


def _image_set(split: str, formats: Sequence[str], prefix: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{split}-images",
        "name": f"{split}-images",
        "encodingFormat": formats[0] if len(formats) == 1 else list(formats),
        "includes": f"{prefix}{split}/*/*",
    }


def _images(split: str) -> dict[str, Any]:
    source = {"fileSet": {"@id": f"{split}-images"}}
    path = {**source, "extract": {"fileProperty": "fullpath"}}
    fields = [
        _field(f"{split}/image", "image", "sc:ImageObject", {**source, "extract": {"fileProperty": "content"}}),
        _field(f"{split}/label", "label", "sc:Text", {**path, "transform": {"regex": "^.*/([^/]+)/[^/]+$"}}),
    ]
    return _record_set(split, "Images with a class each", fields)


def _record_set(split: str, text: str, fields: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": f"{text}: the {SPLIT_NAMES[split]} split",
        "field": list(fields),
    }


def _field(identifier: str, name: str, kind: str, source: Mapping[str, Any]) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": identifier, "name": name, "dataType": kind, "source": dict(source)}
