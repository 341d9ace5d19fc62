"""DeepDIVA: reproducible deep learning, every experiment logged, seeded, versioned and repeatable.

`from deepdiva import Config, train` and then `train(Config(task="points", data="spirals", epochs=5, seed=0))` is a
whole experiment; it gives the finished run, with `results`, `events()` and `predictions("test")`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deepdiva.config import Component as Component
    from deepdiva.config import Config as Config
    from deepdiva.config import Range as Range
    from deepdiva.engine.task import DataSplits as DataSplits
    from deepdiva.engine.task import Evaluation as Evaluation
    from deepdiva.engine.task import Score as Score
    from deepdiva.engine.task import StepOutput as StepOutput
    from deepdiva.engine.task import Task as Task
    from deepdiva.errors import UserError as UserError
    from deepdiva.experiments.resume import resume as resume
    from deepdiva.experiments.train import train as train
    from deepdiva.runs.folder import RunFolder as RunFolder
    from deepdiva.runs.run import Run as Run

__version__ = "0.1.0"

# Where each public name lives; imported when it is first used, so that `import deepdiva` costs nothing.
_HOMES = {
    "Component": "deepdiva.config",
    "Config": "deepdiva.config",
    "DataSplits": "deepdiva.engine.task",
    "Evaluation": "deepdiva.engine.task",
    "Range": "deepdiva.config",
    "Run": "deepdiva.runs.run",
    "RunFolder": "deepdiva.runs.folder",
    "Score": "deepdiva.engine.task",
    "StepOutput": "deepdiva.engine.task",
    "Task": "deepdiva.engine.task",
    "UserError": "deepdiva.errors",
    "resume": "deepdiva.experiments.resume",
    "train": "deepdiva.experiments.train",
}
__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'deepdiva' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
