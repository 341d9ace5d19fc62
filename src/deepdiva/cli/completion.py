"""Completion for shells: `deepdiva completion bash` prints a script, which asks `deepdiva __complete` at every Tab."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepdiva.errors import UserError

if TYPE_CHECKING:
    from deepdiva.config import Option, TaskInfo

ASK = "__complete"
"""The hidden command: `deepdiva __complete WORD... WORD` prints what the last word may become, a line each."""

RUNS_SHOWN = 100
_DEVICES = ("auto", "cpu", "cuda", "mps")
_LEFT_TO_TORCH = {"Optimizer", "LRScheduler"}  # base classes

_BASH = r"""# bash: eval "$(deepdiva completion bash)", also as a line of ~/.bashrc
_deepdiva() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("${line%%$'\t'*}")
    done < <("$1" __complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _deepdiva deepdiva
"""
_ZSH = r"""#compdef deepdiva
# zsh: eval "$(deepdiva completion zsh)" after compinit, also as a line of ~/.zshrc
_deepdiva() {
    local line name meaning
    local -a found
    while IFS= read -r line; do
        name=${line%%$'\t'*}
        meaning=${${line#$name}#$'\t'}
        found+=("${name//:/\\:}${meaning:+:$meaning}")
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( $#found )); then
        _describe -V deepdiva found
    else
        _files
    fi
}
compdef _deepdiva deepdiva
"""
_FISH = r"""# fish: deepdiva completion fish | source, also as a line of ~/.config/fish/config.fish
function __deepdiva_ask
    set -l words (commandline -opc)
    set -g __deepdiva_found ($words[1] __complete $words[2..-1] (commandline -ct) 2>/dev/null)
    test (count $__deepdiva_found) -gt 0
end
complete -c deepdiva -n __deepdiva_ask -f -k -a '(string join \n -- $__deepdiva_found)'
"""
SCRIPTS: Mapping[str, str] = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}

Found = tuple[str, str]
"""A word and what it means."""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command that prints a script."""
    parser = subparsers.add_parser(
        "completion",
        help="print the script that completes commands in your shell",
        description="Print a script for your shell; its first lines say where it goes.",
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=tuple(SCRIPTS), help="the shell")
    parser.set_defaults(func=print_script)


def print_script(arguments: argparse.Namespace) -> int:
    """Print the script of a shell."""
    sys.stdout.write(SCRIPTS[arguments.shell])
    return 0


def answer(words: Sequence[str], parser: argparse.ArgumentParser) -> int:
    """Print what the last of `words` may become; nothing where a file is wanted, so that the shell takes over."""
    with suppress(UserError, OSError):  # a question asked while typing gets an answer or none, but no complaint
        for word, meaning in candidates(words, parser):
            sys.stdout.write("\t".join(filter(None, [word, " ".join(meaning.split())])) + "\n")
    return 0


def candidates(words: Sequence[str], parser: argparse.ArgumentParser) -> Iterator[Found]:
    """What the last of `words` may become."""
    *before, current = _joined(words) or [""]
    name, equals, beginning = current.partition("=")
    if name.startswith("--") and equals:  # --option=value
        before, current = [*before, name], beginning
    about_task = before[:1] in (["run"], ["check"], ["chaos"]) or (
        before[:1] == ["doctor"] and _names_a_task(before[1:])
    )
    found = _after_task(before, current) if about_task else _after(parser, before, current)
    put = f"{name}=" if name.startswith("--") and equals and "=" not in words else ""
    return ((put + word, meaning) for word, meaning in found if word.startswith(current))


def subcommands(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The commands of a parser by name; empty for one that has none."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            choices: Mapping[str, argparse.ArgumentParser] = action.choices
            return choices
    return {}


def descend(parser: argparse.ArgumentParser, words: Sequence[str]) -> tuple[argparse.ArgumentParser, list[str]]:
    """The parser of the innermost command that the words name, and the words after that name."""
    rest = list(words)
    while rest and rest[0] in subcommands(parser):
        parser = subcommands(parser)[rest.pop(0)]
    return parser, rest


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Every way to write an option of a parser."""
    return {text: action for action in parser._actions for text in action.option_strings}


def _joined(words: Sequence[str]) -> list[str]:
    """The words with what bash takes apart at `=` put together again."""
    joined: list[str] = []
    for word in words:
        if joined and (word == "=" or joined[-1].endswith("=")) and joined[-1].startswith("--"):
            joined[-1] += word
        else:
            joined.append(word)
    return joined


def _after(parser: argparse.ArgumentParser, before: Sequence[str], current: str) -> Iterator[Found]:
    """Candidates for a command that argparse reads."""
    chosen, rest = descend(parser, before)
    for action in chosen._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from ((entry.dest, entry.help or "") for entry in action._choices_actions)
            return
    options = options_of(chosen)
    last = options.get(rest[-1]) if rest else None
    if last is not None and last.nargs != 0:
        yield from _of_action(last, rest)
    elif current.startswith("-"):
        yield from ((text, action.help or "") for text, action in options.items() if text.startswith("--"))
    else:
        for action in chosen._actions:
            if not action.option_strings:
                yield from _of_action(action, rest)


def _of_action(action: argparse.Action, rest: Sequence[str]) -> Iterator[Found]:
    """The values of an option or of a place."""
    if action.choices is not None:
        yield from ((str(choice), "") for choice in action.choices)
    elif action.dest in ("run", "runs"):
        yield from _runs(_value_of("--runs-dir", rest) or "runs")
    elif action.dest == "source":
        yield from _task_names()


def _after_task(before: Sequence[str], current: str) -> Iterator[Found]:
    """Candidates for `run`, `check`, `chaos` and `doctor`, whose options depend on the task."""
    from deepdiva.cli import project, train, trials

    command, *rest = before
    if not rest and not current.startswith("-"):
        yield from _task_names()
        return
    own = {
        "run": train.OWN_OPTIONS,
        "check": project.CHECK_OPTIONS,
        "chaos": trials.CHAOS_OPTIONS,
        "doctor": trials.DOCTOR_OPTIONS,
    }[command]
    takes_value = {option.split()[0] for option in own if " " in option}
    if rest and rest[-1] in takes_value:
        return
    options = _options(rest[0]) if rest else []
    last = rest[-1] if rest else ""
    chosen = [option for option in options if last in (option.short, f"--{option.path}") and not option.is_flag]
    if chosen:
        yield from _of_option(chosen[0])
    elif current.startswith("-"):
        for option in options:
            yield option.short, option.description
            if option.is_flag:
                yield f"--no-{option.short[2:]}", f"not: {option.description}"
        yield from ((option.split()[0], text) for option, text in own.items())


def _names_a_task(words: Sequence[str]) -> bool:
    return bool(words) and not words[0].startswith("-")


def _options(task: str) -> list[Option]:
    """The options of a task of ours; for other tasks, whose files are not run for this, those that all tasks have."""
    from deepdiva import tasks
    from deepdiva.config import options
    from deepdiva.config.settings import TaskInfo
    from deepdiva.engine.task import Task

    info: TaskInfo = tasks.describe(task) if task in tasks.NAMES else TaskInfo(task, Task)
    return options(info)


def _of_option(option: Option) -> Iterator[Found]:
    """The values of an option of a task."""
    from deepdiva.models import NAMES

    known: Mapping[str, Any] = {
        "model": NAMES,
        "device": _DEVICES,
        "optimizer": _names_of_torch("optim/__init__.py"),
        "scheduler": _names_of_torch("optim/lr_scheduler.py"),
        "task.loss": _names_of_torch("nn/modules/loss.py"),
    }
    yield from ((name, "") for name in option.choices or known.get(option.path, ()))


def _names_of_torch(file: str) -> list[str]:
    """The classes in `__all__` of a file of torch, read without running it: importing torch takes seconds."""
    import ast
    from importlib.util import find_spec

    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return []
    path = Path(spec.origin).parent / file
    for node in ast.parse(path.read_bytes()).body if path.is_file() else []:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return [name for name in ast.literal_eval(node.value) if name[0].isupper() and name not in _LEFT_TO_TORCH]
    return []


def _task_names() -> Iterator[Found]:
    from deepdiva.tasks import NAMES

    yield from ((name, "") for name in NAMES)


def _runs(runs_dir: str) -> Iterator[Found]:
    """The newest runs, with what is known of them."""
    from deepdiva.runs.folder import RunFolder

    folders = sorted(Path(runs_dir).glob("*/*/run.json"), key=lambda path: path.parent.name, reverse=True)
    if folders:
        yield "last", "the newest run"
    for path in folders[:RUNS_SHOWN]:
        with suppress(UserError):  # a damaged one is left out
            run = RunFolder.open(path.parent)
            yield run.id, f"{run.experiment}, {run.status}"


def _value_of(option: str, words: Sequence[str]) -> str | None:
    for place, word in enumerate(words[:-1]):
        if word == option:
            return words[place + 1]
    return None
