"""`deepdiva chaos`, `deepdiva check --neutral` and `deepdiva doctor TASK`: promises, tried on a task of the user's."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.cli.request import CONFIG, CONFIG_HELP, Request, read_request
from deepdiva.engine.interrupt import ended_at_once
from deepdiva.errors import UserError

if TYPE_CHECKING:
    from deepdiva.config import Config
    from deepdiva.engine.progress import Progress
    from deepdiva.experiments import chaos as chaos_trial

CHAOS_OPTIONS = {
    CONFIG: CONFIG_HELP,
    "--kills N": "how often the training is killed (default: 5)",
    "--draw N": "the seed of the instants (default: 0)",
    "--keep DIR": "keep the two runs in this folder; otherwise they are kept only where they differ",
    "--verbose": "show the lines of the trainings",
    "--json": "the answer for machines",
}
DOCTOR_OPTIONS = {
    CONFIG: CONFIG_HELP,
    "--verbose": "show the lines of the trainings",
    "--json": "the answer for machines",
}
_CHAOS_USAGE = """\
usage: deepdiva chaos TASK [--config FILE ...] [--kills N] [--OPTION VALUE ...]

Trains once undisturbed, and once killed with SIGKILL at random instants and resumed each time: within a step, between
epochs, in a validation, while a checkpoint is written. Exit code 1 when weights, optimizer, log or predictions differ
in one bit. Every start of a process takes some seconds; choose few --epochs.

  deepdiva chaos points --epochs 3 --kills 5
  deepdiva chaos my_task.py:MyTask --workers 2

its settings are those of `deepdiva run TASK --help`; besides there are
"""
_DOCTOR_USAGE = """\
usage: deepdiva doctor TASK [--config FILE ...] [--OPTION VALUE ...]

Trains some steps of a task twice, with another seed, and at each level of determinism: is it bit-reproducible on this
machine, which operation is not, do seeds matter, what does each level cost? Exit code 1 when something is amiss.

  deepdiva doctor image-classification
  deepdiva doctor my_task.py:MyTask --model my_models.py:MyNet

its settings are those of `deepdiva run TASK --help`; besides there are
"""


def add_parser(subparsers: Any) -> None:
    """Adds `chaos` to the list of commands; it reads its own words."""
    subparsers.add_parser("chaos", help="kill a training at random, resume it, and compare bit by bit", add_help=False)


@ended_at_once
def chaos(words: Sequence[str]) -> int:
    """`deepdiva chaos TASK --kills N`; 0 when the training that was killed ends in the same bits, 1 otherwise."""
    request = read_request(words, CHAOS_OPTIONS)
    if "--help" in request.flags:
        return _help(_CHAOS_USAGE, CHAOS_OPTIONS)
    kills, draw = (_count(request, name, default) for name, default in (("--kills", 5), ("--draw", 0)))
    config = _config(request, CHAOS_OPTIONS)
    from deepdiva.experiments.chaos import chaos as try_chaos

    kept = request.values.get("--keep")
    folder = Path(kept).absolute() if kept else Path(tempfile.mkdtemp(prefix="deepdiva-chaos-"))
    if kept and folder.exists() and any(folder.iterdir()):
        raise UserError(f"--keep {kept}: the folder is not empty", "name a new one")
    outcome = None
    try:
        outcome = try_chaos(config, kills=kills, draw=draw, folder=folder, progress=_progress(request))
    finally:
        if not kept and (outcome is None or outcome.same):
            _take_away(folder)
    _print_chaos(outcome, as_json="--json" in request.flags)
    return 0 if outcome.same else 1


@ended_at_once
def neutral(request: Request, options: Sequence[str]) -> int:
    """`deepdiva check --neutral TASK`; 0 when no way of watching the training changes a bit, 1 otherwise."""
    from deepdiva.cli.console import print_json, say, styled

    config = _config(request, options)
    from deepdiva.experiments.neutral import neutral as try_neutral

    as_json, outcomes = "--json" in request.flags, []
    for outcome in try_neutral(config, progress=_progress(request)):
        outcomes.append(outcome)
        if not as_json:
            mark = styled("same ", "green") if outcome.same else styled("OTHER", "bold red")
            say(f"{mark}  {outcome.name:<32}  {outcome.weights[:16]}  {outcome.detail}".rstrip())
    good = all(outcome.same for outcome in outcomes)
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    elif good:
        say(f"\none digest in {len(outcomes)} trainings (seed {config.seed}): watching changes nothing")
    else:
        say("\nwatching this task changes its result")
    return 0 if good else 1


def is_about_a_task(words: Sequence[str]) -> bool:
    """Whether the words after `doctor` name a task or a file: otherwise the machine is examined."""
    request = read_request(words, DOCTOR_OPTIONS)
    return request.task is not None or bool(request.files)


@ended_at_once
def doctor(words: Sequence[str]) -> int:
    """`deepdiva doctor TASK`; 0 when all is as it should be, 1 otherwise."""
    from deepdiva.cli.console import print_json, say, styled

    request = read_request(words, DOCTOR_OPTIONS)
    if "--help" in request.flags:
        return _help(_DOCTOR_USAGE, DOCTOR_OPTIONS)
    config = _config(request, DOCTOR_OPTIONS)
    from deepdiva.experiments.diagnosis import diagnose

    as_json, findings = "--json" in request.flags, []
    marks = {True: styled("✓", "green"), False: styled("✗", "bold red"), None: styled("·", "dim")}
    for finding in diagnose(config, progress=_progress(request)):
        findings.append(finding)
        if not as_json:
            say(f"{marks[finding.good]} {finding.name:<17} {finding.found}")
            if finding.mend:
                say(f"  {styled('mend', 'bold'):<17}  {finding.mend}")
    if as_json:
        print_json([asdict(finding) for finding in findings])
    return 1 if any(finding.good is False for finding in findings) else 0


def _config(request: Request, options: Sequence[str] | dict[str, str]) -> Config:
    """The whole configuration that was asked for, with a seed that all trials share."""
    from deepdiva import tasks
    from deepdiva.engine import determinism
    from deepdiva.engine.seeding import draw_seed

    determinism.prepare("invariant")
    from deepdiva.experiments.components import problems_of

    also = [option.split()[0] for option in options]
    resolved = tasks.configure(
        request.task, layers=request.layers(), words=request.words, also=also, check_components=problems_of
    )
    config = resolved.config
    return config if config.seed is not None else config.model_copy(update={"seed": draw_seed()})


def _progress(request: Request) -> Progress:
    from deepdiva.engine.progress import ConsoleProgress, SilentProgress

    return ConsoleProgress() if "--verbose" in request.flags else SilentProgress()


def _count(request: Request, name: str, default: int) -> int:
    text = request.values.get(name, str(default))
    if not text.isdecimal():
        raise UserError(f"{name}: expected a whole number, got '{text}'")
    return int(text)


def _help(usage: str, options: dict[str, str]) -> int:
    sys.stdout.write(usage)
    sys.stdout.writelines(f"  {option:<15}  {text}\n" for option, text in options.items())
    return 0


def _take_away(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _print_chaos(outcome: chaos_trial.Outcome, *, as_json: bool) -> None:
    from deepdiva.cli.console import print_json, say, styled

    if as_json:
        print_json({**asdict(outcome), "undisturbed": str(outcome.undisturbed), "killed": str(outcome.killed)})
        return
    for number, kill in enumerate(outcome.kills, start=1):
        say(f"killed {number:>3}   {1000 * kill.delay:6.1f} ms after step {kill.step}")
    if len(outcome.kills) < outcome.planned:
        say(f"the training was over before kill {len(outcome.kills) + 1} of {outcome.planned}")
    if outcome.same:
        text = "the same bits: weights, optimizer, every step, every logged number, every prediction"
        say(f"\n{styled(text, 'bold green')}")
        return
    say(f"\n{styled('other bits', 'bold red')}: {outcome.detail}")
    say(f"undisturbed  {outcome.undisturbed}\nkilled       {outcome.killed}")
