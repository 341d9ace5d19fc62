"""Phase, module and line of what runs, in the user's own terms, also in the backward pass."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from deepdiva.engine.call_sites import CallSites, Site, SourceLines
from deepdiva.models.mlp import MLP

PROJECT = """
import torch
from torch import nn

class Double(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x * 2

    @staticmethod
    def backward(context, gradient):
        return gradient * 2  # of Double

class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        return torch.relu(self.fc(x))

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block())

    def forward(self, x):
        x = self.blocks(x)
        return Double.apply(x)

def step(net, optimizer, x):
    x = x + 1
    loss = nn.MSELoss()(net(x), x)
    loss.backward()
    nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ModuleType]:
    path = tmp_path / "my_project.py"
    path.write_text(PROJECT)
    spec = importlib.util.spec_from_file_location("my_project", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("my_project", None)


class Followed(TorchDispatchMode):
    """Asks for the site of every operation."""

    def __init__(self, sites: CallSites) -> None:
        super().__init__()
        self.sites = sites
        self.seen: list[tuple[str, Site]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append((func._schema.name.removeprefix("aten::"), self.sites.here()))
        return func(*args, **(kwargs or {}))


def follow(net: nn.Module, root: Path, step: Any) -> list[tuple[str, Site]]:
    sites = CallSites(net, root)
    with sites.following(), Followed(sites) as followed:
        step()
    return followed.seen


@pytest.fixture
def seen(project: ModuleType, tmp_path: Path) -> list[tuple[str, Site]]:
    net = project.Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    batch = torch.ones(2, 3)
    return follow(net, tmp_path, lambda: project.step(net, optimizer, batch))


def sites(seen: list[tuple[str, Site]], name: str) -> list[Site]:
    return [site for each, site in seen if each == name]


def test_an_operation_of_the_forward_pass_has_its_module_and_line(seen: list[tuple[str, Site]]):
    first, second = sites(seen, "addmm")
    assert first == Site("forward", "blocks.0.fc", "my_project.py:20: return torch.relu(self.fc(x))")
    assert second.module == "blocks.1.fc"
    assert [site.module for site in sites(seen, "relu")] == ["blocks.0", "blocks.1"]
    assert sites(seen, "mse_loss")[0] == Site("forward", "MSELoss", "my_project.py:33: loss = nn.MSELoss()(net(x), x)")


def test_a_derivative_has_the_module_and_line_of_what_it_derives(seen: list[tuple[str, Site]]):
    line = "my_project.py:20: return torch.relu(self.fc(x))"
    assert sites(seen, "threshold_backward") == [Site("backward", f"blocks.{block}", line) for block in (1, 0)]
    assert [site.module for site in sites(seen, "mm")] == ["blocks.1.fc", "blocks.1.fc", "blocks.0.fc"]
    assert {site.source for site in sites(seen, "mm")} == {line}
    assert sites(seen, "mse_loss_backward")[0].source == "my_project.py:33: loss = nn.MSELoss()(net(x), x)"


def test_a_derivative_that_the_user_wrote_has_its_own_line(seen: list[tuple[str, Site]]):
    forward, backward = sites(seen, "mul")[:2]
    assert forward == Site("forward", "Net", "my_project.py:8: return x * 2")
    assert backward == Site("backward", "Net", "my_project.py:12: return gradient * 2  # of Double")


def test_the_phases_follow_one_another(seen: list[tuple[str, Site]]):
    phases = list(dict.fromkeys(site.phase for _, site in seen))
    assert phases == ["load", "forward", "backward", "optimizer"]
    assert seen[0] == ("add", Site("load", "", "my_project.py:32: x = x + 1"))
    clipping = sites(seen, "_foreach_norm")[0]
    line = "my_project.py:35: nn.utils.clip_grad_norm_(net.parameters(), 1.0)"
    assert clipping == Site("optimizer", "", line)
    assert seen[-1][1] == Site("optimizer", "", "my_project.py:36: optimizer.step()")


def test_the_gradient_of_a_parameter_belongs_to_the_parameters_module(project: ModuleType, tmp_path: Path):
    net = project.Net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    step = lambda: project.step(net, optimizer, torch.ones(2, 3))  # noqa: E731
    step()
    added = sites(follow(net, tmp_path, step), "add_")  # gradients of two steps: added in place
    backward = [site for site in added if site.phase == "backward"]
    assert {site.module for site in backward} == {"blocks.0.fc", "blocks.1.fc"}
    assert {site.source for site in backward} == {"my_project.py:34: loss.backward()"}


def test_several_batches_begin_again_with_forward(project: ModuleType, tmp_path: Path):
    net = project.Net()

    def twice() -> None:
        for _ in range(2):
            net(torch.ones(2, 3)).sum().backward()

    phases = [site.phase for name, site in follow(net, tmp_path, twice) if name in ("relu", "threshold_backward")]
    assert phases == (["forward"] * 2 + ["backward"] * 2) * 2


def test_failing_modules_leave_no_trace(project: ModuleType, tmp_path: Path):
    net = project.Net()

    def step() -> None:
        with pytest.raises(RuntimeError):
            net(torch.ones(2, 5))
        net.blocks[0].fc.weight.detach() * 2

    assert sites(follow(net, tmp_path, step), "mul")[0].module == ""
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks


def test_following_may_begin_inside_a_module(tmp_path: Path):
    with ExitStack() as stack:

        class Late(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.sites = CallSites(self, tmp_path)
                stack.enter_context(self.sites.following())
                return x

        net = Late()
        net(torch.ones(1))
        assert net.sites.here().module == ""


def test_without_a_line_in_the_project_that_of_the_package_is_shown(tmp_path: Path):
    net = MLP(in_features=2, num_classes=2)
    seen = follow(net, tmp_path, lambda: net(torch.ones(4, 2)))
    source = sites(seen, "addmm")[0].source
    assert source.startswith("deepdiva/models/mlp.py:")
    assert source.endswith(")")


def test_the_project_comes_before_the_package_and_what_is_installed_in_it_does_not_count(tmp_path: Path):
    net = MLP(in_features=2, num_classes=2)
    here = follow(net, Path(__file__).parent, lambda: net(torch.ones(4, 2)))
    assert sites(here, "addmm")[0].source.startswith("test_call_sites.py:")
    lines = SourceLines(tmp_path)
    frames = {"own": "x.py", "installed": ".venv/lib/python3/site-packages/x.py", "outside": "../x.py"}
    shown = {}
    for name, path in frames.items():
        code = compile("import sys; frame = sys._getframe()", str(tmp_path / path), "exec")
        scope: dict[str, Any] = {}
        exec(code, scope)
        shown[name] = lines.look(scope["frame"]).source
    assert shown == {"own": "x.py:1", "installed": "", "outside": ""}


def test_long_lines_are_shortened_and_remarks_to_programs_left_out(tmp_path: Path):
    shown = {}
    for name, rest in {"long": "  # " + "long " * 40, "marked": "  # type: ignore[misc]  # noqa: E702"}.items():
        path = tmp_path / f"{name}.py"
        path.write_text(f"import sys; frame = sys._getframe(){rest}")
        scope: dict[str, Any] = {}
        exec(compile(path.read_text(), str(path), "exec"), scope)
        shown[name] = SourceLines(tmp_path).look(scope["frame"]).source
    assert shown["marked"] == "marked.py:1: import sys; frame = sys._getframe()"
    assert shown["long"].endswith("…")
    assert len(shown["long"]) < 140
