"""All about one run on a page, for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepdiva.cli.console import STATUS_STYLES, as_text, format_duration, format_number, printable, say, styled
from deepdiva.runs.folder import RunFolder


def print_summary(run: RunFolder) -> None:
    """Print what is known of a run on standard output."""
    say(f"{styled(printable(run.id), 'bold')}  {styled(printable(run.status), STATUS_STYLES.get(run.status, ''))}")
    for title, lines in _sections(run):
        if lines:
            say(f"\n{styled(title, 'bold')}" if title else "")
        lines = [(printable(name), text) for name, text in lines]
        width = max((len(name) for name, _ in lines), default=0)
        for name, text in lines:
            say(f"  {styled(name.ljust(width), 'dim')}  {printable(text)}".rstrip())
    error = run.record.get("error") or {}
    if error:
        text = str(error.get("traceback") or error.get("message") or "")
        say(f"\n{styled('error', 'bold red')}")
        say("\n".join(f"  {printable(line)}" for line in text.splitlines()))


def _sections(run: RunFolder) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Titles, and below each its lines of name and text."""
    yield "", [(name, text) for name, text in _about(run) if text]
    yield "results", [(name, format_number(value)) for name, value in run.results.items()]
    yield "verdict", list(_verdict(run))
    yield "reproduced by", list(_reproductions(run))
    yield "SHA-256", [(name, digest) for name, digest in run.digests.items() if digest]
    yield "next", list(_next(run))


def _about(run: RunFolder) -> Iterator[tuple[str, str]]:
    record = run.record
    yield "path", str(run.path)
    for name in ("experiment", "kind", "parent", "task", "data", "seed"):
        yield name, as_text(record.get(name))
    command = record.get("command") or ""
    yield "command", command if isinstance(command, str) else shlex.join(command)
    yield "started", f"{as_text(record.get('created'))} on {as_text(record.get('host'))}"
    yield "duration", format_duration(run.duration)
    best = record.get("best") or {}
    if best:
        yield "best", f"{best.get('metric')} {format_number(best.get('value'))} at epoch {best.get('epoch')}"
    yield "test split", _test_reads(record.get("test_reads") or [])
    levels = record.get("determinism") or {}
    yield "determinism", _levels(levels)
    yield "code", _code(run)
    yield (
        "versions",
        ", ".join(f"{name} {version}" for name, version in (record.get("versions") or {}).items() if version),
    )


def _test_reads(reads: Sequence[Mapping[str, Any]]) -> str:
    if not reads:
        return "never read"
    return "read once" if len(reads) == 1 else f"read {len(reads)} times"


def _levels(levels: Mapping[str, Any]) -> str:
    asked, granted = levels.get("asked"), levels.get("granted")
    if asked == granted:
        return as_text(granted)
    reasons = "; ".join(map(str, levels.get("reasons") or []))
    return f"{granted}, although {asked} was asked for" + (f": {reasons}" if reasons else "")


def _code(run: RunFolder) -> str:
    """One line about the copy of the code."""
    from deepdiva.errors import UserError

    try:
        record = run.document("code/code.json")
    except UserError as error:
        return f"cannot be read: {error.message}"
    if record is None or not isinstance(record.get("files"), dict):
        return ""
    count = len(record["files"])
    files = f"{count} {'file' if count == 1 else 'files'}"
    facts = record.get("git")
    if not isinstance(facts, dict):
        return f"a copy of {files}; no repository"
    where = f"commit {str(facts['commit'])[:10]}" if facts.get("commit") else "no commit yet"
    branch = f" on {facts['branch']}" if facts.get("branch") else ""
    return f"{where}{branch}{', with uncommitted changes' if record.get('dirty') else ''}; a copy of {files}"


def _verdict(run: RunFolder) -> Iterator[tuple[str, str]]:
    """What a reproduction came to."""
    verdict = run.record.get("verdict")
    if isinstance(verdict, Mapping):
        yield as_text(verdict.get("verdict")), as_text(verdict.get("reason"))
        evidence = verdict.get("evidence")
        parted = evidence.get("parted") if isinstance(evidence, Mapping) else None
        if parted:
            yield "first", as_text(parted)
        yield "evidence", str(run.path / "reproduction.json")


def _reproductions(run: RunFolder) -> Iterator[tuple[str, str]]:
    """The runs beside this one that repeated it, and what they came to; the original itself is never changed."""
    from deepdiva.errors import UserError
    from deepdiva.runs.index import Condition, rows

    if run.path.resolve().parent.name != run.experiment:  # it was taken out of the folder of all runs
        return
    where = [Condition("kind", "=", "reproduction"), Condition("parent", "=", run.id)]
    for row in rows(run.path.resolve().parents[1], where=where):
        try:
            verdict = RunFolder.open(row.path).record.get("verdict")
        except UserError:
            continue
        yield row.id, as_text(verdict.get("verdict") if isinstance(verdict, Mapping) else row.status)


def _next(run: RunFolder) -> Iterator[tuple[str, str]]:
    path = shlex.quote(str(run.path))
    if run.record.get("kind") == "reproduction" and run.status != "completed":
        yield "reproduce", f"deepdiva reproduce {run.record.get('parent')}   (its code is gone: it is begun anew)"
    elif run.status in ("interrupted", "failed") and (run.path / "checkpoints").exists():
        yield "resume", f"deepdiva resume {path}"
    if run.status == "completed" and run.record.get("task"):
        yield "reproduce", f"deepdiva reproduce {path}"
    yield "look", f"deepdiva board {path}"
