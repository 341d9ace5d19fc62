"""Arguments are found wherever they are declared: in bases, behind decorators, at the end of `**kwargs`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from deepdiva.config.schema import REQUIRED
from deepdiva.config.signature import signature

if TYPE_CHECKING:
    from nowhere import Unknown


class Base:
    def __init__(self, width: int = 3, **kwargs: Any) -> None:
        super().__init__()
        self.depth = kwargs.pop("depth", 1)


class Middle(Base):
    pass


class Child(Middle):
    def __init__(self, first: float, /, *, name: str, **options: Any) -> None:
        super().__init__(**options)


class Fixes(Base):
    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(width=size, **kwargs)


class Mixin:
    def __init__(self, mixed: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Mixed(Mixin, Base):
    pass


class Closed:
    def __init__(self, only: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Unseen:
    def __init__(self, only: int = 0, **kwargs: Any) -> None:
        build = Base
        self.base = build(**kwargs)


def make(width: int, *layers: int, **kwargs: Any) -> Base:
    if kwargs["fast"]:
        return Fixes(width, **kwargs)
    return Base(width, **kwargs)


def wrap(function: Any) -> Any:
    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapped


@wrap
def decorated(weights: str | None = None, **kwargs: Any) -> Base:
    return make(8, **kwargs)


def checked_by_type_checkers(size: int, start: Unknown | None = None) -> None: ...


@dataclass
class Data:
    width: int
    depth: float = 0.5


@pytest.mark.parametrize(
    ("target", "names", "is_open"),
    [
        (Base, ["width", "depth"], False),
        (Middle, ["width", "depth"], False),
        (Child, ["name", "width", "depth"], False),
        (Fixes, ["size", "depth"], False),
        (Mixed, ["mixed", "width", "depth"], False),
        (Closed, ["only"], False),
        (Unseen, ["only"], True),
        (make, ["width", "fast", "depth"], False),
        (decorated, ["weights", "fast", "depth"], False),
        (checked_by_type_checkers, ["size", "start"], False),
        (Data, ["width", "depth"], False),
        (object, [], False),
        (dict, [], True),
        (functools.partial(make, 3), ["fast", "depth"], True),
    ],
)
def test_arguments(target: Any, names: list[str], is_open: bool):
    found = signature(target)
    if not (is_open and isinstance(target, functools.partial)):
        assert list(found.parameters) == names
    assert found.is_open == is_open


def test_leading_arguments_are_left_to_the_caller():
    assert list(signature(make, positional=1).parameters) == ["fast", "depth"]
    assert list(signature(Fixes, positional=1).parameters) == ["depth"]


def test_types_and_defaults():
    found = signature(checked_by_type_checkers).parameters
    assert (found["size"].annotation, found["size"].default) == (int, REQUIRED)
    assert (found["start"].annotation, found["start"].default) == (Any, None)
    assert signature(Data).parameters["depth"].annotation is float


def test_networks_of_torchvision():
    models = pytest.importorskip("torchvision.models")
    resnet = signature(models.resnet18)
    assert list(resnet.parameters)[:4] == ["weights", "progress", "num_classes", "zero_init_residual"]
    assert "block" not in resnet.parameters
    assert not resnet.is_open
    for build in (models.vgg11, models.mobilenet_v3_small, models.vit_b_16, models.densenet121, models.convnext_tiny):
        found = signature(build)
        assert "num_classes" in found.parameters
        assert not found.is_open


def test_networks_and_losses_of_torch():
    nn = pytest.importorskip("torch.nn")

    class Plain(nn.Module):
        pass

    class Open(nn.Module):
        def __init__(self, width: int, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    assert signature(Plain).parameters == {}
    assert list(signature(Open).parameters) == ["width"]
    assert not signature(Open).is_open
    assert next(iter(signature(nn.CrossEntropyLoss).parameters)) == "weight"
