"""What changes the bits of a training and what does not: the rows of the table that no other test looks at."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from deepdiva.engine.determinism import LEVELS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def program() -> ModuleType:
    """The program that makes the table."""
    path = ROOT / "benchmarks" / "bench_factors.py"
    spec = importlib.util.spec_from_file_location("bench_factors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_factors"] = module  # dataclasses look there for the meaning of their annotations
    spec.loader.exec_module(module)
    return module


def test_the_page_shows_what_the_program_expects(program: ModuleType):
    page = (ROOT / "docs" / "explanation" / "factors.md").read_text()
    assert program.expected_table() in page


def test_every_row_has_a_variant_and_an_answer_for_each_level(program: ModuleType):
    used = {name for factor in program.FACTORS for name in (factor.first, *factor.variants)}
    assert used == program.VARIANTS.keys()
    for factor in program.FACTORS:
        words = factor.expected.split()
        assert len(words) in (1, len(LEVELS))
        assert set(words) <= {"same", "differs"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("invariant", ["elsewhere", "above", "1 core", "SIGINT", "compiled, SIGKILL"]),
        ("portable", ["everything outside"]),
    ],
    ids=["invariant", "portable"],
)
def test_what_must_not_change_a_bit_does_not(
    program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, names: list[str]
):
    outside = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_CBWR": "AUTO"}
    everything = program.Variant(variables={**outside, **program.LOCALE, "OMP_NUM_THREADS": "2"}, fresh=True)
    # Compiled by no compiler of C++, which takes a minute: what can go wrong with names and checkpoints can here too.
    compiled = {"task.backend": "aot_eager"}
    variants = {
        "everything outside": everything,
        "compiled": program.Variant(compiled),
        "compiled, SIGKILL": program.Variant(compiled, kill=8),
    }
    monkeypatch.setattr(program, "VARIANTS", {**program.VARIANTS, **variants})
    factors = [factor for factor in program.FACTORS if set(factor.variants) & set(names)]
    factors += [program.Factor("everything outside", ["everything outside"])] if "everything outside" in names else []
    answers = program.measure(factors, [level], tmp_path, 1)
    assert answers == {(factor.name, level): "same" for factor in factors}
