"""Finds what a component's name means: a short name, an import path, or a class in a user's file."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from deepdiva.errors import UserError, did_you_mean


@dataclass(frozen=True)
class Kind:
    """A kind of component: what may be named without a path, and what the result must be.

    Args:
        name: What messages call it: `model`, `optimizer`.
        base: The class that the result must be of, as `torch.nn:Module`; None when anything callable will do.
        short: Short names and what they mean: `{"cnn": "deepdiva.models.cnn:CNN"}`.
        namespaces: Modules whose classes go by their own names, whatever the case: `torch.optim`.
        positional: How many leading arguments DeepDIVA passes itself: 1 for an optimizer, its parameters.
    """

    name: str
    base: str | None = None
    short: Mapping[str, str] = field(default_factory=dict)
    namespaces: tuple[str, ...] = ()
    positional: int = 0


@dataclass(frozen=True)
class Located:
    """What a name means, and the name in its usual spelling (`AdamW` for `adamw`)."""

    target: str
    object: Any


def locate(kind: Kind, target: str, *, where: str | None = None) -> Any:
    """The class or function that `target` names.

    Args:
        kind: The kind of component that is wanted.
        target: A short name, a name from the kind's namespaces, `pkg.mod.Class`, `pkg.mod:Class`, `file.py:Class`.
        where: Place of the name, for messages.

    Raises:
        UserError: When there is no such thing, it is not of the kind, or its file fails.
    """
    return find(kind, target, where=where).object


def find(kind: Kind, target: str, *, where: str | None = None) -> Located:
    """As `locate`, with the name in its usual spelling."""
    found = _by_name(kind, target)
    if found is None:
        place = f"{where}: " if where else ""
        found = Located(target, _by_path(kind, target, place))
    _check(kind, found, where)
    return found


def names(kind: Kind) -> list[str]:
    """All names that need no path, short names first."""
    return [*kind.short, *dict.fromkeys(name for module in kind.namespaces for name in _public(kind, module))]


def base_class(kind: Kind) -> type | None:
    """The class that components of the kind must be of; None when anything callable will do."""
    if kind.base is None:
        return None
    module, _, name = kind.base.partition(":")
    base: type = getattr(importlib.import_module(module), name)
    return base


def _by_name(kind: Kind, target: str) -> Located | None:
    """What a name without a path means; case, `-` and `_` do not count, unless the name as it stands is another's."""
    if not target.replace("-", "_").isidentifier():
        return None
    for spelled in (str, _folded):
        for name, path in kind.short.items():
            if spelled(name) == spelled(target):
                module, _, attribute = path.partition(":")
                return Located(name, getattr(importlib.import_module(module), attribute))
        for module in kind.namespaces:
            for name in _public(kind, module):
                if spelled(name) == spelled(target):
                    return Located(name, getattr(importlib.import_module(module), name))
    return None


def _folded(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _public(kind: Kind, module: str) -> list[str]:
    """Names of a package's own classes (and functions, where no base is asked for) that are of the kind."""
    base = base_class(kind)
    package = module.partition(".")[0]
    return [
        name
        for name, item in vars(importlib.import_module(module)).items()
        if name[0] != "_" and str(getattr(item, "__module__", "")).partition(".")[0] == package and _fits(item, base)
    ]


def _fits(item: Any, base: type | None) -> bool:
    if base is None:
        return inspect.isclass(item) or inspect.isfunction(item)
    return inspect.isclass(item) and issubclass(item, base) and item is not base


def _by_path(kind: Kind, target: str, place: str) -> Any:
    """What an import path or a file with a class means; UserError otherwise."""
    if _is_file(target):
        path, _, attribute = target.rpartition(":") if not target.endswith(".py") else (target, "", "")
        if not attribute:
            raise UserError(f"{place}'{target}' names a file, but no class in it", f"write `{target}:ClassName`")
        return _attribute(load_file(Path(path), place), attribute, path, place)
    if ":" in target:
        name, _, attribute = target.partition(":")
        return _attribute(_module(name, place), attribute, name, place)
    if "." in target:
        name, _, attribute = target.rpartition(".")
        return _attribute(_module(name, place), attribute, name, place)
    known = names(kind)
    listed = f"known are {', '.join(known)}; or" if 0 < len(known) <= 20 else "write"
    hint = f"{listed} an import path such as `my_pkg.MyClass` or a file such as `my_file.py:MyClass`"
    nearest = did_you_mean(target, known)
    raise UserError(
        f"{place}there is no {kind.name} named {target!r}", f"{nearest} Otherwise {hint}" if nearest else hint
    )


def _is_file(target: str) -> bool:
    path = target.rpartition(":")[0] if ":" in target else target
    return path.endswith(".py") or (target.endswith(".py") and "/" in target)


def _attribute(module: ModuleType, attribute: str, shown: str, place: str) -> Any:
    """A name in a module, dots inside it followed; UserError with the nearest name otherwise."""
    found: Any = module
    for part in attribute.split("."):
        if not hasattr(found, part):
            public = [name for name, item in vars(found).items() if name[0] != "_" and callable(item)]
            own = [name for name in public if getattr(vars(found)[name], "__module__", "") == module.__name__]
            listed = f"it has {', '.join(own)}" if 0 < len(own) <= 20 else None
            raise UserError(f"{place}there is no {attribute!r} in {shown}", did_you_mean(part, public) or listed)
        found = getattr(found, part)
    return found


def _module(name: str, place: str) -> ModuleType:
    """A module by its import path; the current folder's modules are found too."""
    with _importable(Path.cwd()):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and f"{name}.".startswith(f"{error.name}."):
                hint = f"install the package, or name a file: `{name.replace('.', '/')}.py:ClassName`"
                raise UserError(f"{place}there is no module {error.name!r}", hint) from error
            raise _failure(name, error, None, place) from error
        except Exception as error:
            raise _failure(name, error, None, place) from error


def load_file(path: Path, place: str = "") -> ModuleType:
    """The module in a file, loaded once; modules beside it can be imported by it, now and later.

    It goes by the plain name of the file where that is free, so that other files that import it get the same classes.
    """
    file = path.resolve()
    if not file.is_file():
        near = (
            sorted(str(path.with_name(other.name)) for other in file.parent.glob("*.py"))
            if file.parent.is_dir()
            else []
        )
        raise UserError(f"{place}there is no file {path}", did_you_mean(str(path), near) or f"looked in {Path.cwd()}")
    with _importable(file.parent):
        importlib.invalidate_caches()  # the file may be newer than what is known of its folder
        name = _module_name(file)
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise UserError(f"{place}{path} cannot be loaded as Python")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[name]
            if isinstance(error, Exception):
                raise _failure(str(path), error, file, place) from error
            raise
        return module


def _module_name(file: Path) -> str:
    """The file's own name if an import of it would find this very file, else one made unique by the path's digest."""
    name = file.stem
    unique = f"deepdiva_file_{hashlib.sha256(str(file).encode()).hexdigest()[:8]}_{name}"
    if not name.isidentifier() or unique in sys.modules:
        return unique
    if name in sys.modules:
        loaded = getattr(sys.modules[name], "__file__", None)
        return name if loaded and Path(loaded).resolve() == file else unique
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return unique
    return name if spec and spec.origin and Path(spec.origin).resolve() == file else unique


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Put a folder first where modules are looked for, and last afterwards, for imports inside functions."""
    text = str(folder)
    sys.path.insert(0, text)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user's own code may have changed the list
            sys.path.remove(text)
        if text not in sys.path:
            sys.path.append(text)


def _failure(shown: str, error: Exception, file: Path | None, place: str) -> UserError:
    """What a user's module raised, with the line in it."""
    if isinstance(error, SyntaxError) and error.filename:
        return UserError(f"{place}{error.filename}:{error.lineno}: {error.msg}", "mend the file")
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    own = [frame for frame in frames if file and Path(frame.filename) == file] or frames
    line = f"{own[-1].filename}:{own[-1].lineno}" if own and own[-1].filename != __file__ else shown
    return UserError(f"{place}{shown} cannot be imported: {type(error).__name__} in {line}: {error}")


def _check(kind: Kind, found: Located, where: str | None) -> None:
    """Refuse what is not of the kind; a function's result is checked once it is built."""
    place = f"{where}: " if where else ""
    if not callable(found.object):
        raise UserError(
            f"{place}{found.target!r} is neither a class nor a function, but of type {type(found.object).__name__}"
        )
    base = base_class(kind)
    if base is not None and inspect.isclass(found.object) and not issubclass(found.object, base):
        wanted = kind.base.replace(":", ".") if kind.base else ""
        raise UserError(f"{place}{found.target!r} is no {kind.name}: it does not derive from {wanted}")
