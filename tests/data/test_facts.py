"""What is remembered of decoded images is small, checked, and bounded."""

from __future__ import annotations

import numpy as np

from deepdiva.data import facts

ROWS = np.arange(5)
COUNTS = np.arange(512).reshape(2, 256)


def test_what_is_saved_is_loaded():
    assert facts.load("key") is None
    facts.save("key", (2, 3, 4), ROWS, COUNTS)
    facts.save("key", (2, 3, 4), ROWS[:2], COUNTS + 1)
    found = facts.load("key")
    assert found is not None
    assert found.shape == (2, 3, 4)
    assert np.array_equal(found.histogram(ROWS), COUNTS)
    assert np.array_equal(found.histogram(ROWS[:2]), COUNTS + 1)
    assert found.histogram(ROWS[:3]) is None
    assert facts.exists("ke")
    assert not facts.exists("other")


def test_damage_is_noticed():
    facts.save("key", (2, 3, 4), ROWS, COUNTS)
    place = facts._place("key")
    place.write_bytes(place.read_bytes().replace(b"[0, 1, 2", b"[0, 1, 3"))
    assert facts.load("key") is None


def test_only_some_splits_are_remembered():
    for count in range(facts.MOST + 9):
        facts.save("key", (2, 3, 4), np.arange(count), COUNTS)
    found = facts.load("key")
    assert found is not None
    assert len(found.histograms) == facts.MOST + 1
    assert found.histogram(np.arange(facts.MOST + 8)) is not None
