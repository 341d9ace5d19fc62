"""A new folder beside nothing else of that name: whole in the end, or not there at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepdiva.data.disk import make_folders, remove_empty, scratch
from deepdiva.data.files import printable, reason
from deepdiva.errors import UserError
from deepdiva.runs.storage import System


@contextmanager
def new_folder(target: Path, *, apart_from: Path | None = None, system: System | None = None) -> Iterator[Path]:
    """A folder to fill, which becomes `target` when the block ends well and is removed when it does not.

    Args:
        target: What must not be there yet.
        apart_from: The data set that it is made from, which stays as it is: neither may lie in the other.
        system: The calls that make and rename it.

    Raises:
        UserError: Something is at `target`, it lies in the data set, or the system refuses to write.
    """
    shown = printable(str(target))
    if os.path.lexists(target):
        raise UserError(f"{shown} exists already", "choose another name with --to; nothing was written")
    if apart_from is not None:
        new, old = target.resolve(), apart_from.resolve()
        if old in new.parents or new in old.parents:
            raise UserError(f"{shown} lies in the data set that it is made from", "choose a folder beside it with --to")
    calls = system or System()
    made = make_folders(target.parent, calls)
    try:
        # A name of its own, so that two that make the same at once do not write into one folder.
        with scratch(target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp", calls) as partial:
            yield partial
            calls.replace(partial, target)
    except BaseException as error:
        remove_empty(made)
        if isinstance(error, OSError):
            raise UserError(f"{shown} cannot be made: {reason(error)}", "nothing was written") from error
        raise


def put(source: Path, place: Path, *, link: bool) -> None:
    """Copies a file to a new place, with its times, or makes a link to it; folders above are made."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if link:
        place.symlink_to(source.resolve())
    else:
        shutil.copy2(source, place)
