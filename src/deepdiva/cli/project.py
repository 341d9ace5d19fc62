"""`deepdiva new` and `deepdiva check`: a task of your own, and whether it keeps to the contract."""

from __future__ import annotations

import argparse
import json
import keyword
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from deepdiva.cli.request import CONFIG, CONFIG_HELP, read_request
from deepdiva.errors import UserError, did_you_mean

CHECK_OPTIONS = {
    CONFIG: CONFIG_HELP,
    "--neutral": "train it whole, watched in every way there is: not one may change a bit (choose few --epochs)",
    "--verbose": "with --neutral: show the lines of the trainings",
    "--json": "the answer for machines",
}
_CHECK_USAGE = """\
usage: deepdiva check TASK [--config FILE ...] [--OPTION VALUE ...]

Tries a task, as configured, against everything the loop and the guarantees expect of one: it can overfit a batch, two
builds with one seed are equal, gradients reach every parameter, and more. Exit code 1 when a point does not hold.

  deepdiva check my_task.py:MyTask
  deepdiva check image-classification --model my_models.py:MyNet

its settings are those of `deepdiva run TASK --help`; besides there are
"""
_TEST = '''"""{cls} keeps to what the loop and the guarantees expect of a task."""

from pathlib import Path

from deepdiva.experiments.check import check

TASK = f"{{Path(__file__).with_name('{module}.py')}}:{cls}"


def test_{module}_conforms() -> None:
    failed = [f"{{outcome.name}}: {{outcome.detail}}" for outcome in check(TASK) if not outcome.passed]
    assert not failed, "\\n".join(failed)
'''


def add_parser(subparsers: Any) -> None:
    """Adds `new` and, for the list of commands, `check`, which reads its own words."""
    new_parser = subparsers.add_parser("new", help="write a task file of your own, and a test for it")
    new_parser.add_argument("name", metavar="NAME", help="name of the task: my-task gives my_task.py with MyTask")
    new_parser.add_argument("--from", dest="source", default="image-classification", metavar="TASK")
    new_parser.add_argument("--into", default=".", metavar="DIR", help="where to write (default: this folder)")
    new_parser.set_defaults(func=new)
    subparsers.add_parser("check", help="try a task against everything the loop expects of one", add_help=False)


def new(arguments: argparse.Namespace) -> int:
    """`deepdiva new NAME --from TASK`."""
    from deepdiva.tasks import NAMES

    module = re.sub(r"\W+", "_", arguments.name).strip("_").lower()
    if not module.isidentifier() or keyword.iskeyword(module):
        raise UserError(f"{arguments.name!r} cannot name a Python file", "use letters, digits and dashes: my-task")
    if arguments.source not in NAMES:
        raise UserError(
            f"--from {arguments.source}: there is no such task",
            did_you_mean(arguments.source, NAMES) or f"one of {', '.join(NAMES)}",
        )
    cls = "".join(word.capitalize() for word in module.split("_"))
    into = Path(arguments.into)
    files = {
        into / f"{module}.py": _task_source(arguments.source, NAMES[arguments.source], module, cls),
        into / f"test_{module}.py": _TEST.format(module=module, cls=cls),
    }
    taken = [str(path) for path in files if path.exists()]
    if taken:
        verb = "exists" if len(taken) == 1 else "exist"
        raise UserError(f"{' and '.join(taken)} {verb} already", "choose another name; nothing was written")
    if find_spec(module) is not None:
        raise UserError(f"{module} is the name of an installed module, which {module}.py would hide", "choose another")
    into.mkdir(parents=True, exist_ok=True)
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path}\n")
    sys.stdout.write(f"\nrun it     deepdiva run {into / module}.py:{cls}\n")
    sys.stdout.write(f"check it   deepdiva check {into / module}.py:{cls}\n")
    return 0


def check(words: Sequence[str]) -> int:
    """`deepdiva check TASK`; 0 when every point holds, 1 otherwise."""
    from deepdiva.engine import determinism

    request = read_request(words, CHECK_OPTIONS)
    as_json = "--json" in request.flags
    if "--help" in request.flags:
        sys.stdout.write(_CHECK_USAGE)
        sys.stdout.writelines(f"  {option:<15}  {text}\n" for option, text in CHECK_OPTIONS.items())
        return 0
    if "--neutral" in request.flags:
        from deepdiva.cli.trials import neutral

        return neutral(request, list(CHECK_OPTIONS))
    determinism.prepare("invariant")
    from deepdiva.cli.console import say, styled
    from deepdiva.experiments.check import check as outcomes_of

    outcomes = []
    for outcome in outcomes_of(request.task, layers=request.layers(), words=request.words, also=list(CHECK_OPTIONS)):
        outcomes.append(outcome)
        if not as_json:
            mark = styled("ok  ", "green") if outcome.passed else styled("FAIL", "bold red")
            say(f"{mark}  {outcome.name:<20}  {outcome.detail}")
    failed = sum(not outcome.passed for outcome in outcomes)
    if as_json:
        sys.stdout.write(json.dumps([vars(outcome) for outcome in outcomes]) + "\n")
    else:
        sys.stdout.write(f"\n{len(outcomes) - failed} of {len(outcomes)} points hold\n")
    return 1 if failed else 0


def _task_source(name: str, home: str, module: str, cls: str) -> str:
    """The source of one of our tasks with the user's names in it."""
    path, _, old = home.partition(":")
    spec = find_spec(path)
    if spec is None or spec.origin is None:
        raise UserError(f"the source of {name} was not found", "is DeepDIVA installed from a wheel or a checkout?")
    text = Path(spec.origin).read_text(encoding="utf-8")
    text = re.sub(rf"\b{old}\b", cls, text)
    return text.replace(f"deepdiva run {name}", f"deepdiva run {module}.py:{cls}")
