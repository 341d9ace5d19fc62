"""The configuration of a run: one frozen tree, checked when it is made."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)

from deepdiva.config.influence import influential
from deepdiva.config.schema import Setting, settings_of, wrong_value
from deepdiva.config.values import Component, Range, in_words, plain
from deepdiva.config.yaml_writer import write
from deepdiva.errors import Problem, UserErrors, did_you_mean

# Built when first used: `--help` reads only the fields, and building costs as much as importing pydantic.
_STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)


def _folder_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", value):
        raise ValueError("expected a folder's name of letters, digits, `_`, `-` and `.`")
    return value


class Training(BaseModel):
    """How the loop trains.

    Args:
        validate_every: Epochs between two validations.
        accumulate: Batches whose gradients are summed for one step of the optimizer.
        clip_norm: Largest norm of the gradient; longer gradients are scaled down to it.
        patience: Validations without a better score after which training ends early.
        ema: Weight of the past in a moving average of the weights, such as 0.999; the averaged model is evaluated.
        checkpoint_every: Steps between two checkpoints, besides the one after every epoch.
        keep_every: Epochs between two checkpoints that are kept besides the last and the best.
        init_from: A run's folder or a weights file to fine-tune from.
    """

    model_config = _STRICT

    validate_every: Annotated[int, Range(1)] = 1
    accumulate: Annotated[int, Range(1)] = 1
    clip_norm: Annotated[float, Range(gt=0)] | None = None
    patience: Annotated[int, Range(1)] | None = None
    ema: Annotated[float, Range(gt=0, lt=1)] | None = None
    checkpoint_every: Annotated[int, Range(1)] | None = None
    keep_every: Annotated[int, Range(1)] | None = None
    init_from: str | None = None


class Logging(BaseModel):
    """What is written down while a run goes on.

    Args:
        every: Steps between two records of loss, learning rate and time; 0 for none.
        tensorboard: Whether a copy for TensorBoard is written beside the records.
        figures: When figures are drawn.
        validate_steps: Steps between further validations that are only looked at; what is best goes by the epochs.
        predictions: Whether the prediction for every test sample is kept.
    """

    model_config = _STRICT

    every: Annotated[int, Range(0)] = 1
    tensorboard: bool = True
    figures: Literal["none", "end", "validation"] = "validation"
    validate_steps: Annotated[int, Range(1)] | None = None
    predictions: bool = True


class Config(BaseModel):
    """All settings of a run; in Python it may name just a few, `resolve` fills in the rest.

    Args:
        task: What is learned: the name of a task, or file.py:Class; its fields are settings too.
        data: Folder or name of the data set.
        model: The network: a short name, an import path or file.py:Class.
        seed: Where all randomness starts; drawn and recorded when null.
        epochs: Passes over the training data.
        batch_size: Samples in a batch.
        workers: Processes that load data; 0 loads in the main process. Results do not depend on it.
        device: Where to compute: auto, cpu, cuda, cuda:1, mps.
        precision: Type of the numbers in the forward pass; below float32 it is mixed precision.
        determinism: How far equal runs give equal bits.
        threads: Threads for computing on the CPU; chosen and recorded when null, for bits depend on it.
        optimizer: Any optimizer of torch.optim by name, or your own by import path.
        scheduler: Any learning-rate scheduler of torch.optim.lr_scheduler by name, or your own by import path.
        experiment: Folder below runs_dir that collects the runs; the task's name when null.
        runs_dir: Folder that holds all experiments.
        allow_dirty: Run with uncommitted changes, recording a full snapshot of the code.
        training: How the loop trains.
        logging: What is written down.
    """

    model_config = _STRICT

    task: Component
    data: str | None = None
    model: Component | None = None
    seed: Annotated[int, Range(0, 2**63 - 1)] | None = None
    epochs: Annotated[int, Range(0)] = 10
    batch_size: Annotated[int, Range(1)] = 64
    workers: Annotated[int, Range(0)] = 0
    device: str = "auto"
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    determinism: Literal["seeded", "repeatable", "invariant", "portable"] = "invariant"
    threads: Annotated[int, Range(1)] | None = None
    optimizer: Component = Component("AdamW")
    scheduler: Component | None = None
    experiment: Annotated[str, AfterValidator(_folder_name)] | None = None
    runs_dir: str = "runs"
    allow_dirty: bool = False
    training: Training = Field(default_factory=Training)
    logging: Logging = Field(default_factory=Logging)

    @model_validator(mode="wrap")
    @classmethod
    def _explain_mistakes(cls, values: Any, validate: ModelWrapValidatorHandler[Config]) -> Config:
        """Report all mistakes in DeepDIVA's words."""
        try:
            return validate(values)
        except ValidationError as error:
            raise UserErrors(_problems(error)) from None

    def to_mapping(self) -> dict[str, Any]:
        """All settings as plain nested values, in the order of the fields."""
        result: dict[str, Any] = plain(self.model_dump())
        return result

    def to_yaml(self) -> str:
        """All settings as YAML: read back, it gives the same configuration and the same bytes."""
        return write(self.to_mapping())

    def with_components(self, components: Mapping[str, Component | Sequence[Component] | None]) -> Config:
        """A copy with other components at the given paths: `{"model": …, "task.augment": […]}`."""
        own: dict[str, Any] = {path: item for path, item in components.items() if "." not in path}
        of_task = {path.removeprefix("task."): item for path, item in components.items() if "." in path}
        if of_task:
            own["task"] = Component(self.task.target, {**self.task.arguments, **of_task})
        return self.model_copy(update=own)


GROUPS: dict[str, type[BaseModel]] = {"training": Training, "logging": Logging}
"""The settings that stand together below one key."""


def shared_settings() -> list[Setting]:
    """The settings that every task has, groups last; without `task` itself."""
    own = [setting for setting in settings_of(Config) if setting.path not in ("task", *GROUPS)]
    return own + [setting for group, cls in GROUPS.items() for setting in settings_of(cls, f"{group}.")]


def digest(config: Config) -> str:
    """SHA-256 of every setting that can change a result; not where results go (`runs_dir`) or how fast (`workers`)."""
    text = json.dumps(influential(config.to_mapping()), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _problems(error: ValidationError) -> list[Problem]:
    """Pydantic's complaints, one for each setting, in DeepDIVA's words."""
    settings = {setting.path: setting for setting in [*settings_of(Config), *shared_settings()]}
    found: dict[str, Problem] = {}
    for detail in error.errors():
        parts = [str(part) for part in detail["loc"]]
        path = ".".join(parts[:2] if parts[:1] and parts[0] in GROUPS else parts[:1])
        if path not in found:
            found[path] = _problem(path, detail, settings)
    return list(found.values())


def _problem(path: str, detail: Mapping[str, Any], settings: Mapping[str, Setting]) -> Problem:
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(path, settings)
        return Problem("there is no such setting", path, hint or f"a task's own: task={{'class': …, '{path}': …}}")
    if detail["type"] == "missing":
        return Problem("a value is needed", path)
    if path not in settings or path in GROUPS:
        return Problem(f"expected settings, got {in_words(detail['input'])}", path or "Config")
    wrong = wrong_value(settings[path].annotation, detail["input"], [detail])
    return Problem(wrong.message, path, wrong.hint)
