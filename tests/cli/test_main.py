"""Every command ends with an exit code and, where it cannot do what was asked, with one message on standard error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.conftest import Answer

from deepdiva.cli import main as program
from deepdiva.errors import RunFailed, UserError

Cli = Callable[..., Answer]


@pytest.fixture
def raising(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], Answer]:
    """What the program answers when a command raises."""

    def call(error: BaseException) -> Answer:
        def fail(words: list[str]) -> int:
            raise error

        monkeypatch.setattr(program, "_run", fail)
        return cli("anything")

    return call


def with_note(error: BaseException) -> BaseException:
    error.add_note("the run is kept: runs/x")
    return error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UserError("no such thing", "take another"), 2, "error: no such thing\n  hint: take another\n"),
        (with_note(UserError("no such thing")), 2, "error: no such thing\nthe run is kept: runs/x\n"),
        (with_note(RunFailed("the loss is nan")), 1, "error: the loss is nan\nthe run is kept: runs/x\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (with_note(KeyboardInterrupt()), 130, "interrupted\nthe run is kept: runs/x\n"),
    ],
)
def test_errors_become_a_message_and_an_exit_code(raising, error: BaseException, code: int, message: str):
    assert raising(error) == Answer(code, "", message)


def test_a_mistake_in_the_code_shows_its_traceback_first_and_what_remains_last(raising):
    answer = raising(with_note(ZeroDivisionError("division by zero")))
    assert answer.code == 1
    assert answer.err.startswith("Traceback (most recent call last):\n")
    assert answer.err.endswith("\nerror: ZeroDivisionError: division by zero\nthe run is kept: runs/x\n")
    assert answer.err.count("the run is kept") == 1


def test_the_word_error_is_red_on_a_terminal(raising, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("deepdiva.cli.console.is_terminal", lambda stream: True)
    assert raising(UserError("no")).err == "\x1b[1;31merror:\x1b[0m no\n"


def test_help_and_version(cli: Cli):
    answer = cli("--help")
    assert answer.code == 0
    for command in (
        "run",
        "resume",
        "runs",
        "board",
        "new",
        "check",
        "doctor",
        "chaos",
        "why",
        "reproduce",
        "completion",
    ):
        assert f"\n    {command}" in answer.out
    assert "__complete" not in answer.out
    assert cli("--version").out.startswith("deepdiva ")


def test_no_words_show_the_help_and_count_as_a_mistake(cli: Cli):
    answer = cli()
    assert answer.code == 2
    assert answer.err.startswith("usage: deepdiva")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rnu"], "there is no command 'deepdiva rnu'\n  hint: did you mean 'run'?"),
        (["frobnicate"], "there is no command 'deepdiva frobnicate'\n  hint: there are run, "),
        (["runs", "lst"], "there is no command 'deepdiva runs lst'"),
        (["runs", "ls", "--jsno"], "deepdiva runs ls: there is no option --jsno\n  hint: did you mean '--json'?"),
        (["board", "now", "and", "--then"], "deepdiva board: there is no option --then"),
        (["new", "one", "two"], "deepdiva new: one word too many: 'two'"),
        (["doctor", "now"], "there is no task named 'now'"),
        (["runs", "show"], "the following arguments are required: RUN"),
        (["completion", "tcsh"], "invalid choice: 'tcsh'"),
    ],
)
def test_words_that_mean_nothing_are_refused_in_one_form(cli: Cli, words: list[str], message: str):
    answer = cli(*words)
    assert answer.code == 2
    assert answer.err.startswith(f"error: {message}") or message in answer.err
    assert "usage:" not in answer.err


def test_a_closed_pipe_is_no_error():
    script = f"{sys.executable} -m deepdiva.cli.main --help | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], env=os.environ, capture_output=True, text=True, check=False)
    assert done.stderr == ""
