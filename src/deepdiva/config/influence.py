"""Which settings cannot change a result: they say where it is kept or shown, or how fast it is had."""

from __future__ import annotations

WITHOUT_INFLUENCE = ("experiment", "runs_dir", "allow_dirty", "logging", "workers")
"""Settings that say where results are kept or shown, or how fast: left out of the digest."""

_KEEPING = ("training.checkpoint_every", "training.keep_every")
_OF_TASKS = {"image-classification": ("task.cache",)}


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
