"""The first place where two runs part: start, batch, loss, weights, epoch, metric, final digest, or prediction."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import zip_longest
from string import hexdigits
from typing import TYPE_CHECKING, Any, Literal

from deepdiva.runs.difference import printable, table, written
from deepdiva.runs.event_divergence import EventDifference, first_event_difference
from deepdiva.runs.storage import StorageError

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder

Level = Literal["start", "batch", "loss", "state", "epoch", "metrics", "digests", "predictions", "end"]

Record = Mapping[str, Any]

_ABSENT = object()
_SHA_256 = 64  # hexadecimal digits
_DIGITS = 16  # that are shown of them

_STEP_LEVELS: Mapping[str, Level] = {"batch": "batch", "loss": "loss", "state": "state"}
_MEANING: Mapping[str, str] = {
    "start": "before the first step: other initial weights, other validation data, or another arithmetic",
    "batch": "other samples, or the same in another order",
    "loss": "the batch and the weights before it were equal: other content or labels of these samples, "
    "other randomness (augmentation, dropout), or another arithmetic of the forward pass",
    "first loss": "the batch is equal: other initial weights, other content or labels of these samples, "
    "other randomness (augmentation, dropout), or another arithmetic of the forward pass",
    "state": "batch and loss are equal: the backward pass or the optimizer gave other numbers",
    "epoch": "although the digest of every step agrees: two values that were swapped, buffers "
    "(such as the averages of batch normalisation), or the state of the optimizer",
    "metrics": "although all weights up to there agree: validation or test data, their metrics, or the arithmetic",
    "digests": "although every fingerprint agrees",
    "predictions": "although everything before agrees: the test data, or the arithmetic of the evaluation",
}


@dataclass(frozen=True)
class Divergence:
    """Where two runs, A and B, first differ.

    Args:
        level: What differs there: `start` (before any step), `batch` (which samples), `loss`, `state` (weights after
            the step), `epoch` (SHA-256 at its end), `metrics` (an event), `digests` (of the end), `predictions`,
            or `end`: one run is over where the other goes on.
        detail: What that means, in a sentence.
        step: The optimizer step, counted from 1 over the whole run; 0 before the first.
        epoch: The epoch, from 1; 0 before the first; None where nothing tells.
        batch: Which step of the epoch, from 1.
        what: The tag of an event, the column of a prediction, the digest that differs.
        a: The value of A; None where A has none.
        b: The value of B; None where B has none.
        relative: How far the losses (or metrics) are apart: `|a - b| / max(|a|, |b|)`.
        equal_steps: How many steps are the same before.
        samples: Names of samples that differ; of a batch whoever knows the order of the samples can tell them.
    """

    level: Level
    detail: str
    step: int | None = None
    epoch: int | None = None
    batch: int | None = None
    what: str = ""
    a: str | None = None
    b: str | None = None
    relative: float | None = None
    equal_steps: int = 0
    samples: tuple[str, ...] = field(default=())

    def describe(self) -> str:
        """Place, values and meaning, on one line.

        >>> Divergence("loss", "the arithmetic differs", step=7, epoch=2, batch=3, a="0.5", b="0.25").describe()
        'step 7 (epoch 2, batch 3): loss 0.5 against 0.25: the arithmetic differs'
        """
        inside = [f"{name} {value}" for name, value in (("epoch", self.epoch), ("batch", self.batch)) if value]
        place = "before the first step" if not self.step else f"step {self.step}"
        place += f" ({', '.join(inside)})" if inside and self.step else ""
        values = "" if self.a is None and self.b is None else f" {_shown(self.a)} against {_shown(self.b)}"
        return f"{place}: {self.what or self.level}{values}: {self.detail}"


def _shown(value: str | None) -> str:
    """A value in a sentence: of a long digest only the beginning."""
    if value is None:
        return "nothing"
    return f"{value[:_DIGITS]}…" if len(value) == _SHA_256 and set(value) <= set(hexdigits) else value


@dataclass
class _Walk:
    """How far two streams of fingerprints agree."""

    steps: int = 0
    last_step: int = 0  # of the run that ended first, where both agree up to there
    epoch: int | None = None  # the last that ended
    epoch_end: int = 0  # its last step
    same_start: bool = False  # the initial weights are known, and equal


def first_divergence(a: RunFolder, b: RunFolder) -> Divergence | None:
    """The first place where two runs part; None where nothing of what they kept differs.

    Memory is bounded, however long the runs are. An event that differs earlier than any fingerprint (validation data
    that differ, say) is the first place; at the same step the fingerprint is, for the event follows from it.

    Args:
        a: One run.
        b: The other.

    Raises:
        StorageError: A log of one of them is damaged.
    """
    walk = _Walk()
    parted = _walk(a, b, walk)
    event, missing = first_event_difference(a.events(), b.events(), before=_events_end(parted))
    if event is not None:
        return _of_event(event, walk)
    found = parted or _of_digests(a, b, walk, "weights", "state") or _of_predictions(a, b, walk)
    if found is not None:
        return found
    return _of_digests(a, b, walk, "metrics") if missing is None else _of_event(missing, walk)


def loss_of(bits: Any) -> float | None:
    """The loss whose bits a fingerprint holds; None where it holds none.

    >>> loss_of("3fe0000000000000")
    0.5
    """
    try:
        return float(struct.unpack(">d", bytes.fromhex(bits))[0])
    except (TypeError, ValueError, struct.error):
        return None


def relative_difference(a: float | None, b: float | None) -> float | None:
    """|a - b| / max(|a|, |b|); None where one is no number, or not finite."""
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)):
        return None
    largest = max(abs(a), abs(b))
    return abs(a - b) / largest if largest else 0.0


# -- fingerprints -------------------------------------------------------------------------------------------------


def _walk(a: RunFolder, b: RunFolder, walk: _Walk) -> Divergence | None:
    """The first fingerprint that differs; `walk` counts those before it."""
    for ours, theirs in zip_longest(_checked(a), _checked(b)):
        if ours is None or theirs is None:
            return _end(a, b, walk, ours, theirs)
        if ours != theirs:
            return _difference(a, b, walk, ours, theirs)
        _advance(walk, ours)
    return None


def _checked(run: RunFolder) -> Iterator[Record]:
    for record in run.fingerprints():
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise StorageError(f"{run.path / 'fingerprints.jsonl'} holds something that is no fingerprint")
        yield record


def _is_of_epoch(record: Record) -> bool:
    return "loss" not in record and isinstance(record.get("epoch"), int)


def _advance(walk: _Walk, record: Record) -> None:
    walk.last_step = record["step"]
    if _is_of_epoch(record):
        walk.epoch, walk.epoch_end = record["epoch"], record["step"]
        walk.same_start = walk.same_start or record["step"] == 0
    else:
        walk.steps += 1


def _difference(a: RunFolder, b: RunFolder, walk: _Walk, ours: Record, theirs: Record) -> Divergence:
    """What differs in two fingerprints that stand at the same place, in the order of meaning."""
    if _is_of_epoch(ours) != _is_of_epoch(theirs) or ours["step"] != theirs["step"]:
        return _other_rhythm(walk, ours, theirs)
    if _is_of_epoch(ours):
        return _epoch_difference(walk, ours, theirs)
    names = [*_STEP_LEVELS, *sorted((ours.keys() | theirs.keys()) - _STEP_LEVELS.keys())]
    name = next(name for name in names if ours.get(name, _ABSENT) != theirs.get(name, _ABSENT))
    level = _STEP_LEVELS.get(name, "state")
    values = ours.get(name), theirs.get(name)
    losses = [loss_of(value) for value in values] if name == "loss" else [None, None]
    epoch, batch = _place(a, b, walk, ours)
    return Divergence(
        level,
        _MEANING["first loss" if level == "loss" and not walk.steps and walk.epoch is None else level],
        step=ours["step"],
        epoch=epoch,
        batch=batch,
        what=printable(name),
        a=_text(values[0], losses[0]),
        b=_text(values[1], losses[1]),
        relative=relative_difference(*losses),
        equal_steps=walk.steps,
    )


def _text(value: Any, number: float | None) -> str | None:
    """A loss as the number that it is, where it is finite; NaN has many bit patterns, which are then told as well."""
    if number is None:
        return None if value is None else written(value)
    return repr(number) if math.isfinite(number) else f"{number!r} (bits {printable(str(value))})"


def _epoch_difference(walk: _Walk, ours: Record, theirs: Record) -> Divergence:
    """What the end of an epoch says: weights before the state that they are a part of."""
    names = [*("epoch", "weights", "state"), *sorted(ours.keys() | theirs.keys())]
    name = next(name for name in names if ours.get(name, _ABSENT) != theirs.get(name, _ABSENT))
    level: Level = "start" if ours["step"] == 0 else "epoch"
    if level == "epoch" and name == "state":
        detail = "the weights are equal: only the state of the optimizer or of the schedule differs"
    else:
        detail = _MEANING[level]
    values = [None if value is None else written(value) for value in (ours.get(name), theirs.get(name))]
    return Divergence(
        level,
        detail,
        step=ours["step"],
        epoch=ours["epoch"],
        what=printable(name),
        a=values[0],
        b=values[1],
        equal_steps=walk.steps,
    )


def _other_rhythm(walk: _Walk, ours: Record, theirs: Record) -> Divergence:
    """One run ends an epoch, or counts its steps, where the other does not."""
    texts = [
        f"epoch {record['epoch']} ends after step {record['step']}"
        if _is_of_epoch(record)
        else f"step {record['step']}"
        for record in (ours, theirs)
    ]
    return Divergence(
        "epoch",
        "the steps of an epoch are not as many: another number of samples, or another size of the batches",
        step=min(ours["step"], theirs["step"]),
        epoch=None if walk.epoch is None else walk.epoch + 1,
        a=texts[0],
        b=texts[1],
        equal_steps=walk.steps,
    )


def _end(a: RunFolder, b: RunFolder, walk: _Walk, ours: Record | None, theirs: Record | None) -> Divergence:
    """One run is over where the other goes on."""
    shorter, name = (a, "A") if ours is None else (b, "B")
    status = "" if shorter.status == "completed" else f", {printable(shorter.status)}"
    values = [f"ends after step {walk.last_step}" if record is None else "goes on" for record in (ours, theirs)]
    return Divergence(
        "end",
        f"{name} is shorter{status}; all {walk.steps} steps that both have are equal",
        step=walk.last_step,
        epoch=walk.epoch,
        a=values[0],
        b=values[1],
        equal_steps=walk.steps,
    )


def _place(a: RunFolder, b: RunFolder, walk: _Walk, record: Record) -> tuple[int | None, int | None]:
    """Epoch of a step and its place in it: from the ends of epochs before it, else from the events."""
    step = record["step"]
    if walk.epoch is not None:
        return walk.epoch + 1, step - walk.epoch_end
    # DeepDIVA's loop marks the end of every epoch; of a loop of one's own only its events may tell.
    if a.record.get("task") is not None:
        return 1, step
    for run in (a, b):
        epoch = next((event.get("epoch") for event in run.events() if event.get("step") == step), None)
        if isinstance(epoch, int):
            return epoch, None
    return None, None


# -- what follows from the steps ----------------------------------------------------------------------------------


def _events_end(parted: Divergence | None) -> int | None:
    """The step from which on events follow from a difference that is known; they are compared before it."""
    if parted is None or parted.step is None:
        return None
    return parted.step + 1 if parted.level == "end" else parted.step


def _of_event(event: EventDifference, walk: _Walk) -> Divergence:
    level: Level = "start" if event.step == 0 and not walk.same_start else "metrics"
    missing = event.a is None or event.b is None
    detail = "only one of the two has recorded it" if missing else _MEANING[level]
    return Divergence(
        level,
        detail,
        step=event.step,
        epoch=event.epoch,
        what=printable(event.tag),
        a=None if event.a is None else repr(event.a),
        b=None if event.b is None else repr(event.b),
        relative=relative_difference(event.a, event.b),
        equal_steps=min(walk.steps, event.step),
    )


def _of_digests(a: RunFolder, b: RunFolder, walk: _Walk, *names: str) -> Divergence | None:
    """The digests of the end, where both runs have them."""
    ours, theirs = table(a.digests), table(b.digests)
    for name in names:
        if name in ours and name in theirs and ours[name] != theirs[name]:
            return Divergence(
                "digests",
                _MEANING["digests"],
                step=walk.last_step,
                epoch=walk.epoch,
                what=name,
                a=written(ours[name]),
                b=written(theirs[name]),
                equal_steps=walk.steps,
            )
    return None


def _of_predictions(a: RunFolder, b: RunFolder, walk: _Walk) -> Divergence | None:
    """The first sample, in the order of A, whose prediction is not the same."""
    for file in sorted(set(a.names("predictions")) & set(b.names("predictions"))):
        split = file.removesuffix(".csv")
        ours, theirs = a.predictions(split), b.predictions(split)
        for column in dict.fromkeys([*ours, *theirs]):
            pairs = zip_longest(ours.get(column, ()), theirs.get(column, ()))
            place = next((place for place, (left, right) in enumerate(pairs) if left != right), None)
            if place is not None:
                values = [_at(side.get(column, []), place) for side in (ours, theirs)]
                sample = _at(ours.get("id", []), place) or _at(theirs.get("id", []), place)
                return Divergence(
                    "predictions",
                    _MEANING["predictions"],
                    what=printable(f"{split}/{column}"),
                    a=values[0],
                    b=values[1],
                    equal_steps=walk.steps,
                    samples=() if sample is None else (sample,),
                )
    return None


def _at(values: list[str], place: int) -> str | None:
    return printable(values[place]) if place < len(values) else None
