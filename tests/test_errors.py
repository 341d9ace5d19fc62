"""Errors show the message, the place and the way out; the nearest name is found in spite of case and dashes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepdiva.errors import Problem, RunFailed, UserError, UserErrors, did_you_mean, nearest


def test_a_hint_stands_below_its_message():
    assert str(UserError("no folder 'x'")) == "no folder 'x'"
    assert str(UserError("no folder 'x'", "create it")) == "no folder 'x'\n  hint: create it"


def test_a_problem_says_where_and_what_to_do():
    assert str(Problem("unknown key 'epoch'", "run.yaml:3", "did you mean 'epochs'?")) == (
        "run.yaml:3: unknown key 'epoch' (did you mean 'epochs'?)"
    )
    assert str(Problem("no such split")) == "no such split"


def test_all_problems_are_shown_at_once():
    errors = UserErrors([Problem("first"), Problem("second", "--epochs")])
    assert str(errors) == "2 problems:\n  - first\n  - --epochs: second"
    assert str(UserErrors([Problem("only", "--epochs", "do this")])) == "--epochs: only\n  hint: do this"
    assert str(UserErrors([Problem("only")], "not a configuration")).startswith("not a configuration:")
    assert isinstance(errors, UserError)
    assert errors.problems == (Problem("first"), Problem("second", "--epochs"))


@pytest.mark.parametrize(
    ("name", "meant"),
    [("epoch", "epochs"), ("Batch_Size", "batch-size"), ("lerning-rate", "learning_rate"), ("zzz", None)],
)
def test_nearest_name(name: str, meant: str | None):
    candidates = ["epochs", "batch-size", "learning_rate"]
    assert nearest(name, candidates) == meant
    assert did_you_mean(name, candidates) == (None if meant is None else f"did you mean '{meant}'?")


@given(st.text(), st.lists(st.text(), max_size=5))
def test_nearest_name_is_one_of_the_candidates(name: str, candidates: list[str]):
    found = nearest(name, candidates)
    assert found is None or found in candidates


@pytest.mark.parametrize(
    "error",
    [
        UserError("wrong"),
        UserError("wrong", "mend it"),
        RunFailed("lost", "look"),
        UserErrors([Problem("wrong", "a:1", "mend it")]),
        UserErrors([Problem("wrong", "a:1"), Problem("bad")]),
        UserErrors([Problem("wrong")], "one file"),
    ],
)
def test_an_error_can_be_sent_to_another_process(error: UserError):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
