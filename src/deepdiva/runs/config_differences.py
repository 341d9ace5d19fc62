"""Settings that differ between two runs, by their dotted paths."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deepdiva.runs.difference import Difference, Kind, is_same, one_sided, printable, table, written

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder

CLASS = "class"
_ABSENT = object()
# Told with the environment, because without a setting the machine decides.
_ELSEWHERE = ("threads",)


def config_differences(a: RunFolder, b: RunFolder) -> list[Difference]:
    """Every setting, and the seed, that is not the same for two runs; a component of another class is one."""
    from deepdiva.config.influence import cannot_change_results

    ours, theirs = settings_of(a), settings_of(b)
    found: list[Difference] = []
    if ours is not None and theirs is not None:
        task = _class_of(ours.get("task"))
        task = task if isinstance(task, str) else None
        for path, left, right in _compare("", ours, theirs):
            if path == "data" and _same_data(a, b):
                detail, harmless = "the files in it are the same", True
            else:
                detail, harmless = _detail(path, left, right), cannot_change_results(path, task)
            kind: Kind = "seed" if path == "seed" else "config"
            found.append(Difference(kind, printable(path), _text(left), _text(right), detail, harmless))
    else:
        found += one_sided(
            "config", "config.yaml", (ours, theirs), "only one of the two has a configuration to compare"
        )
    seeds = a.record.get("seed"), b.record.get("seed")
    if not is_same(*seeds) and not any(item.kind == "seed" for item in found):
        found.append(Difference("seed", "seed", written(seeds[0]), written(seeds[1])))
    return found


def settings_of(run: RunFolder) -> Mapping[str, Any] | None:
    """The configuration of a run; None where it ended before that was complete, or is a loop without one."""
    return run.config() if "config.yaml" in run.names(".") else None


def _compare(path: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    """Path and both values of everything that differs."""
    if path in _ELSEWHERE:
        return
    if _is_component(a) or _is_component(b):
        if _class_of(a) != _class_of(b):
            yield path, a, b
            return
        a, b = _as_component(a), _as_component(b)
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for name in dict.fromkeys([*a, *b]):
            # A setting that an older version did not have yet is as good as null.
            if a.get(name) is None and b.get(name) is None:
                continue
            yield from _compare(f"{path}.{name}".lstrip("."), a.get(name, _ABSENT), b.get(name, _ABSENT))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for place, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _compare(f"{path}.{place}", left, right)
    elif not is_same(a, b):
        yield path, a, b


def _is_component(value: Any) -> bool:
    return isinstance(value, Mapping) and CLASS in value


def _class_of(value: Any) -> Any:
    return value[CLASS] if _is_component(value) else value


def _as_component(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {CLASS: value}


def _text(value: Any) -> str | None:
    return None if value is _ABSENT else written(_class_of(value))


def _detail(path: str, a: Any, b: Any) -> str:
    if path == "training.init_from":
        return "the weights themselves are no part of the record"
    if _is_component(a) or _is_component(b):
        return "\n".join(f"{name}: {written(_plain(value))}" for name, value in (("A", a), ("B", b)))
    if isinstance(a, list) and isinstance(b, list):
        only_a = [written(item) for item in a if not any(is_same(item, other) for other in b)]
        only_b = [written(item) for item in b if not any(is_same(item, other) for other in a)]
        return "\n".join([*(f"only A: {text}" for text in only_a), *(f"only B: {text}" for text in only_b)])
    return ""


def _plain(value: Any) -> Any:
    return None if value is _ABSENT else value


def _same_data(a: RunFolder, b: RunFolder) -> bool:
    digests = table(a.digests).get("data"), table(b.digests).get("data")
    return digests[0] is not None and digests[0] == digests[1]
