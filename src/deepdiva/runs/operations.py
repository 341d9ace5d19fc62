"""The operations of one training step as they were recorded, and the first in which two recordings differ."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from deepdiva.runs.lines import read_lines
from deepdiva.runs.storage import Storage, StorageError, canonical_json

_SCHEMA = 1
_SHOWN = 4  # of the inputs that differ: an optimizer may get hundreds at once

DATA = "data"
"""The origin of a tensor that was there before the step, or came into it by another way than an operation, and is no
part of the model or the optimizer: the batch, a whole data set in memory, or a constant of the task."""

GENERATOR = "random generator"
"""The origin of the state that an operation draws its random numbers from."""


@dataclass(frozen=True)
class Operation:
    """One operation that was executed.

    Args:
        index: Its place in the recording, from 0.
        name: The operator with its overload, such as `aten::add.Tensor` or `aten::convolution.default`.
        phase: `load`, `forward`, `backward` or `optimizer`.
        module: The path of the module that it ran in (`layers.0.conv`); in the backward phase that of the operation
            it is the derivative of, or of the parameter whose gradient it adds to; empty outside of every module.
        source: The line of the project that led to it, as `models.py:42: x = self.conv(x)`; in the backward phase
            that of the operation it is the derivative of; empty where it is not known.
        arguments: Every argument as text (`stride=[1, 1]`), tensors as the number of their place in `inputs` (`%0`).
        inputs: Each tensor as text: device, type, shape, and the hash of its bytes before the operation. There is no
            hash for an operation that only looks at the same memory in another way.
        origins: For each input where it came from: `parameter NAME`, `buffer NAME`, `gradient of NAME`,
            `optimizer's STATE of NAME`, `operation INDEX`, `random generator` or `data`.
        outputs: Each tensor that was returned or changed, after the operation; other results as they are.
    """

    index: int
    name: str
    phase: str
    module: str
    source: str
    arguments: tuple[str, ...]
    inputs: tuple[str, ...]
    origins: tuple[str, ...]
    outputs: tuple[str, ...]

    def describe(self) -> str:
        """The operation and where it stands: `aten::convolution in layers.0.conv (models.py:42: x = self.conv(x))`."""
        name = self.name.removesuffix(".default")
        place = f" in {self.module}" if self.module else f" in the {self.phase} phase"
        derived = "backward of " if self.phase == "backward" and self.source else ""
        return f"{name}{place} ({derived}{self.source or 'line not known'})"


@dataclass(frozen=True)
class Recording:
    """The operations of one step and what the step began with.

    Args:
        operations: In the order in which they were executed.
        tensors: For each parameter, buffer and tensor of the optimizer, named as in `Operation.origins`, its text
            before the step.
        error: What ended the step before its end, if anything did.
        setting: What the step ran under: torch's version, number of threads.
    """

    operations: tuple[Operation, ...]
    tensors: Mapping[str, str] = field(default_factory=dict)
    error: str | None = None
    setting: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class OperationDifference:
    """Where two recordings part.

    Args:
        kind: `operation`, when one operation made other results of equal inputs; `input`, when it already got other
            inputs, which no operation of the recording had made; `sequence`, when another operation was executed, or
            none any more.
        first: The operation in the first recording; None when that had ended.
        second: The operation in the second recording; None when that had ended.
        reasons: For `input` what differs: origins as in `Operation.origins`, or an argument in both forms.
    """

    kind: str
    first: Operation | None
    second: Operation | None
    reasons: tuple[str, ...] = ()

    @property
    def index(self) -> int:
        """The place in the recordings."""
        return next(operation.index for operation in (self.first, self.second) if operation is not None)

    def describe(self) -> str:
        """One sentence, such as `aten::mm in fc (models.py:42: x = self.fc(x)): equal inputs, other result`."""
        if self.first is None or self.second is None:
            longer, shorter = ("second", "first") if self.first is None else ("first", "second")
            more = self.first or self.second
            assert more is not None
            return f"{more.describe()}: only in the {longer} recording, the {shorter} ends before it"
        if self.kind == "sequence":
            return f"{self.first.describe()} in the first recording, {self.second.describe()} in the second"
        if self.kind == "operation":
            return f"{self.first.describe()}: equal inputs, other result"
        shown = [_in_words(reason) for reason in self.reasons[:_SHOWN]]
        rest = [f"and {len(self.reasons) - _SHOWN} more"] if len(self.reasons) > _SHOWN else []
        return f"{self.first.describe()}: other inputs: {', '.join([*shown, *rest])}"


def first_difference(a: Sequence[Operation], b: Sequence[Operation]) -> OperationDifference | None:
    """The first operation in which two recordings differ; None when they have the same bits throughout.

    Everything before it had equal inputs and equal results, so that it is where the bits change, and no consequence of
    a change. Module paths and lines are not compared: a renamed attribute or a moved line changes no bit.
    """
    for first, second in zip_longest(a, b):
        if first is None or second is None or first.name != second.name:
            return OperationDifference("sequence", first, second)
        if len(first.inputs) != len(second.inputs) or len(first.arguments) != len(second.arguments):
            return OperationDifference("sequence", first, second)
        if reasons := tuple(dict.fromkeys(_other_inputs(first, second))):
            return OperationDifference("input", first, second, reasons)
        if first.outputs != second.outputs:
            return OperationDifference("operation", first, second)
    return None


def changed_tensors(a: Recording, b: Recording) -> list[str]:
    """Names of the parameters, buffers and optimizer's tensors that differed before the step, or were in one only."""
    names = dict.fromkeys([*a.tensors, *b.tensors])
    return [name for name in names if a.tensors.get(name) != b.tensors.get(name)]


def write_operations(path: Path, recording: Recording, storage: Storage | None = None) -> None:
    """Writes a recording: one checksummed JSON record a line, the whole file in one step."""
    head = {
        "schema": _SCHEMA,
        "operations": len(recording.operations),
        "tensors": dict(recording.tensors),
        "error": recording.error,
        "setting": dict(recording.setting),
    }
    texts = [canonical_json(record).encode() for record in [head, *map(asdict, recording.operations)]]
    lines = b"".join(b"%08x %b\n" % (zlib.crc32(text), text) for text in texts)
    (storage or Storage()).write(path, lines)


def read_recording(path: Path) -> Recording:
    """What `write_operations` wrote.

    Raises:
        StorageError: When there is no such file, or it is damaged.
    """
    records = read_lines(path)
    head = next(records, None)
    if head is None or head.get("schema") != _SCHEMA:
        raise StorageError(f"{path} holds no recording of operations", "record the step again")
    operations = tuple(_operations(path, records))
    if len(operations) != head["operations"]:
        kept = f"{len(operations)} of {head['operations']} operations"
        raise StorageError(f"{path} was cut off: it holds {kept}", "record the step again")
    return Recording(operations, head["tensors"], head["error"], head["setting"])


def read_operations(path: Path) -> list[Operation]:
    """The operations of a recording; raises as `read_recording` does."""
    return list(read_recording(path).operations)


def _operations(path: Path, records: Iterator[dict[str, Any]]) -> Iterator[Operation]:
    for record in records:
        try:
            fields: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in record.items()}
            yield Operation(**fields)
        except TypeError as error:
            raise StorageError(f"{path} holds something else than operations: {error}") from error


def _other_inputs(first: Operation, second: Operation) -> Iterator[str]:
    """What differs in the inputs of two executions of an operation: where tensors came from, arguments as they are."""
    for one, other in zip(first.arguments, second.arguments, strict=True):
        if one != other:
            yield f"{one} against {other}"
    for one, other, origin in zip(first.inputs, second.inputs, first.origins, strict=True):
        if one != other:
            yield origin


def _in_words(reason: str) -> str:
    if reason == DATA:
        return "data (the batch, or another tensor from outside the step)"
    if reason == GENERATOR:
        return "the random generator is in another state"
    if reason.startswith("operation "):
        return f"the result of {reason}, changed since by something that is no operation"
    return reason
