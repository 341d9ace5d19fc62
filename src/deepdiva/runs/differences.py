"""Everything that is not the same for two runs before they begin, the most likely cause of other results first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deepdiva.runs import numerics
from deepdiva.runs.code_differences import code_differences
from deepdiva.runs.config_differences import config_differences
from deepdiva.runs.data_differences import data_differences
from deepdiva.runs.difference import Difference, printable
from deepdiva.runs.environment_differences import environment_differences, is_close_to_arithmetic, is_of_computing

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder

__all__ = ["Difference", "differences"]

_ORDER = ("seed", "config", "code", "data")


def differences(a: RunFolder, b: RunFolder) -> list[Difference]:
    """Every difference of configuration, code, data, environment and arithmetic between two runs.

    First what most likely makes results differ: seed, settings, code, data, then what numbers are known to depend on
    (threads, instruction set, torch, variables of the libraries that compute), then operations that gave other
    numbers, then the rest of the environment, and last what cannot change a result.

    Args:
        a: One run.
        b: The other.

    Raises:
        UserError: A record of one of them is damaged.
    """
    found = [
        *config_differences(a, b),
        *code_differences(a, b),
        *data_differences(a, b),
        *environment_differences(a, b),
        *_numeric_differences(a, b),
    ]
    return sorted(found, key=_rank)  # what is equal in rank stays in its order


def _numeric_differences(a: RunFolder, b: RunFolder) -> list[Difference]:
    """Operations whose results differ between the two machines, where both runs have measured them."""
    ours, theirs = numerics.read(a), numerics.read(b)
    if ours is None or theirs is None:
        return []
    hashes = ours["operations"], theirs["operations"]
    return [
        Difference("numerics", printable(name), printable(hashes[0][name][:12]), printable(hashes[1][name][:12]))
        for name in numerics.differing(ours, theirs)
        if name in hashes[0] and name in hashes[1]  # another version of DeepDIVA measures others
    ]


def _rank(difference: Difference) -> int:
    if difference.harmless:
        return 9
    if difference.kind in _ORDER:
        return _ORDER.index(difference.kind)
    if difference.kind == "numerics":
        return 6
    if is_close_to_arithmetic(difference):
        return 4 if difference.what in ("threads", "capability", "determinism granted") else 5
    return 7 if is_of_computing(difference) else 8
