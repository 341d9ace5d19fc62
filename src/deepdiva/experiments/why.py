"""Why do two runs differ? What they were made of, the first step, the first operation, and the confirmed cause."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepdiva.engine.progress import Progress, SilentProgress
from deepdiva.errors import RunFailed, UserError
from deepdiva.experiments.checkout import checkout
from deepdiva.experiments.replay import Replay, World, replay
from deepdiva.experiments.toggling import Suspect, suspects_among, together, toggled, verdict_of
from deepdiva.runs.comparison import Comparison, compare
from deepdiva.runs.differences import differences
from deepdiva.runs.divergence import Divergence, first_divergence
from deepdiva.runs.operations import DATA, Operation, OperationDifference, changed_tensors, first_difference

if TYPE_CHECKING:
    from deepdiva.runs.difference import Difference
    from deepdiva.runs.folder import RunFolder

REPLAYED = ("start", "batch", "loss", "state")
"""Levels of a divergence whose step is worth repeating."""


@dataclass(frozen=True)
class Explanation:
    """What is known of why two runs, A and B, differ.

    Args:
        comparison: What is equal.
        differences: All that is not the same before they begin, the most likely cause first.
        divergence: The first place where they part; None where they do not.
        operation: The first operation that differs in that step; None where it was not repeated, or not found.
        began: Parameters, buffers and states of the optimizer that differed before that step.
        samples: Samples of that step whose content differs.
        suspects: The differences that were exchanged, and what came of it.
        nondeterministic: Whether A, repeated here, does not even agree with itself.
        notes: What could not be done, and why.
    """

    comparison: Comparison
    differences: Sequence[Difference]
    divergence: Divergence | None
    operation: OperationDifference | None = None
    began: Sequence[str] = ()
    samples: Sequence[str] = ()
    suspects: Sequence[Suspect] = ()
    nondeterministic: bool = False
    notes: Sequence[str] = ()

    @property
    def causes(self) -> list[Difference]:
        """The differences that are confirmed to be the cause."""
        return [suspect.difference for suspect in self.suspects if suspect.confirmed]


@dataclass
class _Search:
    """What was found so far, and the two worlds."""

    a: World
    b: World
    step: int
    folder: Path
    progress: Progress
    notes: list[str] = field(default_factory=list)

    def repeat(self, world: World, name: str, *, trace: bool) -> Replay | None:
        """The step once more and recorded, or all steps up to it; None, with a note, where that is not possible."""
        self.progress.line(f"repeating {name} up to step {self.step}")
        try:
            return replay(world, self.step, self.folder, whole=not trace, trace=trace)
        except (UserError, RunFailed) as error:
            self.notes.append(f"{name} cannot be repeated here: {error.message}")
            return None


def why(a: RunFolder, b: RunFolder, *, repeat: bool = True, progress: Progress | None = None) -> Explanation:
    """Looks for the reason why two runs do not have the same bits.

    Args:
        a: One run.
        b: The other.
        repeat: Whether the step in which they part is repeated, which executes the code of both.
        progress: Is told what is being done.

    Raises:
        UserError: A record of one of them is damaged.
    """
    watcher = progress or SilentProgress()
    comparison, found, parted = compare(a, b), differences(a, b), first_divergence(a, b)
    plain = Explanation(comparison, found, parted)
    if parted is None or not repeat:
        return plain
    if parted.level not in REPLAYED:
        notes = [f"the step is not repeated: what differs first is no part of one ({parted.level})"]
        return Explanation(comparison, found, parted, notes=notes)
    with checkout(a) as code_a, checkout(b) as code_b, tempfile.TemporaryDirectory() as folder:
        search = _Search(World.of(a, code_a), World.of(b, code_b), max(1, parted.step or 1), Path(folder), watcher)
        return _search(search, plain)


def _search(search: _Search, plain: Explanation) -> Explanation:
    of_a = search.repeat(search.a, "A", trace=True)
    of_b = search.repeat(search.b, "B", trace=True)
    moody = _disagreement(search, of_a) or _disagreement(search, of_b, "B")
    pair = moody or ((of_a, of_b) if of_a is not None and of_b is not None else None)
    suspects = [] if moody else _suspects(search, plain, of_b)
    operation = began = None
    if pair is not None and pair[0].recording is not None and pair[1].recording is not None:
        one, other = pair[0].recording, pair[1].recording
        operation = _first_operation(one.operations, other.operations)
        began = changed_tensors(one, other)
    return Explanation(
        plain.comparison,
        plain.differences,
        plain.divergence,
        operation,
        began or (),
        _differing_samples(*pair) if pair is not None else (),
        suspects,
        moody is not None,
        search.notes,
    )


def _disagreement(search: _Search, first: Replay | None, name: str = "A") -> tuple[Replay, Replay] | None:
    """Two repetitions of one run that differ from one another; None where it agrees with its record or with itself."""
    world = search.a if name == "A" else search.b
    if first is None or first.agrees_with(world.run):
        return None
    again = search.repeat(world, f"{name} again", trace=True)
    if again is None or again.fingerprints == first.fingerprints:
        if "torch.compile" in world.run.record["determinism"].get("rehearsal", {}).get("by_processor", ()):
            note = f"{name} is compiled: its operations can only be followed as it was written, with other bits"
        else:
            note = f"{name} does not get the bits of its own record in the present environment"
        search.notes.append(note)
        return None
    return first, again


def _suspects(search: _Search, plain: Explanation, of_b: Replay | None) -> list[Suspect]:
    """Gives B what A had, one difference after the other; all together where no single one is enough."""
    candidates = suspects_among(plain.differences)
    if of_b is not None and not of_b.agrees_with(search.b.run) and of_b.agrees_with(search.a.run):
        return _of_environment(search, plain.differences)
    suspects = _exchanged(search, candidates)
    if not any(suspect.confirmed for suspect in suspects):
        return suspects
    # From a checkpoint B may get its own bits and from its first step A's: then no exchange is what made it do so.
    whole = of_b is not None and 1 in of_b.fingerprints and plain.divergence and plain.divergence.level != "start"
    control = None if whole else search.repeat(search.b, "B as it is, from its first step", trace=False)
    return _of_environment(search, plain.differences) if control and control.agrees_with(search.a.run) else suspects


def _of_environment(search: _Search, found: Sequence[Difference]) -> list[Suspect]:
    """Where B computes A's bits here, just as it is: the cause is what was not restored, if only one thing was not."""
    search.notes.append("in the present environment B computes A's bits: what was not restored is the cause")
    items = [item for item in found if item.kind == "environment" and not item.harmless]
    items = [item for item in items if item.part != "variable" and item.what != "threads"]  # those were restored
    if len(items) == 1:
        return [Suspect(items[0], True, "it is the only difference that was not restored")]
    return [Suspect(item, None, "one of those that were not restored") for item in items]


def _exchanged(search: _Search, candidates: Sequence[Difference]) -> list[Suspect]:
    """What came of each exchange, and of all together."""
    suspects: list[Suspect] = []
    for difference in candidates:
        # Data are exchanged as a whole: what came of it holds for every file that differs.
        same = next((item for item in suspects if item.difference.kind == difference.kind == "data"), None)
        suspects.append(_try(search, difference) if same is None else replace(same, difference=difference))
    if len(suspects) > 1 and not any(suspect.confirmed for suspect in suspects):
        replayed = search.repeat(together(search.b, search.a, candidates), "B with all that A had", trace=False)
        if replayed is not None and replayed.agrees_with(search.a.run):
            note = "only all of them together make B compute A's bits"
            tried = [item.confirmed is False and item.difference.kind != "data" for item in suspects]
            return [
                Suspect(item.difference, True, note) if was else item for item, was in zip(suspects, tried, strict=True)
            ]
    return suspects


def _try(search: _Search, difference: Difference) -> Suspect:
    try:
        with toggled(search.b, search.a, difference) as world:
            replayed = search.repeat(world, f"B with A's {difference.what}", trace=False)
    except UserError as error:
        return Suspect(difference, None, error.message)
    if replayed is None:
        return Suspect(difference, None, search.notes.pop())
    return Suspect(difference, *verdict_of(replayed, search.a, search.b))


def _first_operation(one: Sequence[Operation], other: Sequence[Operation]) -> OperationDifference | None:
    """The first operation that differs; loading counts only where it was done in the same way."""
    found = first_difference(one, other)
    if found is None or found.kind != "sequence":
        return found
    phases = {operation.phase for operation in (found.first, found.second) if operation is not None}
    return first_difference(_without_loading(one), _without_loading(other)) if "load" in phases else found


def _without_loading(operations: Sequence[Operation]) -> list[Operation]:
    """What follows the loading of the batch, which then came from outside."""
    loading = {f"operation {operation.index}" for operation in operations if operation.phase == "load"}
    return [
        replace(operation, origins=tuple(DATA if origin in loading else origin for origin in operation.origins))
        for operation in operations
        if operation.phase != "load"
    ]


def _differing_samples(one: Replay, other: Replay) -> tuple[str, ...]:
    ours, theirs = one.samples or {}, other.samples or {}
    return tuple(name for name in ours if name in theirs and ours[name] != theirs[name])
