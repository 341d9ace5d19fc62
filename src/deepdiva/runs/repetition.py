"""`reproduce.sh`: the commands that repeat a run by hand, from what its folder holds."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

NAME = "reproduce.sh"

_SCRIPT = """\
#!/bin/sh
# Repeats run {id} by hand: sh reproduce.sh [--OPTION VALUE ...]
# Its code is unpacked into a temporary folder; its settings are in config.yaml, its data are read where they were.
# It was made with DeepDIVA {deepdiva}, torch {torch} and Python {python}; environment/pylock.toml lists every package.
set -eu
run=$(cd "$(dirname "$0")" && pwd)
runs=$(cd "$run/../.." && pwd)
work=$(mktemp -d)
mkdir "$work/project"
tar -xzf "$run/code/source.tar.gz" -C "$work/project"
mkdir -p "$work/project"/{directory}
cd "$work/project"/{directory}
echo "the code of this run is in $PWD" >&2
{links}{command} "$@"
"""
_LINK = """\
[ -e {name} ] || {{ mkdir -p {above} && ln -s "$run"/{target} {name}; }}
"""


def reproduction_script(
    folder: Path, record: Mapping[str, Any], settings: Mapping[str, Any], *, restored: bool = False
) -> str:
    """The text of `reproduce.sh` for the run in `folder`, made in the directory where the run was started.

    Args:
        folder: The run folder, with the copy of the code in it.
        record: What `run.json` says.
        settings: The configuration; empty for a loop of one's own without one.
        restored: Whether that directory was restored from another run, and will be removed.
    """
    code = json.loads((folder / "code" / "code.json").read_bytes())
    if "task" in settings:
        command = 'exec deepdiva run --config "$run/config.yaml" --runs-dir "$runs" --allow-dirty'
    else:
        command = f"exec {shlex.join(record['command'])}"
    versions = {name: version or "?" for name, version in record["versions"].items()}
    return _SCRIPT.format(
        id=record["id"],
        directory=shlex.quote(code.get("directory", ".")),
        links="".join(_links(folder, settings, restored=restored)),
        command=command,
        **versions,
    )


def named_paths(settings: Mapping[str, Any]) -> list[str]:
    """What a configuration says that may name a file or folder relative to where the run was started.

    >>> named_paths({"data": "../png", "task": {"class": "points", "n": 5}, "runs_dir": "runs", "model": None})
    ['../png', 'points']
    """
    texts = _texts([value for name, value in settings.items() if name != "runs_dir"])
    return [text for text in dict.fromkeys(texts) if text not in ("", ".", "..") and _may_be_path(text)]


def _links(folder: Path, settings: Mapping[str, Any], *, restored: bool) -> Iterator[str]:
    """A line for every file or folder that a setting names and that may be no part of the code, such as the data."""
    for text in named_paths(settings):
        path = Path(text)
        if not os.path.lexists(path):
            continue
        # In code that was restored, what a link leads to stays, and the link does not.
        target = os.path.relpath(path.resolve() if restored else path.absolute(), folder.resolve())
        yield _LINK.format(name=shlex.quote(str(path)), above=shlex.quote(str(path.parent)), target=shlex.quote(target))


def _may_be_path(text: str) -> bool:
    return "\0" not in text and "\n" not in text and len(text) < 4096 and not Path(text).is_absolute()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)
