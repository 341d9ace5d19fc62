"""`deepdiva run` and `deepdiva resume`: train a task, or go on where a run ended."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.cli.request import CONFIG, CONFIG_HELP, Request, read_request
from deepdiva.engine.interrupt import Interruption

if TYPE_CHECKING:
    from deepdiva.config import Layer, Option, Resolved
    from deepdiva.experiments.data_proof import DataProof
    from deepdiva.runs.folder import RunFolder

USAGE = """\
usage: deepdiva run TASK [--config FILE ...] [--OPTION VALUE ...]

  deepdiva run image-classification                      the bundled digits, all defaults
  deepdiva run points --data spirals --epochs 100        another task, other settings
  deepdiva run image-classification --data PATH          your images: {train,val,test}/<class>/*.png
  deepdiva run my_task.py:MyTask --model my_models.py:MyNet --model.hidden 64
  deepdiva run --config runs/EXPERIMENT/RUN/config.yaml  a run once more, as it stands

tasks: %(tasks)s, or your own: file.py:Class, package.module:Class
`deepdiva run TASK --help` lists every option of a task.
"""
OWN_OPTIONS = {
    CONFIG: CONFIG_HELP,
    "--print-config": "print the whole configuration and do nothing",
    "--origins": "with --print-config: say where each value came from",
    "--allow-changed-data": "train although the data are not what they were; the run records what has changed",
    "--continue": "go on with the newest unfinished run of this very command, if there is one",
    "--json": "the answer for machines",
}
_FLAGS = [option for option in OWN_OPTIONS if option != CONFIG]


def add_parser(subparsers: Any) -> None:
    """Adds `run` (for the list of commands; it parses its own words) and `resume`."""
    subparsers.add_parser("run", help="train a task and record everything", add_help=False)
    parser = subparsers.add_parser(
        "resume",
        help="go on where a run ended, to the same bits",
        description="Goes on with an interrupted or failed run from its newest whole checkpoint, after doing one step "
        "again to prove that it computes the same bits. Exit code 75 when a scheduler's signal interrupts it again.",
    )
    parser.add_argument("run", metavar="RUN", help="a run's folder, its id or the beginning of it, or `last`")
    parser.add_argument("--runs-dir", default="runs", help="where runs are kept (default: %(default)s)")
    parser.add_argument("--yes", action="store_true", help="execute what a run of somebody else names, unasked")
    parser.add_argument("--json", action="store_true", help="the answer for machines")
    parser.set_defaults(func=resume)


def run(words: Sequence[str]) -> int:
    """`deepdiva run …`."""
    with Interruption(at_once=True):
        return _run(words)


def _run(words: Sequence[str]) -> int:
    from deepdiva import tasks
    from deepdiva.config import explain
    from deepdiva.engine import determinism

    request = read_request(words, _FLAGS)
    if "--help" in request.flags:
        return _help(request)
    layers = request.layers()
    level = _level(request.words, layers)
    determinism.prepare(level)
    from deepdiva.experiments.components import problems_of

    also = [option.split()[0] for option in OWN_OPTIONS]
    resolved = tasks.configure(
        request.task, layers=layers, words=request.words, also=also, check_components=problems_of
    )
    if "--print-config" in request.flags:
        sys.stdout.write(explain(resolved) if "--origins" in request.flags else resolved.config.to_yaml())
        return 0
    _begin_anew_if_needed(resolved.config.determinism)
    from deepdiva.experiments.continuation import OPTION, find_continuation
    from deepdiva.experiments.data_proof import DataProof

    command, as_json = ["deepdiva", "run", *words], "--json" in request.flags
    found = find_continuation(resolved, command) if OPTION in request.flags else None
    if found is not None and found.status == "completed":
        _print_answer(found, as_json=as_json)
        return 0
    if found is not None:
        return _go_on(found, as_json=as_json)
    proof = DataProof(_repeated(request.files), allow_changed="--allow-changed-data" in request.flags)
    return _train(resolved, command, proof, as_json=as_json)


def resume(arguments: argparse.Namespace) -> int:
    """`deepdiva resume RUN`."""
    with Interruption(at_once=True):
        from deepdiva.engine import determinism
        from deepdiva.errors import UserError
        from deepdiva.runs.folder import find_run
        from deepdiva.runs.integrity import check_resumable

        folder = find_run(arguments.run, arguments.runs_dir)
        check_resumable(folder)
        level = str(folder.config().get("determinism"))
        if level not in determinism.LEVELS:
            raise UserError(f"{folder.path / 'config.yaml'} asks for no known level of determinism: {level}")
        determinism.prepare(level)
        _begin_anew_if_needed(level)
        _check_agreement(folder, agreed=arguments.yes)
        return _go_on(folder, as_json=arguments.json)


def _check_agreement(folder: RunFolder, *, agreed: bool) -> None:
    """Refuses to execute what a stranger's configuration names, unless the user agrees."""
    from deepdiva.cli.consent import ask
    from deepdiva.errors import UserError
    from deepdiva.runs.seal import is_sealed

    if agreed or is_sealed(folder) or ask([folder], "go on with it, executing what its config.yaml names?"):
        return
    raise UserError(
        f"run {folder.id} was not made by you on this machine, or its config.yaml is no longer what it was: to resume "
        "it is to execute what that file names",
        "look at config.yaml and code/ in its folder; if you trust them: --yes",
    )


def _go_on(folder: RunFolder, *, as_json: bool) -> int:
    from deepdiva.engine.progress import ConsoleProgress
    from deepdiva.experiments.resume import resume as resume_run

    _print_answer(resume_run(folder, progress=ConsoleProgress()), as_json=as_json)
    return 0


def _repeated(files: Sequence[Path]) -> RunFolder | None:
    """The run whose `config.yaml` is among the files, the last one where there are several."""
    from deepdiva.runs.folder import RunFolder

    folders = [file.parent for file in files if file.name == "config.yaml" and (file.parent / "run.json").is_file()]
    return RunFolder.open(folders[-1]) if folders else None


def _train(resolved: Resolved, command: Sequence[str], proof: DataProof, *, as_json: bool) -> int:
    from deepdiva.engine.progress import ConsoleProgress
    from deepdiva.experiments.train import train_resolved

    folder = train_resolved(resolved, command=command, progress=ConsoleProgress(), proof=proof)
    _print_answer(folder, as_json=as_json)
    return 0


def _begin_anew_if_needed(level: str) -> None:
    """Replaces this process where the level needs it, but never a test or notebook that called `main` itself.

    There a lower level is granted, and the reason recorded.
    """
    from deepdiva.engine import determinism

    program = Path(sys.argv[0])
    is_ours = program.stem == "deepdiva" or program.parts[-3:] == ("deepdiva", "cli", "main.py")
    if is_ours and determinism.needs_new_process(level):
        determinism.execute_again(level)


def _level(words: Sequence[str], layers: Sequence[Layer]) -> str:
    """The determinism level that the words or files ask for: needed before anything loads torch."""
    from deepdiva.engine.determinism import LEVELS

    asked: list[object] = [layer.values.get("determinism") for layer in layers]
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == "--determinism":
            asked.append(value if equals else next(iter(words[place + 1 :]), None))
    known = [str(level) for level in asked if level in LEVELS]
    return known[-1] if known else "invariant"


def _help(request: Request) -> int:
    from deepdiva import tasks

    if request.task is None:
        sys.stdout.write(USAGE % {"tasks": ", ".join(tasks.NAMES)})
        sys.stdout.write("\noptions of the command\n")
        sys.stdout.writelines(_entry(option, text) for option, text in OWN_OPTIONS.items())
        return 0
    from deepdiva.config import options

    task = tasks.describe(request.task)
    headings = {"task": f"options of {task.name}", "common": "options of every task"}
    summary = (task.cls.__doc__ or "").strip().partition("\n")[0]
    sys.stdout.write(f"usage: deepdiva run {task.name} [--OPTION VALUE ...]\n\n{summary}\n")
    shown: str | None = None
    for option in options(task):
        if option.group != shown:
            shown = option.group
            sys.stdout.write(f"\n{headings.get(shown, f'options of the group `{shown}`')}\n")
        sys.stdout.write(_entry(_usage(option), _text(option)))
    sys.stdout.write("\noptions of the command\n")
    sys.stdout.writelines(_entry(option, text) for option, text in OWN_OPTIONS.items())
    return 0


def _usage(option: Option) -> str:
    if option.is_flag:
        return f"{option.short}, --no-{option.short[2:]}"
    return f"{option.short} {'|'.join(option.choices) if option.choices else option.type}"


def _text(option: Option) -> str:
    default = "" if option.default is None else f" (default: {option.default})"
    arguments = f"; its arguments: {option.short}.NAME VALUE" if option.is_component else ""
    return f"{option.description.rstrip('.')}{arguments}{default}"


def _entry(left: str, text: str) -> str:
    import textwrap

    lines = textwrap.wrap(text, width=70) or [""]
    head = f"  {left:<36}  {lines[0]}\n" if len(left) <= 36 else f"  {left}\n{'':40}{lines[0]}\n"
    return head + "".join(f"{'':40}{line}\n" for line in lines[1:])


def _print_answer(folder: RunFolder, *, as_json: bool) -> None:
    from deepdiva.cli.console import print_json, say, styled

    if as_json:
        print_json({"id": folder.id, "path": str(folder.path), "results": dict(folder.results)})
        return
    from deepdiva.engine.progress import number
    from deepdiva.runs.folder import shown_path

    record, results = folder.record, folder.results
    width = max((len(name) for name in results), default=0)
    best = record.get("best") or {}
    score = f"test/{str(best.get('metric')).rpartition('/')[2]}"
    say()
    for name, value in results.items():
        at = f"   (best, epoch {best.get('epoch')})" if name == best.get("metric") else ""
        shown = styled(f"{number(name, value):>10}", "bold green" if name == score else "")
        say(f"  {name:<{width}}  {shown}{styled(at, 'dim')}")
    path = shlex.quote(shown_path(folder.path))
    lines = {
        "run": f"{path}   (seed {record['seed']}, {folder.duration or 0:.1f} s)",
        "reproduce": f"deepdiva reproduce {path}",
        "resume": f"deepdiva resume {path}   (had it been cut off)",
        "look": f"deepdiva board {path}",
    }
    say()
    for name, text in lines.items():
        say(f"{styled(f'{name:<9}', 'dim')}  {text}")
