"""Tries a task, as configured, against everything the loop and the guarantees expect of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deepdiva import tasks
from deepdiva.engine import determinism
from deepdiva.engine.check import Outcome, Subject, check_task
from deepdiva.engine.device import find_device
from deepdiva.engine.seeding import Streams
from deepdiva.experiments.components import build_model, build_optimizer, complete_components, problems_of

if TYPE_CHECKING:
    from deepdiva.config import Layer


def check(
    name: str | None, *, layers: Sequence[Layer] = (), words: Sequence[str] = (), also: Sequence[str] = ()
) -> Iterator[Outcome]:
    """The outcome of every point for the task called `name`, one after the other.

    Args:
        name: As in `deepdiva run`: a short name, `file.py:Class`, an import path; None where a layer names it.
        layers: Settings from files.
        words: Options as on the command line.
        also: Further options of the command, to be suggested for a misspelt one.

    Raises:
        UserErrors: The configuration has mistakes.
    """
    resolved = tasks.configure(name, layers=layers, words=words, also=also, check_components=problems_of)
    determinism.apply(resolved.config.determinism, resolved.config.threads)
    device, seed = find_device(resolved.config.device), resolved.config.seed or 0
    task = tasks.create(resolved)
    Streams(seed, device).seed_globals("data")
    data = task.load_data(resolved.config.data)
    config = complete_components(resolved, task, data, device)
    subject = Subject(
        task=task,
        data=data,
        create_model=lambda: build_model(config),
        create_optimizer=lambda model: build_optimizer(config, model),
        batch_size=config.batch_size,
        device=device,
        seed=seed,
    )
    yield from check_task(subject)
