"""The lines that changed, with their numbers, whatever is in them and however long they are."""

from __future__ import annotations

import difflib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.runs.text_changes import SHOWN_LINES, hunks, is_layout_only

LINES = st.lists(st.sampled_from(["a", "b", "c", "", "d = 1"]), max_size=30)


@given(a=LINES, b=LINES)
def test_the_hunks_are_those_of_a_unified_diff(a, b):
    """Another diff of the same size is as good: what counts is that A becomes B by it, at the lines that it names."""
    found = hunks("".join(f"{line}\n" for line in a).encode(), "".join(f"{line}\n" for line in b).encode())
    if len(found.splitlines()) <= SHOWN_LINES:
        assert _patched(a, found) == b


def _patched(lines: list[str], text: str) -> list[str]:
    result, place = [], 0
    for line in text.split("\n") if text else []:
        if line.startswith("@@"):
            start, length = map(int, line.split()[1].removeprefix("-").split(","))
            first = start - 1 if length else start
            result += lines[place:first]
            place = first
        elif line[0] in " -":
            assert lines[place] == line[1:]
            place += 1
            result += [line[1:]] if line[0] == " " else []
        else:
            result.append(line[1:])
    return result + lines[place:]


def test_a_usual_change_reads_as_difflib_writes_it():
    a, b = [f"line {number}" for number in range(40)], [f"line {number}" for number in range(40)]
    b[20] = "other"
    del b[3]
    expected = list(difflib.unified_diff(a, b, lineterm=""))[2:]
    assert hunks("\n".join([*a, ""]).encode(), "\n".join([*b, ""]).encode()).splitlines() == expected


def test_what_is_no_text_has_no_lines():
    assert hunks(b"\0", b"x") == hunks(b"x", b"\xff") == ""


def test_ends_of_lines_and_signs_that_steer_a_terminal_are_seen():
    assert hunks(b"x\n", b"x").splitlines()[1:] == ["-x", "+x (without a line end)"]
    assert hunks(b"x\n", b"x\r\n").splitlines()[-1] == r"+x\r"
    assert hunks(b"", b"\t\x1b[2J\n").splitlines()[-1] == "+\t\\x1b[2J"


@pytest.mark.timeout(120)  # compared line by line it would take hours
def test_a_long_change_is_cut():
    mixed = random.Random(0)
    texts = ["\n".join(mixed.choices("ab", k=200_000)).encode() for _ in range(2)]
    found = hunks(*texts)
    assert found.startswith("lines ")
    many = hunks(b"x\n" * 500, b"y\n" * 500).splitlines()
    assert len(many) == SHOWN_LINES + 1
    assert many[-1] == f"… and {1001 - SHOWN_LINES} more lines"


def test_only_comments_and_spaces():
    a = b"def f(x):\n    return x  # the same\n"
    assert is_layout_only(a, b"def f( x ):\n\n  return (x)\n".replace(b"(x)\n", b"x\n"))
    assert is_layout_only(a, b"# new\r\ndef f(x):\r\n\treturn x")
    assert not is_layout_only(a, b"def f(x):\n    return x + 1\n")
    assert not is_layout_only(a, b"def f(x):\n    'text'\n    return x\n")
    assert not is_layout_only(b"if a:\n    b\n    c\n", b"if a:\n    b\nc\n")
    assert not is_layout_only(b"# coding: latin-1\nx = '\xe4'\n", b"# coding: cp850\nx = '\xe4'\n")


def test_what_is_no_python_is_not_taken_for_layout():
    assert not is_layout_only(b"(" * 5, b"(" * 5 + b" ")
    assert not is_layout_only(b"\0", b"\0\0")
    assert not is_layout_only(b"  x\n y\n", b"  x\n y\n#\n")
    assert not is_layout_only(b"# coding: nothing\n", b"# coding: nothing\n\n")
