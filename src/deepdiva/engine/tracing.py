"""Records the operations of a training step with the hashes of all tensors, so that two steps can be compared.

Torch has a mode of its own for this (`torch.utils._debug_mode.DebugMode`, a prototype), which is not used: it hashes
what an operation returns, so that it does not see what a fused or foreach optimizer, or the statistics of a batch
normalisation, became; it knows no module of a derivative; and the lines it gives need autograd's anomaly mode.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.engine.call_sites import CallSites
from deepdiva.engine.checkpoint import written_name
from deepdiva.engine.tensor_origins import Origins, State, hash_bytes, text_of
from deepdiva.runs.operations import GENERATOR, Operation, Recording, write_operations

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch._ops import OpOverload

_WRITTEN_UNSAID = {
    "aten::native_batch_norm": ("running_mean", "running_var"),
    "aten::cudnn_batch_norm": ("running_mean", "running_var"),
    "aten::miopen_batch_norm": ("running_mean", "running_var"),
}
"""Arguments that an operation changes although its schema does not say so."""

_ALLOCATIONS = frozenset(
    f"aten::{name}"
    for name in ("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided")
)
"""Operations that give memory as they find it."""

_NO_COMPUTATION = ("profiler", "prim")  # name spaces of operators that only describe what goes on


@contextmanager
def tracing(path: Path, model: nn.Module, root: Path) -> Iterator[None]:
    """Records every operation that is executed inside, and writes the recording at the end, also after an error.

    That covers loading in this process, forward, backward and optimizer; nothing that is computed changes by it, and no
    random number is drawn. Tensors are hashed at once and not kept. A step takes two to three times as long, and ten
    milliseconds more at least.

    Args:
        path: The file to write (`runs.operations.read_recording`).
        model: The model in training; its module paths and parameter names are shown.
        root: The folder of the user's project; lines of its files are shown.
    """
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    recorder = _Recorder(model, root)
    handle = register_optimizer_step_pre_hook(recorder.see_optimizer)
    error: str | None = None
    try:
        with recorder.sites.following(), _mode(recorder):
            yield
    except BaseException as raised:
        error = f"{type(raised).__name__}: {raised}"
        raise
    finally:
        handle.remove()
        write_operations(path, recorder.recording(error))


def _mode(recorder: _Recorder) -> Any:
    from torch.utils._python_dispatch import TorchDispatchMode

    class Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
        """Hands every operation to the recorder."""

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return recorder.execute(func, args, kwargs or {})

    return Mode()  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Schema:
    """What an operator says of itself."""

    name: str
    arguments: tuple[str, ...]
    written: frozenset[str]
    view: bool
    random: bool
    allocates: bool


@cache
def _schema_of(func: OpOverload[..., Any]) -> _Schema:
    import torch

    schema = func._schema
    written = {each.name for each in schema.arguments if each.alias_info is not None and each.alias_info.is_write}
    aliased = any(each.alias_info is not None for each in schema.returns)
    return _Schema(
        name=f"{schema.name}.{func._overloadname}",
        arguments=tuple(each.name for each in schema.arguments),
        written=frozenset(written.union(_WRITTEN_UNSAID.get(schema.name, ()))),
        view=aliased and not written,
        random=torch.Tag.nondeterministic_seeded in func.tags,
        allocates=schema.name in _ALLOCATIONS,
    )


class _Call:
    """The arguments of one execution: every tensor among them, and a text for each.

    Args:
        schema: Of the operator.
        args: By place.
        kwargs: By name.
    """

    def __init__(self, schema: _Schema, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        self.tensors: list[Tensor] = []
        self.written: list[bool] = []
        self.generator: torch.Generator | None = None
        self._writing = False
        named = [*zip(schema.arguments, args, strict=False), *kwargs.items()]
        self.texts = tuple(f"{name}={self._text(value, written=name in schema.written)}" for name, value in named)

    def _text(self, value: Any, *, written: bool) -> str:
        import torch

        if isinstance(value, torch.Tensor):
            self.tensors.append(value)
            self.written.append(written)
            return f"%{len(self.tensors) - 1}"
        if isinstance(value, list | tuple):
            return f"[{', '.join(self._text(item, written=written) for item in value)}]"
        if isinstance(value, torch.Generator):
            self.generator = value
        return _text_of_value(value)


class _Recorder:
    """Executes operations and notes each of them.

    Args:
        model: The model in training.
        root: The folder of the project.
    """

    def __init__(self, model: nn.Module, root: Path) -> None:
        self.sites = CallSites(model, root)
        self._origins = Origins()
        self._operations: list[Operation] = []
        self._tensors: dict[str, str] = {}
        self._names = {id(parameter): written_name(name) for name, parameter in model.named_parameters()}
        self._paused = False
        for name, parameter in model.named_parameters():
            self._begin_with(f"parameter {written_name(name)}", parameter)
            if parameter.grad is not None:
                self._begin_with(f"gradient of {written_name(name)}", parameter.grad)
        for name, buffer in model.named_buffers():
            self._begin_with(f"buffer {written_name(name)}", buffer)

    def recording(self, error: str | None) -> Recording:
        """All that was noted."""
        import torch

        setting = {"torch": str(torch.__version__), "threads": torch.get_num_threads()}
        return Recording(tuple(self._operations), self._tensors, error, setting)

    def see_optimizer(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Notes what an optimizer remembers, before its step."""
        self.sites.optimizing()
        self._paused = True
        try:
            for parameter, state in optimizer.state.items():
                for key, value in state.items():
                    if hasattr(value, "untyped_storage") and not self._origins.is_known(value):
                        self._begin_with(f"optimizer's {key} of {self._names.get(id(parameter), '?')}", value)
        finally:
            self._paused = False

    def execute(self, func: OpOverload[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Executes an operation and notes it, also when it fails."""
        if self._paused or func.namespace in _NO_COMPUTATION:
            return func(*args, **kwargs)
        schema = _schema_of(func)
        site = self.sites.here()
        call = _Call(schema, args, kwargs)
        inputs, origins = self._read(schema, call)
        outputs: tuple[str, ...] = ()
        index = len(self._operations)
        try:
            result = func(*args, **kwargs)
            outputs = tuple(self._results(schema, call, result, f"operation {index}"))
        finally:
            names = (schema.name, site.phase, site.module, site.source)
            self._operations.append(Operation(index, *names, call.texts, inputs, origins, outputs))
        return result

    def _begin_with(self, name: str, tensor: Tensor) -> None:
        self._tensors[name] = text_of(tensor)
        if not self._origins.is_known(tensor):
            self._origins.set(tensor, name)

    def _read(self, schema: _Schema, call: _Call) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Texts and origins of all inputs, the random generator's state among them."""
        texts, origins = [], []
        for tensor, written in zip(call.tensors, call.written, strict=True):
            state = self._origins.state(tensor)
            meaningless = state is State.SCRATCH or (state is State.BLANK and written)
            texts.append(text_of(tensor, content=not (schema.view or meaningless)))
            origins.append(self._origins.of(tensor))
        if schema.random:
            texts.append(_generator_text(call))
            origins.append(GENERATOR)
        return tuple(texts), tuple(origins)

    def _results(self, schema: _Schema, call: _Call, result: Any, writer: str) -> Iterator[str]:
        """Texts of what was returned, then of what was changed in place and not returned."""
        before = {self._origins.key(tensor) for tensor in call.tensors}
        changed = [tensor for tensor, written in zip(call.tensors, call.written, strict=True) if written]
        written = {self._origins.key(tensor) for tensor in changed}
        returned = list(_flat(result))
        for place, value in enumerate(returned):
            if not hasattr(value, "untyped_storage"):
                yield _text_of_value(value)
                continue
            key = self._origins.key(value)
            alias = key is not None and key in before and key not in written
            state = State.BLANK if schema.allocates else _state(place, returned)
            yield text_of(value, content=not alias and state is State.WRITTEN)
            if not alias:
                self._origins.set(value, writer, state)
        for tensor in changed:
            if all(tensor is not value for value in returned):
                yield text_of(tensor)
            self._origins.set(tensor, writer)


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    elif value is not None:
        yield value


def _state(place: int, returned: Sequence[Any]) -> State:
    """What a result means: bytes beside numbers are notes for the derivative (recurrent layers, cuDNN)."""
    types = [str(getattr(value, "dtype", "")) for value in (returned[0], returned[place])]
    return State.SCRATCH if types[1] == "torch.uint8" != types[0] else State.WRITTEN


def _text_of_value(value: Any) -> str:
    """A value that is no tensor; of one that is no plain value only its type, as others show where they lie."""
    import torch

    plain = isinstance(value, None | bool | int | float | complex | str)
    described = isinstance(value, torch.dtype | torch.device | torch.layout | torch.memory_format)
    return repr(value) if plain or described else type(value).__name__


def _generator_text(call: _Call) -> str:
    """The state of the generator that an operation will draw from."""
    import torch

    device = call.tensors[0].device if call.tensors else torch.device("cpu")
    if call.generator is not None:
        device, state = call.generator.device, call.generator.get_state()
    elif device.type == "cuda":
        state = torch.cuda.get_rng_state(device)
    else:
        state = torch.default_generator.get_state()
    return f"{device.type} generator {hash_bytes(state.numpy().data)}"
