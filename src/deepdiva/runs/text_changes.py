"""Where two texts differ: the hunks of a change, found in a time that no text can stretch."""

from __future__ import annotations

import difflib
import io
import tokenize
from collections.abc import Iterator
from itertools import zip_longest

from deepdiva.runs.difference import printable

SHOWN_LINES = 60
"""Lines of a change that are shown at most."""
_COMPARED_LINES = 2000  # lines between the first and the last change that are compared with one another
_CONTEXT = 3
_LAYOUT = {tokenize.COMMENT, tokenize.NL}


def hunks(a: bytes, b: bytes) -> str:
    r"""The first hunks of a unified diff with line numbers; empty for what is no text.

    >>> print(hunks(b"x = 1\ny = 2\n", b"x = 1\ny = 3\n"))
    @@ -1,2 +1,2 @@
     x = 1
    -y = 2
    +y = 3
    """
    ours, theirs = _lines(a), _lines(b)
    if ours is None or theirs is None:
        return ""
    lines = list(_unified(ours, theirs))
    more = [f"… and {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else []
    return "\n".join([*lines[:SHOWN_LINES], *more])


def is_layout_only(a: bytes, b: bytes) -> bool:
    """Whether two Python sources differ in comments, blank lines and spaces only. Nothing is compiled or run."""
    try:
        return all(ours == theirs for ours, theirs in zip_longest(_tokens(a), _tokens(b)))
    except (tokenize.TokenError, SyntaxError, ValueError):  # no Python, so that its layout may be all
        return False


def _lines(data: bytes) -> list[str] | None:
    if b"\0" in data:
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    lines = [_shown(line) for line in text.split("\n")]
    last = lines.pop()
    return [*lines, f"{last} (without a line end)"] if last else lines


def _shown(line: str) -> str:
    """A line for any terminal, with its tabs."""
    return "\t".join(map(printable, line.split("\t")))


def _unified(a: list[str], b: list[str]) -> Iterator[str]:
    """The hunks of a change; equal beginnings and ends are set aside, for they cost nothing to find."""
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    size_a, size_b = len(a) - start - end, len(b) - start - end
    if max(size_a, size_b) > _COMPARED_LINES:
        yield f"lines {start + 1}–{start + size_a} of A became lines {start + 1}–{start + size_b} of B; the first are"
        yield from (f"-{line}" for line in a[start : start + _CONTEXT])
        yield from (f"+{line}" for line in b[start : start + _CONTEXT])
        return
    first, rest = max(0, start - _CONTEXT), max(0, end - _CONTEXT)
    parts = a[first : len(a) - rest], b[first : len(b) - rest]
    for group in difflib.SequenceMatcher(None, *parts, autojunk=True).get_grouped_opcodes(_CONTEXT):
        yield from _hunk(group, *parts, first)


def _hunk(group: list[tuple[str, int, int, int, int]], a: list[str], b: list[str], offset: int) -> Iterator[str]:
    (_, first_a, _, first_b, _), (_, _, last_a, _, last_b) = group[0], group[-1]
    yield f"@@ -{_span(first_a + offset, last_a + offset)} +{_span(first_b + offset, last_b + offset)} @@"
    for kind, first_a, last_a, first_b, last_b in group:
        if kind == "equal":
            yield from (f" {line}" for line in a[first_a:last_a])
            continue
        yield from (f"-{line}" for line in a[first_a:last_a])
        yield from (f"+{line}" for line in b[first_b:last_b])


def _span(start: int, stop: int) -> str:
    """Lines as a unified diff counts them."""
    length = stop - start
    return f"{start + 1 if length else start},{length}"


def _tokens(source: bytes) -> Iterator[tuple[int, str]]:
    """What a Python source says without its layout."""
    by_depth = {tokenize.INDENT: "", tokenize.NEWLINE: ""}  # how deep or by which sign makes no difference
    for token in tokenize.tokenize(io.BytesIO(source).readline):
        if token.type not in _LAYOUT:
            yield token.type, by_depth.get(token.type, token.string)
