"""Checkpoints come back bit for bit or not at all, and nothing in them is ever executed."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from deepdiva.engine import checkpoint
from deepdiva.engine.fingerprint import state_digest
from deepdiva.errors import UserError, UserErrors
from deepdiva.runs.storage import Storage, StorageError, System

plain = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5)
documents = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(0, 5), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture
def model(make_network: Callable[..., nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make_network()


def save(directory: Path, step: int, model: nn.Module, **training: Any) -> Path:
    return checkpoint.save(directory, step, model, training, Storage())


def test_what_was_saved_comes_back_bit_for_bit(tmp_path: Path, model: nn.Module):
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.randn(8, 4)).sum().backward()
    optimizer.step()
    found = checkpoint.load(save(tmp_path, 7, model, optimizer=optimizer.state_dict(), position={"epoch": 3}))
    assert found.step == 7
    assert found.training["position"] == {"epoch": 3}
    assert state_digest(found.model) == state_digest(model.state_dict())
    assert state_digest(found.training["optimizer"]) == state_digest(optimizer.state_dict())
    assert list(found.training["optimizer"]["state"]) == list(optimizer.state_dict()["state"])  # whole numbers


@given(documents)
def test_every_plain_document_comes_back(document: Any):
    tensors: dict[str, torch.Tensor] = {}
    text = json.dumps(checkpoint._take_tensors(document, "", tensors))
    assert repr(checkpoint._put_tensors(json.loads(text), tensors)) == repr(document)


def test_what_is_neither_tensor_nor_plain_is_named(tmp_path: Path, model: nn.Module):
    with pytest.raises(TypeError, match="/schedule/function: function is neither"):
        save(tmp_path, 0, model, schedule={"function": print if False else (lambda: 0)})


def test_tied_and_strided_weights_are_kept(tmp_path: Path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    model[0].weight.data = model[0].weight.data.t()
    found = checkpoint.load(save(tmp_path, 0, model)).model
    assert torch.equal(found["0.weight"], model[0].weight)
    assert torch.equal(found["1.weight"], model[0].weight)


def test_the_same_state_gives_the_same_bytes(tmp_path: Path, model: nn.Module):
    one, two = save(tmp_path / "a", 1, model, rate=0.1), save(tmp_path / "b", 1, model, rate=0.1)
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in two.iterdir()
    }


def flips(path: Path) -> list[tuple[Path, int]]:
    """Ten places in every file of a checkpoint."""
    return [(file, file.stat().st_size * part // 10) for file in sorted(path.iterdir()) for part in range(10)]


def test_no_flipped_bit_goes_unseen(tmp_path: Path, model: nn.Module):
    path = save(tmp_path, 1, model, exact=torch.randn(5), rate=0.1)
    for file, place in flips(path):
        before = file.read_bytes()
        for bit in (0, 5):
            damaged = bytearray(before)
            damaged[place] ^= 1 << bit
            file.write_bytes(damaged)
            with pytest.raises(checkpoint.CheckpointError, match=r"step-00000001"):
                checkpoint.load(path)
        file.write_bytes(before)
    assert checkpoint.load(path).step == 1


def test_a_file_that_is_cut_short_or_gone_is_seen(tmp_path: Path, model: nn.Module):
    for name in ("model.safetensors", "training.safetensors", "training.json", "manifest.json"):
        path = save(tmp_path / name, 1, model)
        os.truncate(path / name, (path / name).stat().st_size // 2)
        with pytest.raises(checkpoint.CheckpointError):
            checkpoint.load(path)
        (path / name).unlink()
        with pytest.raises(checkpoint.CheckpointError, match="incomplete"):
            checkpoint.load(path)


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path, model: nn.Module):
    for step in (10, 20, 30):
        save(tmp_path, step, model)
    (tmp_path / "step-00000030" / "manifest.json").unlink()
    weights = tmp_path / "step-00000020" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    found, passed_over = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found.step == 10
    assert [text.split(": ")[1][:10] for text in passed_over] == ["incomplete", "model.safe"]
    assert checkpoint.load_newest(tmp_path / "nothing") == (None, [])


def test_only_checkpoints_are_taken_for_checkpoints(tmp_path: Path, model: nn.Module):
    save(tmp_path, 10, model)
    save(tmp_path, 123456789, model)
    (tmp_path / "step-copy").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    assert checkpoint.steps(tmp_path) == [123456789, 10]
    assert checkpoint.folder(tmp_path, 123456789).is_dir()


def test_the_two_newest_and_those_to_keep_stay(tmp_path: Path, model: nn.Module):
    for step in range(0, 60, 10):
        save(tmp_path, step, model)
    checkpoint.prune(tmp_path, {0, 20}, Storage(), newest=50)
    assert checkpoint.steps(tmp_path) == [50, 40, 20, 0]


def test_what_is_newer_than_the_training_was_passed_over_and_goes(tmp_path: Path, model: nn.Module):
    for step in range(0, 60, 10):
        save(tmp_path, step, model)
    checkpoint.prune(tmp_path, {0, 50}, Storage(), newest=30)
    assert checkpoint.steps(tmp_path) == [30, 20, 0]


def test_a_write_that_fails_leaves_the_older_checkpoint(tmp_path: Path, model: nn.Module):
    save(tmp_path, 1, model)

    class Full(System):
        def write(self, descriptor: int, data: memoryview) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="no space left"):
        checkpoint.save(tmp_path, 2, model, {}, Storage(Full()))
    found, _ = checkpoint.load_newest(tmp_path)
    assert found is not None
    assert found.step == 1


def test_weights_that_do_not_fit_are_named_one_by_one(model: nn.Module):
    state = dict(model.state_dict())
    before = state_digest(state)
    wrong = {**state, "head.weight": torch.zeros(2), "0.weight": torch.zeros(8, 3)}
    del wrong["4.bias"]
    with pytest.raises(UserErrors) as caught:
        checkpoint.load_weights(model, wrong, "old.pt")
    text = str(caught.value)
    assert "the weights of old.pt do not fit the model (3 differences)" in text
    assert "missing: 4.bias" in text
    assert "not in the model: head.weight" in text
    assert "0.weight: the model has shape [8, 4], the file [8, 3]" in text
    assert state_digest(model.state_dict()) == before  # all or nothing


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", "", "/checkpoint"])
def test_weights_are_read_from_every_usual_place(tmp_path: Path, model: nn.Module, suffix: str):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        save_file(model.state_dict(), path)
    elif suffix == "/checkpoint":
        path = save(tmp_path, 3, model)
    else:
        torch.save(model.state_dict() if suffix != ".pth" else {"state_dict": model.state_dict(), "epoch": 3}, path)
    assert state_digest(checkpoint.read_weights(path)) == state_digest(model.state_dict())


class Malicious:
    """Unpickled, it would write a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.target, "executed")


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_weights_that_bring_code_are_refused(tmp_path: Path, how: str):
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    state = {"weight": torch.ones(1), "extra": Malicious(trace)}
    if how == "torch":
        torch.save(state, path)
    else:
        path.write_bytes(pickle.dumps(state))
    with pytest.raises(UserError, match="cannot be read as weights"):
        checkpoint.read_weights(path)
    assert not trace.exists()


def test_what_is_no_weights_is_said_to_be_none(tmp_path: Path):
    torch.save({"epoch": 3}, tmp_path / "note.pt")
    (tmp_path / "text.safetensors").write_text("hello")
    for name, words in (
        ("note.pt", "holds no state dictionary"),
        ("text.safetensors", "cannot be read as weights"),
        ("gone.pt", "no such weights"),
        ("", "no such weights"),
    ):
        with pytest.raises(UserError, match=words):
            checkpoint.read_weights(tmp_path / name)


class Remembering(nn.Linear):
    """A model with a state that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        pass


def test_a_model_whose_state_cannot_be_kept_is_refused_at_the_start(make_trainer: Callable[..., Any], model: nn.Module):
    checkpoint.check_model(model)
    with pytest.raises(UserErrors, match="cannot hold the model's state") as caught:
        make_trainer(model=nn.Sequential(Remembering(4, 3)))
    assert "0._extra_state: is dict, no tensor" in str(caught.value)


def test_a_compiled_model_and_the_written_one_take_each_other_s_weights(tmp_path: Path, model: nn.Module, make_network):
    compiled: Any = torch.compile(model, backend="eager")
    assert checkpoint.state_of(compiled).keys() == model.state_dict().keys() != compiled.state_dict().keys()
    found = checkpoint.load(save(tmp_path, 0, compiled)).model
    for other in (make_network(), torch.compile(make_network(), backend="eager")):
        for state in (found, compiled.state_dict()):
            checkpoint.load_weights(other, state, "it")
            assert state_digest(checkpoint.state_of(other)) == state_digest(model.state_dict())


def test_what_holds_no_mapping_is_no_checkpoint(tmp_path: Path, model: nn.Module):
    from deepdiva.engine.checkpoint import _manifest

    path = checkpoint.save(tmp_path, 1, model, {}, Storage())
    contents = {each.name: each.read_bytes() for each in path.iterdir() if each.name != "manifest.json"}
    contents["training.json"] = b'{"list":[1]}'
    (path / "training.json").write_bytes(contents["training.json"])
    (path / "manifest.json").write_bytes(_manifest(1, contents))
    with pytest.raises(checkpoint.CheckpointError, match=r"is no checkpoint: .*holds no mapping"):
        checkpoint.load(path)


@pytest.mark.parametrize("average", [[1], {}, {"model": [1]}, {"model": {"weight": 1}}], ids=str)
def test_an_average_without_weights_is_refused(tmp_path: Path, model: nn.Module, average: Any):
    saved = checkpoint.load(checkpoint.save(tmp_path, 1, model, {"average": average}, Storage()))
    with pytest.raises(checkpoint.CheckpointError, match="its moving average holds no weights"):
        _ = saved.evaluated


def test_weights_of_another_type_are_misfits_only_where_types_are_strict(model: nn.Module):
    other = {name: tensor.double() for name, tensor in model.state_dict().items()}
    assert checkpoint.misfits(model, other) == []
    assert len(checkpoint.misfits(model, other, strict_types=True)) == sum(
        tensor.dtype != torch.float64 for tensor in model.state_dict().values()
    )


ABOUT = {"task": "points", "classes": ["a", "b"], "statistics": {"mean": 0.5}, "preprocessing": {}}


@pytest.mark.parametrize(
    "about",
    [
        None,
        [1],
        *({**ABOUT, name: value} for name, value in [("task", 1), ("classes", [1]), ("classes", 3)]),
        *({**ABOUT, name: 1} for name in ("statistics", "preprocessing")),
        *({other: ABOUT[other] for other in ABOUT if other != name} for name in ("task", "classes", "statistics")),
    ],
)
def test_what_is_said_of_a_model_is_that_or_refused(tmp_path: Path, model: nn.Module, about: Any):
    training = {} if about is None else {"about": about}
    with pytest.raises(checkpoint.CheckpointError, match="what"):
        checkpoint.read_about(checkpoint.save(tmp_path / "odd", 1, model, training, Storage()))
    sound = checkpoint.save(tmp_path / "sound", 1, model, {"about": ABOUT}, Storage())
    assert checkpoint.read_about(sound).classes == ("a", "b")
