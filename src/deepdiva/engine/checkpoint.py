"""Checkpoints: written so that a kill at any instant leaves a whole one, read without trusting a byte.

A checkpoint is a folder `checkpoints/step-00000120/`: `model.safetensors` and `training.safetensors` hold tensors,
`training.json` the rest, and `manifest.json`, written last, the SHA-256 of the three. Without a manifest that fits,
there is no checkpoint. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.errors import Problem, UserError, UserErrors
from deepdiva.runs.integrity import Entry, read_manifest
from deepdiva.runs.reading import parse_json, read_bytes
from deepdiva.runs.storage import Storage, StorageError, canonical_json

if TYPE_CHECKING:
    from torch import Tensor, nn

SCHEMA = 1
_NAME = re.compile(r"step-(\d{8,})")
_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # bytes; what is larger cannot be loaded
_COMPILED = "_orig_mod."  # what `torch.compile(model)` puts before the names of what it compiles
_FILES = ("model.safetensors", "training.safetensors", "training.json")


class CheckpointError(UserError):
    """A checkpoint that is incomplete or does not fit its checksums."""


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        step: Optimizer steps done.
        path: Its folder.
        model: The model's state dictionary, on the CPU.
        training: The rest (optimizer, scheduler, position, best so far), as it was given to `save`.
    """

    step: int
    path: Path
    model: dict[str, Tensor]
    training: dict[str, Any]

    @property
    def evaluated(self) -> dict[str, Tensor]:
        """The weights that were validated: those of the moving average where the training kept one."""
        import torch

        average = self.training.get("average")
        if average is None:
            return self.model
        weights = average.get("model") if isinstance(average, dict) else None
        if not isinstance(weights, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
            raise CheckpointError(f"{self.path}: it fits its checksums, but its moving average holds no weights")
        return weights


def save(directory: Path, step: int, model: nn.Module, training: Mapping[str, Any], storage: Storage) -> Path:
    """Writes one checkpoint below `directory` and gives its folder; it exists once its manifest does."""
    from safetensors.torch import save as to_bytes

    tensors: dict[str, Tensor] = {}
    document = _take_tensors(training, "", tensors)
    contents = {
        "model.safetensors": to_bytes({name: _settle(tensor) for name, tensor in state_of(model).items()}),
        "training.safetensors": to_bytes(tensors),
        "training.json": canonical_json(document).encode(),
    }
    path = directory / f"step-{step:08d}"
    storage.make_directory(path)
    for name, data in contents.items():
        storage.write(path / name, data)
    storage.write(path / "manifest.json", _manifest(step, contents))
    return path


def written_name(name: str) -> str:
    """The name of a part of a model without what `torch.compile` puts before it.

    >>> written_name("encoder._orig_mod.0.weight")
    'encoder.0.weight'
    """
    return name.replace(_COMPILED, "")


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The model's state dictionary, by the names that it has without `torch.compile`.

    So a compiled model and the same one as it was written have the same digests, and take each other's checkpoints.
    """
    return _by_written_names(model.state_dict())


def check_model(model: nn.Module) -> None:
    """Refuses a model that a checkpoint cannot hold, before anything was computed.

    Raises:
        UserErrors: Parts of its state are no tensors; all are named.
    """
    import torch

    problems = [
        Problem(f"is {type(value).__name__}, no tensor", name)
        for name, value in state_of(model).items()
        if not isinstance(value, torch.Tensor)
    ]
    if problems:
        raise UserErrors(
            problems,
            "a checkpoint cannot hold the model's state (keep numbers as buffers, and what never changes out of it: "
            "get_extra_state may give a tensor only)",
        )


def load(path: Path) -> Checkpoint:
    """Reads a checkpoint and checks every byte of it.

    Raises:
        CheckpointError: It is incomplete, or a file does not fit its checksum.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    step, contents = _read_checked(path)
    try:
        model, tensors = from_bytes(contents["model.safetensors"]), from_bytes(contents["training.safetensors"])
        training = _put_tensors(parse_json(contents["training.json"], path / "training.json"), tensors)
        if not isinstance(training, dict):
            raise TypeError("training.json holds no mapping")
    except (SafetensorError, StorageError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: it fits its checksums, but is no checkpoint: {error}") from error
    return Checkpoint(step, path, model, training)


@dataclass(frozen=True)
class About:
    """What a model was trained for and on, so that it can be used elsewhere.

    Args:
        task: The task's name.
        classes: Class names in the order of the model's scores; empty where the task has none.
        statistics: What the task took from the training samples (mean, std, class weights).
        preprocessing: How a sample becomes what the model takes; for images see `data.preprocessing.Preprocessing`.
    """

    task: str
    classes: tuple[str, ...]
    statistics: Mapping[str, Any]
    preprocessing: Mapping[str, Any]


def read_about(source: Checkpoint | Path) -> About:
    """What a checkpoint says of its model; every byte of a checkpoint given by its folder is checked.

    Raises:
        CheckpointError: It is incomplete, a file does not fit its checksum, or it says no such thing.
    """
    saved = source if isinstance(source, Checkpoint) else load(source)
    about = saved.training.get("about")
    if not isinstance(about, dict):
        raise CheckpointError(f"{saved.path}: it does not say what its model is for")
    task, classes = about.get("task"), about.get("classes")
    statistics, preprocessing = about.get("statistics"), about.get("preprocessing", {})
    names = classes if isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes) else None
    is_mapped = isinstance(preprocessing, dict)
    if names is None or not isinstance(task, str) or not isinstance(statistics, dict) or not is_mapped:
        raise CheckpointError(f"{saved.path}: what it says of its model is no such thing")
    return About(task, tuple(names), statistics, preprocessing)


def steps(directory: Path) -> list[int]:
    """The steps of the checkpoint folders below `directory`, newest first, whether they are whole or not."""
    if not directory.is_dir():
        return []
    matches = (_NAME.fullmatch(entry.name) for entry in directory.iterdir())
    return sorted((int(match[1]) for match in matches if match), reverse=True)


def folder(directory: Path, step: int) -> Path:
    """The folder of the checkpoint at `step`."""
    return directory / f"step-{step:08d}"


def load_newest(directory: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint, or None, and for every newer broken one the reason it was passed over."""
    passed_over: list[str] = []
    for step in steps(directory):
        try:
            return load(folder(directory, step)), passed_over
        except CheckpointError as error:
            passed_over.append(error.message)
    return None, passed_over


def prune(directory: Path, keep: set[int], storage: Storage, *, newest: int) -> None:
    """Removes every checkpoint but the two newest and those in `keep`.

    What is newer than `newest`, where the training is, was passed over as broken when the run was resumed: it goes too.
    """
    found = steps(directory)
    current = [step for step in found if step <= newest]
    for step in found:
        if step not in current[:2] and (step > newest or step not in keep):
            storage.remove_tree(folder(directory, step))


def load_weights(model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copies `state` into `model`, strictly.

    Raises:
        UserErrors: A name is missing, not expected, or has another shape; all are named.
    """
    state = _by_written_names(state)
    problems = misfits(model, state)
    if problems:
        raise UserErrors(problems, f"the weights of {source} do not fit the model ({len(problems)} differences)")
    model.load_state_dict({name: state[written_name(name)] for name in model.state_dict()}, strict=True)


def misfits(model: nn.Module, state: Mapping[str, Tensor], *, strict_types: bool = False) -> list[Problem]:
    """What `load_weights` refuses, and with `strict_types` also numbers of another type than the model has."""
    own, state = state_of(model), _by_written_names(state)
    problems = [Problem(f"missing: {name}") for name in own if name not in state]
    problems += [Problem(f"not in the model: {name}") for name in state if name not in own]
    for name in own:
        if name in state and own[name].shape != state[name].shape:
            shapes = f"the model has shape {list(own[name].shape)}, the file {list(state[name].shape)}"
            problems.append(Problem(f"{name}: {shapes}"))
        elif strict_types and name in state and own[name].dtype != state[name].dtype:
            problems.append(Problem(f"{name}: the model has {own[name].dtype}, the file {state[name].dtype}"))
    return problems


def read_weights(source: Path) -> dict[str, Tensor]:
    """The state dictionary in a `.safetensors` file, a `.pt`/`.pth` file of plain tensors, or a checkpoint's folder.

    Of a checkpoint it is what was validated, the averaged weights where there are such.

    Raises:
        UserError: There is no such file, or it cannot be read as weights without running code from it.
    """
    import torch
    from safetensors.torch import load_file

    if (source / "manifest.json").is_file():
        return load(source).evaluated
    if not source.is_file():
        raise UserError(f"{source}: no such weights", "give a run folder, a .safetensors or a .pt file")
    try:
        if source.suffix == ".safetensors":
            return load_file(source)
        state = torch.load(source, map_location="cpu", weights_only=True)
    except Exception as error:
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise UserError(f"{source}: cannot be read as weights: {first}", "save a plain state_dict") from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{source}: holds no state dictionary of tensors", "save `model.state_dict()`")
    return state


def _by_written_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {written_name(name): tensor for name, tensor in state.items()}


def _manifest(step: int, contents: Mapping[str, bytes]) -> bytes:
    files = {name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in contents.items()}
    body = {"schema": SCHEMA, "step": step, "files": files}
    check = hashlib.sha256(canonical_json(body).encode()).hexdigest()
    return canonical_json({**body, "check": check}).encode()


def _read_checked(path: Path) -> tuple[int, dict[str, bytes]]:
    try:
        manifest = read_manifest(path / "manifest.json", within=path)
        files, step = manifest["files"], int(manifest["step"])
        contents = {name: _content(path / name, files[name]) for name in _FILES}
    except OSError as error:
        raise CheckpointError(f"{path}: incomplete ({error.strerror}: {Path(str(error.filename)).name})") from error
    except StorageError as error:
        raise CheckpointError(error.message) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: manifest.json cannot be read") from error
    return step, contents


def _content(path: Path, expected: Entry) -> bytes:
    """The content of a file of a checkpoint, read only where it has the size that it should."""
    if path.lstat().st_size != expected.size or expected.size > _MEMORY:
        raise StorageError(f"{path.parent}: {path.name} does not fit its checksum: it has another size")
    data = read_bytes(path, limit=expected.size, within=path.parent)
    if hashlib.sha256(data).hexdigest() != expected.sha256:
        raise StorageError(f"{path.parent}: {path.name} does not fit its checksum")
    return data


def _settle(tensor: Tensor) -> Tensor:
    """A copy on the CPU that shares no memory (safetensors takes no views, and tied weights stay two names)."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def _take_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """`value` as JSON can hold it, its tensors moved to `tensors` under their paths."""
    import torch

    if isinstance(value, torch.Tensor):
        tensors[path] = _settle(value)
        return {"tensor": path}
    if isinstance(value, Mapping):
        return {"items": [[name, _take_tensors(item, f"{path}/{name}", tensors)] for name, item in value.items()]}
    if isinstance(value, list | tuple):
        return {"list": [_take_tensors(item, f"{path}/{index}", tensors) for index, item in enumerate(value)]}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {path}: {type(value).__name__} is neither tensor nor plain value")


def _put_tensors(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    if "items" in value:
        return {name: _put_tensors(item, tensors) for name, item in value["items"]}
    return [_put_tensors(item, tensors) for item in value["list"]]
