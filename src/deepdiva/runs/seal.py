"""A mark by which a user's machine knows the runs that it made itself: their configuration may be executed unasked."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deepdiva.errors import UserError
from deepdiva.runs.reading import read_bytes

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder

_LENGTH = 32  # bytes of the secret


def seal(identity: str, config: bytes) -> str | None:
    """HMAC-SHA-256 (RFC 2104) over a run's id and its `config.yaml`, under a secret that never leaves this user.

    Args:
        identity: The run's id.
        config: The bytes of its `config.yaml`.

    Returns:
        The seal; None where the secret can neither be read nor made.
    """
    secret = _secret(make=True)
    return None if secret is None else _seal(secret, identity, config)


def is_sealed(run: RunFolder) -> bool:
    """Whether this user made the run, and its configuration is as it was then.

    Anything else was made by somebody else, elsewhere, or was changed: what its configuration names is executed only
    when the user agrees.
    """
    secret, config, stated = _secret(make=False), run.content("config.yaml"), run.record.get("seal")
    if secret is None or config is None or not isinstance(stated, str):
        return False
    return hmac.compare_digest(_seal(secret, run.id, config), stated)


def _seal(secret: bytes, identity: str, config: bytes) -> str:
    content = hashlib.sha256(config).hexdigest()
    return hmac.new(secret, f"{identity}\n{content}".encode(), hashlib.sha256).hexdigest()


def _secret(*, make: bool) -> bytes | None:
    """The user's secret, drawn by the operating system when it is first needed."""
    path = _place()
    with suppress(OSError, UserError):  # no place for it, or something else in its place
        if make and not path.exists():
            _draw(path)
        found = read_bytes(path, limit=_LENGTH)
        return found if len(found) == _LENGTH else None
    return None


def _draw(path: Path) -> None:
    """Puts a secret there that only the user can read, unless another process was quicker."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_LENGTH))
            file.flush()
            os.fsync(descriptor)
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def _place() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "deepdiva" / "secret"
