"""Where an operation runs: the phase of the step, the module of the model, the line of the project's source."""

from __future__ import annotations

import linecache
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.engine.checkpoint import written_name

if TYPE_CHECKING:
    from types import FrameType

    from torch import nn

_PROJECT, _PARTS, _PACKAGE, _LOOP, _FOREIGN = range(5)  # whose a file is; a line of the first kind is shown
_OBSERVERS = ("engine/tracing.py", "engine/call_sites.py", "engine/alerts.py")  # on the stack of every operation
_LONGEST_LINE = 120
_REMARK = re.compile(r"\s*# (type: ignore|noqa).*")  # said to a program, of no interest to whoever reads the line
_ENGINE = "_engine_run_backward"  # the function of torch through which every backward pass begins

_PHASES = {
    "deepdiva/engine/loaders.py": "load",
    "torch/utils/data/": "load",
    "torch/autograd/__init__.py": "backward",
    "torch/nn/utils/clip_grad.py": "optimizer",
    "torch/amp/grad_scaler.py": "optimizer",
    "torch/optim/": "optimizer",
}
"""Files that belong to one phase of a step, whoever calls them."""


@dataclass(frozen=True)
class Site:
    """Where an operation runs; the fields are those of `runs.operations.Operation`."""

    phase: str
    module: str
    source: str


@dataclass(frozen=True)
class _Seen:
    """What the stack says: lines as text, empty where none is known, and the phase if a file tells it."""

    source: str  # of code that autograd called, when it is at work; otherwise of any
    beyond: str  # the line that called autograd
    phase: str | None


class SourceLines:
    """Finds the line of the stack that a user would look at.

    That is the innermost one in the project; failing that, in the tasks and models of this package; failing that, in
    the rest of it. Lines that only called the loop of this package do not count.

    Args:
        root: The folder of the project. What is installed in it (a virtual environment) is not part of the project.
    """

    def __init__(self, root: Path) -> None:
        import deepdiva

        self._root = str(root.resolve()) + os.sep
        self._package = str(Path(deepdiva.__file__).resolve().parent) + os.sep
        self._library = sysconfig.get_path("stdlib") + os.sep
        self._kinds: dict[str, tuple[int, str | None]] = {}
        self._texts: dict[tuple[str, int], str] = {}

    def look(self, frame: FrameType | None) -> _Seen:
        """What the stack from `frame` outwards says."""
        phase: str | None = None
        nothing = (_FOREIGN, "", 0)
        best: tuple[int, str, int] = nothing
        inside: tuple[int, str, int] | None = None
        ended = False
        while frame is not None:
            code = frame.f_code
            kind, told = self._kind(code.co_filename)
            phase = phase or told
            if kind < best[0] and not ended:
                best = (kind, code.co_filename, frame.f_lineno)
            ended = ended or kind == _LOOP
            if code.co_name == _ENGINE and inside is None:
                inside, best, ended = best, nothing, False
            frame = frame.f_back
        if inside is None:
            return _Seen(self._text(*best), "", phase)
        return _Seen(self._text(*inside), self._text(*best), phase)

    def _kind(self, filename: str) -> tuple[int, str | None]:
        found = self._kinds.get(filename)
        if found is None:
            found = self._kinds[filename] = (self._owner(filename), _phase_of(filename))
        return found

    def _owner(self, filename: str) -> int:
        path = os.path.realpath(filename)
        if path.startswith(self._package):
            inner = Path(path[len(self._package) :])
            owner = {"tasks": _PARTS, "models": _PARTS, "engine": _LOOP}.get(inner.parts[0], _PACKAGE)
            return _FOREIGN if inner.as_posix() in _OBSERVERS else owner
        installed = path.startswith(self._library) or any(part in path for part in ("site-packages", "dist-packages"))
        return _FOREIGN if installed or not path.startswith(self._root) else _PROJECT

    def _text(self, kind: int, filename: str, number: int) -> str:
        if kind == _FOREIGN:
            return ""
        found = self._texts.get((filename, number))
        if found is None:
            path = os.path.realpath(filename)
            base = self._root if kind == _PROJECT else str(Path(self._package).parent) + os.sep
            shown = Path(path.removeprefix(base)).as_posix()
            line = _REMARK.sub("", linecache.getline(filename, number)).strip()
            line = line if len(line) <= _LONGEST_LINE else line[: _LONGEST_LINE - 1] + "…"
            found = self._texts[filename, number] = f"{shown}:{number}: {line}" if line else f"{shown}:{number}"
        return found


class CallSites:
    """Follows a step through its phases and modules.

    A derivative belongs to the module and line of the operation that it is the derivative of: autograd numbers its
    nodes, and the operation that is executed right after a node got its number is the one the node stands for.

    Args:
        model: The model, whose module paths are shown; a module outside of it is shown by its class.
        root: The folder of the project.
    """

    def __init__(self, model: nn.Module, root: Path) -> None:
        import torch

        self._lines = SourceLines(root)
        self._model = model
        written = ((written_name(f"{path}.").removesuffix("."), module) for path, module in model.named_modules())
        self._paths = {id(module): path for path, module in written if path}
        named = model.named_parameters()
        self._owners = {id(parameter): written_name(name).rpartition(".")[0] for name, parameter in named}
        self._modules: list[str] = []
        self._phase = "load"
        self._first_node: int = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]
        self._sites: dict[int, Site] = {}

    @contextmanager
    def following(self) -> Iterator[None]:
        """Follows the modules while it lasts; what they compute stays as it is."""
        from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

        before = register_module_forward_pre_hook(self._enter)
        after = register_module_forward_hook(self._leave, always_call=True)
        try:
            yield
        finally:
            before.remove()
            after.remove()

    def here(self) -> Site:
        """The site of the operation that is about to be executed, for its dispatch to ask."""
        import torch

        seen = self._lines.look(sys._getframe(1))
        if torch._C._current_graph_task_id() != -1:
            site = self._backward_site(seen)
        else:
            self._phase = seen.phase or self._phase
            site = Site(self._phase, self._module(), seen.source)
        if site.phase == "backward":
            self._phase = "optimizer"  # until something else says so
        number = torch.autograd._get_sequence_nr() - 1  # type: ignore[attr-defined]
        if number >= self._first_node:
            self._sites.setdefault(number, site)
        return site

    def optimizing(self) -> None:
        """Says that an optimizer begins its step."""
        self._phase = "optimizer"

    def _backward_site(self, seen: _Seen) -> Site:
        import torch

        node: Any = torch._C._current_autograd_node()
        if node is None:
            return Site("backward", self._module(), seen.source or seen.beyond)
        if hasattr(node, "variable"):  # the end of a path: the gradient is added to a parameter's
            return Site("backward", self._owners.get(id(node.variable), ""), seen.source or seen.beyond)
        forward = self._sites.get(node._sequence_nr(), Site("forward", "", seen.beyond))
        return Site("backward", self._module() or forward.module, seen.source or forward.source)

    def _module(self) -> str:
        return self._modules[-1] if self._modules else ""

    def _enter(self, module: nn.Module, arguments: Any) -> None:
        self._modules.append(self._paths.get(id(module), type(module).__name__))
        self._phase = "forward"

    def _leave(self, module: nn.Module, arguments: Any, result: Any) -> None:
        if self._modules:  # empty when the step began within a module
            self._modules.pop()


def _phase_of(filename: str) -> str | None:
    path = "/" + Path(filename).as_posix()
    return next((phase for part, phase in _PHASES.items() if f"/{part}" in path), None)
