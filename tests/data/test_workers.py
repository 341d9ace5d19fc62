from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from deepdiva.data.workers import can_fork, in_processes, shared_out
from deepdiva.errors import RunFailed


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def test_results_come_in_order_from_several_processes():
    found = list(in_processes(square, range(50), workers=3))
    assert [value for value, _ in found] == [number * number for number in range(50)]
    assert len({process for _, process in found}) == 3
    assert os.getpid() not in {process for _, process in found}


def test_results_larger_than_a_pipe_pass_through():
    assert [len(found) for found in in_processes(lambda n: bytes(n), [1 << 20] * 4, workers=2)] == [1 << 20] * 4


def test_a_mistake_in_a_process_is_shown_whole():
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(in_processes(lambda n: 1 // n, [1, 0], workers=2))


def test_a_process_that_is_killed_is_told():
    with pytest.raises(RunFailed, match="was killed"):
        list(in_processes(lambda n: os.kill(os.getpid(), signal.SIGKILL), [1, 2], workers=2))


def test_processes_end_with_whoever_reads():
    results = in_processes(lambda n: (os.getpid(), bytes(1 << 18)), range(100), workers=2)
    process = next(results)[0]
    results.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_without_a_reason_to_fork_it_is_one_process():
    assert {process for _, process in shared_out(square, range(3), workers=1)} == {os.getpid()}


def test_a_process_without_torch_forks():
    assert not can_fork() or "torch" not in sys.modules
    code = "from deepdiva.data.workers import can_fork; import sys; sys.exit(not can_fork())"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == (sys.platform != "linux")
