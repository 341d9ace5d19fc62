"""The same bits are claimed only of runs that are complete, and equal in everything that both must have."""

from __future__ import annotations

import pytest

from deepdiva.runs.comparison import compare, same_bits

DIGESTS = dict.fromkeys(("config", "weights", "state", "metrics"), "d")
STEPS = [{"step": step, "loss": "0" * 16, "batch": "b", "state": "s"} for step in range(1, 4)]
TABLE = {"predictions/test.csv": "id,score\nx,1\n"}


@pytest.fixture
def pair(make_run):
    def call(record=None, *, fingerprints=STEPS, files=TABLE):
        a = make_run("a", {"digests": DIGESTS}, fingerprints=STEPS, files=TABLE)
        return a, make_run("b", {"digests": DIGESTS, **(record or {})}, fingerprints=fingerprints, files=files)

    return call


def test_equal_in_everything(pair):
    comparison = compare(*pair())
    assert comparison.same_bits
    assert (comparison.completed, comparison.steps, comparison.unequal) == (True, 3, ())
    assert comparison.equal["code"] is None
    assert comparison.equal["predictions"] is comparison.equal["fingerprints"] is True


@pytest.mark.parametrize("name", ["weights", "state", "metrics"])
@pytest.mark.parametrize("value", ["x", "", None], ids=["other", "empty", "missing"])
def test_a_digest_that_is_another_or_missing_is_never_equal(pair, name, value):
    a, b = pair({"digests": {**DIGESTS, name: value}})
    assert not same_bits(a, b)
    assert compare(a, b).equal[name] is (False if value == "x" else None)
    _, c = pair({"digests": {key: digest for key, digest in DIGESTS.items() if key != name}})
    assert not same_bits(c, c)


def test_another_configuration_may_give_the_same_bits(pair):
    comparison = compare(*pair({"digests": {**DIGESTS, "config": "x", "more": "m"}}))
    assert comparison.same_bits
    assert comparison.unequal == ("config",)
    assert comparison.equal["more"] is None


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_a_run_that_did_not_end_well_is_never_the_same(pair, status):
    assert not same_bits(*pair({"status": status}))


@pytest.mark.parametrize("part", [STEPS[:2], [], [*STEPS, STEPS[0]], [STEPS[0], {**STEPS[1], "loss": "1"}, STEPS[2]]])
def test_every_fingerprint_counts_and_a_shorter_run_is_another(pair, part):
    a, b = pair(fingerprints=part)
    assert not same_bits(a, b)
    assert not same_bits(b, a)
    assert compare(a, b).steps == min(len(part), 3)
    assert compare(a, b).equal["fingerprints"] is (False if part else None)


def test_predictions_may_be_missing_but_not_others(pair):
    a, b = pair(files={"predictions/test.csv": "id,score\nx,2\n"})
    assert compare(a, b).equal["predictions"] is False
    assert not same_bits(a, b)
    a, b = pair(files={"predictions/val.csv": "id,score\nx,1\n"})
    assert compare(a, b).equal["predictions"] is False


def test_runs_without_predictions_can_be_the_same(make_run):
    a, b = (make_run(name, {"digests": DIGESTS}, fingerprints=STEPS) for name in "ab")
    assert compare(a, b).equal["predictions"] is None
    assert same_bits(a, b)


def test_a_repetition_of_a_training_has_the_same_bits_and_another_seed_has_not(trained):
    assert same_bits(trained(), trained(1))
    comparison = compare(trained(), trained(seed=1))
    assert set(comparison.unequal) >= {"config", "weights", "state", "metrics", "fingerprints", "predictions"}
    assert comparison.equal["code"] is comparison.equal["data"] is comparison.equal["environment"] is True
