"""Components checked against their signatures, completed with every default, and built."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepdiva.config.locate import Kind, base_class, find
from deepdiva.config.schema import REQUIRED, WrongValue, check
from deepdiva.config.signature import Parameter, Signature, signature
from deepdiva.config.values import CLASS, Component, in_words, is_plain, plain
from deepdiva.errors import Problem, UserError, UserErrors, did_you_mean


def complete(
    kind: Kind,
    component: Component,
    *,
    supplied: Mapping[str, Any] | None = None,
    positional: int | None = None,
    where: str = "",
    origins: Mapping[str, str] | None = None,
) -> Component:
    """The component with its name in the usual spelling and every argument written out.

    Args:
        kind: The kind of component.
        component: What the user asked for.
        supplied: Arguments that the data decide (`num_classes`), filled in where the signature has them.
        positional: How many leading arguments the caller passes itself; as the kind says when None.
        where: Dotted path of the component in the configuration: `model`.
        origins: Places of dotted paths, for messages; `Resolved.origins`.

    Raises:
        UserErrors: With every mistake in the component and the components inside its arguments.
    """
    completion = _Completion(kind, where or kind.name, origins or {})
    result = completion.component(component, supplied or {}, kind.positional if positional is None else positional)
    completion.raise_problems()
    return result


def problems_in(
    kind: Kind,
    component: Component,
    *,
    positional: int | None = None,
    where: str = "",
    origins: Mapping[str, str] | None = None,
) -> list[Problem]:
    """All mistakes that show before the data is there: as `complete`, but an argument may still be missing."""
    completion = _Completion(kind, where or kind.name, origins or {}, is_final=False)
    completion.component(component, {}, kind.positional if positional is None else positional)
    return completion.problems


def components_in(path: str, value: Any) -> dict[str, Component]:
    """The components at a path by their own paths: none, one, or those of a list (`task.augment.0`)."""
    if value is None:
        return {}
    if isinstance(value, list | tuple):
        return {f"{path}.{index}": Component.parse(item) for index, item in enumerate(value)}
    return {path: Component.parse(value)}


def build(kind: Kind, component: Component, *positional: Any) -> Any:
    """The object that a completed component describes; components inside its arguments are built first.

    Args:
        kind: The kind of component; the result is checked against its base class.
        component: The component, completed.
        positional: Leading arguments that the caller passes itself.
    """
    found = find(kind, component.target)
    parameters = signature(found.object, positional=len(positional)).parameters
    arguments = {
        name: _built(kind, parameters.get(name, Parameter(name)), value) for name, value in component.arguments.items()
    }
    try:
        result = found.object(*positional, **arguments)
    except ValueError as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        raise UserError(f"the {kind.name} {component.target} refuses its arguments: {error} ({place})") from error
    base = base_class(kind)
    if base is not None and not isinstance(result, base):
        raise UserError(f"{component.target} gave a {type(result).__name__}, not a {base.__name__}")
    return result


def _built(kind: Kind, parameter: Parameter, value: Any) -> Any:
    """An argument as the signature wants it: components built, lists as tuples where tuples are expected."""
    if is_component(value):
        return build(inner(kind), Component.parse(value))
    if isinstance(value, list) and any(is_component(item) for item in value):
        return [_built(kind, Parameter(parameter.name), item) for item in value]
    if isinstance(value, list) and isinstance(parameter.default, tuple):
        return tuple(value)
    try:
        return check(parameter.annotation, value)
    except WrongValue:
        return value


def is_component(value: Any) -> bool:
    """Whether an argument's value stands for a component of its own."""
    return isinstance(value, Mapping) and CLASS in value


def inner(kind: Kind) -> Kind:
    """The kind of components inside a component's arguments: the same names, but any class will do."""
    return replace(kind, base=None, name=f"component of a {kind.name}" if kind.base else kind.name)


class _Completion:
    """One pass over a component and the components inside it, collecting mistakes."""

    def __init__(self, kind: Kind, where: str, origins: Mapping[str, str], *, is_final: bool = True) -> None:
        self.kind = kind
        self.where = where
        self.origins = origins
        self.is_final = is_final
        self.problems: list[Problem] = []
        self.causes: list[BaseException] = []

    def at(self, kind: Kind, where: str) -> _Completion:
        """The same pass, at another component."""
        other = _Completion(kind, where, self.origins, is_final=self.is_final)
        other.problems, other.causes = self.problems, self.causes
        return other

    def raise_problems(self) -> None:
        """Raise all mistakes found, caused by the first exception of a user's own file."""
        if self.problems:
            raise UserErrors(self.problems) from next(iter(self.causes), None)

    def component(self, component: Component, supplied: Mapping[str, Any], positional: int) -> Component:
        """The component completed; what is wrong with it goes to `problems`."""
        try:
            found = find(self.kind, component.target)
        except UserError as error:
            self.problem("", error.message, error.hint)
            if error.__cause__ is not None:
                self.causes.append(error.__cause__)
            return component
        whole = signature(found.object, positional=positional)
        passed = set(signature(found.object).parameters) - set(whole.parameters)
        given = {name: self.argument(name, value, whole, passed) for name, value in component.arguments.items()}
        self.supply(given, supplied, whole)
        self.require(given, whole, found.target)
        defaults = {item.name: _written(item) for item in whole.parameters.values() if _can_be_written(item.default)}
        ordered = {
            name: given.get(name, defaults.get(name)) for name in whole.parameters if name in given or name in defaults
        }
        return Component(found.target, {**ordered, **given})

    def argument(self, name: str, value: Any, whole: Signature, passed: set[str]) -> Any:
        """The value of an argument, checked and in its usual form."""
        if name in passed:
            self.problem(name, f"'{name}' is passed by DeepDIVA itself", "leave it out")
        elif name not in whole.parameters and not whole.is_open:
            known = ", ".join(whole.parameters) or "none"
            hint = did_you_mean(name, whole.parameters) or f"its arguments are: {known}"
            self.problem(name, f"there is no argument {name!r}", hint)
        if is_component(value):
            return self.inside(name, value)
        if isinstance(value, list) and any(is_component(item) for item in value):
            return [self.inside(f"{name}.{i}", item) if is_component(item) else item for i, item in enumerate(value)]
        return self.checked(name, value, whole.parameters.get(name, Parameter(name)))

    def inside(self, name: str, value: Mapping[str, Any]) -> Any:
        """A component inside an argument, completed."""
        below = self.at(inner(self.kind), f"{self.where}.{name}")
        try:
            completed = below.component(Component.parse(value), {}, 0)
        except ValueError as error:
            self.problem(name, str(error))
            return value
        return {CLASS: completed.target, **completed.arguments}

    def checked(self, name: str, value: Any, parameter: Parameter) -> Any:
        """A plain value, checked against its annotation."""
        try:
            return _usual_form(parameter, value)
        except WrongValue as error:
            if not (value is None and parameter.default is None):
                self.problem(name, error.message, error.hint)
            return value

    def supply(self, given: dict[str, Any], supplied: Mapping[str, Any], whole: Signature) -> None:
        """Fill in what the data decide, unless the user says something else."""
        for name, value in supplied.items():
            if name not in whole.parameters:
                continue
            decided = plain(value)
            if name in given and given[name] != decided:
                message = f"'{name}' is {in_words(given[name])}, but the data make it {in_words(decided)}"
                self.problem(name, message, f"leave '{name}' out: it is taken from the data")
            given[name] = decided

    def require(self, given: Mapping[str, Any], whole: Signature, target: str) -> None:
        """Note arguments without a default that nobody gave."""
        for name, parameter in whole.parameters.items():
            if self.is_final and parameter.default is REQUIRED and name not in given:
                in_list = any(part.isdecimal() for part in self.where.split("."))
                hint = f"write `{name}: VALUE` beside its class" if in_list else f"write `--{self.where}.{name} VALUE`"
                self.problem("", f"{target} needs '{name}'", hint)

    def problem(self, name: str, message: str, hint: str | None = None) -> None:
        """Note a mistake at the place of an argument, or of the component itself."""
        path = f"{self.where}.{name}" if name else self.where
        above = path
        while above and above not in self.origins:
            above = above.rpartition(".")[0]
        place = self.origins.get(above, "")
        is_visible = (place.startswith("--") and above == path) or f"'{path}'" in message
        if not place or place in ("default", "task preset"):
            self.problems.append(Problem(message, path if not place else f"{path} ({place})", hint))
        else:
            self.problems.append(Problem(message if is_visible else f"'{path}': {message}", place, hint))


def _written(parameter: Parameter) -> Any:
    """A default as a user's value would be written, so that a completed component stays as it is: 0 as 0.0."""
    default = plain(parameter.default)
    try:
        return _usual_form(parameter, default)
    except WrongValue:
        return default


def _usual_form(parameter: Parameter, value: Any) -> Any:
    """A value made plain again after it took its parameter's type: 1 is written 1.0 for a float."""
    typed = check(parameter.annotation, value)
    return plain(typed) if is_plain(typed) else value


def _can_be_written(default: Any) -> bool:
    return default is not REQUIRED and not inspect.isclass(default) and is_plain(default)
