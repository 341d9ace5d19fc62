"""A file that moved is named as such, whatever else is gone or new."""

from __future__ import annotations

from deepdiva.runs.renames import renamed


def test_a_file_that_kept_its_name_goes_before_one_that_did_not():
    removed = {"0/a.png": "x", "0/b.png": "x"}
    assert renamed(removed, {"1/b.png": "x", "1/c.png": "x"}) == [("0/a.png", "1/c.png"), ("0/b.png", "1/b.png")]


def test_what_has_no_partner_stays_gone_or_new():
    assert renamed({"a": "x", "b": "y"}, {"c": "x", "d": "z"}) == [("a", "c")]
    assert renamed({}, {"c": "x"}) == renamed({"c": "x"}, {}) == []
