"""The odds of an audit: with which probability do a few replayed segments of a run expose one that was changed?"""

from __future__ import annotations

import math


def caught_probability(segments: int, replayed: int, *, share: float = 0.1) -> float:
    """The probability that segments drawn without replacement hold at least one of those that were changed.

    One minus the probability of no success under the hypergeometric distribution. It holds for a drawing that whoever
    changed the run could not foresee.

    Args:
        segments: Number of segments between checkpoints, n.
        replayed: Number of them that are drawn and replayed, K, at most n.
        share: Share of the segments that were changed, above 0, at most 1; rounded up to whole segments.

    Raises:
        ValueError: An argument is out of range.
    """
    changed = _changed(segments, share)
    if not 0 <= replayed <= segments:
        raise ValueError(f"{replayed} of {segments} segments cannot be replayed")
    missed = 1.0
    for drawn in range(replayed):
        missed *= max(0, segments - changed - drawn) / (segments - drawn)
    return 1 - missed


def replays_needed(segments: int, probability: float, *, share: float = 0.1) -> int:
    """The least number of segments to replay that exposes a changed run with this probability.

    Args:
        segments: Number of segments.
        probability: Above 0, at most 1.
        share: As in `caught_probability`.

    Raises:
        ValueError: An argument is out of range.
    """
    if not 0 < probability <= 1:
        raise ValueError(f"a probability lies above 0 and at most at 1, got {probability}")
    unchanged = segments - _changed(segments, share)
    missed = 1.0
    for replayed in range(1, segments + 1):
        missed *= max(0, unchanged - replayed + 1) / (segments - replayed + 1)
        if 1 - missed >= probability:
            return replayed
    return segments


def _changed(segments: int, share: float) -> int:
    if segments < 1:
        raise ValueError(f"a run has 1 segment or more, got {segments}")
    if not 0 < share <= 1:
        raise ValueError(f"a share lies above 0 and at most at 1, got {share}")
    # Rounded first: 0.07 * 100 is a little more than 7 in binary fractions.
    return math.ceil(round(share * segments, 9))
