"""The same bits are claimed only of runs that are complete, and equal in everything that both must have."""

from __future__ import annotations

import pytest

from deepdiva.runs.comparison import Comparison, compare

DIGESTS = dict.fromkeys(("config", "weights", "state", "metrics"), "d")
STEPS = [{"step": step, "loss": "0" * 16, "batch": "b", "state": "s"} for step in range(1, 4)]
TABLE = {"predictions/test.csv": "id,score\nx,1\n"}


@pytest.fixture
def pair(make_run):
    def call(record=None, *, fingerprints=STEPS, files=TABLE):
        a = make_run("a", {"digests": DIGESTS}, fingerprints=STEPS, files=TABLE)
        return a, make_run("b", {"digests": DIGESTS, **(record or {})}, fingerprints=fingerprints, files=files)

    return call


def unequal(comparison: Comparison) -> set[str]:
    return {name for name, equal in comparison.equal.items() if equal is False}


def test_equal_in_everything(pair):
    comparison = compare(*pair())
    assert comparison.same_bits
    assert (comparison.completed, comparison.steps, unequal(comparison)) == (True, 3, set())
    assert comparison.equal["code"] is None
    assert comparison.equal["predictions"] is comparison.equal["fingerprints"] is True


@pytest.mark.parametrize("name", ["weights", "state", "metrics"])
@pytest.mark.parametrize("value", ["x", "", None], ids=["other", "empty", "missing"])
def test_a_digest_that_is_another_or_missing_is_never_equal(pair, name, value):
    a, b = pair({"digests": {**DIGESTS, name: value}})
    assert not compare(a, b).same_bits
    assert compare(a, b).equal[name] is (False if value == "x" else None)
    _, c = pair({"digests": {key: digest for key, digest in DIGESTS.items() if key != name}})
    assert not compare(c, c).same_bits


def test_another_configuration_may_give_the_same_bits(pair):
    comparison = compare(*pair({"digests": {**DIGESTS, "config": "x", "more": "m"}}))
    assert comparison.same_bits
    assert unequal(comparison) == {"config"}
    assert comparison.equal["more"] is None


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_did_not_end_well_is_never_the_same(pair, status):
    assert not compare(*pair({"status": status})).same_bits


@pytest.mark.parametrize("part", [STEPS[:2], [], [*STEPS, STEPS[0]], [STEPS[0], {**STEPS[1], "loss": "1"}, STEPS[2]]])
def test_every_fingerprint_counts_and_a_shorter_run_is_another(pair, part):
    a, b = pair(fingerprints=part)
    assert not compare(a, b).same_bits
    assert not compare(b, a).same_bits
    assert compare(a, b).steps == min(len(part), 3)
    assert compare(a, b).equal["fingerprints"] is (False if part else None)


def test_predictions_may_be_missing_but_not_others(pair):
    a, b = pair(files={"predictions/test.csv": "id,score\nx,2\n"})
    assert compare(a, b).equal["predictions"] is False
    assert not compare(a, b).same_bits
    a, b = pair(files={"predictions/val.csv": "id,score\nx,1\n"})
    assert compare(a, b).equal["predictions"] is False


def test_runs_without_predictions_can_be_the_same(make_run):
    a, b = (make_run(name, {"digests": DIGESTS}, fingerprints=STEPS) for name in "ab")
    assert compare(a, b).equal["predictions"] is None
    assert compare(a, b).same_bits


def test_a_repetition_of_a_training_has_the_same_bits_and_another_seed_has_not(trained):
    assert compare(trained(), trained(1)).same_bits
    comparison = compare(trained(), trained(seed=1))
    assert unequal(comparison) >= {"config", "weights", "state", "metrics", "fingerprints", "predictions"}
    assert comparison.equal["code"] is comparison.equal["data"] is comparison.equal["environment"] is True
