"""All settings of a run with one task: by full name, by short name, and the nearest one to a misspelt name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepdiva.config.schema import Setting, settings_of
from deepdiva.config.tree import GROUPS, shared_settings

USUAL_ARGUMENTS = {
    "optimizer": ("lr", "weight_decay", "momentum", "nesterov", "betas", "eps"),
    "scheduler": ("T_max", "eta_min", "step_size", "gamma", "milestones", "max_lr", "total_steps"),
    "task.loss": ("label_smoothing", "reduction"),
}
"""Arguments of torch's own classes that are worth suggesting although torch is not loaded to look."""

OTHER_NAMES = {
    "learning_rate": "optimizer.lr",
    "lr_scheduler": "scheduler",
    "num_workers": "workers",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "train_batch_size": "batch_size",
    "dataset": "data",
    "dataset_folder": "data",
    "data_dir": "data",
    "output_folder": "runs_dir",
    "output_dir": "runs_dir",
    "log_dir": "runs_dir",
    "experiment_name": "experiment",
    "model_name": "model",
    "optimizer_name": "optimizer",
    "gpu": "device",
    "gpus": "device",
    "random_seed": "seed",
    "ignoregit": "allow_dirty",
    "amp": "precision",
    "early_stopping": "training.patience",
    "ema_decay": "training.ema",
    "gradient_clip_val": "training.clip_norm",
    "accumulate_grad_batches": "training.accumulate",
    "load_model": "training.init_from",
    "pretrained": "training.init_from",
    "validation_interval": "training.validate_every",
}
"""Names that other tools use, among them DeepDIVA of 2018, and ours for the same."""


@dataclass(frozen=True)
class TaskInfo:
    """A task before anything of it runs.

    Args:
        name: Its name as the user gave it: `image-classification`, `my_task.py:MyTask`.
        cls: The frozen dataclass whose fields are its settings.
        preset: Settings that suit it, above the defaults and below everything the user says.
    """

    name: str
    cls: type
    preset: Mapping[str, Any] = field(default_factory=dict)


def table(task: TaskInfo) -> dict[str, Setting]:
    """Every setting by its dotted path; the task's own stand below `task`."""
    own = settings_of(task.cls, "task.")
    return {setting.path: setting for setting in [*shared_settings(), *own]}


def full_paths(name: str, settings: Mapping[str, Setting]) -> list[str]:
    """The paths that a name on the command line may mean: itself, or the one setting of a group with that leaf."""
    if name in settings or name == "task" or name in GROUPS:
        return [name]
    if name.partition(".")[0] in (*settings, *GROUPS, "task"):
        return [name]
    leaf, dot, rest = name.partition(".")
    return [f"{path}{dot}{rest}" for path, setting in settings.items() if setting.group and setting.leaf == leaf]


def belongs(path: str, settings: Mapping[str, Setting]) -> bool:
    """Whether a path is a setting or an argument of a component."""
    parts = path.split(".")
    above = (".".join(parts[:count]) for count in range(1, len(parts)))
    return path in settings or any(prefix in settings and settings[prefix].is_component for prefix in above)


def suggest(name: str, settings: Mapping[str, Setting], also: Iterable[str] = ()) -> str | None:
    """The full path that a misspelt or misplaced name most likely means; `also` are further names to consider."""
    candidates = {path: path for path in [*also, *settings]}
    for group in (group for group in USUAL_ARGUMENTS if group in settings):
        candidates |= {f"{group}.{argument}": f"{group}.{argument}" for argument in USUAL_ARGUMENTS[group]}
    leaves: dict[str, str] = {}
    for path in candidates:
        leaves.setdefault(path.rpartition(".")[2], path)
    candidates = {_folded(key): path for key, path in (OTHER_NAMES | leaves | candidates).items() if path in candidates}
    forms = list(dict.fromkeys([_folded(name), _folded(name.rpartition(".")[2])]))
    exact = [form for form in forms if form in candidates]
    near = [match for form in forms for match in difflib.get_close_matches(form, candidates, n=1, cutoff=0.7)]
    return next((candidates[match] for match in [*exact, *near]), None)


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")
