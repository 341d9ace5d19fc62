from __future__ import annotations

from deepdiva.data.changes import Changes, compare
from deepdiva.data.files import Trouble

A, B, C = (1, "aa"), (1, "bb"), (2, "cc")


def test_nothing_changed():
    assert not compare({"a": A}, {"a": A})
    assert compare({}, {}) == Changes()


def test_every_kind_of_change_is_named():
    changes = compare({"same": A, "edited": B, "gone": C}, {"same": A, "edited": C, "new": B})
    assert changes == Changes(added=("new",), removed=("gone",), changed=("edited",))


def test_a_move_to_another_class_and_a_new_name_are_recognised():
    changes = compare({"cat/1.png": A, "cat/2.png": B}, {"dog/1.png": A, "cat/two.png": B})
    assert changes == Changes(renamed=(("cat/1.png", "dog/1.png"), ("cat/2.png", "cat/two.png")))


def test_a_file_that_kept_its_own_name_is_paired_first():
    changes = compare({"a/1": A, "a/2": A}, {"b/2": A, "c/0": A})
    assert changes.renamed == (("a/1", "c/0"), ("a/2", "b/2"))


def test_a_copy_is_new_and_not_renamed():
    assert compare({"1": A}, {"1": A, "2": A}) == Changes(added=("2",))


def test_a_swap_of_two_files_is_a_change_of_both():
    assert compare({"1": A, "2": B}, {"1": B, "2": A}) == Changes(changed=("1", "2"))


def test_what_cannot_be_read_is_not_called_gone():
    troubles = [Trouble("a", "cannot be listed: Permission denied")]
    changes = compare({"a/1": A, "a/b/2": B, "ab/3": C}, {}, troubles=troubles)
    assert changes.removed == ("ab/3",)
    assert [str(problem) for problem in changes.unreadable] == ["a: cannot be listed: Permission denied"]
    assert compare({}, {}, troubles=troubles)


def test_ten_thousand_equal_files_that_moved_are_no_trouble():
    old = {f"a/{n}": A for n in range(10_000)}
    new = {f"b/{n + 5000}": A for n in range(10_000)}
    changes = compare(old, new)
    assert len(changes.renamed) == 10_000
    assert ("a/7000", "b/7000") in changes.renamed


def test_every_difference_is_a_line_that_names_the_file():
    changes = compare({"1": A, "2": B, "3": C}, {"1": B, "4": C, "5": (9, "dd")})
    assert [str(problem) for problem in changes.problems()] == [
        "1: has changed",
        "2: is gone",
        "5: is new",
        "3: is now 4",
    ]
