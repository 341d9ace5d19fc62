"""The first place where two runs part is found wherever it was planted, and said in the order of its meaning."""

from __future__ import annotations

import copy
import math
import struct

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepdiva.errors import UserError
from deepdiva.runs.divergence import Divergence, first_divergence, loss_of, relative_difference

STEPS = 4
FIELDS = ("batch", "loss", "state")


def bits(loss):
    return struct.pack(">d", loss).hex()


def fingerprints(epochs=3):
    """Steps of `epochs` epochs with four steps each, and the end of every epoch."""
    lines = []
    for epoch in range(1, epochs + 1):
        for place in range(1, STEPS + 1):
            step = (epoch - 1) * STEPS + place
            lines.append({"step": step, "loss": bits(1 / step), "batch": f"b{step}", "state": f"s{step}"})
        lines.append({"step": epoch * STEPS, "epoch": epoch, "weights": f"w{epoch}", "state": f"e{epoch}"})
    return lines


def events(epochs=3):
    return [{"step": e * STEPS, "epoch": e, "values": {"val/loss": 1 / (e + 1)}, "time": 0} for e in range(epochs + 1)]


@pytest.fixture
def pair(make_run):
    """Two runs that are equal but for what the arguments say of B."""

    def call(*, a=None, b=None, events_a=None, events_b=None, **more):
        ours = make_run(
            "a", {"digests": {"weights": "w"}}, fingerprints=a or fingerprints(), events=events_a or events()
        )
        theirs = make_run(
            "b",
            {"digests": {"weights": "w"}} | more.pop("record", {}),
            fingerprints=fingerprints() if b is None else b,
            events=events_b or events(),
            **more,
        )
        return first_divergence(ours, theirs)

    return call


def test_equal_runs_part_nowhere(pair):
    assert pair() is None


def test_a_value_that_is_null_is_not_one_that_is_missing(pair):
    changed = fingerprints()
    changed[1]["more"] = None
    found = pair(b=changed)
    assert (found.what, found.step, found.a, found.b) == ("more", 2, None, None)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(step=st.integers(1, 12), names=st.sets(st.sampled_from(FIELDS), min_size=1), later=st.integers(0, 5))
def test_a_difference_is_found_at_exactly_its_step(pair, step, names, later):
    b = fingerprints()
    place = next(place for place, line in enumerate(b) if line["step"] == step)
    for name in names:
        b[place][name] = bits(0.75) if name == "loss" else "other"
    for line in b[place + 1 : place + 1 + later]:  # from there on anything may differ
        line["state"] = "later"
    found = pair(b=b)
    assert found is not None
    assert found.level == next(name for name in FIELDS if name in names)
    assert (found.step, found.equal_steps) == (step, step - 1)
    assert (found.epoch, found.batch) == ((step - 1) // STEPS + 1, (step - 1) % STEPS + 1)


def test_a_loss_is_told_as_the_number_that_it_is(pair):
    b = fingerprints()
    b[1]["loss"] = bits(math.nextafter(0.5, 1.0))
    found = pair(b=b)
    assert (found.a, found.b) == ("0.5", "0.5000000000000001")
    assert found.relative == pytest.approx(2.2e-16, rel=0.1)
    assert "the batch and the weights before it were equal" in found.detail


def test_the_first_loss_may_come_from_other_initial_weights(pair):
    b = fingerprints()
    b[0]["loss"] = bits(2.0)
    assert "initial weights" in pair(b=b).detail


def test_nan_is_compared_by_its_bits(pair):
    a, b = fingerprints(), fingerprints()
    a[3]["loss"] = b[3]["loss"] = bits(math.nan)
    assert pair(a=a, b=b) is None
    b[3]["loss"] = "7ff8000000000001"
    found = pair(a=a, b=b)
    assert (found.level, found.step, found.relative) == ("loss", 4, None)
    assert (found.a, found.b) == ("nan (bits 7ff8000000000000)", "nan (bits 7ff8000000000001)")


@pytest.mark.parametrize(
    ("name", "said"), [("weights", "two values that were swapped"), ("state", "only the state of the optimizer")]
)
def test_the_end_of_an_epoch_sees_what_no_step_sees(pair, name, said):
    b = fingerprints()
    b[9][name] = "other"
    found = pair(b=b)
    assert (found.level, found.epoch, found.step, found.what, found.equal_steps) == ("epoch", 2, 8, name, 8)
    assert said in found.detail


def test_other_initial_weights_are_the_start(pair):
    start = {"step": 0, "epoch": 0, "weights": "w0", "state": "e0"}
    found = pair(a=[start, *fingerprints()], b=[{**start, "weights": "x"}, *fingerprints()])
    assert (found.level, found.step, found.epoch, found.what) == ("start", 0, 0, "weights")
    other = events()
    other[0]["values"]["val/loss"] = 0.25
    found = pair(a=[start, *fingerprints()], b=[start, *fingerprints()], events_b=other)
    assert (found.level, found.step) == ("metrics", 0)


def test_an_epoch_of_another_length(pair):
    b = [line for line in fingerprints() if line != fingerprints()[3]]
    found = pair(b=b)
    assert (found.level, found.a, found.b) == ("epoch", "step 4", "epoch 1 ends after step 4")


@pytest.mark.parametrize("end", [0, 3, 5, 14])
def test_a_shorter_run_is_compared_as_far_as_it_came(pair, end):
    found = pair(b=fingerprints()[:end], record={"status": "failed"})
    steps = end - end // (STEPS + 1)
    assert (found.level, found.equal_steps, found.step) == ("end", steps, steps)
    assert (found.a, found.b) == ("goes on", f"ends after step {steps}")
    assert "B is shorter, failed" in found.detail


def test_a_validation_that_differs_before_the_weights_is_the_first_place(pair):
    b, other = fingerprints(), events()
    b[9]["weights"] = "other"  # after step 8
    other[1]["values"]["val/loss"] = 0.25  # after step 4
    found = pair(b=b, events_b=other)
    assert (found.level, found.step, found.epoch, found.what) == ("metrics", 4, 1, "val/loss")
    assert (found.a, found.b, found.relative) == ("0.5", "0.25", 0.5)


def test_a_validation_follows_from_the_weights_before_it(pair):
    b, other = fingerprints(), events()
    b[4]["weights"] = "other"
    other[1]["values"]["val/loss"] = 0.25
    assert pair(b=b, events_b=other).level == "epoch"


def test_a_validation_before_the_first_step_is_the_start(pair):
    b, other = fingerprints(), events()
    b[0]["loss"] = bits(3.0)
    other[0]["values"]["val/loss"] = 0.25
    found = pair(b=b, events_b=other)
    assert (found.level, found.step, found.epoch, found.equal_steps) == ("start", 0, 0, 0)


def test_digests_of_the_end_then_predictions_then_what_only_one_wrote_down(pair, make_run):
    assert pair(record={"digests": {"weights": "x"}}).level == "digests"
    make_run("a", files={"predictions/test.csv": "id,score\nx,1\ny,2\n"})
    found = pair(files={"predictions/test.csv": "id,score\nx,1\ny,3\n"})
    assert (found.level, found.what, found.a, found.b, found.samples) == ("predictions", "test/score", "2", "3", ("y",))
    make_run("a", files={"predictions/test.csv": "id,score\nx,1\ny,2\n"})
    found = pair(files={"predictions/test.csv": "id,score\nx,1\n"})
    assert (found.what, found.a, found.b, found.samples) == ("test/id", "y", None, ("y",))
    make_run("b", files={"predictions/test.csv": "id,score\nx,1\ny,2\n"})
    found = pair(events_b=events()[:2])
    assert (found.level, found.step, found.a, found.b) == ("metrics", 8, repr(1 / 3), None)


def test_the_digest_of_the_metrics_has_the_last_word(pair):
    twice = [events()[0], *events()]  # one number was written twice
    ours = {"digests": {"weights": "w", "metrics": "m"}}
    assert pair(events_b=twice, record=ours) is None  # A has none to compare with


def test_a_loop_of_ones_own_is_placed_by_its_events(make_run):
    lines = [{"step": step, "mine": step} for step in range(1, 5)]
    other = copy.deepcopy(lines)
    other[2]["mine"] = 0
    marks = [{"step": 3, "epoch": 7, "values": {"loss": 1.0}, "time": 0}]
    a = make_run("a", {"task": None}, fingerprints=lines, events=marks)
    found = first_divergence(a, make_run("b", {"task": None}, fingerprints=other, events=marks))
    assert (found.level, found.what, found.step, found.epoch, found.batch) == ("state", "mine", 3, 7, None)
    a, b = (make_run(name, {"task": None}, fingerprints=part) for name, part in (("a", lines), ("b", other)))
    assert first_divergence(a, b).epoch is None


def test_what_is_no_fingerprint_is_refused(make_run):
    a, b = make_run("a", fingerprints=[{"loss": "x"}]), make_run("b")
    with pytest.raises(UserError, match="no fingerprint"):
        first_divergence(a, b)


def test_losses_and_how_far_they_are_apart():
    assert loss_of(bits(0.25)) == 0.25
    assert loss_of("xyz") is loss_of(None) is loss_of("00") is None
    assert relative_difference(0.0, 0.0) == 0.0
    assert relative_difference(1.0, math.nan) is relative_difference(None, 1.0) is None


# -- real trainings -----------------------------------------------------------------------------------------------


def test_a_repetition_parts_nowhere(trained):
    assert first_divergence(trained(), trained(1)) is None


def test_another_seed_parts_at_the_start(trained):
    found = first_divergence(trained(), trained(seed=1))
    assert (found.level, found.step) == ("start", 0)


def test_another_learning_rate_parts_in_the_weights_after_the_first_step(trained):
    found = first_divergence(trained(), trained(optimizer={"class": "AdamW", "lr": 0.0123}))
    assert (found.level, found.step, found.epoch, found.batch) == ("state", 1, 1, 1)


def test_two_batches_for_a_step_part_in_the_first_batch(trained):
    found = first_divergence(trained(), trained(training={"accumulate": 2}))
    assert (found.level, found.step) == ("batch", 1)


def test_a_shorter_training_is_the_beginning_of_a_longer_one(trained):
    found = first_divergence(trained(scheduler=None, epochs=1), trained(scheduler=None, epochs=2))
    assert (found.level, found.epoch, found.a) == ("end", 1, f"ends after step {found.step}")
    assert found.equal_steps == found.step > 1


def test_no_record_of_steps_changes_nothing(trained):
    quiet = {"figures": "none", "tensorboard": False, "every": 0}
    found = first_divergence(trained(), trained(logging=quiet))
    assert (found.level, found.b) == ("metrics", None)
    assert found.what.startswith("train/batch/")


def test_a_long_digest_is_shortened_in_a_sentence():
    told = Divergence("state", "they differ", step=3, a="ab" * 32, b=None).describe()
    assert told == "step 3: state abababababababab… against nothing: they differ"
