"""The decision, over every combination of evidence; and that a verdict can be kept and read."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import replace
from itertools import product

import pytest

from deepdiva.experiments.envelope import EnvelopeResult
from deepdiva.experiments.equivalence import Tost, tost
from deepdiva.experiments.verdict import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    SAME_EXPERIMENT,
    SAME_RESULT,
    Evidence,
    Verdict,
    decide,
)
from deepdiva.runs.storage import canonical_json

ENVELOPES: dict[str, EnvelopeResult | None] = {
    "none": None,
    "few": EnvelopeResult(False, None, math.inf, 0, 2, None, "2 perturbed trainings", "2 perturbed trainings"),
    "nan": EnvelopeResult(False, None, math.inf, 0, 5, None, "a loss is NaN", "a loss is NaN", finite=False),
    "inside": EnvelopeResult(True, None, 0.7, 12, 5, 0.0, "no step differs by more"),
    "outside": EnvelopeResult(False, 2, 400.0, 2, 5, 0.01, "at step 2 the losses differ"),
}
TESTS: dict[str, Tost | None] = {
    "none": None,
    "few": tost([0.9], [0.9], margin=0.1),
    "nan": tost([0.9, math.nan], [0.9, 0.9], margin=0.1),
    "equivalent": tost([0.90, 0.91, 0.92], [0.90, 0.91, 0.93], margin=0.1),
    "different": tost([0.90, 0.91, 0.92], [0.50, 0.51, 0.53], margin=0.1),
    "undecided": tost([0.90, 0.91, 0.92], [0.90, 0.91, 0.93], margin=0.01),
}
Case = tuple[str, bool | None, float, str, str]
CASES: list[Case] = list(product(["", "the repetition failed"], [None, False, True], [0.9, math.nan], ENVELOPES, TESTS))


def evidence(failure: str, bits: bool | None, value: float, envelope: str, test: str) -> Evidence:
    return Evidence(
        same_bits=bits,
        failure=failure,
        envelope=ENVELOPES[envelope],
        test=TESTS[test],
        metric="test/accuracy",
        original=0.9,
        reproduced=value,
        parted="epoch 1, step 2: the loss",
    )


def expected(failure: str, bits: bool | None, value: float, envelope: str, test: str) -> tuple[str, str]:
    """The rules once more, as a table: name and form for what is known."""
    if failure or math.isnan(value) or "nan" in (envelope, test):
        return INCONCLUSIVE, ""
    if bits:
        return "BIT-IDENTICAL", ""
    stayed = envelope if envelope in ("inside", "outside") else "-"
    shown = test if test in ("equivalent", "different", "undecided") else "-"
    return {
        ("inside", "equivalent"): (EQUIVALENT, SAME_EXPERIMENT),
        ("inside", "different"): (DIFFERENT, ""),
        ("inside", "undecided"): (EQUIVALENT, SAME_EXPERIMENT),
        ("inside", "-"): (EQUIVALENT, SAME_EXPERIMENT),
        ("outside", "equivalent"): (EQUIVALENT, SAME_RESULT),
        ("outside", "different"): (DIFFERENT, ""),
        ("outside", "undecided"): (INCONCLUSIVE, ""),
        ("outside", "-"): (DIFFERENT, ""),
        ("-", "equivalent"): (EQUIVALENT, SAME_RESULT),
        ("-", "different"): (DIFFERENT, ""),
        ("-", "undecided"): (INCONCLUSIVE, ""),
        ("-", "-"): (INCONCLUSIVE, ""),
    }[stayed, shown]


@functools.cache
def verdicts() -> dict[Case, Verdict]:
    return {case: decide(evidence(*case)) for case in CASES}


def test_every_combination_of_evidence():
    assert len(CASES) == 360
    found = {case: (verdict.name, verdict.form) for case, verdict in verdicts().items()}
    assert {case: pair for case, pair in found.items() if pair != expected(*case)} == {}


def test_exit_codes_are_those_of_the_names():
    codes = {(verdict.name, verdict.exit_code) for verdict in verdicts().values()}
    assert codes == {("BIT-IDENTICAL", 0), ("EQUIVALENT", 0), ("DIFFERENT", 1), ("INCONCLUSIVE", 3)}


def test_every_verdict_can_be_kept_and_read():
    for verdict in verdicts().values():
        kept = verdict.to_mapping()
        text = canonical_json(kept)
        assert "NaN" not in text.replace('"nan"', "").replace("a loss is NaN", "")
        assert "Infinity" not in text
        read = Verdict.from_mapping(json.loads(text))
        assert read.to_mapping() == kept
        assert read.lines() == verdict.lines()
        assert read.exit_code == kept["exit_code"]


def test_every_verdict_can_be_read_by_a_person():
    for verdict in verdicts().values():
        lines = verdict.lines()
        assert lines[0].startswith(verdict.name)
        assert all("\n" not in line and "None" not in line for line in lines)
        assert len(" ".join(lines)) < 1200
        if verdict.name == DIFFERENT:
            assert any("first part at epoch 1, step 2" in line for line in lines)


def of(bits: bool | None = False, envelope: str = "none", test: str = "none", value: float = 0.9) -> Verdict:
    return decide(evidence("", bits, value, envelope, test))


def test_a_number_that_is_none_is_never_success_and_equal_bits_are_told():
    verdict = of(True, value=math.nan)
    assert verdict.exit_code == 3
    assert verdict.reason == "test/accuracy of the repetition is nan; the states are equal to the bit all the same"


def test_two_answers_that_do_not_agree_are_both_told():
    assert "not the same experiment" in of(envelope="outside", test="equivalent").reason
    assert "although this seed stays within rounding" in of(envelope="inside", test="different").reason


def test_different_has_effect_and_interval():
    text = " ".join(of(envelope="outside", test="different", value=0.5).lines())
    assert "a difference of -0.4" in text
    assert "90 % interval -0.4" in text
    assert "rounding: at step 2" in text


def test_what_is_undecided_says_how_many_runs_would_decide():
    verdict = of(test="undecided")
    assert verdict.needed == 30
    assert "30 on each side would" in verdict.reason


def test_a_difference_about_the_margin_asks_for_more_runs_or_says_so():
    near = Tost(0.09, 0.05, 0.13, 0.3, False, False, 12, 12, 0.05, 0.1)
    beyond = Tost(0.11, 0.07, 0.15, 0.6, False, False, 12, 12, 0.05, 0.1)
    assert decide(Evidence(test=near)).needed == 310
    assert decide(Evidence(test=beyond)).needed is None
    assert "about the margin itself" in decide(Evidence(test=beyond)).reason
    assert "about the margin itself" in decide(Evidence(test=tost([1, 1], [2, 2], margin=1))).reason


def test_leaving_slowly_asks_for_more_reruns_while_there_are_few():
    slowly = EnvelopeResult(False, 50, 200.0, 60, 5, 0.01, "at step 50", gradual=True)
    assert "15 perturbed reruns would be surer" in decide(Evidence(envelope=slowly)).reason
    assert "surer" not in decide(Evidence(envelope=replace(slowly, reruns=15))).reason
    assert "surer" not in of(envelope="outside").reason


def test_what_is_missing_is_named():
    verdict = of(None, envelope="few", test="few")
    assert verdict.needed == 18
    assert "were not compared" in verdict.reason
    assert "2 perturbed trainings; 1 original run, and" in verdict.reason
    assert "no runs with fresh seeds" in of().reason


@pytest.mark.parametrize("envelope", ["none", "few"])
def test_one_run_a_side_is_never_success(envelope: str):
    assert of(envelope=envelope, test="few").name == INCONCLUSIVE
