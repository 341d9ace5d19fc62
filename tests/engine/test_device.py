"""Devices by name, batches on their way to them, and the format of numbers."""

from __future__ import annotations

from collections import namedtuple

import pytest
import torch

from deepdiva.engine.device import autocast, find_device, peak_memory, to_device
from deepdiva.errors import UserError

Pair = namedtuple("Pair", ["inputs", "targets"])
CPU = torch.device("cpu")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("name", ["cpu", "auto"])
def test_the_cpu_is_always_there(name: str):
    assert find_device(name) == CPU


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gpu", "no such device"),
        ("", "no such device"),
        ("cuda", "no CUDA device"),
        ("cuda:1", "no CUDA device"),
        ("mps", "no MPS device"),
        ("meta", "not supported"),
    ],
)
def test_a_device_that_is_not_there_is_said_so(name: str, message: str):
    with pytest.raises(UserError, match=message) as caught:
        find_device(name)
    assert caught.value.hint


def test_gpus_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 1)
    assert find_device("auto") == torch.device("cuda", 0)
    assert find_device("cuda") == torch.device("cuda", 1)
    assert find_device("cuda:0") == torch.device("cuda", 0)
    with pytest.raises(UserError, match="only 2 CUDA devices"):
        find_device("cuda:2")


def test_a_batch_keeps_its_form():
    one = torch.ones(2)
    assert to_device(one, CPU) is one
    assert to_device((one, "name"), CPU) == (one, "name")
    moved = to_device({"x": [one, (one,)], "id": 3}, torch.device("meta"))
    assert moved["x"][1][0].device.type == "meta"
    assert moved["id"] == 3
    pair = to_device(Pair(one, [one]), torch.device("meta"))
    assert isinstance(pair, Pair)
    assert pair.targets[0].device.type == "meta"


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)]
)
def test_a_step_computes_in_the_format_that_was_asked_for(precision: str, dtype: torch.dtype):
    context = autocast(CPU, precision)
    for _ in range(2):  # one context serves all steps
        with context:
            assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype
    assert torch.nn.Linear(2, 2)(torch.ones(1, 2)).dtype == torch.float32


def test_the_peak_of_the_memory_is_in_mebibytes_and_never_falls():
    before = peak_memory(CPU)
    assert 50 < before < 10**6  # torch alone takes more than 50
    assert peak_memory(CPU) >= before
