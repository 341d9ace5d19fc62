"""Whether two runs came to the same bits: every digest, every fingerprint, every prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from deepdiva.runs.difference import table

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder

DIGESTS = ("config", "code", "data", "environment", "numerics", "weights", "state", "metrics")
_BITS = ("weights", "state", "metrics", "fingerprints")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Comparison:
    """What is equal for two runs.

    Args:
        completed: Whether both came to their end.
        equal: For every digest (`config` … `metrics`), for `fingerprints` and for `predictions` whether they are
            equal; None where one of the two has none, which is never equality.
        steps: How many steps both have.
    """

    completed: bool
    equal: Mapping[str, bool | None]
    steps: int

    @property
    def same_bits(self) -> bool:
        """Whether both are complete, and equal in weights, state, metrics, every fingerprint and prediction."""
        return self.completed and all(self.equal[name] for name in _BITS) and self.equal["predictions"] is not False


def compare(a: RunFolder, b: RunFolder) -> Comparison:
    """What two runs have in common; memory is bounded, however long they are.

    Raises:
        UserError: A log or record of one of them is damaged.
    """
    ours, theirs = table(a.digests), table(b.digests)
    equal: dict[str, bool | None] = {}
    for name in dict.fromkeys([*DIGESTS, *sorted(ours.keys() | theirs.keys())]):
        there = ours.get(name), theirs.get(name)
        equal[name] = None if None in there or "" in there else there[0] == there[1]
    equal["fingerprints"], steps = _same_fingerprints(a, b)
    equal["predictions"] = _same_predictions(a, b)
    completed = a.status == b.status == "completed"
    return Comparison(completed, equal, steps)


def _same_fingerprints(a: RunFolder, b: RunFolder) -> tuple[bool | None, int]:
    """Whether all fingerprints are equal, and how many steps both have."""
    equal, steps = True, 0
    empty = [True, True]
    for ours, theirs in zip_longest(a.fingerprints(), b.fingerprints()):
        empty = [empty[0] and ours is None, empty[1] and theirs is None]
        equal = equal and ours == theirs
        steps += ours is not None and theirs is not None and "loss" in ours and "loss" in theirs
        if not equal and (ours is None or theirs is None):
            break
    return (None if any(empty) else equal), steps


def _same_predictions(a: RunFolder, b: RunFolder) -> bool | None:
    """Whether the tables of predictions are equal byte for byte."""
    names = set(a.names("predictions")), set(b.names("predictions"))
    if not names[0] or not names[1]:
        return None
    return names[0] == names[1] and all(_same_file(a, b, f"predictions/{name}") for name in sorted(names[0]))


def _same_file(a: RunFolder, b: RunFolder, name: str) -> bool:
    ours, theirs = a.stream(name), b.stream(name)
    if ours is None or theirs is None:
        return False
    with ours, theirs:
        while True:
            block = ours.read(_BLOCK)
            if block != theirs.read(_BLOCK):
                return False
            if not block:
                return True
