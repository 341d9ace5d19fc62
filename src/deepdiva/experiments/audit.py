"""Audits a run: replays a few randomly chosen segments between its checkpoints, and compares every bit."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any

from deepdiva.engine import checkpoint
from deepdiva.errors import UserError
from deepdiva.experiments.audit_odds import caught_probability
from deepdiva.experiments.fresh import Request, train_fresh
from deepdiva.experiments.preparation import Listener, Preparation, Silence, Wishes, prepared
from deepdiva.experiments.reproduce import QUIET
from deepdiva.experiments.verdict import BIT_IDENTICAL, DIFFERENT, EXIT_CODES, INCONCLUSIVE
from deepdiva.runs import integrity
from deepdiva.runs.difference import table
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.storage import StorageError

SHARE = 0.1
"""Share of changed segments for which the odds are told."""

_TENSORS = ("model.safetensors", "training.safetensors")


@dataclass(frozen=True, order=True)
class Segment:
    """The steps from one checkpoint to the next.

    Args:
        start: Steps done at its beginning; 0 is the initialisation.
        end: Steps done at its end.
    """

    start: int
    end: int


@dataclass(frozen=True)
class Replay:
    """What the replay of a segment showed.

    Args:
        segment: The segment.
        faults: What is not as the run recorded it, the first first; empty where all bits are.
        failure: Why it could not be replayed; empty where it could.
    """

    segment: Segment
    faults: tuple[str, ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Audit:
    """The outcome of an audit.

    Args:
        original: The run.
        segments: How many segments it has.
        seed: What the segments were drawn with.
        replays: What each drawn segment showed.
        odds: With which probability a run that was changed in 10 % of its segments would have been caught.
        hindrance: Why other bits prove nothing here: operations or threads that differ; empty where none do.
    """

    original: RunFolder
    segments: int
    seed: int
    replays: tuple[Replay, ...]
    odds: float
    hindrance: str = ""

    @property
    def verdict(self) -> str:
        """`BIT-IDENTICAL` for the replayed segments, `DIFFERENT`, or `INCONCLUSIVE`."""
        if any(replay.failure for replay in self.replays):
            return INCONCLUSIVE
        if any(replay.faults for replay in self.replays):
            return INCONCLUSIVE if self.hindrance else DIFFERENT
        return BIT_IDENTICAL

    @property
    def exit_code(self) -> int:
        """The status of the command."""
        return EXIT_CODES[self.verdict]

    def to_mapping(self) -> dict[str, Any]:
        """The form for machines."""
        return {
            "run": self.original.id,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "segments": self.segments,
            "seed": self.seed,
            "replays": [asdict(replay) for replay in self.replays],
            "share": SHARE,
            "odds": self.odds,
            "hindrance": self.hindrance,
        }


def segments(run: RunFolder) -> list[Segment]:
    """The segments of a run: between the checkpoints that it kept, the first from its initialisation."""
    marks = sorted({0, *checkpoint.steps(run.path / "checkpoints")})
    return [Segment(start, end) for start, end in pairwise(marks)]


def audit(
    original: RunFolder, count: int, wishes: Wishes | None = None, *, seed: int, listener: Listener | None = None
) -> Audit:
    """Replays some segments of a run, each in a fresh process; executes the code of that run.

    Nothing is kept: the replays run in a folder that is removed, and the run is only read.

    Args:
        original: A completed run.
        count: How many segments.
        wishes: As of a reproduction.
        seed: Which they are: drawn without replacement by Python's `random.Random(seed)`.
        listener: Whoever is told.

    Raises:
        UserError: Something is missing, or the data have changed.
    """
    listener = listener or Silence()
    all_segments = segments(original)
    if not all_segments:
        raise UserError(f"run {original.id} kept no checkpoint to compare with")
    if not 1 <= count <= len(all_segments):
        raise UserError(
            f"--audit {count}: run {original.id} has {len(all_segments)} segments between checkpoints",
            "a run made with --training.keep-every 1 keeps one for every epoch",
        )
    drawn = sorted(random.Random(seed).sample(all_segments, count))
    with prepared(original, wishes or Wishes(), listener.line) as preparation:
        listener.prepared(preparation)
        listener.stage(f"replaying {count} of {len(all_segments)} segments, drawn with --audit-seed {seed}")
        replays = []
        for segment in drawn:
            replays.append(_replay(original, segment, preparation.request))
            listener.line(in_words(replays[-1]))
    odds = caught_probability(len(all_segments), count, share=SHARE)
    return Audit(original, len(all_segments), seed, tuple(replays), odds, _hindrance(preparation))


def in_words(replay: Replay) -> str:
    """One line on a segment."""
    steps = f"steps {replay.segment.start + 1} to {replay.segment.end}"
    if replay.failure:
        return f"{steps}: cannot be replayed: {replay.failure}"
    return f"{steps}: {replay.faults[0] if replay.faults else 'every bit is as recorded'}"


def _hindrance(preparation: Preparation) -> str:
    """What differs here that bits depend on; code, data and configuration are the run's own."""
    kinds = ("numerics", "environment")
    found = [item for item in preparation.differences if item.kind in kinds and not item.harmless]
    names = [item.what for item in found[:3]] + ([f"{len(found) - 3} more"] if len(found) > 3 else [])
    return f"not the same here: {', '.join(names)}" if found else ""


def _replay(original: RunFolder, segment: Segment, request: Request) -> Replay:
    """Trains one segment and compares everything that was recorded of it."""
    # The first begins with the initialisation: it is proven as well, and so is the validation before the first step.
    start = str(_checkpoint(original, segment.start).resolve()) if segment.start else None
    with tempfile.TemporaryDirectory(prefix="deepdiva-audit-") as folder:
        logging = {**table(request.config.get("logging")), **QUIET}
        config = {**request.config, "runs_dir": folder, "logging": logging}
        try:
            if start is not None:
                checkpoint.load(Path(start))
        except UserError as error:  # a file of the run that does not fit its checksum
            return Replay(segment, (error.message,))
        try:
            request = replace(request, config=config, kind="replay", start=start, until=segment.end)
            done = train_fresh(request)
        except UserError as error:  # what this machine lacks says nothing of the run
            return Replay(segment, failure=error.message)
        try:
            return Replay(segment, tuple(_faults(original, done, segment)))
        except StorageError as error:
            return Replay(segment, (error.message,))


def _faults(original: RunFolder, replay: RunFolder, segment: Segment) -> Iterator[str]:
    """What is not as the run recorded it, in the order of time."""
    yield from _of_fingerprints(original, replay, segment)
    yield from _of_events(original, replay, segment)
    yield from _of_checkpoint(original, replay, segment)


def _of_fingerprints(original: RunFolder, replay: RunFolder, segment: Segment) -> Iterator[str]:
    ours, theirs = (_inside(run.fingerprints(), segment) for run in (original, replay))
    for recorded, found in zip_longest(ours, theirs):
        if recorded != found:
            one, other = table(recorded), table(found)
            step = one.get("step", other.get("step"))
            names = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
            order = ("step", "batch", "loss", "state", "weights")
            first = next((name for name in order if name in names), names[0])
            yield f"the {first} of step {step} is not the recorded one"
            return


def _of_events(original: RunFolder, replay: RunFolder, segment: Segment) -> Iterator[str]:
    for recorded, found in zip_longest(*(_values(run, segment) for run in (original, replay))):
        if recorded != found:
            step, tag, _ = recorded or found or (segment.end, "event", 0)
            yield f"{tag} at step {step} is not the recorded one"
            return


def _values(run: RunFolder, segment: Segment) -> Iterator[tuple[int, str, str]]:
    """The events of a segment that do not measure the machine; the test split is not read in a replay."""
    for event in _inside(run.events(), segment):
        for tag, value in event["values"].items():
            if not tag.startswith(("system/", "test/")):
                yield event["step"], tag, repr(value)


def _inside(records: Iterator[dict[str, Any]], segment: Segment) -> Iterator[dict[str, Any]]:
    begin = segment.start if segment.start else -1  # what stands at step 0 belongs to the first segment
    return (record for record in records if begin < int(record["step"]) <= segment.end)


def _of_checkpoint(original: RunFolder, replay: RunFolder, segment: Segment) -> Iterator[str]:
    """The tensors of the checkpoint at the end, byte for byte, and the digests that it and `run.json` state."""
    for step in (0, segment.end) if segment.start == 0 else (segment.end,):
        for name in _TENSORS:
            here, there = _checkpoint(original, step) / name, _checkpoint(replay, step) / name
            # A replay keeps nothing in mid-epoch, where the run was interrupted; neither need there be one of step 0.
            if not there.exists() or (step == 0 and not here.exists()):
                continue
            if not here.exists():
                yield f"the checkpoint of step {step} is not whole: {name} is missing"
                return
            if integrity.measure(here, original.path) != integrity.measure(there, replay.path):
                yield f"the checkpoint of step {step} does not hold the state that the training comes to ({name})"
    folder = _checkpoint(original, segment.end)
    stated = original.document(f"checkpoints/{folder.name}/training.json")
    digests = _unpacked(_unpacked(stated).get("digests"))
    last = max(part.end for part in segments(original)) == segment.end
    for who, recorded in (("the checkpoint", digests), ("run.json", original.digests if last else {})):
        for name in ("weights", "state"):
            if name in recorded and recorded[name] != replay.digests.get(name):
                yield f"{who} states another digest of the {name} at step {segment.end}"


def _unpacked(value: Any) -> Mapping[str, Any]:
    """A mapping as a checkpoint's `training.json` writes it: `{"items": [[name, value], …]}`."""
    items = table(value).get("items")
    pairs = items if isinstance(items, list) else []
    return {str(pair[0]): pair[1] for pair in pairs if isinstance(pair, list) and len(pair) == 2}


def _checkpoint(run: RunFolder, step: int) -> Path:
    return checkpoint.folder(run.path / "checkpoints", step)
