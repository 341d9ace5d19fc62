from __future__ import annotations

from deepdiva.data.layout import Layout
from deepdiva.data.leakage import find_duplicates, straddling_groups

LAYOUT = Layout(
    ("test/a/5", "train/a/1", "train/a/2", "train/b/3", "train/b/4"),
    ("a", "a", "a", "b", "b"),
    ("test", "train", "train", "train", "train"),
)


def find(contents: str, signatures: str, pixels: str):
    asked: list[str] = []

    def pixels_of(names):
        asked.extend(names)
        return [pixels[LAYOUT.names.index(name)] for name in names]

    marks = [mark.encode() for mark in signatures]
    return find_duplicates(LAYOUT, range(5), list(contents), marks, pixels_of), asked


def test_equal_files_need_no_second_look():
    (found,), asked = find("12314", "pqrps", "-----")
    assert found.files == ("test/a/5", "train/b/3")
    assert (found.same_bytes, found.crosses_splits, found.crosses_classes) == (True, True, True)
    assert asked == []


def test_equal_pixels_in_different_files_are_found():
    (found,), asked = find("12345", "pqqrs", "-xx--")
    assert found.files == ("train/a/1", "train/a/2")
    assert (found.same_bytes, found.crosses_splits, found.crosses_classes) == (False, False, False)
    assert asked == ["train/a/1", "train/a/2"]


def test_signatures_that_only_look_alike_are_told_apart():
    found, asked = find("12345", "ppppp", "abcde")
    assert found == ()
    assert len(asked) == 5
    found, _ = find("11234", "ppppp", "xyxzy")
    assert [(one.files, one.same_bytes) for one in found] == [(("test/a/5", "train/a/1", "train/a/2"), False)]


def test_groups_on_both_sides_are_named():
    (found,) = straddling_groups(LAYOUT, ["w", "w", "w", "v", "v"])
    assert (found.group, dict(found.samples)) == ("w", {"test": 1, "train": 2})
    assert straddling_groups(LAYOUT, ["u", "w", "w", "v", "v"]) == ()
    unsplit = Layout(("1", "2"), (None, None), (None, None))
    assert straddling_groups(unsplit, ["w", "w"]) == ()
