"""The check at every start: the data are what an earlier run, their owner, or this machine says they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.data import expected, manifest
from deepdiva.data.changes import Changes
from deepdiva.data.expected import Expectation
from deepdiva.data.files import printable, to_errors
from deepdiva.data.footprint import Footprint
from deepdiva.errors import UserErrors

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder
    from deepdiva.runs.run import Run

LISTED = 100
"""Files named in `run.json` where changed data were allowed; what is beyond is counted."""


@dataclass(frozen=True)
class DataProof:
    """What the data of a run are compared with, and what happens when they differ.

    Of the footprints that are known of a data set the first of these counts:

    1. what the run that is repeated (`--config RUN/config.yaml`) or resumed read from the same place;
    2. the footprint written into the data set;
    3. what this machine remembers of the path: what the last run read there, or the last footprint taken.

    Args:
        repeats: The run that is repeated or resumed.
        allow_changed: Whether a difference is recorded and remembered instead of stopping the run.
    """

    repeats: RunFolder | None = None
    allow_changed: bool = False

    def check_before_reading(self, data: str | None) -> None:
        """Refuses a data set that has changed before time is spent on reading it.

        Only what is known without reading whole files: where this machine remembers no files of the data set, what
        is read is compared afterwards.

        Raises:
            UserErrors: It has changed; all files are named.
        """
        if data is None or self.allow_changed or not Path(data).exists() or not manifest.load(Path(data)):
            return
        expectation = self._expectation(data, there=True)
        if expectation is not None:
            _, changes = expected.check(expectation, data)
            if changes:
                raise self._refusal(data, expectation, changes)

    def check_read(self, run: Run, footprints: Sequence[Footprint]) -> None:
        """Compares what was read, and remembers it; a difference that is allowed is recorded in `run.json`.

        Raises:
            UserErrors: Something has changed; all files are named.
        """
        allowed: list[dict[str, Any]] = []
        for footprint in footprints:
            if footprint.kind == "contents":  # made from settings: it changes with them
                continue
            there = _lies_there(footprint)
            expectation = self._expectation(footprint.source, data=run.facts.get("data"), there=there)
            changes = Changes() if expectation is None else expectation.changes_to(footprint)
            if expectation is not None and changes:
                if not self.allow_changed:
                    raise self._refusal(footprint.source, expectation, changes)
                allowed.append(_as_record(footprint, expectation, changes))
        for footprint in footprints:
            if _lies_there(footprint):
                expected.remember(footprint, footprint.source, origin=f"run {run.id}")
        if allowed:
            run.record(changed_data=allowed)

    def _expectation(self, source: str, *, there: bool, data: str | None = None) -> Expectation | None:
        """What should be at `source`, which a run has read for its `data`; `there` says whether it is a path."""
        if self.repeats is not None:
            known = expected.footprints_of_run(self.repeats.path)
            kept = [footprint for footprint in known if footprint.source == source]
            # A set that is found by its name, such as mnist, may lie elsewhere on another machine.
            if not kept and len(known) == 1 and data is not None and data == self.repeats.record.get("data"):
                kept = known
            if kept:
                return Expectation.of(kept[0], f"run {self.repeats.id}")
        return expected.expectation_for(source) if there else None

    def _refusal(self, source: str, expectation: Expectation, changes: Changes) -> UserErrors:
        where = printable(source)
        error = to_errors(changes.problems(), f"{where} has changed, says {printable(expectation.origin)}")
        if self.repeats is not None and self.repeats.status != "completed":
            error.hint = "restore the files, or start anew"
        else:
            error.hint = "restore the files, or train on them as they are now with --allow-changed-data"
        return error


def _lies_there(footprint: Footprint) -> bool:
    """Whether what was read is what lies at the path that it is called by: `digits` may be a name or a folder."""
    path = Path(footprint.source)
    return (footprint.kind == "folder" and path.is_dir()) or (footprint.kind == "file" and path.is_file())


def _as_record(footprint: Footprint, expectation: Expectation, changes: Changes) -> dict[str, Any]:
    problems = changes.problems()
    return {
        "source": printable(footprint.source),
        "against": expectation.origin,
        "expected": expectation.root,
        "found": footprint.root,
        "differences": len(problems),
        "files": [str(problem) for problem in problems[:LISTED]],
    }
