"""A recording comes back as it was written, and the place where two part is named for what it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from deepdiva.runs.lines import read_lines
from deepdiva.runs.operations import (
    DATA,
    GENERATOR,
    Operation,
    Recording,
    changed_tensors,
    first_difference,
    read_operations,
    read_recording,
    write_operations,
)
from deepdiva.runs.storage import StorageError, System


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(System, "fsync", lambda self, descriptor: None)


def operation(index: int, name: str = "aten::mm.default", **changes: object) -> Operation:
    fields: dict[str, object] = {
        "phase": "forward",
        "module": "layers.0",
        "source": "models.py:42: x = self.fc(x)",
        "arguments": ("self=%0", "mat2=%1"),
        "inputs": ("cpu float32[2, 3] 00", "cpu float32[3, 2] 01"),
        "origins": (DATA, "parameter layers.0.weight"),
        "outputs": ("cpu float32[2, 2] 02",),
    }
    return Operation(index=index, name=name, **{**fields, **changes})  # type: ignore[arg-type]


STEP = [operation(0), operation(1, "aten::relu.default"), operation(2, "aten::sum.default")]


def changed(place: int, **changes: object) -> list[Operation]:
    return [replace(each, **changes) if each.index == place else each for each in STEP]  # type: ignore[arg-type]


def test_a_recording_comes_back_as_it_was_written(tmp_path: Path):
    recording = Recording(tuple(STEP), {"parameter w": "cpu float32[1] 0"}, "KeyError: 'é'", {"threads": 2})
    write_operations(tmp_path / "a.jsonl", recording)
    assert read_recording(tmp_path / "a.jsonl") == recording
    assert read_operations(tmp_path / "a.jsonl") == STEP
    assert len(list(read_lines(tmp_path / "a.jsonl"))) == 1 + len(STEP)


def test_a_step_without_operations_comes_back_too(tmp_path: Path):
    write_operations(tmp_path / "a.jsonl", Recording(()))
    assert read_operations(tmp_path / "a.jsonl") == []


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "other", "stranger"])
def test_a_recording_that_is_not_whole_is_refused(tmp_path: Path, damage: str):
    path = tmp_path / "a.jsonl"
    write_operations(path, Recording(tuple(STEP)))
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[:-5])
    elif damage == "changed":
        path.write_bytes(data.replace(b"relu", b"gelu"))
    elif damage == "other":
        path.write_bytes(data.splitlines(keepends=True)[1])
    else:
        import zlib

        alien = b'{"step":1}'
        lines = data.splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:-1], b"%08x %b\n" % (zlib.crc32(alien), alien)]))
    with pytest.raises(StorageError, match=r"a\.jsonl"):
        read_recording(path)


def test_equal_recordings_have_no_difference():
    assert first_difference(STEP, list(STEP)) is None
    assert first_difference([], []) is None


def test_other_lines_and_module_paths_are_no_difference():
    assert first_difference(STEP, changed(1, source="models.py:50: x = relu(x)", module="act", phase="load")) is None


def test_another_result_of_equal_inputs_is_the_operation_itself():
    found = first_difference(STEP, [*changed(1, outputs=("cpu float32[2, 2] 99",))[:2], STEP[2]])
    assert found is not None
    assert (found.kind, found.index, found.reasons) == ("operation", 1, ())
    assert found.describe() == "aten::relu in layers.0 (models.py:42: x = self.fc(x)): equal inputs, other result"


def test_the_first_of_several_differences_counts():
    other = [replace(each, outputs=("cpu float32[2, 2] 99",)) for each in STEP]
    found = first_difference(STEP, other)
    assert found is not None
    assert found.index == 0


WORDS = {
    "data": (DATA, "data (the batch, or another tensor from outside the step)"),
    "parameter": ("parameter fc.weight", "parameter fc.weight"),
    "buffer": ("buffer norm.running_mean", "buffer norm.running_mean"),
    "generator": (GENERATOR, "the random generator is in another state"),
    "unseen": ("operation 1", "the result of operation 1, changed since by something that is no operation"),
}


@pytest.mark.parametrize("kind", sorted(WORDS))
def test_other_inputs_are_named_by_where_they_came_from(kind: str):
    origin, words = WORDS[kind]
    mine = changed(2, origins=(DATA, origin))
    found = first_difference(mine, changed(2, inputs=("cpu float32[2, 3] 00", "cpu float32[3, 2] 77")))
    assert found is not None
    assert (found.kind, found.reasons) == ("input", (origin,))
    assert found.describe() == f"aten::sum in layers.0 (models.py:42: x = self.fc(x)): other inputs: {words}"


def test_every_input_that_differs_is_named_once():
    inputs = ("cpu float32[2, 3] 10", "cpu float32[3, 2] 11", "cpu float32[3, 2] 12")
    here = replace(STEP[0], inputs=inputs, origins=(DATA, "parameter w", DATA))
    there = replace(here, inputs=tuple(text.replace(" 1", " 2") for text in inputs))
    found = first_difference([here], [there])
    assert found is not None
    assert found.reasons == (DATA, "parameter w")


def test_of_many_inputs_a_few_are_shown():
    here = replace(STEP[0], inputs=tuple("abcdef"), origins=tuple(f"parameter {name}" for name in "abcdef"))
    found = first_difference([here], [replace(here, inputs=tuple("ABCDEF"))])
    assert found is not None
    assert len(found.reasons) == 6
    assert found.describe().endswith("other inputs: parameter a, parameter b, parameter c, parameter d, and 2 more")


def test_another_argument_is_shown_in_both_forms():
    here, there = (replace(STEP[0], arguments=("self=%0", f"lr={rate}")) for rate in (0.1, 0.2))
    found = first_difference([here], [there])
    assert found is not None
    assert (found.kind, found.reasons) == ("input", ("lr=0.1 against lr=0.2",))


def other_sequences() -> dict[str, tuple[Sequence[Operation], str]]:
    line = "(models.py:42: x = self.fc(x))"
    relu, total = f"aten::relu in layers.0 {line}", f"aten::sum in layers.0 {line}"
    gelu = relu.replace("relu", "gelu")
    return {
        "another": (changed(1, name="aten::gelu.default"), f"{relu} in the first recording, {gelu} in the second"),
        "fewer": (STEP[:2], f"{total}: only in the first recording, the second ends before it"),
        "none": ([], f"aten::mm in layers.0 {line}: only in the first recording, the second ends before it"),
        "inputs": (changed(1, inputs=STEP[1].inputs[:1]), f"{relu} in the first recording, {relu} in the second"),
    }


@pytest.mark.parametrize("kind", sorted(other_sequences()))
def test_another_operation_or_number_of_them_is_another_sequence(kind: str):
    other, words = other_sequences()[kind]
    found = first_difference(STEP, other)
    assert found is not None
    assert (found.kind, found.describe()) == ("sequence", words)
    back = first_difference(other, STEP)
    assert back is not None
    assert (back.kind, back.first, back.second) == ("sequence", found.second, found.first)


def test_an_operation_says_where_it_stands():
    assert STEP[0].describe() == "aten::mm in layers.0 (models.py:42: x = self.fc(x))"
    backward = replace(STEP[0], phase="backward", name="aten::sum.dim_IntList")
    assert backward.describe() == "aten::sum.dim_IntList in layers.0 (backward of models.py:42: x = self.fc(x))"
    outside = replace(STEP[0], phase="optimizer", module="", source="")
    assert outside.describe() == "aten::mm in the optimizer phase (line not known)"


def test_what_differed_before_the_step_is_listed():
    a = Recording((), {"parameter w": "1", "parameter b": "2", "buffer m": "3"})
    b = Recording((), {"parameter w": "1", "parameter b": "9", "buffer n": "3"})
    assert changed_tensors(a, b) == ["parameter b", "buffer m", "buffer n"]
    assert changed_tensors(a, a) == []


def test_reading_needs_no_torch():
    program = "import sys, deepdiva.runs.operations; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
