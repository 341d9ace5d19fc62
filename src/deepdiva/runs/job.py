"""The scheduler's job that a process works in: a job that was restarted finds its own run again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

_SCHEDULERS = {  # variables for: the job, its place in an array of jobs, how often it was started again
    "slurm": ("SLURM_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"),
    "pbs": ("PBS_JOBID", "PBS_ARRAY_INDEX", None),
    "lsf": ("LSB_JOBID", "LSB_JOBINDEX", None),
}


def this_job(variables: Mapping[str, str] = os.environ) -> dict[str, Any] | None:
    """The job of this process as `run.json` holds it; None outside of Slurm, PBS and LSF.

    >>> this_job({"SLURM_JOB_ID": "4711", "SLURM_RESTART_COUNT": "2"})
    {'id': 'slurm 4711', 'task': None, 'restart': 2}
    """
    for scheduler, (number, task, restart) in _SCHEDULERS.items():
        if variables.get(number):
            # LSF says 0 where there is no array; the job's number of an array in Slurm differs from task to task.
            place = variables.get(task) or None
            place = None if scheduler == "lsf" and place == "0" else place
            count = int(variables.get(restart) or 0) if restart is not None else None
            return {"id": f"{scheduler} {variables[number]}", "task": place, "restart": count}
    return None


def is_same(recorded: Any, job: Mapping[str, Any] | None) -> bool:
    """Whether a run's record names this job."""
    if job is None or not isinstance(recorded, Mapping):
        return False
    return all(recorded.get(name) == job[name] for name in ("id", "task"))


def has_ended(recorded: Any, job: Mapping[str, Any] | None) -> bool:
    """Whether the process of a record is gone because its job was started again, as this one.

    A scheduler that does not count restarts runs a job in one place at a time.
    """
    if job is None or not is_same(recorded, job):
        return False
    before, now = recorded.get("restart"), job["restart"]
    return now is None or (isinstance(before, int) and before < now)
