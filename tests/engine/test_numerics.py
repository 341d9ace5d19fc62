"""The numeric fingerprint sees what changes bits, remembers what it measured, and disturbs nobody."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from deepdiva.data.manifest import cache_directory
from deepdiva.engine import numerics
from deepdiva.engine.numerics import Fingerprint, fingerprint, measure, settings
from deepdiva.runs.numerics import differing


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what other tests remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def once() -> dict[str, str]:
    """One measurement on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found = measure()
    torch.set_num_threads(threads)
    return found


def test_hundreds_of_operations_are_hashed_and_none_is_refused(once: dict[str, str]):
    assert len(once) > 300
    assert all(len(value) == 16 for value in once.values()), [n for n, v in once.items() if len(v) != 16]
    assert len(set(once.values())) > 0.95 * len(once)


def test_the_same_settings_give_the_same_hashes(once: dict[str, str]):
    torch.set_num_threads(1)
    assert measure() == once


def test_another_number_of_threads_is_seen_and_named(once: dict[str, str]):
    torch.set_num_threads(2)
    names = differing({"operations": once}, {"operations": measure()})
    assert "softmax/dim 0 backward" in names
    assert "mm/1x64x10" not in names
    assert 3 < len(names) < len(once) / 4


def test_what_is_slightly_different_has_another_hash():
    one = torch.ones(3)
    hashes = [
        numerics._hash_of(lambda tensor=tensor: tensor)
        for tensor in (one, one.double(), one.reshape(3, 1), one.nextafter(2 * one), -one, one[:0])
    ]
    assert len(set(hashes)) == 6
    assert numerics._hash_of(lambda: (one, [one])) == numerics._hash_of(lambda: (one, one))


def test_what_torch_refuses_is_no_trouble():
    def refuse() -> torch.Tensor:
        raise RuntimeError("does not have a deterministic implementation")

    assert numerics._hash_of(refuse) == numerics.UNAVAILABLE


@torch.no_grad()
def test_the_caller_is_not_disturbed():
    torch.set_num_threads(2)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        assert measure()["mm/64x128x128"] != numerics.UNAVAILABLE
        assert torch.is_autocast_enabled("cpu")
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), before[2], strict=True))
    assert not torch.is_grad_enabled()
    assert torch.get_num_threads() == 2


def test_it_is_measured_once_and_remembered(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(numerics, "measure", lambda device: {"sum": "0" * 16})
    first = fingerprint()
    monkeypatch.setattr(numerics, "measure", lambda device: pytest.fail("measured again"))
    assert fingerprint() == first
    assert len(list((cache_directory() / "numerics").iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "other hash", "no json", "other settings"])
def test_a_damaged_memory_is_measured_anew(damage: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(numerics, "measure", lambda device: {"sum": "0" * 16})
    first = fingerprint()
    (path,) = (cache_directory() / "numerics").iterdir()
    text = path.read_text()
    damaged = {
        "cut": text[: len(text) // 2],
        "other hash": text.replace('"0000000000000000"', '"0000000000000001"'),
        "no json": "nonsense",
        "other settings": text.replace('"threads": ', '"threads": 1'),
    }[damage]
    assert damaged != text
    path.write_text(damaged)
    assert fingerprint() == first
    assert path.read_text() == text


def test_a_cache_that_cannot_be_written_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setattr(numerics, "measure", lambda device: {"sum": "0" * 16})
    assert fingerprint().operations == {"sum": "0" * 16}


@pytest.mark.parametrize("change", ["threads", "variable", "deterministic"])
def test_what_can_change_a_result_is_part_of_the_key(change: str, monkeypatch: pytest.MonkeyPatch):
    torch.set_num_threads(1)
    before = numerics._place(settings())
    assert numerics._place(settings()) == before
    if change == "threads":
        torch.set_num_threads(2)
    elif change == "variable":
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    else:
        torch.use_deterministic_algorithms(not torch.are_deterministic_algorithms_enabled())
    assert numerics._place(settings()) != before


def test_a_fingerprint_is_a_document_with_its_own_digest():
    found = Fingerprint({"threads": 1}, {"sum": "0" * 16})
    document = json.loads(found.to_text())
    assert document["digest"] == found.digest
    assert document["operations"] == {"sum": "0" * 16}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_the_operations_of_a_gpu_come_after_those_of_the_processor():
    found = measure(torch.device("cuda"))
    assert found == measure(torch.device("cuda"))
    assert sum(name.startswith("cuda: ") for name in found) == len(found) / 2
