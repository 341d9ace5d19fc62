"""Fetching of one published file from the first place that has it, going on where a broken download ended."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import re
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeAlias

from deepdiva.data.catalog import Published
from deepdiva.data.disk import FULL, explained, in_units, refusal, write_all
from deepdiva.data.files import reason
from deepdiva.errors import Problem, UserErrors
from deepdiva.runs.storage import System

BLOCK = 1 << 18
TIMEOUT_SECONDS = 30.0
MOST_TRIES = 5
"""Attempts in a row at one place that bring nothing new."""

FIRST_PAUSE_SECONDS = 0.5
LATER = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers of a server that may be better in a moment."""

AGENT = "DeepDIVA (data download)"

Report: TypeAlias = Callable[[str, int, int], None]
"""Told the name of a file, the bytes that are there, and the bytes there will be."""


class _Broken(Exception):
    """The connection ended early, or the server is busy: another attempt may go on."""


class _Unfit(Exception):
    """This place does not have the file."""


def fetch(
    file: Published,
    target: Path,
    places: Sequence[str],
    *,
    report: Report | None = None,
    pause: Callable[[float], None] = time.sleep,
    system: System | None = None,
) -> None:
    """Gets a file, checks it, and only then gives it its name.

    What has come is kept in `<name>.part` when the connection breaks or the program is killed; the next call, from
    whatever place, goes on from there. On a full disk nothing is left.

    Args:
        file: What to get: its size and checksum decide whether it is the right one.
        target: Where to put it; the folder is there.
        places: Complete addresses (http, https) or paths of files, tried in this order.
        report: Called for every block that arrives.
        pause: Waits some seconds before another attempt.
        system: The calls that write.

    Raises:
        UserErrors: No place gave the right file; every place is named with the reason.
        UserError: The disk is full, or refuses.
    """
    part = _Part(file, target, system or System(), report or (lambda name, done, total: None))
    problems: list[Problem] = []
    with part.opened():
        for place in places:
            try:
                part.fill(place, pause)
                return
            except _Unfit as error:
                problems.append(Problem(str(error), place))
        kept = part.size
    failure = UserErrors(problems, f"{file.name} could not be downloaded")
    failure.hint = "--mirror names another place, an address or a folder"
    if kept:
        failure.hint += f"; the same command goes on after the {in_units(kept)} that are here"
    raise failure


class _Part:
    """The file while it grows: its bytes so far and their checksum."""

    def __init__(self, file: Published, target: Path, system: System, report: Report) -> None:
        self.file = file
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self.size = 0
        self._system = system
        self._report = report
        self._digest = hashlib.md5(usedforsecurity=False)
        self._descriptor = -1

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Takes up what an earlier attempt left; an empty rest is not kept."""
        with explained(self.path):
            self._descriptor = self._system.open(self.path, os.O_RDWR | os.O_CREAT)
        try:
            with os.fdopen(os.dup(self._descriptor), "rb") as earlier:
                while content := earlier.read(BLOCK):
                    self._digest.update(content)
                    self.size += len(content)
            yield
        finally:
            self._system.close(self._descriptor)
            if self.size == 0:
                with suppress(OSError):
                    self._system.unlink(self.path)

    def fill(self, place: str, pause: Callable[[float], None]) -> None:
        """Fetches what is missing from one place, checks the whole, and gives it its name.

        Raises:
            _Unfit: The place does not have it.
        """
        taken_up = self.size > 0
        self._fill(place, pause)
        if self._is_right():
            return self._finish()
        if taken_up:  # the earlier part was of something else
            self.restart()
            self._fill(place, pause)
            if self._is_right():
                return self._finish()
        found = self._digest.hexdigest()
        self.restart()
        raise _Unfit(f"has another content: its MD5 is {found}, {self.file.md5} was published")

    def append(self, content: bytes) -> None:
        """Adds what has arrived."""
        if self.size + len(content) > self.file.size:
            raise _Unfit(f"sends more than the {self.file.size:,} bytes of {self.file.name}")
        try:
            write_all(self._system, self._descriptor, content)
        except OSError as error:
            if error.errno in FULL:
                self.restart()
            raise refusal(self.target, error) from error
        self._digest.update(content)
        self.size += len(content)
        self._report(self.file.name, self.size, self.file.size)

    def restart(self) -> None:
        """Forgets what has arrived."""
        with explained(self.path):
            self._system.truncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.size = 0
        self._digest = hashlib.md5(usedforsecurity=False)

    def _fill(self, place: str, pause: Callable[[float], None]) -> None:
        furthest, tries = self.size, 0
        if self.size > self.file.size:
            self.restart()
        while self.size < self.file.size:
            try:
                _transfer(place, self)
            except _Broken as error:
                tries = tries + 1 if self.size <= furthest else 1
                furthest = max(furthest, self.size)
                if tries >= MOST_TRIES:
                    raise _Unfit(f"{error} ({tries} attempts)") from error
                pause(FIRST_PAUSE_SECONDS * 2 ** (tries - 1))

    def _is_right(self) -> bool:
        return self._digest.hexdigest() == self.file.md5

    def _finish(self) -> None:
        try:
            self._system.fsync(self._descriptor)
            self._system.replace(self.path, self.target)
        except OSError as error:
            if error.errno in FULL:
                self.restart()
            raise refusal(self.target, error) from error


def _transfer(place: str, part: _Part) -> None:
    """Appends to `part` what comes from `place`, up to its end or until it breaks."""
    if "://" in place:
        _from_server(place, part)
    else:
        _from_disk(Path(place), part)
    if part.size < part.file.size:
        raise _Broken(f"ended after {part.size:,} of {part.file.size:,} bytes")


def _from_disk(path: Path, part: _Part) -> None:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size != part.file.size:
                raise _Unfit(f"has {size:,} bytes where {part.file.size:,} are expected")
            stream.seek(part.size)
            while content := stream.read(BLOCK):
                part.append(content)
    except OSError as error:
        raise _Unfit(f"cannot be read: {reason(error)}") from error


def _from_server(address: str, part: _Part) -> None:
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, headers=headers), timeout=TIMEOUT_SECONDS
        ) as answer:
            _check_answer(answer, part)
            _receive(answer, part)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and part.size:
                part.restart()
                raise _Broken("has no such range") from error
            kind = _Broken if error.code in LATER else _Unfit
            raise kind(f"answers {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        kind = _Unfit if _is_unknown(error) else _Broken
        raise kind(_said(error)) from error
    except ValueError as error:
        raise _Unfit(f"is no address: {error}") from error


def _check_answer(answer: http.client.HTTPResponse, part: _Part) -> None:
    """Makes sure that what follows belongs at the end of `part`."""
    length = answer.headers.get("Content-Length", "")
    total = int(length) if length.isdecimal() else None
    if answer.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != part.size:
            part.restart()
            raise _Broken("sends another range than was asked for")
        total = None if found[2] == "*" else int(found[2])
    elif part.size:  # a server that knows no ranges begins anew
        part.restart()
    if total is not None and total != part.file.size:
        raise _Unfit(f"has {total:,} bytes where {part.file.size:,} are expected")


def _receive(answer: IO[bytes], part: _Part) -> None:
    while content := answer.read(BLOCK):
        part.append(content)


def _is_unknown(error: Exception) -> bool:
    """Whether there is no such server, which another attempt would not change."""
    cause = getattr(error, "reason", None)
    return isinstance(cause, socket.gaierror) and cause.errno != socket.EAI_AGAIN


def _said(error: Exception) -> str:
    """What went wrong with a connection, in a few words."""
    if isinstance(error, urllib.error.URLError):
        error = error.reason if isinstance(error.reason, Exception) else OSError(str(error.reason))
    if isinstance(error, TimeoutError):
        return "does not answer"
    if isinstance(error, http.client.IncompleteRead):
        return "broke the connection"
    if isinstance(error, OSError) and error.errno == errno.ECONNREFUSED:
        return "refuses the connection"
    return f"cannot be reached: {reason(error) if isinstance(error, OSError) else error}"
