from __future__ import annotations

import json

import pytest

from deepdiva.data.analysis import Analysis, Part, Spread, Unreadable
from deepdiva.data.leakage import Duplicates, StraddlingGroup

SPREAD = Spread(1.0, 2.0, 1.5, (1.0, 2.0), (3,))
FOUND = Analysis(
    source="pets",
    root="f00",
    decoder="Pillow",
    images=3,
    size=10,
    other_files=0,
    channels="gray",
    classes=("a",),
    parts=(Part("train", 3, "00", 12, (0.5,), (0.1,), ((1, 2),), (3,), (1.0,)),),
    modes={"L": 3},
    formats={"PNG": 3},
    gray=3,
    gray_in_rgb=0,
    sizes=((1, 2, 3),),
    different_sizes=1,
    heights=SPREAD,
    widths=SPREAD,
    aspect_ratios=SPREAD,
    blank=(),
    unreadable=(Unreadable("x.png", "empty"),),
    duplicates=(Duplicates(("1", "2"), ("train", "test"), ("a", "a"), same_bytes=True),),
    group_by="(w)",
    groups=1,
    straddling=(StraddlingGroup("w", {"train": 1, "test": 2}),),
)


def test_it_survives_json():
    text = json.dumps(FOUND.to_mapping())
    assert Analysis.from_mapping(json.loads(text)) == FOUND
    assert json.loads(text)["leaks"] is True


def test_another_version_is_not_read():
    with pytest.raises(ValueError, match="schema 0"):
        Analysis.from_mapping(FOUND.to_mapping() | {"schema": 0})
    with pytest.raises(KeyError):
        Analysis.from_mapping({"schema": 1})
