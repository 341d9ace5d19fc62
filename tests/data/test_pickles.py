from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from original_sets import python2, random

from deepdiva.data import pickles
from deepdiva.errors import UserError

BATCH = {
    "data": random(2, 5, seed=1),
    "labels": [3, 300, 70000],
    "filenames": ["ä.png", "b" * 300],
    "deep": [[1], {"k": [2]}],
}


def test_what_python_2_wrote_is_read_as_the_ordinary_reader_reads_it():
    content = python2(BATCH)
    ordinary = pickle.loads(content, encoding="bytes")
    found = pickles.load(content, "file")
    assert found.keys() == ordinary.keys() == {b"data", b"labels", b"filenames", b"deep"}
    np.testing.assert_array_equal(found[b"data"], BATCH["data"])
    np.testing.assert_array_equal(found[b"data"], ordinary[b"data"])
    assert found[b"labels"] == ordinary[b"labels"] == [3, 300, 70000]
    assert found[b"filenames"] == ordinary[b"filenames"]
    assert found[b"deep"] == [[1], {b"k": [2]}]


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("kind", ["u1", "<i8", ">i4", "f4"])
def test_arrays_of_other_pythons_are_read(protocol, kind):
    array = np.arange(12).astype(kind).reshape(3, 4)
    for value in (array, np.asfortranarray(array)):
        found = pickles.load(pickle.dumps({"a": value}, protocol=protocol), "file")
        np.testing.assert_array_equal(found["a"], value)
        assert found["a"].dtype == value.dtype


class Evil:
    def __init__(self, call: Callable[..., object], *arguments: object) -> None:
        self.reduced = call, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.reduced


@pytest.mark.parametrize("protocol", range(6))
def test_a_malicious_pickle_is_refused_and_does_nothing(tmp_path, protocol):
    trace = tmp_path / "trace"
    calls = (
        Evil(os.system, f"touch {trace}"),
        Evil(eval, f"open({str(trace)!r}, 'w')"),
        Evil(Path.touch, trace),
        Evil(np.fromfile, str(trace)),
        Evil(np.load, str(trace)),
    )
    for evil in calls:
        for value in (evil, {"data": BATCH["data"], "labels": [evil]}):
            with pytest.raises(UserError, match="asks for") as caught:
                pickles.load(pickle.dumps(value, protocol=protocol), "data_batch_1")
            assert caught.value.message.startswith("data_batch_1 ")
            assert "malicious" in (caught.value.hint or "")
    assert not trace.exists()


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x02cos\nsystem\n.",
        b"cbuiltins\neval\n.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"(S'ls'\nios\nsystem\n.",
        b"\x80\x02cnumpy\nsave\n.",
        b"\x80\x02cnumpy.core.multiarray\nfrombuffer\n.",
        b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        b"\x80\x02U\x01xQ.",
        b"Pname\n.",
        b"\x80\x02cnumpy\ndtype\n.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n.",
        b"\x80\x02cnumpy\ndtype\nU\x01O\x85R.",
        b"\x80\x02cnumpy\ndtype\nU\x02u1\x85R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",
    ],
)
def test_anything_but_plain_data_is_refused(content):
    with pytest.raises(UserError, match=r"asks for|holds more than|an array"):
        pickles.load(content, "file")


def array_with(shape: tuple[int, ...], raw: bytes, kind: bytes = b"u1") -> bytes:
    out = io.BytesIO()
    out.write(b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01(")
    for side in shape:
        out.write(b"\x8a\x08" + struct.pack("<q", side))
    out.write(b"tcnumpy\ndtype\nU" + bytes([len(kind)]) + kind + b"K\x00K\x01\x87R\x89")
    out.write(b"T" + struct.pack("<I", len(raw)) + raw + b"tb.")
    return out.getvalue()


@pytest.mark.parametrize(
    ("shape", "raw", "kind"),
    [
        ((3,), b"ab", b"u1"),
        ((1 << 60, 1 << 60), b"", b"u1"),
        ((-1,), b"", b"u1"),
        ((-2, -2), b"abcd", b"u1"),
        ((1,), b"12345678", b"O8"),
        ((1,), b"12345678", b"V8"),
        ((1,), b"12345678", b"i4"),
    ],
)
def test_an_array_that_is_not_what_it_says_is_refused(shape, raw, kind):
    with pytest.raises(UserError, match="has an array"):
        pickles.load(array_with(shape, raw, kind), "file")
    assert pickles.load(array_with((2, 1), b"ab"), "file").tolist() == [[97], [98]]


def test_lists_of_lists_do_not_grow():
    content = b"\x80\x02]q\x00" + b"".join(
        b"](" + b"h" + bytes([place]) + b"h" + bytes([place]) + b"eq" + bytes([place + 1]) for place in range(60)
    )
    found = pickles.load(content + b".", "file")
    assert len(found) == 2


def test_a_list_that_holds_itself_is_refused():
    with pytest.raises(UserError, match="damaged"):
        pickles.load(b"\x80\x02]q\x00h\x00a.", "file")


def test_a_truncated_pickle_is_refused():
    content = python2(BATCH)
    for end in range(0, len(content), 5):
        with pytest.raises(UserError, match="damaged"):
            pickles.load(content[:end], "file")


@given(st.data())
def test_damage_never_ends_in_another_error(data):
    content = bytearray(python2({"data": random(1, 3, seed=1), "labels": [1, 2]}))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    with suppress(UserError):
        pickles.load(bytes(content), "file")


def test_the_small_sets_are_written_as_python_2_did():
    names = {code.name for code, _, _ in pickletools.genops(python2(BATCH))}
    assert names.isdisjoint({"BINUNICODE", "SHORT_BINBYTES", "BINBYTES", "FRAME", "MEMOIZE"})
    assert {"SHORT_BINSTRING", "BINSTRING", "GLOBAL", "REDUCE", "BUILD"} <= names
