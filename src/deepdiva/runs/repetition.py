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


def reproduction_script(folder: Path, record: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The text of `reproduce.sh` for the run in `folder`, made in the directory where the run was started.

    Args:
        folder: The run folder, with the copy of the code in it.
        record: What `run.json` says.
        settings: The configuration; empty for a loop of one's own without one.
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
        links="".join(_links(folder, settings)),
        command=command,
        **versions,
    )


def _links(folder: Path, settings: Mapping[str, Any]) -> Iterator[str]:
    """A line for every file or folder that a setting names and that may be no part of the code, such as the data."""
    for text in dict.fromkeys(_texts([value for name, value in settings.items() if name != "runs_dir"])):
        path = Path(text)
        if path.is_absolute() or text in ("", ".", "..") or not os.path.lexists(path):
            continue
        target = os.path.relpath(path.absolute(), folder)
        yield _LINK.format(name=shlex.quote(str(path)), above=shlex.quote(str(path.parent)), target=shlex.quote(target))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from _texts(list(value.values()))
    elif isinstance(value, Sequence):
        for item in value:
            yield from _texts(item)
