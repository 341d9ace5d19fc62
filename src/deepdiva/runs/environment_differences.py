"""What differs between the environments of two runs: threads, packages, machine, variables, and names of places."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from deepdiva.runs.config_differences import settings_of
from deepdiva.runs.difference import Difference, is_same, one_sided, printable, table, written
from deepdiva.runs.environment import CACHE_FOLDERS

if TYPE_CHECKING:
    from deepdiva.runs.folder import RunFolder

RECORD = "environment/environment.json"

_TORCH = {
    "cpu_capability": "capability",
    "deterministic_algorithms": "deterministic_algorithms",
    "float32_matmul_precision": "float32_matmul_precision",
    "interop_threads": "interop_threads",
    "cuda": "cuda",
    "hip": "hip",
    "cudnn": "cudnn",
    "devices": "devices",
}
_OF_DRIVER = ("cudnn", "devices")  # known only where the driver was started before the record was made
_MACHINE = {("gpu", "driver"): "driver", ("gpu", "models"): "gpu", ("cpu", "model"): "cpu"}
_SYSTEM = {"os": "os", "machine": "machine", "libc": "libc"}
# How threads wait for one another (DeepDIVA sets it itself), and where caches are (recorded once): no bit changes.
_OF_SPEED = {"OMP_WAIT_POLICY"} | CACHE_FOLDERS
# Packages that compute, or bring the libraries that do.
_COMPUTING = re.compile(
    r"(torch.*|nvidia-.*|triton|numpy|scipy|scikit-learn|pillow|opencv-.*|mkl.*|intel-.*|numba|jax.*|deepdiva|timm)\Z"
)
_ARITHMETIC = re.compile(
    r"(MKL|OMP|OPENBLAS|ATEN|ONEDNN|DNNL|NPY|CUBLAS|CUDNN|NVIDIA|TORCH|PYTORCH|TORCHINDUCTOR)_|GLIBC_TUNABLES"
)


def environment_differences(a: RunFolder, b: RunFolder) -> list[Difference]:
    """Everything around the code that is not the same for two runs, as far as both have recorded it.

    Raises:
        StorageError: A record of the environment is damaged.
    """
    ours, theirs = a.document(RECORD), b.document(RECORD)
    if ours is None or theirs is None:
        detail = "only one of the two has a record of its environment"
        return one_sided("environment", RECORD, (ours, theirs), detail)
    return [
        *_threads(a, b, ours, theirs),
        *_granted(ours, theirs),
        *_torch(ours, theirs),
        *_machine(ours, theirs),
        *_named(table(ours.get("python")), table(theirs.get("python")), "python"),
        *_packages(table(ours.get("packages")), table(theirs.get("packages"))),
        *_variables(table(ours.get("variables")), table(theirs.get("variables"))),
        *_named(table(ours.get("place")), table(theirs.get("place")), "place"),
    ]


def is_close_to_arithmetic(difference: Difference) -> bool:
    """Whether a difference of environments is one that numbers are known to depend on."""
    if difference.part == "package":
        return difference.what in ("torch", "torchvision") or difference.what.startswith("nvidia-")
    if difference.part == "variable":
        return bool(_ARITHMETIC.match(difference.what))
    return difference.part in ("determinism", "torch", "gpu")


def is_of_computing(difference: Difference) -> bool:
    """Whether a difference of environments lies in the machine, in Python, or in a package that computes."""
    computes = difference.part != "package" or bool(_COMPUTING.match(difference.what))
    return computes and difference.part != "variable"


def _difference(what: str, a: Any, b: Any, part: str, detail: str = "", *, harmless: bool = False) -> Difference:
    left, right = (None if value is None else written(value) for value in (a, b))
    return Difference("environment", printable(what), left, right, detail, harmless, part)


def _threads(a: RunFolder, b: RunFolder, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
    """The number of threads, once: of the three places that tell it the first that differs."""
    sources = [(table(record.get("determinism")), table(record.get("torch"))) for record in (ours, theirs)]
    counts = [
        [*(source.get("threads") for source in sides), table(settings_of(run)).get("threads")]
        for sides, run in zip(sources, (a, b), strict=True)
    ]
    for left, right in zip(*counts, strict=True):
        if left is not None and right is not None and not is_same(left, right):
            yield _difference("threads", left, right, "determinism", "sums are split by the number of threads")
            return


def _granted(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
    a, b = table(ours.get("determinism")), table(theirs.get("determinism"))
    asked, granted = (a.get("asked"), b.get("asked")), (a.get("granted"), b.get("granted"))
    # Another level that was asked for stands among the settings.
    if not is_same(*granted) and granted != asked:
        reasons = [f"{name}: {_reasons(side)}" for name, side in (("A", a), ("B", b)) if side.get("reasons")]
        yield _difference("determinism granted", granted[0], granted[1], "determinism", "\n".join(reasons))


def _reasons(determinism: Mapping[str, Any]) -> str:
    reasons = determinism.get("reasons")
    return "; ".join(map(written, reasons)) if isinstance(reasons, list) else written(reasons)


def _torch(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
    """What torch said of itself; its version stands with the packages where these know it."""
    a, b = table(ours.get("torch")), table(theirs.get("torch"))
    if bool(a) != bool(b):
        detail = "torch was loaded in one of the two only"
        yield _difference("torch", a.get("version"), b.get("version"), "torch", detail)
        return
    for name, what in _TORCH.items():
        # What only a started driver tells may be missing on one side.
        if not is_same(a.get(name), b.get(name)) and (
            None not in (a.get(name), b.get(name)) or name in ("cuda", "hip")
        ):
            yield _difference(what, a.get(name), b.get(name), "torch")
    packages = [table(record.get("packages")).get("torch") for record in (ours, theirs)]
    if packages[0] == packages[1]:
        for name in ("version", "git"):
            if not is_same(a.get(name), b.get(name)):
                yield _difference(f"torch {name}", a.get(name), b.get(name), "torch", "the build that was loaded")


def _machine(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
    for (group, name), what in _MACHINE.items():
        a, b = (table(record.get(group)).get(name) for record in (ours, theirs))
        if not is_same(a, b):
            yield _difference(what, a, b, "gpu" if group == "gpu" else "machine")
    flags = [_texts(table(record.get("cpu")).get("flags")) for record in (ours, theirs)]
    if set(flags[0]) != set(flags[1]):
        only = [", ".join(sorted(set(flags[place]) - set(flags[1 - place]))) or "none" for place in (0, 1)]
        detail = "those that the other has not; libraries choose their kernels by them"
        yield _difference("instruction sets", only[0], only[1], "machine", detail)
    for name, what in _SYSTEM.items():
        a, b = (table(record.get("system")).get(name) for record in (ours, theirs))
        if not is_same(a, b):
            yield _difference(what, a, b, "machine")


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _named(a: Mapping[str, Any], b: Mapping[str, Any], part: str) -> Iterator[Difference]:
    """The facts of one group by their names: of Python, or of the place, which cannot change a result."""
    for name in _names(a, b):
        if not is_same(a.get(name), b.get(name)):
            what = "python" if (part, name) == ("python", "version") else f"{part}.{name}"
            yield _difference(what, a.get(name), b.get(name), part, harmless=part == "place")


def _names(a: Iterable[str], b: Iterable[str]) -> list[str]:
    return list(dict.fromkeys([*a, *b]))


def _packages(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    names = _names(a, b)
    for name in sorted(names, key=lambda name: (name != "torch", _COMPUTING.match(name) is None, name)):
        ours, theirs = table(a.get(name)), table(b.get(name))
        if is_same(ours, theirs):
            continue
        detail = "only one of the two has this package" if not ours or not theirs else ""
        versions = [entry.get("version") if entry else None for entry in (ours, theirs)]
        if is_same(*versions):
            versions = [f"{entry.get('version')} {_build(entry)}" for entry in (ours, theirs)]
            detail = "the same version with other files"
        yield _difference(name, versions[0], versions[1], "package", detail)


def _build(entry: Mapping[str, Any]) -> str:
    """What tells two installations of one version apart."""
    if entry.get("commit"):
        return f"(commit {str(entry['commit'])[:12]})"
    if entry.get("editable"):
        return "(from its source folder)"
    return f"(sha256 {str(entry.get('sha256'))[:12]})"


def _variables(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    for name in sorted(_names(a, b)):
        if not is_same(a.get(name), b.get(name)):
            yield _difference(name, a.get(name), b.get(name), "variable", harmless=name in _OF_SPEED)
