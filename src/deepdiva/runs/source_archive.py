"""Files out of the copy of the source that a run keeps, read in memory with bounds: a stranger may have packed it."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder

ARCHIVE = "code/source.tar.gz"
FILE_LIMIT = 2**20
"""Bytes of the largest file that is read."""
TOTAL_LIMIT = 256 * 2**20
"""Unpacked bytes after which reading stops: a copy holds 100 MiB at most, an archive made to harm any number."""


class _Bounded:
    """The beginning of an unpacked stream.

    Args:
        stream: What is read.
        limit: Bytes after which it seems to end.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._left = limit
        self._ended = False

    def read(self, size: int) -> bytes:
        """The next bytes, none beyond the limit.

        Raises:
            EOFError: The end was passed before: whoever reads on believes a length that a header only claims.
        """
        data = self._stream.read(min(size, self._left))
        self._left -= len(data)
        if not data and self._ended:
            raise EOFError
        self._ended = not data
        return data


def read_sources(run: RunFolder, wanted: Mapping[str, str]) -> dict[str, bytes]:
    """The content of some files of a run's copy of the source; those that are missing, too big or damaged are left out.

    Args:
        run: The run.
        wanted: The SHA-256 of every file asked for, as the record of the code has it.
    """
    found: dict[str, bytes] = {}
    stream = run.stream(ARCHIVE) if wanted else None
    if stream is None:
        return found
    # Damaged from some place on: what was proved by its SHA-256 before is as good as ever.
    with stream, suppress(tarfile.TarError, OSError, EOFError, ValueError, zlib.error):
        _read_members(stream, wanted, found)
    return found


def _read_members(stream: BinaryIO, wanted: Mapping[str, str], found: dict[str, bytes]) -> None:
    with gzip.GzipFile(fileobj=stream) as unpacked:
        bounded = cast("IO[bytes]", _Bounded(cast("IO[bytes]", unpacked), TOTAL_LIMIT))
        with tarfile.open(fileobj=bounded, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
            for member in archive:
                cast("Any", archive).members = []  # it remembers every member otherwise
                if not member.isreg() or member.name not in wanted or member.size > FILE_LIMIT:
                    continue
                file = archive.extractfile(member)
                content = b"" if file is None else file.read()
                if hashlib.sha256(content).hexdigest() == wanted[member.name]:
                    found[member.name] = content
                if len(found) == len(wanted):
                    return
