"""A task to configure, with settings of every kind."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest

from deepdiva.config import Component, Layer, Range, Resolved, TaskInfo, parse_words, read_file, resolve
from deepdiva.errors import UserErrors

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Reading:
    """Reading of words.

    Args:
        label_smoothing: Share of the target that is spread
            over all classes.
        size: Height and width.
        channels: Colours to read.
        augment: Transforms, in order.
        loss: What is minimised.
        weights: One for each class.
        flip: Whether images are mirrored.
        root: Where the words are.
        start: Known to type checkers only.
    """

    label_smoothing: Annotated[float, Range(0, 1)] = 0.0
    size: tuple[int, int] | None = None
    channels: Literal["auto", "gray", "rgb"] = "auto"
    augment: tuple[Component, ...] = ()
    loss: Component | None = None
    weights: list[float] = field(default_factory=list)
    flip: bool = False
    root: Path = Path("words")
    start: Tensor | None = None


READING = TaskInfo("reading", Reading, {"epochs": 12, "model": "cnn", "optimizer": {"class": "AdamW", "lr": 0.003}})


@pytest.fixture
def task() -> TaskInfo:
    return READING


@pytest.fixture
def from_words() -> Callable[..., Resolved]:
    """The configuration that some words of the command line give."""
    return lambda *words, **options: resolve(READING, layers=[parse_words(words, READING)], **options)


@pytest.fixture
def from_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Resolved]:
    """The configuration that YAML texts give, each in a file: `run.yaml`, `run2.yaml`, …"""
    monkeypatch.chdir(tmp_path)

    def resolved(*texts: str, words: Sequence[str] = (), **options: Any) -> Resolved:
        layers: list[Layer] = []
        for number, text in enumerate(texts, start=1):
            path = Path("run.yaml" if number == 1 else f"run{number}.yaml")
            path.write_text(text, encoding="utf-8")
            layers.append(read_file(path))
        return resolve(READING, layers=[*layers, parse_words(words, READING)], **options)

    return resolved


@pytest.fixture
def complaints() -> Callable[..., list[str]]:
    """The problems, one text each, that a call raises."""

    def raised(call: Callable[..., Any], *arguments: Any, **options: Mapping[str, Any]) -> list[str]:
        with pytest.raises(UserErrors) as caught:
            call(*arguments, **options)
        return [str(problem) for problem in caught.value.problems]

    return raised


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of a user to work in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    return tmp_path
