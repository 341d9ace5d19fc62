"""Jobs of schedulers: how they are named, and when an earlier start of the same job is over."""

from __future__ import annotations

from typing import Any

import pytest

from deepdiva.runs.job import has_ended, is_same, this_job


@pytest.mark.parametrize(
    ("variables", "job"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": ""}, None),
        ({"SLURM_JOB_ID": "7"}, ("slurm 7", None, 0)),
        ({"SLURM_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "0", "SLURM_RESTART_COUNT": "3"}, ("slurm 9", "0", 3)),
        ({"PBS_JOBID": "12[4].head", "PBS_ARRAY_INDEX": "4"}, ("pbs 12[4].head", "4", None)),
        ({"LSB_JOBID": "5", "LSB_JOBINDEX": "0"}, ("lsf 5", None, None)),
        ({"LSB_JOBID": "5", "LSB_JOBINDEX": "2"}, ("lsf 5", "2", None)),
    ],
    ids=str,
)
def test_the_job_of_a_process(variables: dict[str, str], job: tuple[str, str | None, int | None] | None):
    expected = None if job is None else dict(zip(("id", "task", "restart"), job, strict=True))
    assert this_job(variables) == expected


def job(number: str = "slurm 7", task: str | None = None, restart: int | None = 0) -> dict[str, Any]:
    return {"id": number, "task": task, "restart": restart}


@pytest.mark.parametrize("recorded", [None, "slurm 7", {}, job("slurm 8"), job(task="1"), job("pbs 7")], ids=str)
def test_another_job(recorded: Any):
    assert not is_same(recorded, job())
    assert not has_ended(recorded, job(restart=1))


@pytest.mark.parametrize(
    ("before", "now", "ended"),
    [(0, 0, False), (0, 1, True), (2, 1, False), (None, None, True), (None, 1, False)],
)
def test_of_an_earlier_start_nothing_is_left(before: int | None, now: int | None, ended: bool):
    assert is_same(job(restart=before), job(restart=now))
    assert has_ended(job(restart=before), job(restart=now)) is ended


def test_outside_of_a_job_nothing_is_known():
    assert not is_same(job(), None)
    assert not has_ended(job(), None)
