"""Whether a training can go on from a checkpoint: one whose files fit their checksums may still hold anything.

What is looked at here is known without a model, before a run is changed in any way: the parts and their types, the
places in the logs, and whether all of it is the state whose digest was kept with it. `state_fit` looks at the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeGuard

from deepdiva.engine.checkpoint import Checkpoint
from deepdiva.engine.fingerprint import state_digest
from deepdiva.errors import Problem, UserErrors
from deepdiva.runs.folder import RunFolder
from deepdiva.runs.lines import records_around
from deepdiva.runs.storage import StorageError

if TYPE_CHECKING:
    from torch import Tensor

_HINT = "this run did not write it like that: remove the folder, and an earlier checkpoint or the beginning is taken"
_STEPPERS = ("optimizer", "schedule", "scaler", "average")
_SHOWN = 8  # problems that get a line each


def check_saved(run: RunFolder, saved: Checkpoint) -> None:
    """Refuses a checkpoint that a run cannot go on from, as far as that is known without its model.

    Raises:
        UserErrors: It holds something else than a state of this run; what, is said part by part.
    """
    refuse(saved, problems_of(saved))
    refuse(saved, _problems_of_logs(run, saved))


def problems_of(saved: Checkpoint) -> list[Problem]:
    """What is wrong with the parts of a checkpoint, or, where each could be one, with them all together."""
    found = [*problems_of_state(saved.training), *problems_of_sums(saved.training.get("sums"))]
    return found or list(_problems_of_digest(saved))


def refuse(saved: Checkpoint, problems: Iterable[Problem]) -> None:
    """Raises what is wrong with a checkpoint, if anything is.

    Raises:
        UserErrors: Something is.
    """
    found = list(problems)
    if not found:
        return
    more = [Problem(f"… and {len(found) - _SHOWN} more")] if len(found) > _SHOWN else []
    error = UserErrors(
        [*found[:_SHOWN], *more], f"{saved.path}: its files fit their checksums, but no training can go on from it"
    )
    error.hint = _HINT
    raise error


def problems_of_state(training: Mapping[str, Any]) -> Iterator[Problem]:
    """What is wrong with the parts of a training's state in a checkpoint."""
    for name in ("optimizer", "schedule", "scaler", "position"):
        if not isinstance(training.get(name), Mapping):
            yield wrong(name, "a mapping", training.get(name))
    average = training.get("average")
    if average is not None and not isinstance(average, Mapping):
        yield wrong("average", "a mapping", average)
    elif average is not None:
        if not _is_weights(average.get("model")):
            yield wrong("average.model", "a mapping of tensors", average.get("model"))
        if not _is_count(average.get("steps")):
            yield wrong("average.steps", "a count", average.get("steps"))
    if isinstance(position := training.get("position"), Mapping):
        yield from _problems_of_position(position)


def problems_of_sums(sums: Any) -> Iterator[Problem]:
    """What is wrong with the sums over an epoch so far."""
    if not isinstance(sums, Mapping) or sums.keys() != {"size", "totals"}:
        yield wrong("sums", "a mapping of size and totals", sums)
        return
    totals = sums["totals"]
    if not isinstance(totals, Mapping) or not all(isinstance(name, str) and is_number(totals[name]) for name in totals):
        yield wrong("sums.totals", "a mapping of numbers", totals)
    if not _is_count(sums["size"]) or (not sums["size"] and totals):
        yield wrong("sums.size", "a count of samples", sums["size"])


def problems_of_place(saved: Checkpoint, *, most: int) -> Iterator[Problem]:
    """Whether more steps of an epoch are done than there are, or than may be: `most`."""
    done = saved.training["position"].get("step_in_epoch", 0)
    if done > most:
        yield Problem(f"is {done}, and may be {most} at most", "position.step_in_epoch")


def unlike(own: Any, found: Any, where: str) -> Iterator[Problem]:
    """Where `found` has another kind of value than `own`; what only one of them has is no matter here."""
    kind = _kind(own)
    if kind is None or own is None:
        return
    if _kind(found) != kind:
        yield wrong(where, kind, found)
    elif isinstance(own, Mapping):
        for name in own:
            if name in found:
                yield from unlike(own[name], found[name], f"{where}.{name}")
    elif isinstance(own, list | tuple):
        if len(own) != len(found):
            yield Problem(f"holds {len(found)} values, where {len(own)} belong", where)
        for place, (one, other) in enumerate(zip(own, found, strict=False)):
            yield from unlike(one, other, f"{where}.{place}")


def _problems_of_position(position: Mapping[str, Any]) -> Iterator[Problem]:
    for name in sorted(position.keys() - POSITION.keys(), key=str):
        yield Problem(f"position has no '{name}'")
    for name, (what, is_valid) in POSITION.items():
        if name in position and not is_valid(position[name]):
            yield wrong(f"position.{name}", what, position[name])


def _problems_of_logs(run: RunFolder, saved: Checkpoint) -> Iterator[Problem]:
    """The places in the logs: a record ends at each, and the step of the checkpoint is there."""
    logs, step = saved.training.get("logs"), saved.step
    if saved.training["position"].get("step") != step:
        yield Problem(f"is {saved.training['position'].get('step')} in a checkpoint of step {step}", "position.step")
    for name in ("events", "fingerprints"):
        place = logs.get(name) if isinstance(logs, Mapping) else None
        if place is None or not _is_count(place):
            yield wrong(f"logs.{name}", "a count of bytes", place)
            continue
        try:
            before, after = records_around(run.path / f"{name}.jsonl", place)
        except StorageError as error:
            yield Problem(error.message, f"logs.{name}")
            continue
        # Not known of a stranger's record: what is no step is told where the log is read.
        steps = [None if record is None else record.get("step") for record in (before, after)]
        if (isinstance(steps[0], int) and steps[0] > step) or (isinstance(steps[1], int) and steps[1] < step):
            yield Problem(f"byte {place} of {name}.jsonl is not where step {step} ended", f"logs.{name}")


def _problems_of_digest(saved: Checkpoint) -> Iterator[Problem]:
    """Whether the state is the one that it was: the checkpoints of old versions have no digests."""
    kept = saved.training.get("digests")
    if kept is None:
        return
    weights = state_digest(saved.model)
    state = state_digest({"weights": weights, **{name: saved.training.get(name) for name in _STEPPERS}})
    if not isinstance(kept, Mapping) or kept.get("weights") != weights:
        yield Problem("the weights do not have the digest that was kept with them")
    elif kept.get("state") != state:
        yield Problem(f"{', '.join(_STEPPERS[:-1])} and {_STEPPERS[-1]} do not have the digest that was kept with them")


def _kind(value: Any) -> str | None:
    """What a value is, in the words of a message; None for what may be anything."""
    if isinstance(value, bool):  # which is a number, too
        return "true or false"
    if _is_tensor(value):
        return described(value)
    return next((name for kind, name in _KINDS if isinstance(value, kind)), None)


def described(value: Any) -> str:
    """A value for a message, however large it is."""
    if _is_tensor(value):
        return f"a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')}"
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return f"a mapping of {len(value)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def wrong(where: str, expected: str, found: Any) -> Problem:
    """That something else is found at a place than belongs there."""
    return Problem(f"{expected} belongs there, and it is {described(found)}", where)


def _is_tensor(value: Any) -> TypeGuard[Tensor]:
    import torch

    return isinstance(value, torch.Tensor)


def _is_weights(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) and _is_tensor(value[name]) for name in value)


def is_number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


_KINDS: tuple[tuple[Any, str], ...] = (
    (int | float, "a number"),
    (str, "a text"),
    (Mapping, "a mapping"),
    (list | tuple, "a list"),
)
_COUNT = ("a count", _is_count)
_COUNT_OR_NONE = ("a count, or nothing,", lambda value: value is None or _is_count(value))
_NUMBER_OR_NONE = ("a number, or nothing,", lambda value: value is None or is_number(value))
POSITION: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    **dict.fromkeys(["epoch", "step_in_epoch", "step", "without_improvement"], _COUNT),
    **dict.fromkeys(["best_step", "best_epoch"], _COUNT_OR_NONE),
    **dict.fromkeys(["best_value", "best_loss"], _NUMBER_OR_NONE),
    "finished": ("true or false", lambda value: isinstance(value, bool)),
}
"""What the fields of a `Position` hold: in words, and how to tell."""
