"""Threads, packages, machine and variables that differ are named once each; names of places are harmless."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from deepdiva.runs.environment_differences import (
    environment_differences,
    is_close_to_arithmetic,
    is_of_computing,
)

RECORD: dict[str, Any] = {
    "schema": 1,
    "digest": "d",
    "python": {"version": "3.11.2", "compiler": "GCC 12"},
    "packages": {
        "torch": {"version": "2.14.1", "sha256": "t"},
        "numpy": {"version": "2.1.0", "sha256": "n"},
        "rich": {"version": "13.7", "sha256": "r"},
        "mine": {"version": "1.0", "sha256": None, "editable": True},
    },
    "system": {"os": "Debian 12", "machine": "x86_64", "libc": "glibc 2.36"},
    "cpu": {"model": "Xeon", "flags": ["avx", "avx2", "avx512f"]},
    "gpu": {"driver": "580.65", "models": ["H100"]},
    "variables": {"MKL_CBWR": "AUTO", "OMP_WAIT_POLICY": "PASSIVE"},
    "determinism": {"asked": "invariant", "granted": "invariant", "threads": 2, "reasons": []},
    "place": {"host": "one", "kernel": "6.1", "cores": 2},
    "torch": {"version": "2.14.1", "git": "g", "cuda": None, "threads": 2, "cpu_capability": "AVX512"},
}

OTHER_FILES = {"version": "2.1.0", "sha256": "x"}
COMMIT = {"version": "1.0", "commit": "cc"}


@pytest.fixture
def compared(make_run):
    """What differs when one value of the record is another: `compared("cpu", "model", "EPYC")`."""

    def call(*path_and_value):
        other = copy.deepcopy(RECORD)
        *path, name, value = path_and_value
        place = other
        for key in path:
            place = place[key]
        if value is None:
            del place[name]
        else:
            place[name] = value
        files = [{"environment/environment.json": record} for record in (RECORD, other)]
        return environment_differences(make_run("a", files=files[0]), make_run("b", files=files[1]))

    return call


def test_the_same_environment(compared):
    assert compared("schema", 1) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("determinism", "threads", 1), ("threads", "2", "1", "determinism")),
        (("torch", "threads", 1), ("threads", "2", "1", "determinism")),
        (("determinism", "granted", "seeded"), ("determinism granted", "invariant", "seeded", "determinism")),
        (("torch", "cpu_capability", "AVX2"), ("capability", "AVX512", "AVX2", "torch")),
        (("torch", "version", "2.14.1+cpu"), ("torch version", "2.14.1", "2.14.1+cpu", "torch")),
        (("torch", "cuda", "13.0"), ("cuda", None, "13.0", "torch")),
        (("packages", "torch", {"version": "2.13.0"}), ("torch", "2.14.1", "2.13.0", "package")),
        (("packages", "numpy", OTHER_FILES), ("numpy", "2.1.0 (sha256 n)", "2.1.0 (sha256 x)", "package")),
        (("packages", "mine", COMMIT), ("mine", "1.0 (from its source folder)", "1.0 (commit cc)", "package")),
        (("packages", "rich", None), ("rich", "13.7", None, "package")),
        (("cpu", "model", "EPYC"), ("cpu", "Xeon", "EPYC", "machine")),
        (("cpu", "flags", ["avx2", "avx", "amx"]), ("instruction sets", "avx512f", "amx", "machine")),
        (("gpu", "driver", "590.1"), ("driver", "580.65", "590.1", "gpu")),
        (("gpu", "models", ["A100"]), ("gpu", '["H100"]', '["A100"]', "gpu")),
        (("system", "libc", "glibc 2.41"), ("libc", "glibc 2.36", "glibc 2.41", "machine")),
        (("python", "version", "3.12.1"), ("python", "3.11.2", "3.12.1", "python")),
        (("python", "compiler", "Clang"), ("python.compiler", "GCC 12", "Clang", "python")),
        (("variables", "MKL_CBWR", None), ("MKL_CBWR", "AUTO", None, "variable")),
        (("variables", "ATEN_CPU_CAPABILITY", "avx2"), ("ATEN_CPU_CAPABILITY", None, "avx2", "variable")),
    ],
    ids=lambda value: ".".join(map(str, value[:2])) if isinstance(value[-1], str) and len(value) < 4 else None,
)  # fmt: skip
def test_what_may_change_a_result(compared, change, expected):
    (found,) = compared(*change)
    assert (found.what, found.a, found.b, found.part) == expected
    assert (found.kind, found.harmless) == ("environment", False)


@pytest.mark.parametrize(
    "change",
    [
        ("place", "host", "two"),
        ("place", "cores", 64),
        ("variables", "OMP_WAIT_POLICY", "ACTIVE"),
        ("variables", "TORCHINDUCTOR_CACHE_DIR", "/tmp/torchinductor_ada"),
    ],
)
def test_what_cannot(compared, change):
    (found,) = compared(*change)
    assert found.harmless


def test_why_a_level_was_not_granted(compared):
    (found,) = compared(
        "determinism", {"asked": "invariant", "granted": "seeded", "threads": 2, "reasons": ["too late"]}
    )
    assert found.detail == "B: too late"
    asked = {"asked": "seeded", "granted": "seeded", "threads": 2, "reasons": []}
    assert compared("determinism", asked) == []  # that stands among the settings


def test_the_threads_of_the_settings_count_where_nothing_else_tells(make_run):
    record = {"environment/environment.json": {"schema": 1}}
    a, b = (make_run(name, files={**record, "config.yaml": f"threads: {n}\n"}) for name, n in (("a", 1), ("b", 2)))
    assert [(item.what, item.a, item.b) for item in environment_differences(a, b)] == [("threads", "1", "2")]


def test_what_is_close_to_the_numbers(compared):
    close = [("torch", "cpu_capability", "x"), ("variables", "MKL_CBWR", "x"), ("packages", "torch", {"version": "1"})]
    assert all(is_close_to_arithmetic(compared(*change)[0]) for change in close)
    far = [("packages", "rich", {"version": "1"}), ("variables", "PYTHONHASHSEED", "1")]
    assert not any(is_close_to_arithmetic(compared(*change)[0]) for change in far)
    assert not any(is_of_computing(compared(*change)[0]) for change in far)
    assert is_of_computing(compared("packages", "numpy", {"version": "1"})[0])
    assert is_of_computing(compared("python", "version", "1")[0])


@pytest.mark.parametrize("part", sorted(RECORD.keys() - {"schema", "digest"}))
@pytest.mark.parametrize("odd", [7, "x", [1, {}], {"threads": [], "flags": 3, "torch": 1, "reasons": 5}], ids=str)
def test_a_strangers_record_of_any_shape_is_survived(compared, part, odd):
    compared(part, odd)


def test_a_record_that_only_one_has(make_run):
    a, b = make_run("a", files={"environment/environment.json": RECORD}), make_run("b")
    assert [(item.what, item.b) for item in environment_differences(a, b)] == [("environment/environment.json", None)]


def test_torch_in_one_of_the_two_only(compared):
    (found,) = [item for item in compared("torch", None) if item.part == "torch"]
    assert (found.what, found.a, found.b) == ("torch", "2.14.1", None)


def test_another_number_of_threads_in_a_real_run(trained):
    found = environment_differences(trained(), trained(threads=2))
    assert [(item.what, item.a, item.b) for item in found] == [("threads", "1", "2")]
