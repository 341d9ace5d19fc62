"""What bad input gets: exit code 2, one message that names every mistake, and nothing left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from tests.stories.conftest import QUICK, Cli, Refused

from deepdiva.runs.storage import System


def test_mistakes_in_options_and_in_components_are_named_together(refused: Refused):
    message = refused("run", "points", "--epochz", 3, "--optimizer.lrr", 0.1, "--model", "nope")
    assert message.startswith("3 problems:\n")
    assert "--epochz: there is no such option (did you mean `--epochs`?)" in message
    assert "--optimizer.lrr: there is no argument 'lrr' (did you mean 'lr'?)" in message
    assert "--model: there is no model named 'nope' (known are cnn, mlp, " in message


def test_print_config_names_the_same_mistakes(refused: Refused):
    words = ("run", "points", "--epochz", 3, "--optimizer.lrr", 0.1, "--model", "nope")
    assert refused(*words, "--print-config") == refused(*words)


def test_wrong_types_ranges_and_stray_words_are_named_together(refused: Refused):
    message = refused(
        "run", "points", "--epochs", "ten", "--batch-size", 0, "--seed", -1, "--n", True, "foo", "-x", "--patience"
    )
    assert "--epochs: expected a whole number of at least 0, got the text 'ten'" in message
    assert "--batch-size: expected a whole number of at least 1, got 0" in message
    assert "--seed: expected a whole number from 0 to 9223372036854775807, or null, got -1" in message
    assert "--n: expected a whole number of at least 10, got true" in message
    assert "'foo': a word without an option in front of it" in message
    assert "-x: there are no options with one dash" in message
    assert "--patience: a value is missing" in message
    assert message.startswith("7 problems:\n")


def test_a_file_is_named_with_the_line_and_with_all_other_mistakes(refused: Refused):
    Path("run.yaml").write_text("epochs: 3\nepochs: 4\nmodle: cnn\noptimizer:\n  class: SGD\n  momentun: 0.9\nn: yes\n")
    message = refused("run", "points", "--config", "run.yaml", "--config", "none.yaml", "--lr", 1)
    assert "run.yaml:2: 'epochs' is given twice (first in line 1)" in message
    assert "run.yaml:3: there is no setting 'modle' (did you mean 'model'?)" in message
    assert "run.yaml:6: 'optimizer.momentun': there is no argument 'momentun' (did you mean 'momentum'?)" in message
    assert "run.yaml:7: there is no setting 'n' (did you mean 'n' below 'task:'?)" in message
    assert "--config: there is no file none.yaml" in message
    assert "--lr: there is no such option (did you mean `--optimizer.lr`?)" in message
    assert message.startswith("6 problems:\n")


def test_components_inside_the_task_are_checked_with_the_rest(refused: Refused):
    augment = "[RandomRotatio, {class: RandomCrop, siz: 3}]"
    message = refused(
        "run", "image-classification", "--augment", augment, "--loss.weigh", 3, "--scheduler.interval", "week"
    )
    assert "'task.augment.0': there is no transform named 'RandomRotatio' (did you mean 'RandomRotation'?" in message
    assert "'task.augment.1.siz': there is no argument 'siz' (did you mean 'size'?)" in message
    assert "--loss.weigh: there is no argument 'weigh' (did you mean 'weight'?)" in message
    assert "--scheduler.interval: a scheduler's interval is `step` or `epoch`, got 'week'" in message


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--model", "torch.optim:SGD"), "'torch.optim:SGD' is no model: it does not derive from torch.nn.Module"),
        (("--model", "nets.py:Net"), "--model: there is no file nets.py"),
        (("--model", "no_such_module.Net"), "there is no module 'no_such_module'"),
        (("--model", "torch.nn.Linear"), "torch.nn.Linear needs 'out_features'"),
        (("--model.num_classes", "7"), "'num_classes' is 7, but the data make it 2"),
        (("--optimizer", "AdamX"), "there is no optimizer named 'AdamX'"),
        (("--data", "moon"), "there is no folder moon\n  hint: did you mean 'moons'?"),
        (("--init-from", "nowhere"), "nowhere: no such weights"),
        (("--device", "cuda:99"), "--device cuda:99: "),
        (("--device", "quantum"), "--device quantum: no such device"),
        (("--experiment", "../up"), "--experiment: expected a folder's name"),
        (("--optimizer.lr", "loguniform(1e-4, 1e-1)"), "is a search range, but a run needs one value"),
        (("--runs-dir", "README.md"), "README.md: "),
    ],
    ids=lambda value: "=".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_is_refused(refused: Refused, words: tuple[str, ...], expected: str):
    assert expected in refused("run", "points", *words, *QUICK)


def test_tasks_and_commands_are_suggested(refused: Refused):
    assert "did you mean 'points'?" in refused("run", "pointz")
    assert "no task is named" in refused("run")
    assert "it comes first" in refused("run", "--print-config", "points")
    assert "there is no command 'deepdiva rus'\n  hint: did you mean 'runs'?" in refused("rus")
    assert "there is no command 'deepdiva runs shwo'\n  hint: did you mean 'show'?" in refused("runs", "shwo")
    assert "there is no option --jsn\n  hint: did you mean '--json'?" in refused("runs", "ls", "--jsn")
    assert "one word too many: 'more'" in refused("resume", "last", "more")
    assert "did you mean `--json`?" in refused("check", "points", "--jsn")


@pytest.mark.parametrize("command", [("resume",), ("runs", "show")], ids=" ".join)
def test_a_folder_that_is_no_run_is_refused(refused: Refused, command: tuple[str, ...]):
    Path("holiday").mkdir()
    Path("holiday/photo.txt").write_text("sea")
    assert "holiday" in refused(*command, "holiday")
    assert "there is no run 'nothing'" in refused(*command, "nothing")


@pytest.mark.parametrize("place", [0, 1, 4, 7])
def test_a_disk_that_is_full_at_the_start_leaves_nothing(refused: Refused, monkeypatch: pytest.MonkeyPatch, place: int):
    calls = 0
    write = System.write

    def full(self: System, descriptor: int, data: memoryview) -> int:
        nonlocal calls
        calls += 1
        if calls > place:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, descriptor, data)

    monkeypatch.setattr(System, "write", full)
    message = refused("run", "points", "--n", 60, *QUICK)
    assert "no space left on device" in message
    assert "hint: free some space on that disk, or choose another with --runs-dir" in message


def test_a_folder_without_permission_is_named(refused: Refused, monkeypatch: pytest.MonkeyPatch):
    def denied(self: System, path: Path) -> None:  # the superuser may write anywhere
        raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(System, "make_directory", denied)
    message = refused("run", "points", "--n", 60, *QUICK)
    assert "permission denied" in message
    assert "choose another folder with --runs-dir" in message


def test_a_settings_file_with_mistakes_is_named(refused: Refused):
    Path("deepdiva.toml").write_text('code = "snap"\ncoed = "commit"\n')
    message = refused("run", "points", "--n", 60, *QUICK)
    assert "one of: commit, snapshot" in message
    assert "did you mean 'code'?" in message


def test_help_is_there_for_every_command(cli: Cli, project: Path):
    for words in (["--help"], ["run", "--help"], ["check", "--help"], ["runs", "ls", "--help"], ["resume", "--help"]):
        answer = cli(*words)
        assert answer.code == 0
        assert answer.out.startswith("usage: deepdiva")
    assert cli().code == 2
