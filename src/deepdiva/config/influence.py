"""Which settings cannot change a result: they say where it is kept or shown, or how fast it is had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WITHOUT_INFLUENCE = ("experiment", "runs_dir", "allow_dirty", "logging", "workers")
"""Settings that say where results are kept or shown, or how fast: left out of the digest with all below them."""

_KEEPING = ("training.checkpoint_every", "training.keep_every")
_OF_TASKS = {"image-classification": ("task.cache",)}
"""Settings of known tasks that only decide what is kept on disk: left out of the digest as well."""


def cannot_change_results(path: str, task: str | None = None) -> bool:
    """Whether a setting cannot change a result, unless the task breaks the rules.

    Args:
        path: Its dotted path, such as `logging.every`.
        task: The name of the task: of its own settings some only decide what is kept on disk.

    >>> cannot_change_results("logging.every"), cannot_change_results("optimizer.lr")
    (True, False)
    """
    harmless = (*WITHOUT_INFLUENCE, *_KEEPING, *_OF_TASKS.get(task or "", ()))
    return any(path == name or path.startswith(f"{name}.") for name in harmless)


def influential(config: Mapping[str, Any]) -> dict[str, Any]:
    """What the digest of a whole configuration is taken of: all that can change a result, and how often it is kept.

    >>> influential({"task": {"class": "image-classification", "cache": "auto", "size": 28}, "workers": 2})
    {'task': {'class': 'image-classification', 'size': 28}}
    """
    kept = {name: value for name, value in config.items() if name not in WITHOUT_INFLUENCE}
    task = config.get("task")
    if isinstance(task, Mapping):
        harmless = _OF_TASKS.get(str(task.get("class")), ())
        kept["task"] = {name: value for name, value in task.items() if f"task.{name}" not in harmless}
    return kept
