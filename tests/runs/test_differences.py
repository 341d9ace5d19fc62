"""All differences of two runs, the most likely cause first and what cannot be one last."""

from __future__ import annotations

import subprocess
import sys

import pytest

from deepdiva.errors import UserError
from deepdiva.runs.differences import differences
from deepdiva.runs.numerics import digest_of


def names(a, b):
    return [item.what for item in differences(a, b)]


def environment(**parts):
    return {"environment/environment.json": {"schema": 1, **parts}}


def measured(**operations):
    document = {"schema": 1, "settings": {}, "operations": operations, "digest": digest_of(operations)}
    return {"environment/numerics.json": document}


def test_the_order_is_that_of_likelihood(make_run):
    def files(value, code):
        return {
            "config.yaml": f"epochs: {value}\nseed: {value}\nworkers: {value}\n",
            "code/code.json": {
                "files": {"a.py": {"size": 1, "sha256": code}, "README.md": {"size": 1, "sha256": code}}
            },
            "data/footprint-0.json": {"files": [["img.png", value, "s"]]},
            **measured(conv2d=code, mm="same"),
            **environment(
                determinism={"threads": value},
                torch={"version": "2", "cpu_capability": code},
                packages={"torch": {"version": code}, "numpy": {"version": code}, "rich": {"version": code}},
                cpu={"model": code},
                place={"host": code},
                variables={"MKL_CBWR": code, "PYTHONHASHSEED": code},
            ),
        }

    a, b = make_run("a", files=files(1, "x")), make_run("b", files=files(2, "y"))
    assert names(a, b) == [
        "seed",
        "epochs",
        "a.py",
        "img.png",
        "threads",
        "capability",
        "torch",
        "MKL_CBWR",
        "conv2d",
        "cpu",
        "numpy",
        "rich",
        "PYTHONHASHSEED",
        "workers",
        "README.md",
        "place.host",
    ]
    assert [item.what for item in differences(a, b) if item.harmless] == ["workers", "README.md", "place.host"]
    assert [item.kind for item in differences(a, b) if item.what == "conv2d"] == ["numerics"]


def test_an_operation_that_only_one_has_measured_is_no_difference(make_run):
    a, b = make_run("a", files=measured(mm="x")), make_run("b", files=measured(conv2d="x"))
    assert names(a, b) == names(a, make_run("c")) == []
    with pytest.raises(UserError, match="damaged"):
        differences(a, make_run("d", files={"environment/numerics.json": {"operations": 3}}))


def test_a_loop_of_ones_own_without_any_record(make_run):
    assert names(make_run("a", {"seed": 1}), make_run("b", {"seed": 2})) == ["seed"]


def test_a_repetition_differs_in_nothing(trained):
    assert differences(trained(), trained(1)) == []


def test_what_was_changed_stands_first(trained):
    assert names(trained(), trained(seed=1)) == ["seed"]
    threads, *operations = differences(trained(), trained(threads=2))
    assert threads.what == "threads"
    assert {item.kind for item in operations} == {"numerics"}  # what the number of threads did to single operations
    assert names(trained(), trained(optimizer={"class": "AdamW", "lr": 0.0123})) == ["optimizer.lr"]
    assert names(trained(), trained(workers=1)) == ["workers"]
    assert names(trained(), trained(code="x = 1\ny = 2\n"))[0] == "helper.py"


def test_it_needs_no_torch(tmp_path):
    program = (
        "import sys; import deepdiva.runs.differences, deepdiva.runs.divergence, deepdiva.runs.comparison\n"
        "print([name for name in ('torch', 'pydantic', 'numpy') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
