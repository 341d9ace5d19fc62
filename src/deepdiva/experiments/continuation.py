"""The run that the same command goes on with, on a cluster that restarts jobs or when it is given once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva import tasks
from deepdiva.config.influence import WITHOUT_INFLUENCE
from deepdiva.errors import UserError
from deepdiva.runs.folder import RunFolder, find_runs
from deepdiva.runs.job import is_same, this_job

if TYPE_CHECKING:
    from deepdiva.config import Resolved

OPTION = "--continue"


def find_continuation(resolved: Resolved, command: Sequence[str]) -> RunFolder | None:
    """The run to go on with, or, completed, the one that this job has made before; None where one is to be begun.

    It is the newest unfinished run of the experiment that the same words started, with the settings they mean now.
    A run of this very job comes before all others, and one of another task of an array of jobs is never taken.

    Args:
        resolved: The configuration.
        command: The words, as they are recorded.
    """
    config, job = resolved.config, this_job()
    folder = Path(config.runs_dir, config.experiment or tasks.experiment_name(config.task.target))
    words = _without_option(command)
    same = [run for run in find_runs(folder.parent) if run.path.parent.name == folder.name and _is_of(run, words)]
    same = sorted((run for run in same if _has_settings(run, config.to_mapping())), key=_created, reverse=True)
    own = [run for run in same if is_same(run.record.get("job"), job)]
    own = [run for run in own if run.status in ("completed", "running") or _is_unfinished(run)]
    others = [run for run in same if _is_unfinished(run) and _task(run.record.get("job")) == _task(job)]
    return next(iter([*own, *others]), None)


def _without_option(command: Any) -> list[str]:
    return [word for word in command if word != OPTION] if isinstance(command, list | tuple) else []


def _is_of(run: RunFolder, words: Sequence[str]) -> bool:
    return run.record.get("kind") == "run" and _without_option(run.record.get("command")) == list(words)


def _has_settings(run: RunFolder, wanted: Mapping[str, Any]) -> bool:
    try:
        return _is_meant(wanted, run.config())
    except UserError:  # it was cut off before they were written
        return False


def _is_unfinished(run: RunFolder) -> bool:
    """Whether a run was cut off; one that failed by itself would only fail again."""
    error = run.record.get("error") or {}
    by_signal = run.status == "failed" and "killed by signal" in str(error.get("message"))
    return run.status == "interrupted" or by_signal


def _task(job: Any) -> Any:
    return job.get("task") if isinstance(job, Mapping) else None


def _created(run: RunFolder) -> str:
    return str(run.record.get("created"))


def _is_meant(wanted: Any, recorded: Any) -> bool:
    """Whether a recorded configuration is what the wanted one became: what is open there was chosen or completed."""
    if wanted is None or wanted == "auto":
        return True
    if isinstance(wanted, Mapping) and isinstance(recorded, Mapping):
        names = [name for name in wanted if name not in WITHOUT_INFLUENCE]
        return all(_is_meant(wanted[name], recorded.get(name)) for name in names)
    if isinstance(recorded, Mapping):
        return _is_meant(wanted, recorded.get("class"))
    if isinstance(wanted, str) and isinstance(recorded, str):
        return _folded(wanted) == _folded(recorded)
    if isinstance(wanted, list | tuple) and isinstance(recorded, list | tuple):
        return len(wanted) == len(recorded) and all(map(_is_meant, wanted, recorded))
    return bool(wanted == recorded)


def _folded(name: str) -> str:
    """The name of a component may be written in several ways; the recorded one is the usual."""
    return name.lower().replace("-", "").replace("_", "")
