"""Components are checked against their signatures, completed with every default, and built."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from deepdiva.config import Component, Kind, build, complete, components_in, problems_in
from deepdiva.errors import UserError, UserErrors

MODEL = Kind(
    "model",
    base="torch.nn:Module",
    short={"cnn": "deepdiva.models.cnn:CNN", "resnet18": "torchvision.models:resnet18"},
)
LOSS = Kind("loss", base="torch.nn:Module", namespaces=("torch.nn",))
OPTIMIZER = Kind("optimizer", base="torch.optim:Optimizer", namespaces=("torch.optim",), positional=1)
SCHEDULER = Kind(
    "scheduler",
    base="torch.optim.lr_scheduler:LRScheduler",
    namespaces=("torch.optim.lr_scheduler",),
    positional=1,
)
FILE = """\
from __future__ import annotations
from typing import TYPE_CHECKING, Annotated
from torch import nn
from deepdiva.config import Range
if TYPE_CHECKING:
    from nowhere import Unknown

class MyNet(nn.Module):
    def __init__(
        self,
        num_classes: int,
        hidden: tuple[int, ...] = (8, 8),
        dropout: Annotated[float, Range(0, 1)] = 0,
        inner: nn.Module | None = None,
        parts: list[nn.Module] | None = None,
        unknown: Unknown | None = None,
        activation: type[nn.Module] = nn.ReLU,
        scale=1,
        pair=(1, 2),
    ):
        super().__init__()
        if num_classes < 0:
            raise ValueError("num_classes is negative")
        self.given = (num_classes, hidden, dropout, scale, pair)
        self.inner = inner
        self.parts = nn.ModuleList(parts or [])

class Part(nn.Module):
    def __init__(self, width: int = 3):
        super().__init__()
        self.width = width

class NoModule:
    pass

def function(num_classes: int = 2) -> NoModule:
    return NoModule()
"""


@pytest.fixture
def nets(project: Path) -> Path:
    """A user's file with networks."""
    (project / "nets.py").write_text(textwrap.dedent(FILE))
    return project / "nets.py"


@pytest.fixture
def parameters() -> list[nn.Parameter]:
    return [nn.Parameter(torch.zeros(3))]


def test_an_optimizer_is_completed(parameters: list[nn.Parameter]):
    component = complete(OPTIMIZER, Component("adamw", {"lr": 1}))
    assert component.target == "AdamW"
    assert component.arguments["lr"] == 1.0
    assert repr(component.arguments["lr"]) == "1.0"
    assert component.arguments["betas"] == [0.9, 0.999]
    assert component.arguments["fused"] is None
    assert "params" not in component.arguments
    assert complete(OPTIMIZER, component) == component
    optimizer = build(OPTIMIZER, component, parameters)
    assert isinstance(optimizer, torch.optim.AdamW)
    assert optimizer.defaults["betas"] == (0.9, 0.999)


@pytest.mark.parametrize(
    "name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam", "LBFGS", "Rprop"]
)
def test_every_optimizer_of_torch_builds_from_its_completed_form(name: str, parameters: list[nn.Parameter]):
    component = complete(OPTIMIZER, Component(name, {"lr": 0.1}))
    optimizer = build(OPTIMIZER, component, parameters)
    assert repr(complete(OPTIMIZER, component)) == repr(component)
    plain = getattr(torch.optim, name)(parameters, lr=0.1)
    assert optimizer.defaults == plain.defaults


@pytest.mark.parametrize(
    ("name", "arguments", "supplied"),
    [
        ("OneCycleLR", {"max_lr": 0.1}, {"total_steps": 10}),
        ("CosineAnnealingLR", {}, {"T_max": 10}),
        ("StepLR", {"step_size": 3}, {}),
        ("MultiStepLR", {"milestones": [1, 2]}, {}),
        ("ExponentialLR", {"gamma": 0.9}, {}),
        ("ReduceLROnPlateau", {"patience": 2}, {}),
        ("LinearLR", {}, {"total_steps": 10}),
        ("PolynomialLR", {}, {}),
    ],
)
def test_schedulers_of_torch(
    name: str, arguments: dict[str, Any], supplied: dict[str, Any], parameters: list[nn.Parameter]
):
    component = complete(SCHEDULER, Component(name.lower(), arguments), supplied=supplied)
    assert component.target == name
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    assert type(build(SCHEDULER, component, optimizer)).__name__ == name


def test_a_model_gets_what_the_data_decide(nets: Path):
    component = complete(MODEL, Component("nets.py:MyNet"), supplied={"num_classes": 10, "in_channels": 3})
    assert component == Component(
        "nets.py:MyNet",
        {
            "num_classes": 10,
            "hidden": [8, 8],
            "dropout": 0.0,
            "inner": None,
            "parts": None,
            "unknown": None,
            "scale": 1,
            "pair": [1, 2],
        },
    )
    assert build(MODEL, component).given == (10, (8, 8), 0, 1, (1, 2))
    assert repr(complete(MODEL, component, supplied={"num_classes": 10})) == repr(component)


def test_a_network_of_torchvision(nets: Path):
    component = complete(MODEL, Component("resnet18", {"width_per_group": 64}), supplied={"num_classes": 5})
    assert component.arguments["num_classes"] == 5
    assert build(MODEL, component).fc.out_features == 5


def test_components_inside_components(nets: Path):
    outer = Component(
        "nets.py:MyNet",
        {"num_classes": 2, "inner": {"class": "nets.py:Part"}, "parts": [{"class": "nets.py:Part", "width": 5}]},
    )
    component = complete(MODEL, outer)
    assert component.arguments["inner"] == {"class": "nets.py:Part", "width": 3}
    network = build(MODEL, component)
    assert (network.inner.width, [part.width for part in network.parts]) == (3, [5])


def problems(call: Callable[..., Any], *arguments: Any, **options: Any) -> list[str]:
    with pytest.raises(UserErrors) as caught:
        call(*arguments, **options)
    return [str(problem) for problem in caught.value.problems]


def test_all_mistakes_at_once(nets: Path):
    arguments = {
        "hiden": 3,
        "hidden": ["a"],
        "dropout": 2,
        "inner": {"class": "nets.py:Part", "widht": 3, "width": 1.5},
        "parts": [{"class": "nets.py:Prat"}],
    }
    origins = {"model": "run.yaml:3", "model.hiden": "run.yaml:4", "model.dropout": "--model.dropout"}
    found = problems(complete, MODEL, Component("nets.py:MyNet", arguments), where="model", origins=origins)
    assert found == [
        "run.yaml:4: 'model.hiden': there is no argument 'hiden' (did you mean 'hidden'?)",
        "run.yaml:3: 'model.hidden': expected a list of whole numbers, got ['a']",
        "--model.dropout: expected a number from 0 to 1, got 2",
        "run.yaml:3: 'model.inner.widht': there is no argument 'widht' (did you mean 'width'?)",
        "run.yaml:3: 'model.inner.width': expected a whole number, got 1.5",
        "run.yaml:3: 'model.parts.0': there is no 'Prat' in nets.py (did you mean 'Part'?)",
        "run.yaml:3: 'model': nets.py:MyNet needs 'num_classes' (write `--model.num_classes VALUE`)",
    ]


def test_a_mistake_inside_an_option_names_its_argument(nets: Path):
    component = Component("nets.py:Part", {"width": "x"})
    assert problems(complete, MODEL, component, where="model", origins={"model": "--model"}) == [
        "--model: 'model.width': expected a whole number, got the text 'x'"
    ]
    missing = problems(complete, MODEL, Component("nets.py:MyNet"), where="task.nets.0")
    assert missing == ["task.nets.0: nets.py:MyNet needs 'num_classes' (write `num_classes: VALUE` beside its class)"]


@pytest.mark.parametrize(
    ("kind", "component", "complaint"),
    [
        (OPTIMIZER, Component("SGD", {"params": 3}), "'params' is passed by DeepDIVA itself (leave it out)"),
        (OPTIMIZER, Component("SGD", {"lr": "fast"}), "optimizer.lr: expected a number or Tensor, got the text 'fast'"),
        (OPTIMIZER, Component("SGD", {"nesterov": 1}), "optimizer.nesterov: expected true or false, got 1"),
        (OPTIMIZER, Component("SGD", {"zzz": 1}), "there is no argument 'zzz' (its arguments are: lr, momentum,"),
        (OPTIMIZER, Component("Linear"), "optimizer: there is no optimizer named 'Linear'"),
        (OPTIMIZER, Component("torch.nn.Linear"), "is no optimizer: it does not derive from torch.optim.Optimizer"),
        (SCHEDULER, Component("CosineAnnealingLR"), "needs 'T_max' (write `--scheduler.T_max VALUE`)"),
        (MODEL, Component("nets.py:NoModule"), "is no model: it does not derive from torch.nn.Module"),
        (MODEL, Component("resnet81"), "there is no model named 'resnet81' (did you mean 'resnet18'?"),
        (LOSS, Component("CrossEntropyLoss", {"weight": 3}), "loss.weight: expected Tensor, or null, got 3"),
        (LOSS, Component("crossentropyloss", {"reduction": None}), "loss.reduction: expected text, got null"),
    ],
)  # fmt: skip
def test_one_mistake(nets: Path, kind: Kind, component: Component, complaint: str):
    found = problems(complete, kind, component)
    assert len(found) == 1
    assert complaint in found[0]


def test_a_value_that_contradicts_the_data(nets: Path):
    component = Component("nets.py:MyNet", {"num_classes": 5})
    assert problems(complete, MODEL, component, supplied={"num_classes": 10}, where="model") == [
        "model.num_classes: 'num_classes' is 5, but the data make it 10 "
        "(leave 'num_classes' out: it is taken from the data)"
    ]


def test_before_the_data_is_there_an_argument_may_be_missing(nets: Path):
    assert problems_in(MODEL, Component("nets.py:MyNet")) == []
    assert len(problems_in(MODEL, Component("nets.py:MyNet", {"hiden": 3, "dropout": "x"}))) == 2


def test_what_a_class_refuses_is_the_users_to_mend(nets: Path, parameters: list[nn.Parameter]):
    with pytest.raises(
        UserError, match=r"the optimizer SGD refuses its arguments: Invalid learning rate: -1\.0 \(sgd\.py:"
    ):
        build(OPTIMIZER, complete(OPTIMIZER, Component("SGD", {"lr": -1})), parameters)
    with pytest.raises(UserError, match=r"num_classes is negative \(nets\.py:23\)") as caught:
        build(MODEL, Component("nets.py:MyNet", {"num_classes": -1}))
    assert isinstance(caught.value.__cause__, ValueError)


def test_what_a_function_builds_is_checked(nets: Path):
    with pytest.raises(UserError, match=r"nets\.py:function gave a NoModule, not a Module"):
        build(MODEL, complete(MODEL, Component("nets.py:function")))


def test_an_exception_in_a_users_file_is_kept(project: Path):
    Path("raises.py").write_text("1 / 0")
    with pytest.raises(UserErrors) as caught:
        complete(MODEL, Component("raises.py:Net"))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_components_at_a_path():
    assert components_in("model", None) == {}
    assert components_in("model", "cnn") == {"model": Component("cnn")}
    assert components_in("task.augment", ["Flip", {"class": "Blur", "p": 1}]) == {
        "task.augment.0": Component("Flip"),
        "task.augment.1": Component("Blur", {"p": 1}),
    }
